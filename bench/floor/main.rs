//! The floor: a forwarder that does nothing but move bytes, as cheaply as Linux lets a process do it.
//!
//! It stands where a proxy stands (`tulle-floor OUTBOUND_ADDR INBOUND_ADDR [MARK]`), asks the kernel where each connection was
//! going, connects there, and splices both directions through pipes. While data flows it makes one epoll_wait per wake-up
//! and two splices per chunk, and no other call; per connection accept, getsockopt, connect, two pipes, and what
//! registers them. It prints `ready` when it listens. Errors of a connection close it; errors of the listeners end it.
#![allow(unsafe_code, reason = "raw system calls are the point")]

mod relay;
mod syscall;

use relay::Relay;
use std::{env, net::SocketAddrV4, process::ExitCode};

/// Wake-ups are served in batches of this many events.
const EVENTS_MAX: usize = 256;
/// Listeners use the tokens below this; connection N the tokens 2N + this and the next.
const TOKEN_BASE: u64 = 2;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let addr = |at: usize| args.get(at).and_then(|arg| arg.parse::<SocketAddrV4>().ok());
    // The packet mark by which the redirect knows our connections, where it cannot know them by their user.
    let mark = args.get(2).map(|arg| arg.parse::<u32>());
    let (Some(outbound), Some(inbound), None | Some(Ok(_))) = (addr(0), addr(1), &mark) else {
        eprintln!("usage: tulle-floor OUTBOUND_IP:PORT INBOUND_IP:PORT [MARK]");
        return ExitCode::from(64);
    };
    let Err(error) = run([outbound, inbound], mark.and_then(Result::ok));
    eprintln!("tulle-floor: {error}");
    ExitCode::FAILURE
}

fn run(listen_on: [SocketAddrV4; 2], mark: Option<u32>) -> std::io::Result<std::convert::Infallible> {
    let epoll = syscall::epoll_create()?;
    let listeners = [syscall::listen(listen_on[0])?, syscall::listen(listen_on[1])?];
    for (token, listener) in listeners.iter().enumerate() {
        syscall::epoll_add(&epoll, listener, libc::EPOLLIN as u32, token as u64)?;
    }
    println!("ready");
    let mut relays: Vec<Option<Relay>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
    loop {
        let count = syscall::epoll_wait(&epoll, &mut events)?;
        let mut ended = Vec::new();
        for event in &events[..count] {
            let (token, flags) = (event.u64, event.events);
            if token < TOKEN_BASE {
                let slot = free.pop().unwrap_or_else(|| {
                    relays.push(None);
                    relays.len() - 1
                });
                match Relay::accept(&listeners[token as usize], mark, &epoll, slot as u64 * 2 + TOKEN_BASE) {
                    Ok(relay) => relays[slot] = Some(relay),
                    Err(_) => free.push(slot),
                }
                continue;
            }
            let slot = ((token - TOKEN_BASE) / 2) as usize;
            let side = ((token - TOKEN_BASE) % 2) as usize;
            if let Some(relay) = &mut relays[slot]
                && !relay.serve(&epoll, side, flags)
            {
                relays[slot] = None;
                ended.push(slot);
            }
        }
        // Only now, so that a late event of this batch does not meet the slot's next connection.
        free.append(&mut ended);
    }
}
