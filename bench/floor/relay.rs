//! One relayed connection: two sockets and a pipe for each direction.

use crate::syscall::{self, Spliced};
use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

/// A pipe's default capacity.
const CHUNK_BYTES: usize = 65536;

const READ: u32 = libc::EPOLLIN as u32;
const WRITE: u32 = libc::EPOLLOUT as u32;
const FAILED: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// From `sockets[0]` to `sockets[1]` runs `pipes[0]`, back runs `pipes[1]`.
pub struct Relay {
    sockets: [OwnedFd; 2],
    pipes: [Direction; 2],
    interest: [u32; 2],
    token: u64,
}

struct Direction {
    pipe: [OwnedFd; 2],
    /// Bytes in the pipe that the receiver has not taken; while there are any, the sender is not read.
    pending: usize,
    is_ended: bool,
}

impl Relay {
    /// Accepts, and connects to where the connection was going. Registers both sockets under `token` and the next.
    pub fn accept(listener: &OwnedFd, mark: Option<u32>, epoll: &OwnedFd, token: u64) -> io::Result<Self> {
        let client = syscall::accept(listener)?;
        let server = syscall::connect(syscall::original_destination(&client)?, mark)?;
        let relay = Self {
            sockets: [client, server],
            pipes: [Direction::new()?, Direction::new()?],
            interest: [READ; 2],
            token,
        };
        // Until it is connected, writes to the server wait; the pipe holds what came meanwhile.
        syscall::epoll_add(epoll, &relay.sockets[0], READ, token)?;
        syscall::epoll_add(epoll, &relay.sockets[1], READ, token + 1)?;
        Ok(relay)
    }

    /// Serves an event on one side; false once the relay is over.
    pub fn serve(&mut self, epoll: &OwnedFd, side: usize, flags: u32) -> bool {
        let outcome = (|| {
            if flags & FAILED != 0 && flags & READ == 0 {
                return Err(io::Error::from(io::ErrorKind::ConnectionReset));
            }
            if flags & WRITE != 0 {
                self.drain(1 - side)?;
            }
            if flags & READ != 0 {
                self.fill(side)?;
            }
            self.update(epoll)
        })();
        outcome.is_ok() && !self.pipes.iter().all(|direction| direction.is_ended)
    }

    /// One splice in and, when it brought something, one out.
    fn fill(&mut self, from: usize) -> io::Result<()> {
        if self.pipes[from].pending > 0 || self.pipes[from].is_ended {
            return Ok(());
        }
        match syscall::splice(self.sockets[from].as_fd(), self.pipes[from].pipe[1].as_fd(), CHUNK_BYTES)? {
            Spliced::WouldBlock => Ok(()),
            Spliced::Bytes(0) => {
                self.pipes[from].is_ended = true;
                syscall::shutdown_write(&self.sockets[1 - from])
            }
            Spliced::Bytes(count) => {
                self.pipes[from].pending = count;
                self.drain(from)
            }
        }
    }

    fn drain(&mut self, from: usize) -> io::Result<()> {
        while self.pipes[from].pending > 0 {
            let direction = &mut self.pipes[from];
            match syscall::splice(direction.pipe[0].as_fd(), self.sockets[1 - from].as_fd(), direction.pending)? {
                Spliced::WouldBlock => break,
                Spliced::Bytes(count) => direction.pending -= count,
            }
        }
        Ok(())
    }

    /// Asks for what can go on; costs a call only when that changes, which is when a receiver is slow or a side has ended.
    fn update(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        for side in 0..2 {
            let reads = self.pipes[side].pending == 0 && !self.pipes[side].is_ended;
            let writes = self.pipes[1 - side].pending > 0;
            let wanted = if reads { READ } else { 0 } | if writes { WRITE } else { 0 };
            if wanted != self.interest[side] {
                self.interest[side] = wanted;
                syscall::epoll_modify(epoll, &self.sockets[side], wanted, self.token + side as u64)?;
            }
        }
        Ok(())
    }
}

impl Direction {
    fn new() -> io::Result<Self> {
        Ok(Self { pipe: syscall::pipe()?, pending: 0, is_ended: false })
    }
}
