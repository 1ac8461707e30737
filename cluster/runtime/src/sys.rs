//! Raw system calls behind safe functions; the only file with `unsafe`. This program has one thread, so a child may do
//! anything between fork and exec.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::zeroed;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::ptr::{null, null_mut};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_int(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

pub fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "text with a zero byte"))
}

fn path_string(path: &Path) -> io::Result<CString> {
    c_string(path.as_os_str().as_encoded_bytes())
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor was just made by a system call, nothing else owns it.
    check_int(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that the parent process left open.
pub fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: plain system calls on a number; ownership moves to the result.
    unsafe {
        check_int(libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC))?;
        let flags = check_int(libc::fcntl(fd, libc::F_GETFL))?;
        check_int(libc::fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

/// A child process with new namespaces. Returns 0 in the child.
pub fn fork(namespaces: libc::c_int) -> io::Result<libc::pid_t> {
    let flags = libc::c_long::from(namespaces | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and with no stack this is fork; all other arguments are unused.
    check(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) }).map(|pid| pid as libc::pid_t)
}

pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

pub fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

pub fn setns(fd: &OwnedFd, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), kind) }).map(drop)
}

pub fn sethostname(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length of one slice.
    check_int(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

pub fn pidfd_open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    owned(check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })? as libc::c_int)
}

pub fn mount(from: &str, to: &Path, kind: &CStr, flags: libc::c_ulong, data: &str) -> io::Result<()> {
    let (from, to, data) = (c_string(from)?, path_string(to)?, c_string(data)?);
    // SAFETY: all are C strings that live through the call.
    check_int(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) }).map(drop)
}

/// Makes a mount, or with `recursive` a tree of them, read-only, and keeps flags that a user namespace has locked.
pub fn mount_read_only(path: &Path, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct MountAttr {
        attr_set: u64,
        attr_clr: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let path = path_string(path)?;
    let flags = if recursive { libc::AT_RECURSIVE } else { 0 };
    let attr = MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the structure has the kernel's layout (linux/mount.h) and its size is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attr,
            size_of_val(&attr),
        )
    })
    .map(drop)
}

/// Detaches a mount from the tree; what still uses it goes on.
pub fn unmount(path: &Path) -> io::Result<()> {
    let path = path_string(path)?;
    // SAFETY: a C string that lives through the call.
    check_int(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes the current folder the root of the mount namespace and detaches the old root.
pub fn pivot_here() -> io::Result<()> {
    // SAFETY: constant C strings.
    unsafe {
        check(libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()))?;
        check_int(libc::umount2(c".".as_ptr(), libc::MNT_DETACH)).map(drop)
    }
}

/// A pipe; both ends close on exec.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors.
    check_int(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    Ok((owned(fds[0])?, owned(fds[1])?))
}

pub fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).map(drop)
}

pub fn dup_onto(fd: &OwnedFd, number: RawFd) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

pub fn chown_fd(fd: &OwnedFd, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::fchown(fd.as_raw_fd(), uid, gid) }).map(drop)
}

pub fn read(fd: RawFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one slice.
    check(unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) } as libc::c_long).map(|n| n as usize)
}

pub fn write_all(fd: RawFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        // SAFETY: pointer and length of one slice.
        match check(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) } as libc::c_long) {
            Ok(n) => bytes = &bytes[n as usize..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

pub fn recv_nonblocking(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length of one slice.
    let n = unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
    check(n as libc::c_long).map(|n| n as usize)
}

/// Sends the bytes with one descriptor attached to the first of them.
pub fn send_with_fd(socket: &OwnedFd, bytes: &[u8], fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: the control buffer is aligned (u64) and large enough for one descriptor; all pointers outlive the call.
    let sent = unsafe {
        let mut control = [0u64; 8];
        let mut part = libc::iovec { iov_base: bytes.as_ptr() as *mut _, iov_len: bytes.len() };
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(4) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd.as_raw_fd());
        check(libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) as libc::c_long)?
    };
    write_all(socket.as_raw_fd(), &bytes[sent as usize..])
}

pub fn netlink_socket() -> io::Result<OwnedFd> {
    // SAFETY: no memory involved.
    owned(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, libc::NETLINK_ROUTE) })
}

/// A TCP socket whose connect has begun.
pub fn connect_nonblocking(to: IpAddr, port: u16) -> io::Result<OwnedFd> {
    /// Gives a full accept queue about 3 s.
    const SYN_RETRIES: libc::c_int = 1;
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the address structures are plain data with their true sizes.
    unsafe {
        let fd = owned(libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0))?;
        let retries = SYN_RETRIES;
        libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_SYNCNT, (&raw const retries).cast(), 4);
        let result = match to {
            IpAddr::V4(ip) => {
                let mut address: libc::sockaddr_in = zeroed();
                address.sin_family = libc::AF_INET as _;
                address.sin_port = port.to_be();
                address.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
                libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as _)
            }
            IpAddr::V6(ip) => {
                let mut address: libc::sockaddr_in6 = zeroed();
                address.sin6_family = libc::AF_INET6 as _;
                address.sin6_port = port.to_be();
                address.sin6_addr.s6_addr = ip.octets();
                libc::connect(fd.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as _)
            }
        };
        match check_int(result) {
            Err(e) if e.raw_os_error() != Some(libc::EINPROGRESS) => Err(e),
            _ => Ok(fd),
        }
    }
}

/// The result of a connect that has finished.
pub fn socket_error(fd: &OwnedFd) -> io::Result<()> {
    let mut code: libc::c_int = 0;
    let mut size = size_of_val(&code) as libc::socklen_t;
    // SAFETY: room for one int, and its size.
    check_int(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, (&raw mut code).cast(), &raw mut size)
    })?;
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

pub fn kill(pid: libc::pid_t, signal: i32) -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// How a child ended.
pub struct Ended {
    pub pid: libc::pid_t,
    pub exit_code: i32,
    pub signal: i32,
}

/// One child that has ended, if any.
pub fn reap() -> Option<Ended> {
    let mut status = 0;
    // SAFETY: room for one int.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
    let exit_code = if signal != 0 { 128 + signal } else { libc::WEXITSTATUS(status) };
    (pid > 0).then_some(Ended { pid, exit_code, signal })
}

/// Blocks SIGCHLD and returns a descriptor that is readable when a child has ended.
pub fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check_int(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, null_mut()))?;
        owned(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))
    }
}

/// Gives a child the signal state of a fresh program, a session of its own, and death with its parent.
pub fn reset_child() -> io::Result<()> {
    // SAFETY: constant handlers and an initialised set.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        check_int(libc::sigprocmask(libc::SIG_SETMASK, &raw const set, null_mut()))?;
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::setsid();
        check_int(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop)
    }
}

pub fn close_others_on_exec() -> io::Result<()> {
    // SAFETY: no memory involved.
    check(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

pub fn no_new_privileges() -> io::Result<()> {
    // SAFETY: no memory involved.
    check_int(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: pointer and length of one slice. With one thread the raw calls cover the whole process.
    unsafe {
        check_int(libc::prctl(libc::PR_SET_KEEPCAPS, 1))?;
        check_int(libc::setgroups(groups.len(), groups.as_ptr()))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map(drop)
    }
}

/// Removes every capability but `keep` from the bounding set. Needs CAP_SETPCAP, so it comes before `set_capabilities`.
pub fn bound_capabilities(keep: u64) -> io::Result<()> {
    for capability in 0..64 {
        // SAFETY: no memory involved.
        let known = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability) } >= 0;
        if known && keep & (1 << capability) == 0 {
            // SAFETY: no memory involved.
            check_int(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability) })?;
        }
    }
    Ok(())
}

/// Sets permitted and effective capabilities; those in `ambient` outlive exec by a user who is not root.
pub fn set_capabilities(permitted: u64, ambient: u64) -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let (low, high) = (|set: u64| set as u32, |set: u64| (set >> 32) as u32);
    let data: [u32; 6] =
        [low(permitted), low(permitted), low(ambient), high(permitted), high(permitted), high(ambient)];
    // SAFETY: both arrays have the kernel's layout (linux/capability.h).
    check(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) })?;
    for capability in (0..64).filter(|c| ambient & (1 << c) != 0) {
        // SAFETY: no memory involved.
        check_int(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) })?;
    }
    Ok(())
}

/// The capabilities that this process has.
pub fn permitted_capabilities() -> io::Result<u64> {
    const VERSION_3: u32 = 0x2008_0522;
    let header: [u32; 2] = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: both arrays have the kernel's layout (linux/capability.h).
    check(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()) })?;
    Ok(u64::from(data[1]) | u64::from(data[4]) << 32)
}

/// Returns only when the program cannot be executed.
pub fn execve(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([null()]).collect::<Vec<_>>();
    // SAFETY: both lists end with a null pointer and their strings outlive the call.
    unsafe { libc::execve(program.as_ptr(), pointers(args).as_ptr(), pointers(env).as_ptr()) };
    io::Error::last_os_error()
}

pub struct Epoll {
    fd: OwnedFd,
}

impl Epoll {
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory involved.
        owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }).map(|fd| Self { fd })
    }

    /// Watches for input, or with `output` for a finished connect.
    pub fn add(&self, fd: RawFd, output: bool) -> io::Result<()> {
        let events = if output { libc::EPOLLOUT } else { libc::EPOLLIN } as u32;
        let mut event = libc::epoll_event { events, u64: fd as u64 };
        // SAFETY: the event lives through the call.
        check_int(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) }).map(drop)
    }

    /// Needed before a close: a child that has not yet executed keeps the description open.
    pub fn remove(&self, fd: RawFd) {
        // SAFETY: the event is unused.
        unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, null_mut()) };
    }

    pub fn wait(&self) -> io::Result<Vec<RawFd>> {
        // SAFETY: room for 64 events.
        unsafe {
            let mut events: [libc::epoll_event; 64] = zeroed();
            match check_int(libc::epoll_wait(self.fd.as_raw_fd(), events.as_mut_ptr(), 64, -1)) {
                Ok(n) => Ok(events[..n as usize].iter().map(|event| event.u64 as RawFd).collect()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
                Err(e) => Err(e),
            }
        }
    }
}
