//! The journal as a person asks about it: times and places as they are typed.

#[allow(dead_code, reason = "each command uses a part of it")]
pub(crate) mod when;

use std::path::{Component, Path, PathBuf};

use rr_core::path::RepoPath;

use crate::exit::{Failure, Kind};

/// A path as typed: in which work tree, and where in it. Outside of any it is taken as it stands.
pub(crate) fn place(typed: &str) -> Result<(Option<PathBuf>, RepoPath), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let whole = tidy(&here.join(typed));
    let near = whole.ancestors().find(|folder| folder.is_dir()).unwrap_or(&here);
    let tree = rr_git::Worktree::discover(near).map_err(|e| Failure::at("look for a repository", &e))?;
    let inside = tree.and_then(|tree| Some((tree.root.clone(), whole.strip_prefix(&tree.root).ok()?.to_owned())));
    let (root, relative) = match inside {
        Some((root, relative)) => (Some(root), relative),
        None => (None, PathBuf::from(typed.strip_prefix("./").unwrap_or(typed))),
    };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(relative.as_os_str());
    let path = RepoPath::parse(bytes);
    let path = path.map_err(|e| Failure::at(format!("understand the path {typed}"), &e).of_kind(Kind::Usage))?;
    Ok((root, path))
}

/// Without `.` and `..`, by the text alone: what is asked about need not be there any more.
fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
        tidy
    })
}
