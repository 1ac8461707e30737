//! The system calls, each once, with descriptors that close themselves.

use std::{
    io, mem,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

const BACKLOG: i32 = 1024;
/// linux/netfilter_ipv4.h
const SO_ORIGINAL_DST: i32 = 80;

pub enum Spliced {
    /// Zero is the end of the stream.
    Bytes(usize),
    WouldBlock,
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn own(result: i32) -> io::Result<OwnedFd> {
    // SAFETY: every caller passes the result of a call that makes a new descriptor.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

fn sockaddr(addr: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: addr.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*addr.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

const SOCKADDR_BYTES: u32 = mem::size_of::<libc::sockaddr_in>() as u32;

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    own(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) })
}

fn set_option(fd: &OwnedFd, level: i32, name: i32, value: u32) -> io::Result<()> {
    // SAFETY: the option is an int, and its size is given.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, ptr::from_ref(&value).cast(), 4) }).map(drop)
}

pub fn listen(addr: SocketAddrV4) -> io::Result<OwnedFd> {
    let fd = socket()?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    let name = sockaddr(addr);
    // SAFETY: the address outlives the call, and its size is given.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&name).cast(), SOCKADDR_BYTES) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), BACKLOG) })?;
    Ok(fd)
}

pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: the peer's address is not asked for.
    let fd = own(unsafe { libc::accept4(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut(), flags) })?;
    set_option(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    Ok(fd)
}

pub fn original_destination(fd: &OwnedFd) -> io::Result<SocketAddrV4> {
    let mut name = sockaddr(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
    let mut length = SOCKADDR_BYTES;
    // SAFETY: the kernel writes at most `length` bytes of an address.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_IP,
            SO_ORIGINAL_DST,
            ptr::from_mut(&mut name).cast(),
            &raw mut length,
        )
    })?;
    Ok(SocketAddrV4::new(Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr)), u16::from_be(name.sin_port)))
}

/// Returns while the connection is still being made.
pub fn connect(addr: SocketAddrV4, mark: Option<u32>) -> io::Result<OwnedFd> {
    let fd = socket()?;
    if let Some(mark) = mark {
        set_option(&fd, libc::SOL_SOCKET, libc::SO_MARK, mark)?;
    }
    set_option(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    let name = sockaddr(addr);
    // SAFETY: the address outlives the call, and its size is given.
    match check(unsafe { libc::connect(fd.as_raw_fd(), ptr::from_ref(&name).cast(), SOCKADDR_BYTES) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(fd),
    }
}

pub fn pipe() -> io::Result<[OwnedFd; 2]> {
    let mut fds = [0; 2];
    // SAFETY: the array has room for both descriptors, which are new when the call succeeds.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_NONBLOCK | libc::O_CLOEXEC) })?;
    Ok([own(fds[0])?, own(fds[1])?])
}

pub fn splice(from: BorrowedFd, to: BorrowedFd, bytes_max: usize) -> io::Result<Spliced> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: no offsets are given.
    let count =
        unsafe { libc::splice(from.as_raw_fd(), ptr::null_mut(), to.as_raw_fd(), ptr::null_mut(), bytes_max, flags) };
    match usize::try_from(count) {
        Ok(count) => Ok(Spliced::Bytes(count)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(Spliced::WouldBlock),
            // A socket that is still connecting says so when it is written to.
            error if error.kind() == io::ErrorKind::NotConnected => Ok(Spliced::WouldBlock),
            error => Err(error),
        },
    }
}

pub fn shutdown_write(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) }).map(drop)
}

pub fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

pub fn epoll_add(epoll: &OwnedFd, fd: &OwnedFd, events: u32, token: u64) -> io::Result<()> {
    epoll_control(epoll, libc::EPOLL_CTL_ADD, fd, events, token)
}

pub fn epoll_modify(epoll: &OwnedFd, fd: &OwnedFd, events: u32, token: u64) -> io::Result<()> {
    epoll_control(epoll, libc::EPOLL_CTL_MOD, fd, events, token)
}

fn epoll_control(epoll: &OwnedFd, operation: i32, fd: &OwnedFd, events: u32, token: u64) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: the event outlives the call.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd.as_raw_fd(), &raw mut event) }).map(drop)
}

pub fn epoll_wait(epoll: &OwnedFd, events: &mut [libc::epoll_event]) -> io::Result<usize> {
    loop {
        // SAFETY: the kernel writes at most as many events as there is room for.
        match check(unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), events.len() as i32, -1) }) {
            Ok(count) => return Ok(count as usize),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
