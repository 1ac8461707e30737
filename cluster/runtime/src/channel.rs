//! Node's IPC channel: a Unix stream socket with one JSON object per line. A socket travels with a `NODE_HANDLE` line,
//! and the next one waits until the other side has acknowledged it, as Node itself does.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use serde::Serialize;

use crate::sys;

/// A request carries at most the environment of one container; the API server takes objects up to 3 MiB.
const LINE_BYTES_MAX: usize = 16 << 20;

pub struct Channel {
    fd: OwnedFd,
    input: Vec<u8>,
    scanned: usize,
    handles: VecDeque<(String, OwnedFd)>,
    handle_in_flight: bool,
}

impl Channel {
    pub fn adopt(fd: RawFd) -> io::Result<Self> {
        let fd = sys::adopt_fd(fd)?;
        Ok(Self { fd, input: Vec::new(), scanned: 0, handles: VecDeque::new(), handle_in_flight: false })
    }

    /// Reads what has come. Returns false when the other side has closed.
    pub fn fill(&mut self) -> io::Result<bool> {
        let mut chunk = [0u8; 65536];
        loop {
            match sys::recv_nonblocking(&self.fd, &mut chunk) {
                Ok(0) => return Ok(false),
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(e) => return Err(e),
            }
            if self.input.len() > LINE_BYTES_MAX {
                return Err(io::Error::other("message from the agent exceeds 16 MiB"));
            }
        }
    }

    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        while let Some(end) = self.input[self.scanned..].iter().position(|b| *b == b'\n') {
            let rest = self.input.split_off(self.scanned + end + 1);
            let mut line = std::mem::replace(&mut self.input, rest);
            self.scanned = 0;
            line.pop();
            if !line.windows(20).take(16).any(|w| w == b"\"cmd\":\"NODE_HANDLE_A") {
                return Ok(Some(line));
            }
            self.handle_in_flight = false;
            self.send_next_handle()?;
        }
        self.scanned = self.input.len();
        if self.input.is_empty() {
            self.input.shrink_to(65536);
        }
        Ok(None)
    }

    pub fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        sys::write_all(self.fd.as_raw_fd(), &line)
    }

    /// Sends `message` together with a connected socket.
    pub fn send_socket(&mut self, message: &impl Serialize, socket: OwnedFd) -> io::Result<()> {
        let message = serde_json::to_string(message)?;
        self.handles.push_back((message, socket));
        self.send_next_handle()
    }

    fn send_next_handle(&mut self) -> io::Result<()> {
        if self.handle_in_flight {
            return Ok(());
        }
        if let Some((message, socket)) = self.handles.pop_front() {
            let line = format!("{{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Socket\",\"msg\":{message}}}\n");
            sys::send_with_fd(&self.fd, line.as_bytes(), &socket)?;
            self.handle_in_flight = true;
        }
        Ok(())
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
