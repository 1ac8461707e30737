//! The proxy's own connections. A pod's redirect lets them pass by the proxy's user or, where only one user exists, by a
//! packet mark that nothing else in the pod sets.

use std::{io, net::SocketAddr, num::NonZeroU32, sync::OnceLock};
use tokio::net::{TcpSocket, TcpStream};

static MARK: OnceLock<NonZeroU32> = OnceLock::new();

/// Marks every connection made from now on. Once per process, before the first.
pub fn set_mark(mark: Option<NonZeroU32>) {
    if let Some(mark) = mark {
        let _ = MARK.set(mark);
    }
}

/// Connects, with the mark when there is one (which takes the capability NET_ADMIN).
pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let Some(mark) = MARK.get() else { return TcpStream::connect(to).await };
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket2::SockRef::from(&socket).set_mark(mark.get())?;
    socket.connect(to).await
}
