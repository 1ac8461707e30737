//! Sends a body as the DATA and HEADERS frames of one HTTP/2 stream, no faster than the peer takes them, and stops
//! when the peer resets the stream.

use super::Body;
use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

pub struct Pump {
    body: Body,
    stream: SendStream<Bytes>,
    /// Read from the body, waiting for the peer's window.
    data: Bytes,
}

/// Why a body was not sent to its end. Either way the stream has been reset.
pub enum PumpError {
    Body,
    /// The peer has reset the stream, or the connection is gone.
    Peer,
}

impl Pump {
    pub fn new(body: Body, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, data: Bytes::new() }
    }

    fn send_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PumpError>> {
        while !self.data.is_empty() {
            let mut capacity = self.stream.capacity();
            if capacity == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(n))) => capacity = n,
                    Poll::Ready(_) => return Poll::Ready(Err(PumpError::Peer)),
                    Poll::Pending => return self.until_reset(cx),
                }
            }
            if capacity == 0 {
                continue;
            }
            let chunk = self.data.split_to(capacity.min(self.data.len()));
            let is_end = self.data.is_empty() && self.body.is_end_stream();
            self.stream.send_data(chunk, is_end).map_err(|_| PumpError::Peer)?;
        }
        Poll::Ready(Ok(()))
    }

    fn until_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), PumpError>> {
        match self.stream.poll_reset(cx) {
            Poll::Ready(_) => Poll::Ready(Err(PumpError::Peer)),
            Poll::Pending => {
                // While the peer takes nothing, nothing is read that would notice that the stream is to end.
                let error = ready!(self.body.poll_interrupt(cx));
                self.stream.send_reset(error.reason().unwrap_or(Reason::CANCEL));
                Poll::Ready(Err(PumpError::Body))
            }
        }
    }
}

impl Future for Pump {
    type Output = Result<(), PumpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        loop {
            if !this.data.is_empty() {
                match this.send_data(cx) {
                    Poll::Ready(Ok(())) if this.body.is_end_stream() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => {}
                    other => return other,
                }
            }
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {
                        if this.body.is_end_stream() {
                            return Poll::Ready(this.stream.send_data(data, true).map_err(|_| PumpError::Peer));
                        }
                    }
                    Ok(data) => {
                        this.stream.reserve_capacity(data.len());
                        this.data = data;
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        return Poll::Ready(this.stream.send_trailers(trailers).map_err(|_| PumpError::Peer));
                    }
                },
                Poll::Ready(None) => {
                    return Poll::Ready(this.stream.send_data(Bytes::new(), true).map_err(|_| PumpError::Peer));
                }
                Poll::Ready(Some(Err(error))) => {
                    this.stream.send_reset(error.reason().unwrap_or(Reason::INTERNAL_ERROR));
                    return Poll::Ready(Err(PumpError::Body));
                }
                Poll::Pending => return this.until_reset(cx),
            }
        }
    }
}
