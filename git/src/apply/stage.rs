//! The new contents of a plan, written and synced beside their places before anything changes: a full disk or a content that
//! cannot be read shows here. It changes nothing that anybody sees but files of its own name.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::content::Content;
use rr_core::rollback::{Place, Write};
use rustix::fs::AtFlags;

use super::{ApplyError, Kind, failed, name};
use crate::disk::{Folder, Rename};
use crate::ground::is_no_folder;
use crate::vault::Vault;

/// A new content that waits.
pub(super) struct Staged {
    pub(super) at: usize,
    pub(super) folder: Arc<Folder>,
    pub(super) name: OsString,
}

/// Stages what becomes a file or a link.
pub(super) fn all(vault: &Vault, number: u64, open: &[(usize, &Write)]) -> Result<Vec<Staged>, ApplyError> {
    // Of many files in one folder that is opened, and synced, once.
    let (mut staged, mut folders) = (Vec::new(), Folders::new());
    let mut stage_all = || {
        for (at, write) in open {
            check_links(write)?;
            staged.extend(stage(vault, number, *at, write, &mut folders)?);
        }
        let sync = |folder: &Arc<Folder>| vault.disk().sync_folder(folder).map_err(failed("sync", folder.path()));
        folders.values().try_for_each(sync)
    };
    let done = stage_all();
    if done.is_err() {
        drop_all(vault, &staged);
    }
    done.map(|()| staged)
}

/// By the path that it stands for.
type Folders = HashMap<PathBuf, Arc<Folder>>;

pub(super) fn drop_all(vault: &Vault, staged: &[Staged]) {
    for one in staged {
        // A second run finds what is left.
        let _ = vault.disk().remove(&one.folder, &one.name);
    }
}

/// Its other name would keep what is taken out (H24).
fn check_links(write: &Write) -> Result<(), ApplyError> {
    let Content::File { .. } = write.expects else { return Ok(()) };
    let Some(file) = write.place.path.file_name() else { return Ok(()) };
    let path = write.place.root.join(&write.place.path);
    let folder = super::parent_of(&write.place).map_err(failed("open the folder of", &path))?;
    let stat = rustix::fs::statat(folder.fd(), file, AtFlags::SYMLINK_NOFOLLOW);
    match stat {
        Ok(stat) if stat.st_nlink > 1 => Err(ApplyError::HardLinked { place: write.place.clone() }),
        _ => Ok(()),
    }
}

fn stage(
    vault: &Vault,
    number: u64,
    at: usize,
    write: &Write,
    folders: &mut Folders,
) -> Result<Option<Staged>, ApplyError> {
    if !matches!(write.becomes, Content::File { .. } | Content::Link { .. }) {
        return Ok(None);
    }
    let path = write.place.root.join(&write.place.path);
    let around = path.parent().unwrap_or(&path).to_owned();
    let folder = match folders.entry(around) {
        Entry::Occupied(known) => Arc::clone(known.get()),
        Entry::Vacant(new) => {
            let opened = nearest(&write.place).map_err(failed("open the folder of", &path))?;
            Arc::clone(new.insert(Arc::new(opened)))
        }
    };
    let (part, new) = (name(number, at, Kind::Part), name(number, at, Kind::New));
    let disk = vault.disk();
    let made = fill(vault, &folder, &part, write.becomes, &path);
    let made =
        made.and_then(|()| disk.rename((&folder, &part), (&folder, &new), Rename::New).map_err(failed("stage", &path)));
    if let Err(e) = made {
        let _ = disk.remove(&folder, &part);
        let _ = disk.remove(&folder, &new);
        return Err(e);
    }
    Ok(Some(Staged { at, folder, name: new }))
}

fn fill(vault: &Vault, folder: &Folder, part: &OsStr, becomes: Content, path: &Path) -> Result<(), ApplyError> {
    let disk = vault.disk();
    match becomes {
        Content::File { blob, mode } => {
            let file = disk.create(folder, part).map_err(failed("stage", path))?;
            vault.copy(blob, &mut |piece| disk.write(&file, piece))?;
            disk.set_mode(&file, mode).map_err(failed("stage", path))?;
            disk.sync(&file).map_err(failed("sync", path))
        }
        Content::Link { blob } => {
            let target = OsString::from_vec(vault.bytes(blob)?);
            disk.link(folder, part, &target).map_err(failed("stage", path))
        }
        Content::Absent | Content::Folder | Content::Unkept => Ok(()),
    }
}

/// The folder of a path, or the nearest one above that is there: the file is moved down once the folder is.
fn nearest(place: &Place) -> std::io::Result<Folder> {
    let root = Folder::open(&place.root)?;
    for folder in place.path.ancestors().skip(1) {
        match root.below(folder) {
            Err(e) if is_no_folder(&e) => {}
            opened => return opened,
        }
    }
    Ok(root)
}
