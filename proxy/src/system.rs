//! The raw system calls that no crate of ours wraps.
#![allow(unsafe_code)]

use std::{fs::File, io, os::fd::AsRawFd, path::Path};

/// Moves the calling thread into the network namespace that `path` names.
pub fn enter_network_namespace(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    // SAFETY: setns only reads the descriptor, which is open until the end of this function.
    match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends a signal to a child process.
pub fn send_signal(child: &std::process::Child, signal: i32) -> io::Result<()> {
    // SAFETY: kill has no memory effects; the id is that of a child that has not been waited for, so it is still ours.
    match unsafe { libc::kill(child.id().cast_signed(), signal) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Raises the soft limit of open files to the hard one: a proxy has two per connection, and soft limits are often 1024.
pub fn raise_open_files_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls only touch the struct, which outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}
