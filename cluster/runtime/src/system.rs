//! The machine's own folders in a container's root, read-only. A mount point that a volume or an image needs below one
//! of them and that the machine does not have is laid over the folder by an overlay; the machine is never written to.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::protocol::Mount;
use crate::rootfs::{at, create_file, create_folder, tmpfs};
use crate::sandbox::context;
use crate::sys;

/// Empty files and folders only.
const SKELETON_BYTES_MAX: u64 = 4 << 20;

/// Applies the `System` and `Symlink` mounts; returns what is to become read-only when all is mounted.
pub fn apply(root: &Path, mounts: &[Mount]) -> io::Result<Vec<PathBuf>> {
    let mut links = Vec::new();
    for mount in mounts {
        if let Mount::Symlink { target, to } = mount {
            let path = root.join(to.trim_start_matches('/'));
            path.parent().map_or(Ok(()), create_folder)?;
            symlink(target, &path).map_err(|e| at("link", &path, e))?;
            links.push((to.as_str(), target.as_str()));
        }
    }
    let wanted: Vec<Wanted> = mounts.iter().filter_map(|mount| Wanted::of(mount, &links)).collect();
    let mut folders = Vec::new();
    for (number, mount) in mounts.iter().enumerate() {
        if let Mount::System { from, to } = mount {
            let missing: Vec<&Wanted> = wanted.iter().filter(|wanted| wanted.is_missing(from, to)).collect();
            folders.push(bind(root, from, to, number, &missing)?);
        }
    }
    Ok(folders)
}

fn bind(root: &Path, from: &str, to: &str, number: usize, missing: &[&Wanted]) -> io::Result<PathBuf> {
    let path = root.join(to.trim_start_matches('/'));
    let is_folder = fs::metadata(from).map_err(|e| context(from, e))?.is_dir();
    if is_folder {
        create_folder(&path)?
    } else {
        create_file(&path)?
    }
    if missing.is_empty() {
        sys::mount(from, &path, c"", libc::MS_BIND | libc::MS_REC, "").map_err(|e| at("mount", &path, e))?;
        return Ok(path);
    }
    let skeleton = root.join(format!(".skeleton-{number}"));
    create_folder(&skeleton)?;
    tmpfs(&skeleton, 0o755, SKELETON_BYTES_MAX)?;
    for wanted in missing {
        let place = skeleton.join(&wanted.path[to.len() + 1..]);
        if wanted.is_folder { create_folder(&place)? } else { create_file(&place)? }
    }
    let escape = |path: &str| path.replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,");
    let options = format!("lowerdir={}:{},userxattr", escape(&skeleton.to_string_lossy()), escape(from));
    sys::mount("overlay", &path, c"overlay", 0, &options).map_err(|e| at("overlay", &path, e))?;
    sys::unmount(&skeleton).and_then(|()| fs::remove_dir(&skeleton)).map_err(|e| at("remove", &skeleton, e))?;
    Ok(path)
}

/// A mount point that must be there, as a path in the container with the root's own links followed.
struct Wanted {
    path: String,
    is_folder: bool,
}

impl Wanted {
    fn of(mount: &Mount, links: &[(&str, &str)]) -> Option<Self> {
        let (to, is_folder) = match mount {
            Mount::Bind { from, to, .. } => (to, fs::metadata(from).is_ok_and(|m| m.is_dir())),
            Mount::Tmpfs { to, .. } => (to, true),
            Mount::System { .. } | Mount::Symlink { .. } | Mount::Folder { .. } | Mount::Proc | Mount::Dev => {
                return None;
            }
        };
        let follow = |(link, target): &(&str, &str)| {
            let rest = to.strip_prefix(link).filter(|rest| rest.starts_with('/'))?;
            Some(format!("/{}{rest}", target.trim_start_matches('/')))
        };
        Some(Self { path: links.iter().find_map(follow).unwrap_or_else(|| to.clone()), is_folder })
    }

    fn is_missing(&self, from: &str, to: &str) -> bool {
        let below = self.path.strip_prefix(to).is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'));
        let found = || fs::symlink_metadata(Path::new(from).join(&self.path[to.len() + 1..]));
        below && !found().is_ok_and(|m| !m.is_symlink() && m.is_dir() == self.is_folder)
    }
}
