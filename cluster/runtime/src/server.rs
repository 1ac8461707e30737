//! The event loop: requests from the agent, output and ends of processes, connects in progress.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::channel::Channel;
use crate::container::{self, Started};
use crate::logs::LogWriter;
use crate::protocol::{ContainerSpec, Event, ExecSpec, Op, Request};
use crate::sandbox::{Home, Sandbox};
use crate::sys::{self, Epoll};

/// A probe's or hook's output is shown in an event; more than this is not read by anyone.
const EXEC_OUTPUT_BYTES_MAX: usize = 10 << 10;

pub struct Server {
    channel: Channel,
    epoll: Epoll,
    signals: OwnedFd,
    home: Home,
    sandboxes: HashMap<String, Sandbox>,
    children: HashMap<libc::pid_t, Child>,
    /// First process of each running container, and execs by their name.
    names: HashMap<String, libc::pid_t>,
    /// Whose output or failure pipe a descriptor is.
    owners: HashMap<RawFd, libc::pid_t>,
    dials: HashMap<RawFd, Dial>,
}

struct Child {
    name: String,
    /// Request to answer, and the pipe that tells whether exec worked; None once it has.
    starting: Option<(u64, OwnedFd)>,
    pipes: Vec<OwnedFd>,
    output: Output,
}

enum Output {
    Log(LogWriter),
    Capture(Vec<u8>),
}

struct Dial {
    id: u64,
    sandbox: String,
    port: u16,
    v6: bool,
    socket: OwnedFd,
}

impl Server {
    pub fn new(channel: Channel) -> io::Result<Self> {
        let server = Self {
            channel,
            epoll: Epoll::new()?,
            signals: sys::child_signals()?,
            home: Home::open()?,
            sandboxes: HashMap::new(),
            children: HashMap::new(),
            names: HashMap::new(),
            owners: HashMap::new(),
            dials: HashMap::new(),
        };
        server.epoll.add(server.channel.as_raw_fd(), false)?;
        server.epoll.add(server.signals.as_raw_fd(), false)?;
        Ok(server)
    }

    pub fn run(mut self) -> io::Result<()> {
        loop {
            for fd in self.epoll.wait()? {
                if fd == self.channel.as_raw_fd() {
                    let open = self.channel.fill()?;
                    while let Some(line) = self.channel.next_line()? {
                        self.handle(&line)?;
                    }
                    if !open {
                        self.children.keys().for_each(|pid| _ = sys::kill(*pid, libc::SIGKILL));
                        return Ok(());
                    }
                } else if fd == self.signals.as_raw_fd() {
                    self.reap()?;
                } else if let Some(pid) = self.owners.get(&fd).copied() {
                    self.read(pid, fd)?;
                } else if let Some(dial) = self.dials.remove(&fd) {
                    self.finish_dial(dial)?;
                }
            }
        }
    }

    fn handle(&mut self, line: &[u8]) -> io::Result<()> {
        let Request { id, op } = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => {
                eprintln!("tulle-pod: message from the agent: {error}");
                return Ok(());
            }
        };
        let outcome = match op {
            Op::Sandbox(spec) => self.home.create(&spec).map(|sandbox| {
                self.sandboxes.insert(spec.sandbox, sandbox);
                Some(None)
            }),
            Op::RemoveSandbox { sandbox } => {
                if let Some(sandbox) = self.sandboxes.remove(&sandbox) {
                    self.home.remove(sandbox);
                }
                Ok(Some(None))
            }
            Op::Start(spec) => self.start(id, &spec).map(|()| None),
            Op::Exec(spec) => self.exec(id, &spec).map(|()| None),
            Op::Signal { container, signal } => match self.names.get(&container) {
                Some(pid) => sys::kill(*pid, signal).map(|()| Some(None)),
                None => Ok(Some(None)),
            },
            Op::Dial { sandbox, port } => self.dial(id, sandbox, port, false).map(|()| None),
        };
        match outcome {
            Ok(Some(pid)) => self.channel.send(&Event::Ok { id, pid }),
            Ok(None) => Ok(()),
            Err(error) => self.channel.send(&Event::Error { id, message: &error.to_string(), start: false }),
        }
    }

    fn start(&mut self, id: u64, spec: &ContainerSpec) -> io::Result<()> {
        let sandbox = self.sandboxes.get(&spec.sandbox).ok_or_else(|| io::Error::other("no such sandbox"))?;
        let log = LogWriter::open(&spec.log)?;
        let started = container::start(spec, sandbox)?;
        self.adopt(id, &spec.container, started, Output::Log(log))
    }

    fn exec(&mut self, id: u64, spec: &ExecSpec) -> io::Result<()> {
        let target = *self.names.get(&spec.container).ok_or_else(|| io::Error::other("container is not running"))?;
        let started = container::exec(spec, target, &self.home)?;
        self.adopt(id, &spec.exec, started, Output::Capture(Vec::new()))
    }

    fn adopt(&mut self, id: u64, name: &str, started: Started, output: Output) -> io::Result<()> {
        let Started { pid, failure, stdout, stderr } = started;
        let pipes: Vec<OwnedFd> = [Some(stdout), stderr].into_iter().flatten().collect();
        for fd in pipes.iter().chain([&failure]).map(AsRawFd::as_raw_fd) {
            self.epoll.add(fd, false)?;
            self.owners.insert(fd, pid);
        }
        self.names.insert(name.into(), pid);
        self.children.insert(pid, Child { name: name.into(), starting: Some((id, failure)), pipes, output });
        Ok(())
    }

    /// Reads one of a child's pipes until it is empty.
    fn read(&mut self, pid: libc::pid_t, fd: RawFd) -> io::Result<()> {
        let Some(child) = self.children.get_mut(&pid) else {
            return Ok(());
        };
        if child.starting.as_ref().is_some_and(|(_, pipe)| pipe.as_raw_fd() == fd) {
            return self.finish_start(pid);
        }
        let stream = child.pipes.iter().position(|pipe| pipe.as_raw_fd() == fd).unwrap_or(0);
        let mut chunk = [0u8; 65536];
        // One chunk for each event, so that a program that never stops writing cannot hold the loop.
        match sys::read(fd, &mut chunk) {
            Ok(0) => {
                self.epoll.remove(fd);
                self.owners.remove(&fd);
            }
            Ok(n) => child.output.take(stream, &chunk[..n]),
            Err(_) => {}
        }
        Ok(())
    }

    /// Answers a start request once exec has worked or failed.
    fn finish_start(&mut self, pid: libc::pid_t) -> io::Result<()> {
        let Some((id, pipe)) = self.children.get_mut(&pid).and_then(|child| child.starting.take()) else {
            return Ok(());
        };
        let mut reason = [0u8; 4096];
        let length = sys::read(pipe.as_raw_fd(), &mut reason).unwrap_or(0);
        self.epoll.remove(pipe.as_raw_fd());
        self.owners.remove(&pipe.as_raw_fd());
        if length == 0 {
            return self.channel.send(&Event::Ok { id, pid: Some(pid) });
        }
        let message = String::from_utf8_lossy(&reason[1..length]);
        self.forget(pid);
        self.channel.send(&Event::Error { id, message: &message, start: reason[0] == b'P' })
    }

    fn forget(&mut self, pid: libc::pid_t) -> Option<Child> {
        let child = self.children.remove(&pid)?;
        self.names.remove(&child.name);
        for fd in child.pipes.iter().map(AsRawFd::as_raw_fd) {
            self.epoll.remove(fd);
            self.owners.remove(&fd);
        }
        Some(child)
    }

    fn reap(&mut self) -> io::Result<()> {
        let mut signal = [0u8; 1024];
        _ = sys::read(self.signals.as_raw_fd(), &mut signal);
        while let Some(ended) = sys::reap() {
            self.finish_start(ended.pid)?;
            let Some(mut child) = self.forget(ended.pid) else {
                continue;
            };
            child.drain();
            let output = match &mut child.output {
                Output::Log(log) => {
                    _ = log.finish();
                    None
                }
                Output::Capture(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
            };
            let (exit_code, signal) = (ended.exit_code, ended.signal);
            self.channel.send(&Event::Exit { container: &child.name, exit_code, signal, output })?;
        }
        Ok(())
    }

    fn dial(&mut self, id: u64, sandbox: String, port: u16, v6: bool) -> io::Result<()> {
        let pod = self.sandboxes.get(&sandbox).ok_or_else(|| io::Error::other("no such sandbox"))?;
        let socket = self.home.dial(pod, port, v6)?;
        let fd = socket.as_raw_fd();
        self.epoll.add(fd, true)?;
        self.dials.insert(fd, Dial { id, sandbox, port, v6, socket });
        Ok(())
    }

    /// Passes a connected socket on; tries IPv6 when nothing listens on IPv4.
    fn finish_dial(&mut self, dial: Dial) -> io::Result<()> {
        let Dial { id, sandbox, port, v6, socket } = dial;
        self.epoll.remove(socket.as_raw_fd());
        let error = match sys::socket_error(&socket) {
            Ok(()) => {
                return self.channel.send_socket(&Event::Ok { id, pid: None }, socket);
            }
            Err(error) => error,
        };
        if !v6 && self.dial(id, sandbox, port, true).is_ok() {
            return Ok(());
        }
        self.channel.send(&Event::Error { id, message: &error.to_string(), start: false })
    }
}

impl Child {
    /// Takes what is left in the pipes of a process that has ended.
    fn drain(&mut self) {
        let mut chunk = [0u8; 65536];
        for (stream, pipe) in self.pipes.iter().enumerate() {
            while let Ok(n @ 1..) = sys::read(pipe.as_raw_fd(), &mut chunk) {
                self.output.take(stream, &chunk[..n]);
            }
        }
    }
}

impl Output {
    /// A log that cannot be written (disk full) must not stop the container that writes to it.
    fn take(&mut self, stream: usize, bytes: &[u8]) {
        match self {
            Output::Log(log) => _ = log.take(stream, bytes),
            Output::Capture(kept) => {
                let room = EXEC_OUTPUT_BYTES_MAX.saturating_sub(kept.len());
                kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
            }
        }
    }
}
