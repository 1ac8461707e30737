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

/// Gives back the pages of code that only the start needed; what is still in use comes back from the page cache, which
/// has it anyway. The start touches more than a third of the binary, and would be most of an idle proxy's memory.
pub fn release_start_pages() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(code_range) {
        // SAFETY: the range is a private mapping of the program's file that nothing may write to, so every page that is
        // dropped here is read from the file again when it is used, with the same bytes.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The addresses of a line of proc_pid_maps(5) that maps a file for execution alone.
fn code_range(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let is_code_of_file = fields.next()? == "r-xp" && fields.nth(2)? != "0";
    let range = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    is_code_of_file.then_some(range)
}

#[cfg(test)]
mod tests {
    use super::code_range;

    #[test]
    fn only_code_of_a_file_is_given_back() {
        let line =
            |permissions, inode| format!("7f00-9f00 {permissions} 00001000 fe:00 {inode}   /usr/lib/linkerd2-proxy");
        assert_eq!(code_range(&line("r-xp", 42)), Some((0x7f00, 0x9f00)));
        assert_eq!(code_range(&line("r--p", 42)), None);
        assert_eq!(code_range(&line("rwxp", 42)), None);
        assert_eq!(code_range("7ffd-7fff r-xp 00000000 00:00 0   [vdso]"), None);
        assert_eq!(code_range(""), None);
        super::release_start_pages();
        assert_eq!(code_range("not a line"), None);
    }
}
