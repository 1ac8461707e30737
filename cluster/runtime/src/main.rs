//! `tulle-pod` runs pods for a node agent: it makes network namespaces, starts containers in them, keeps their logs
//! and reports their ends. The agent is a Node process; the channel is Node's own IPC channel (JSON lines, sockets
//! passed along), found in `NODE_CHANNEL_FD`. Everything ends when the channel closes.
#![deny(unsafe_code)]

mod channel;
mod container;
mod logs;
mod netlink;
mod protocol;
mod rootfs;
mod sandbox;
mod server;
mod sys;
mod system;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(fd) = std::env::var("NODE_CHANNEL_FD").ok().and_then(|v| v.parse().ok()) else {
        eprintln!("tulle-pod: NODE_CHANNEL_FD is not set: this program is started by the node agent");
        return ExitCode::from(64);
    };
    match channel::Channel::adopt(fd).and_then(server::Server::new).and_then(|server| server.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tulle-pod: {error}");
            ExitCode::FAILURE
        }
    }
}
