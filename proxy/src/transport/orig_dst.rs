//! Where a redirected connection was going: SO_ORIGINAL_DST or IP6T_SO_ORIGINAL_DST, chosen by the client's address
//! family once an IPv4-mapped address is unwrapped.

use socket2::SockRef;
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::net::TcpStream;

/// How a server learns a connection's original destination. Tests put their own in place of the kernel's.
pub trait OriginalDst: Send + Sync + 'static {
    fn original_dst(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<SocketAddr>;
}

/// The kernel's answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromKernel;

impl OriginalDst for FromKernel {
    fn original_dst(&self, stream: &TcpStream, peer: SocketAddr) -> io::Result<SocketAddr> {
        let socket = SockRef::from(stream);
        let found = match unmap(peer) {
            SocketAddr::V4(_) => socket.original_dst_v4(),
            SocketAddr::V6(_) => socket.original_dst_v6(),
        };
        let addr = match found {
            Ok(addr) => addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?,
            // A connection that no rule redirected was made to the listener itself.
            Err(_) => stream.local_addr()?,
        };
        Ok(unmap(addr))
    }
}

/// The address with an IPv4-mapped IPv6 address unwrapped, and without flow label or scope.
pub fn unmap(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(unmap_ip(addr.ip()), addr.port())
}

pub fn unmap_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwraps_mapped_addresses_only() {
        let addr = |s: &str| s.parse::<SocketAddr>().unwrap();
        assert_eq!(unmap(addr("[::ffff:10.1.2.3]:80")), addr("10.1.2.3:80"));
        assert_eq!(unmap(addr("[fd00::1]:80")), addr("[fd00::1]:80"));
    }
}
