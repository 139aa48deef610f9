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
    /// Until it is whole.
    part: OsString,
    /// A file that has not been yet.
    is_to_be_synced: bool,
}

/// Whether its owner may open a file of this mode again.
const fn is_readable(mode: u16) -> bool {
    mode & 0o400 != 0
}

/// By the path that it stands for: of many files in one folder that is opened, and synced, once.
type Folders = HashMap<PathBuf, Arc<Folder>>;

/// Stages what becomes a file or a link.
pub(super) fn all(vault: &Vault, number: u64, open: &[(usize, &Write)]) -> Result<Vec<Staged>, ApplyError> {
    let mut staged = Vec::new();
    let done = stage_all(vault, number, open, &mut staged);
    if done.is_err() {
        drop_all(vault, &staged);
    }
    done.map(|()| staged)
}

fn stage_all(vault: &Vault, number: u64, open: &[(usize, &Write)], staged: &mut Vec<Staged>) -> Result<(), ApplyError> {
    let (disk, mut folders) = (vault.disk(), Folders::new());
    for (at, write) in open {
        check_links(write)?;
        if !matches!(write.becomes, Content::File { .. } | Content::Link { .. }) {
            continue;
        }
        let path = write.place.root.join(&write.place.path);
        let folder = folder_of(&write.place, &path, &mut folders)?;
        let (part, name) = (name(number, *at, Kind::Part), name(number, *at, Kind::New));
        let is_to_be_synced = matches!(write.becomes, Content::File { mode, .. } if is_readable(mode));
        staged.push(Staged { at: *at, folder: Arc::clone(&folder), name, part: part.clone(), is_to_be_synced });
        fill(vault, &folder, &part, write.becomes, &path)?;
    }
    // After all are written: what the disk does for the first one serves the others too.
    for one in staged.iter().filter(|one| one.is_to_be_synced) {
        let synced = one.folder.read_file(&one.part).and_then(|file| disk.sync(&file));
        synced.map_err(failed("sync", &one.folder.path().join(&one.part)))?;
    }
    for one in staged.iter() {
        let whole = disk.rename((&one.folder, &one.part), (&one.folder, &one.name), Rename::New);
        whole.map_err(failed("stage", &one.folder.path().join(&one.name)))?;
    }
    let sync = |folder: &Arc<Folder>| disk.sync_folder(folder).map_err(failed("sync", folder.path()));
    folders.values().try_for_each(sync)
}

pub(super) fn drop_all(vault: &Vault, staged: &[Staged]) {
    for one in staged {
        for name in [&one.part, &one.name] {
            // A second run finds what is left.
            let _ = vault.disk().remove(&one.folder, name);
        }
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

fn folder_of(place: &Place, path: &Path, folders: &mut Folders) -> Result<Arc<Folder>, ApplyError> {
    match folders.entry(path.parent().unwrap_or(path).to_owned()) {
        Entry::Occupied(known) => Ok(Arc::clone(known.get())),
        Entry::Vacant(new) => {
            let opened = nearest(place).map_err(failed("open the folder of", path))?;
            Ok(Arc::clone(new.insert(Arc::new(opened))))
        }
    }
}

fn fill(vault: &Vault, folder: &Folder, part: &OsStr, becomes: Content, path: &Path) -> Result<(), ApplyError> {
    let disk = vault.disk();
    match becomes {
        Content::File { blob, mode } => {
            let file = disk.create(folder, part).map_err(failed("stage", path))?;
            vault.copy(blob, &mut |piece| disk.write(&file, piece))?;
            disk.set_mode(&file, mode).map_err(failed("stage", path))?;
            if is_readable(mode) { Ok(()) } else { disk.sync(&file).map_err(failed("sync", path)) }
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
