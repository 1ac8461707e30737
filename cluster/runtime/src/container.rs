//! Turns a child process into a container's first process, or into one more process of a running container.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::protocol::{ContainerSpec, ExecSpec, Process};
use crate::sandbox::{Home, Sandbox, context};
use crate::{rootfs, sys};

/// A child on its way to exec. `failure` closes without a byte when exec has worked; else it carries the reason, with a
/// first byte that tells whether the program (`P`) or the preparation (`S`) failed.
pub struct Started {
    pub pid: libc::pid_t,
    pub failure: OwnedFd,
    pub stdout: OwnedFd,
    pub stderr: Option<OwnedFd>,
}

pub fn start(spec: &ContainerSpec, sandbox: &Sandbox) -> io::Result<Started> {
    spawn(libc::CLONE_NEWPID | libc::CLONE_NEWNS, &spec.process, true, || {
        sandbox.enter().map_err(|e| context("enter the pod", e))?;
        rootfs::enter(&spec.root, &spec.mounts, spec.read_only_root)?;
        if !std::path::Path::new(&spec.process.cwd).exists() {
            std::fs::create_dir_all(&spec.process.cwd).map_err(|e| context("create the working folder", e))?;
        }
        Ok(())
    })
}

/// One more process in the container whose first process is `target`.
pub fn exec(spec: &ExecSpec, target: libc::pid_t, home: &Home) -> io::Result<Started> {
    let namespaces = sys::pidfd_open(target)?;
    sys::setns(&namespaces, libc::CLONE_NEWPID)?;
    let started = spawn(0, &spec.process, false, || {
        let others = libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;
        sys::setns(&namespaces, others).map_err(|e| context("enter the container", e))
    });
    sys::setns(&home.pid, libc::CLONE_NEWPID).expect("children may go back to this process's own namespace");
    started
}

fn spawn(
    namespaces: libc::c_int,
    process: &Process,
    split_output: bool,
    prepare: impl FnOnce() -> io::Result<()>,
) -> io::Result<Started> {
    let (failure, failure_end) = sys::pipe()?;
    let (stdout, stdout_end) = sys::pipe()?;
    let stderr = if split_output { Some(sys::pipe()?) } else { None };
    let pid = sys::fork(namespaces)?;
    if pid == 0 {
        let stderr_end = stderr.as_ref().map_or(&stdout_end, |(_, end)| end);
        let (kind, error) = match prepare().and_then(|()| confine(process, &stdout_end, stderr_end)) {
            Ok(()) => ('P', execute(process)),
            Err(error) => ('S', error),
        };
        _ = sys::write_all(failure_end.as_raw_fd(), format!("{kind}{error}").as_bytes());
        sys::exit(128);
    }
    for fd in [Some(&failure), Some(&stdout), stderr.as_ref().map(|(fd, _)| fd)].into_iter().flatten() {
        sys::set_nonblocking(fd)?;
    }
    Ok(Started { pid, failure, stdout, stderr: stderr.map(|(fd, _)| fd) })
}

fn confine(process: &Process, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    let own = sys::permitted_capabilities()?;
    let mask = |list: &[u32]| list.iter().filter(|c| **c < 64).fold(0u64, |set, c| set | 1 << c) & own;
    let (permitted, ambient) = (mask(&process.capabilities), mask(&process.ambient));
    let null: OwnedFd = std::fs::File::open("/dev/null")?.into();
    if let Some(user) = &process.user {
        for fd in [stdout, stderr] {
            sys::chown_fd(fd, user.uid, user.gid)?;
        }
    }
    for (fd, number) in [(&null, 0), (stdout, 1), (stderr, 2)] {
        sys::dup_onto(fd, number)?;
    }
    sys::bound_capabilities(permitted).map_err(|e| context("drop capabilities", e))?;
    if let Some(user) = &process.user {
        sys::become_user(user.uid, user.gid, &user.groups)
            .map_err(|e| context(&format!("become user {} group {}", user.uid, user.gid), e))?;
    }
    let stays_root = process.user.as_ref().is_none_or(|user| user.uid == 0);
    let (permitted, ambient) = if stays_root { (permitted, 0) } else { (ambient, ambient) };
    sys::set_capabilities(permitted, ambient).map_err(|e| context("set capabilities", e))?;
    std::env::set_current_dir(&process.cwd).map_err(|e| context(&format!("change to {}", process.cwd), e))?;
    sys::reset_child()?;
    sys::close_others_on_exec()?;
    if process.no_new_privileges { sys::no_new_privileges() } else { Ok(()) }
}

/// Looks the program up in the container's own PATH. Returns only when it cannot be executed.
fn execute(process: &Process) -> io::Error {
    let strings =
        |list: &[String]| list.iter().map(|s| sys::c_string(s.as_str())).collect::<io::Result<Vec<CString>>>();
    let (args, env) = match strings(&process.args).and_then(|args| Ok((args, strings(&process.env)?))) {
        Ok(both) => both,
        Err(error) => return error,
    };
    let Some(program) = process.args.first().filter(|p| !p.is_empty()) else {
        return io::Error::other("no command");
    };
    let path = process.env.iter().rev().find_map(|e| e.strip_prefix("PATH=")).unwrap_or("/usr/bin:/bin");
    let candidates: Vec<String> = if program.contains('/') {
        vec![program.clone()]
    } else {
        path.split(':').map(|folder| format!("{folder}/{program}")).collect()
    };
    let mut last = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in candidates {
        let error = match sys::c_string(candidate) {
            Ok(candidate) => sys::execve(&candidate, &args, &env),
            Err(error) => error,
        };
        if error.raw_os_error() != Some(libc::ENOENT) {
            last = error;
        }
    }
    if last.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        return io::Error::other(format!("exec: \"{program}\": executable file not found in $PATH"));
    }
    context(&format!("exec: \"{program}\""), last)
}
