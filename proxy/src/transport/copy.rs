//! Copies bytes both ways between two connections. Each side may close its half alone; a direction with nothing to
//! move holds no buffer.

use super::{buffers, stream::Stream};
use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much one direction may move before the other, and other connections, get their turn.
const TURN_BYTES_MAX: usize = 256 * 1024;

/// Which side failed.
#[derive(Debug)]
pub enum CopyError {
    Client(io::Error),
    Server(io::Error),
}

enum Failed {
    Read(io::Error),
    Write(io::Error),
}

/// Returns when both sides have closed, or at the first error of either.
pub async fn copy_both<A, B>(client: &mut A, server: &mut B) -> Result<(), CopyError>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Direction::default(), Direction::default());
    poll_fn(|cx| {
        let sent = up.poll(cx, client, server).map_err(|failed| match failed {
            Failed::Read(error) => CopyError::Client(error),
            Failed::Write(error) => CopyError::Server(error),
        })?;
        let received = down.poll(cx, server, client).map_err(|failed| match failed {
            Failed::Read(error) => CopyError::Server(error),
            Failed::Write(error) => CopyError::Client(error),
        })?;
        match (sent, received) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await
}

/// [`copy_both`] for two connections that count their bytes: the failed side remembers its error.
pub async fn copy_streams(client: &mut Stream, server: &mut Stream) -> io::Result<()> {
    match copy_both(client, server).await {
        Ok(()) => Ok(()),
        Err(CopyError::Client(error)) => {
            client.record_error(&error);
            Err(error)
        }
        Err(CopyError::Server(error)) => {
            server.record_error(&error);
            Err(error)
        }
    }
}

#[derive(Default)]
struct Direction {
    /// Held only while it has bytes to write.
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    needs_flush: bool,
    state: State,
}

#[derive(Default, PartialEq, Eq)]
enum State {
    #[default]
    Copying,
    /// The source ended; the end is being passed on.
    Closing,
    Done,
}

impl Direction {
    fn poll<R, W>(&mut self, cx: &mut Context<'_>, from: &mut R, to: &mut W) -> Poll<Result<(), Failed>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut moved = 0;
        while self.state == State::Copying {
            while self.start < self.end {
                let bytes = self.buffer.as_deref().and_then(|b| b.get(self.start..self.end)).unwrap_or_default();
                match ready!(Pin::new(&mut *to).poll_write(cx, bytes)).map_err(Failed::Write)? {
                    0 => return Poll::Ready(Err(Failed::Write(io::ErrorKind::WriteZero.into()))),
                    n => self.start += n,
                }
                self.needs_flush = true;
            }
            if moved >= TURN_BYTES_MAX {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let mut buffer = self.buffer.take().unwrap_or_else(buffers::take);
            let mut room = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut *from).poll_read(cx, &mut room);
            let n = room.filled().len();
            if n > 0 {
                (self.start, self.end) = (0, n);
                self.buffer = Some(buffer);
                moved += n;
                continue;
            }
            buffers::give_back(buffer);
            match polled {
                Poll::Ready(Ok(())) => self.state = State::Closing,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::Read(error))),
                Poll::Pending => {
                    if self.needs_flush {
                        ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Failed::Write)?;
                        self.needs_flush = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        if self.state == State::Closing {
            // The reader may be gone altogether; its own direction reports that.
            let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
            self.state = State::Done;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn passes_a_half_close_on_and_keeps_the_other_half() {
        let (mut client, mut a) = duplex(1000);
        let (mut b, mut server) = duplex(1000);
        let copy = tokio::spawn(async move { copy_both(&mut a, &mut b).await.is_ok() });
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let mut question = String::new();
        server.read_to_string(&mut question).await.unwrap();
        assert_eq!(question, "question");
        let long = "answer ".repeat(10_000);
        let mut answer = String::new();
        let send = async {
            server.write_all(long.as_bytes()).await.unwrap();
            server.shutdown().await.unwrap();
        };
        let (_, received) = tokio::join!(send, client.read_to_string(&mut answer));
        received.unwrap();
        assert_eq!(answer, long);
        assert!(copy.await.unwrap());
    }
}
