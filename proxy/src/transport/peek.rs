//! Looks at the first bytes of a connection without taking them. One scratch buffer per thread: nothing is
//! allocated, and nothing is copied twice, whatever the connection turns out to be.

#![allow(unsafe_code)]

use socket2::SockRef;
use std::{cell::RefCell, io, mem::MaybeUninit};
use tokio::{io::Interest, net::TcpStream};

/// The largest first flight looked at: one TLS record with its header.
pub const PEEK_BYTES_MAX: usize = (1 << 14) + 5;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; PEEK_BYTES_MAX].into_boxed_slice());
}

/// Calls `decide(bytes, is_last)` with all that has arrived, each time that more has, until it gives an answer.
/// `is_last` says that no more can come: the peer closed its side, or the buffer is full.
pub async fn peek_until<T>(
    stream: &TcpStream,
    mut decide: impl FnMut(&[u8], bool) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut seen = 0;
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let outcome = stream.try_io(Interest::READABLE, || {
            SCRATCH.with_borrow_mut(|scratch| {
                let n = peek(stream, scratch)?;
                let is_last = n == 0 || n == scratch.len() || ready.is_read_closed();
                // The peer's close wakes us again without new bytes; anything else would spin.
                if n <= seen && !is_last {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                seen = n;
                match decide(scratch.get(..n).unwrap_or_default(), is_last) {
                    None if !is_last => Err(io::ErrorKind::WouldBlock.into()),
                    decided => Ok(decided),
                }
            })
        });
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => return other,
        }
    }
}

fn peek(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and `recv` only writes initialised bytes into it.
    let buffer = unsafe { &mut *(std::ptr::from_mut(buffer) as *mut [MaybeUninit<u8>]) };
    SockRef::from(stream).peek(buffer)
}
