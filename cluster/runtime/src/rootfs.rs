//! A container's root: a tmpfs with what the agent lists mounted into it, then pivoted to.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::protocol::Mount;
use crate::sandbox::context;
use crate::{sys, system};

/// What a container writes outside of its volumes lives in memory; this bounds a runaway program.
const ROOT_BYTES_MAX: u64 = 256 << 20;
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Builds the root at `root` in the mount namespace of the calling child, and pivots to it.
pub fn enter(root: &str, mounts: &[Mount], read_only: bool) -> io::Result<()> {
    let root = Path::new(root);
    sys::mount("", Path::new("/"), c"", libc::MS_REC | libc::MS_PRIVATE, "")
        .map_err(|e| context("detach the mount namespace", e))?;
    tmpfs(root, 0o755, ROOT_BYTES_MAX)?;
    for to in mounts.iter().filter_map(Mount::target) {
        if !to.starts_with('/') || Path::new(to).components().any(|part| part.as_os_str() == "..") {
            return Err(io::Error::other(format!("mount at {to}: not an absolute path without ..")));
        }
    }
    let mut read_only_later = system::apply(root, mounts)?;
    for mount in mounts {
        apply(root, mount, &mut read_only_later)?;
    }
    for path in read_only_later {
        sys::mount_read_only(&path, true).map_err(|e| at("make read-only", &path, e))?;
    }
    std::env::set_current_dir(root)?;
    sys::pivot_here().map_err(|e| context("pivot to the new root", e))?;
    std::env::set_current_dir("/")?;
    if read_only {
        sys::mount_read_only(Path::new("/"), false).map_err(|e| context("make the root read-only", e))?;
    }
    Ok(())
}

fn apply(root: &Path, mount: &Mount, read_only_later: &mut Vec<PathBuf>) -> io::Result<()> {
    match mount {
        Mount::Bind { from, to, read_only } => {
            let path = inside(root, to)?;
            let is_folder = fs::metadata(from).map_err(|e| context(from, e))?.is_dir();
            if is_folder {
                create_folder(&path)?
            } else {
                create_file(&path)?
            }
            sys::mount(from, &path, c"", libc::MS_BIND | libc::MS_REC, "")
                .map_err(|e| context(&format!("mount {from} at {to}"), e))?;
            if *read_only {
                read_only_later.push(path);
            }
        }
        Mount::Tmpfs { to, mode, bytes_max, read_only } => {
            let path = inside(root, to)?;
            create_folder(&path)?;
            tmpfs(&path, *mode, *bytes_max)?;
            if *read_only {
                read_only_later.push(path);
            }
        }
        Mount::Folder { to, mode } => {
            let path = inside(root, to)?;
            create_folder(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(*mode))
                .map_err(|e| at("set the mode of", &path, e))?;
        }
        Mount::System { .. } | Mount::Symlink { .. } => {}
        Mount::Proc => proc(root)?,
        Mount::Dev => dev(root)?,
    }
    Ok(())
}

/// The path below `root`, with every folder on the way resolved, so that a symlink in a volume cannot lead out of it.
fn inside(root: &Path, to: &str) -> io::Result<PathBuf> {
    let wanted = root.join(to.trim_start_matches('/'));
    let mut existing = wanted.as_path();
    while fs::symlink_metadata(existing).is_err() {
        existing = existing.parent().unwrap_or(root);
    }
    let real = fs::canonicalize(existing).map_err(|e| at("resolve", existing, e))?;
    if !real.starts_with(root) {
        return Err(io::Error::other(format!("mount at {to}: leads out of the container")));
    }
    let rest = wanted.strip_prefix(existing).unwrap_or(Path::new(""));
    Ok(if rest.as_os_str().is_empty() { real } else { real.join(rest) })
}

/// Its own /proc, with the parts that reach the machine read-only.
fn proc(root: &Path) -> io::Result<()> {
    let path = root.join("proc");
    create_folder(&path)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    sys::mount("proc", &path, c"proc", flags, "").map_err(|e| context("mount /proc", e))?;
    for part in ["sys", "sysrq-trigger", "irq", "bus"].map(|name| path.join(name)) {
        if part.exists() {
            let name = part.to_string_lossy();
            sys::mount(&name, &part, c"", libc::MS_BIND | libc::MS_REC, "").map_err(|e| at("bind", &part, e))?;
            sys::mount_read_only(&part, true).map_err(|e| at("make read-only", &part, e))?;
        }
    }
    Ok(())
}

fn dev(root: &Path) -> io::Result<()> {
    const SHM_BYTES_MAX: u64 = 64 << 20;
    let path = root.join("dev");
    create_folder(&path)?;
    tmpfs(&path, 0o755, 1 << 20)?;
    for name in DEVICES {
        let device = path.join(name);
        create_file(&device)?;
        sys::mount(&format!("/dev/{name}"), &device, c"", libc::MS_BIND, "").map_err(|e| at("bind", &device, e))?;
    }
    for (name, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        symlink(format!("/proc/self/{target}"), path.join(name))?;
    }
    let shm = path.join("shm");
    create_folder(&shm)?;
    tmpfs(&shm, 0o1777, SHM_BYTES_MAX)
}

pub fn tmpfs(path: &Path, mode: u32, bytes_max: u64) -> io::Result<()> {
    let options = format!("mode={mode:o},size={bytes_max}");
    sys::mount("tmpfs", path, c"tmpfs", libc::MS_NOSUID | libc::MS_NODEV, &options)
        .map_err(|e| at("mount a tmpfs at", path, e))
}

pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|e| at("create", path, e))
}

pub fn create_file(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), create_folder)?;
    if fs::symlink_metadata(path).is_err() {
        fs::write(path, "").map_err(|e| at("create", path, e))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

pub fn at(what: &str, path: &Path, error: io::Error) -> io::Error {
    context(&format!("{what} {}", path.display()), error)
}
