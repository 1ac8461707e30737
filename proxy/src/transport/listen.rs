//! Listening sockets of the data path: one per worker on the same port, options set in place on the accepted socket
//! so that it is registered with epoll once.

use crate::config::SocketOptions;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, time::Duration};
use tokio::net::{TcpListener, TcpStream};

/// As many connections may wait for accept as the kernel's usual `somaxconn`; it cuts larger numbers itself.
pub const BACKLOG_DEFAULT: u32 = 4096;

/// Pause after `accept` failed for want of file descriptors or memory, so that the loop does not spin.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(20);

/// Binds with SO_REUSEPORT, so that every worker has a listener of its own. An IPv6 wildcard takes IPv4 as well.
pub fn bind(addr: SocketAddr, backlog: Option<u32>) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if let SocketAddr::V6(v6) = addr {
        socket.set_only_v6(!v6.ip().is_unspecified())?;
    }
    socket.bind(&addr.into())?;
    let backlog = backlog.unwrap_or(BACKLOG_DEFAULT).min(i32::MAX as u32);
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Accepts the next connection. Errors of a single connection are skipped; want of resources is waited out.
pub async fn accept(listener: &TcpListener, options: SocketOptions) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                apply(&stream, options);
                return (stream, peer);
            }
            Err(error) if is_transient(&error) => {}
            Err(_) => tokio::time::sleep(ACCEPT_ERROR_PAUSE).await,
        }
    }
}

/// Sets the options; a kernel that lacks one does not cost the connection.
pub fn apply(stream: &TcpStream, options: SocketOptions) {
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    if let Some(idle) = options.keepalive {
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle));
    }
    if let Some(timeout) = options.user_timeout {
        let _ = socket.set_tcp_user_timeout(Some(timeout));
    }
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
