//! The moment of a rollback: files go, folders go, folders come, files come. Each step can be taken back, and is if a later one
//! fails. What an exchange brought out is compared with what was expected before it goes.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::content::Content;
use rr_core::rollback::{Place, Write};
use rustix::io::Errno;

use super::stage::Staged;
use super::{ApplyError, Kind, failed, name, parent_of};
use crate::disk::{Disk, Folder, Rename};
use crate::ground::is_no_folder;
use crate::vault::Vault;

/// One step that was done, and how it is taken back.
enum Done {
    /// From `name` to `beside`, in a folder that stays.
    TakenAway {
        name: OsString,
        aside: Arc<Folder>,
        beside: OsString,
    },
    /// `name` with a staged file.
    Exchanged {
        name: OsString,
        staged: usize,
    },
    /// A staged file to `name`.
    Put {
        name: OsString,
        staged: usize,
    },
    FolderMade {
        name: OsString,
    },
}

struct Swap<'a> {
    vault: &'a Vault,
    number: u64,
    staged: &'a [Staged],
    open: &'a [(usize, &'a Write)],
    /// Folders that go.
    going: HashSet<&'a Place>,
    /// Where something was put aside, by their paths: of many files in one folder that is opened once.
    asides: HashMap<PathBuf, Arc<Folder>>,
    done: Vec<(Place, Done)>,
}

pub(super) fn all(vault: &Vault, number: u64, open: &[(usize, &Write)], staged: &[Staged]) -> Result<(), ApplyError> {
    let going = open.iter().filter(|(_, write)| write.expects == Content::Folder && write.becomes != Content::Folder);
    let going = going.map(|(_, write)| &write.place).collect();
    let mut swap = Swap { vault, number, staged, open, going, asides: HashMap::new(), done: Vec::new() };
    match swap.run() {
        Ok(()) => swap.finish(),
        Err(e) => {
            swap.take_back(&e.to_string())?;
            Err(e)
        }
    }
}

fn depth(write: &Write) -> usize {
    write.place.path.components().count()
}

fn is_leaf(content: Content) -> bool {
    matches!(content, Content::File { .. } | Content::Link { .. })
}

impl Swap<'_> {
    fn run(&mut self) -> Result<(), ApplyError> {
        let mut down: Vec<(usize, &Write)> = self.open.to_vec();
        down.sort_by_key(|(_, write)| depth(write));
        let up: Vec<(usize, &Write)> = down.iter().rev().copied().collect();
        for (at, write) in &up {
            if is_leaf(write.expects) && !is_leaf(write.becomes) {
                self.take_away(*at, write)?;
            }
        }
        for (at, write) in up.iter().filter(|(_, w)| w.expects == Content::Folder && w.becomes != Content::Folder) {
            self.remove_folder(*at, write)?;
        }
        for (at, write) in &down {
            match write.becomes {
                Content::Folder => self.make_folder(&write.place)?,
                becomes if is_leaf(becomes) => self.put(*at, write)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn disk(&self) -> &dyn Disk {
        self.vault.disk()
    }

    fn parts(place: &Place) -> Result<(Folder, OsString), ApplyError> {
        let path = place.root.join(&place.path);
        let folder = parent_of(place).map_err(failed("open the folder of", &path))?;
        let name = place.path.file_name().unwrap_or_default().to_owned();
        Ok((folder, name))
    }

    fn take_away(&mut self, at: usize, write: &Write) -> Result<(), ApplyError> {
        let (folder, file) = Self::parts(&write.place)?;
        let path = folder.path().join(&file);
        let aside = self.aside(&write.place).map_err(failed("open the folder of", &path))?;
        let beside = name(self.number, at, Kind::Old);
        rename(self.disk(), (&folder, &file), (&aside, &beside), Rename::New).map_err(failed("take away", &path))?;
        let is = self.vault.look_in(&aside, &beside);
        self.done.push((write.place.clone(), Done::TakenAway { name: file, aside, beside }));
        self.expected(write, is?)
    }

    /// The nearest folder above that does not go itself.
    fn aside(&mut self, place: &Place) -> io::Result<Arc<Folder>> {
        let stays =
            |folder: &&Path| !self.going.contains(&Place { root: place.root.clone(), path: folder.to_path_buf() });
        let above = place.path.ancestors().skip(1).find(stays);
        let above = above.unwrap_or("".as_ref());
        match self.asides.entry(place.root.join(above)) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(new) => Ok(Arc::clone(new.insert(Arc::new(Folder::open(&place.root)?.below(above)?)))),
        }
    }

    fn expected(&self, write: &Write, is: Content) -> Result<(), ApplyError> {
        if is == write.expects { Ok(()) } else { Err(ApplyError::Changed { place: write.place.clone(), is }) }
    }

    /// An empty folder is put aside, not removed: to put it back needs no space.
    fn remove_folder(&mut self, at: usize, write: &Write) -> Result<(), ApplyError> {
        let (folder, file) = Self::parts(&write.place)?;
        let path = folder.path().join(&file);
        let aside = self.aside(&write.place).map_err(failed("open the folder of", &path))?;
        let beside = name(self.number, at, Kind::Old);
        if is_empty(&path).map_err(failed("read", &path))? {
            rename(self.disk(), (&folder, &file), (&aside, &beside), Rename::New)
                .map_err(failed("take away", &path))?;
            let taken = aside.path().join(&beside);
            let is_empty = is_empty(&taken).map_err(failed("read", &taken))?;
            self.done.push((write.place.clone(), Done::TakenAway { name: file, aside, beside }));
            if is_empty {
                return Ok(());
            }
            // Somebody put something in it in between.
            if let Some((place, done)) = self.done.pop() {
                self.undo(&place, &done).map_err(failed("put back", &path))?;
            }
        }
        match write.becomes {
            Content::Absent => Ok(()),
            _ => Err(ApplyError::FolderInUse { place: write.place.clone() }),
        }
    }

    fn make_folder(&mut self, place: &Place) -> Result<(), ApplyError> {
        self.make_parents(place)?;
        let (folder, name) = Self::parts(place)?;
        match self.disk().make_folder(&folder, &name) {
            Ok(()) => {
                self.done.push((place.clone(), Done::FolderMade { name }));
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && folder.sub(&name).is_ok() => Ok(()),
            Err(e) => Err(failed("make", &folder.path().join(&name))(e)),
        }
    }

    fn make_parents(&mut self, place: &Place) -> Result<(), ApplyError> {
        let Some(parent) = place.path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
        if parent_of(place).is_ok() {
            return Ok(());
        }
        self.make_folder(&Place { root: place.root.clone(), path: parent.to_owned() })
    }

    fn put(&mut self, at: usize, write: &Write) -> Result<(), ApplyError> {
        self.make_parents(&write.place)?;
        let (folder, file) = Self::parts(&write.place)?;
        let Some(n) = self.staged.iter().position(|s| s.at == at) else {
            return Err(ApplyError::Changed { place: write.place.clone(), is: Content::Absent });
        };
        let staged = &self.staged[n];
        let path = folder.path().join(&file);
        if is_leaf(write.expects) {
            match self.disk().rename((&staged.folder, &staged.name), (&folder, &file), Rename::Exchange) {
                Ok(()) => {
                    let is = self.vault.look_in(&staged.folder, &staged.name);
                    self.done.push((write.place.clone(), Done::Exchanged { name: file, staged: n }));
                    return self.expected(write, is?);
                }
                // Not on this file system: there is nothing at the path for a moment.
                Err(e) if is_unsupported(&e) => self.take_away(at, write)?,
                Err(e) => return Err(failed("write", &path)(e)),
            }
        }
        match rename(self.disk(), (&staged.folder, &staged.name), (&folder, &file), Rename::New) {
            Ok(()) => {
                self.done.push((write.place.clone(), Done::Put { name: file, staged: n }));
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let is = self.vault.look_in(&folder, &file)?;
                Err(ApplyError::Changed { place: write.place.clone(), is })
            }
            Err(e) => Err(failed("write", &path)(e)),
        }
    }

    /// All is in its place: once that would survive, what stood before goes. Whatever fails now, the same call ends it later.
    fn finish(self) -> Result<(), ApplyError> {
        let mut synced = HashSet::new();
        for (place, done) in &self.done {
            let around =
                Place { root: place.root.clone(), path: place.path.parent().unwrap_or("".as_ref()).to_owned() };
            let sync = || match parent_of(place) {
                Ok(folder) => self.disk().sync_folder(&folder),
                // It has gone itself, and the one that it was in is synced.
                Err(error) if is_no_folder(&error) => Ok(()),
                Err(error) => Err(error),
            };
            if synced.insert(around) {
                sync().map_err(|error| self.half_way(place, done, &format!("sync its folder: {error}")))?;
            }
        }
        for (place, done) in &self.done {
            let (folder, name) = match done {
                Done::TakenAway { aside, beside, .. } => (aside, beside),
                Done::Exchanged { staged, .. } => (&self.staged[*staged].folder, &self.staged[*staged].name),
                Done::Put { .. } | Done::FolderMade { .. } => continue,
            };
            let path = folder.path().join(name);
            let removed = match path.is_dir() && !path.is_symlink() {
                true => self.disk().remove_folder(folder, name),
                false => self.disk().remove(folder, name),
            };
            removed.map_err(|error| self.half_way(place, done, &format!("remove that: {error}")))?;
        }
        Ok(())
    }

    fn half_way(&self, place: &Place, done: &Done, why: &str) -> ApplyError {
        let beside = match done {
            Done::TakenAway { aside, beside, .. } => aside.path().join(beside),
            Done::Exchanged { staged, .. } | Done::Put { staged, .. } => {
                self.staged[*staged].folder.path().join(&self.staged[*staged].name)
            }
            Done::FolderMade { .. } => place.root.join(&place.path),
        };
        ApplyError::HalfWay { place: place.clone(), beside, why: why.to_owned() }
    }

    fn take_back(&mut self, why: &str) -> Result<(), ApplyError> {
        while let Some((place, done)) = self.done.pop() {
            if let Err(e) = self.undo(&place, &done) {
                return Err(self.half_way(&place, &done, &format!("{why}; then {e}")));
            }
        }
        Ok(())
    }

    /// Folders are opened anew: one that was removed and made again is another one.
    fn undo(&self, place: &Place, done: &Done) -> io::Result<()> {
        let disk = self.disk();
        let folder = &parent_of(place)?;
        match done {
            Done::TakenAway { name, aside, beside, .. } => rename(disk, (aside, beside), (folder, name), Rename::New),
            Done::Exchanged { name, staged } => {
                let staged = &self.staged[*staged];
                disk.rename((&staged.folder, &staged.name), (folder, name), Rename::Exchange)
            }
            Done::Put { name, staged } => {
                let staged = &self.staged[*staged];
                rename(disk, (folder, name), (&staged.folder, &staged.name), Rename::New)
            }
            // Somebody may have put something in it.
            Done::FolderMade { name } => match disk.remove_folder(folder, name) {
                Err(e) if !is_not_empty(&e) => Err(e),
                _ => Ok(()),
            },
        }
    }
}

fn is_empty(folder: &Path) -> io::Result<bool> {
    Ok(folder.read_dir()?.next().is_none())
}

fn is_not_empty(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::DirectoryNotEmpty || error.raw_os_error() == Some(Errno::EXIST.raw_os_error())
}

fn is_unsupported(error: &io::Error) -> bool {
    [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP].iter().any(|e| error.raw_os_error() == Some(e.raw_os_error()))
}

/// Where a file system cannot be told to replace nothing, it is looked at first.
fn rename(disk: &dyn Disk, from: (&Folder, &OsString), to: (&Folder, &OsString), how: Rename) -> io::Result<()> {
    match disk.rename((from.0, from.1.as_os_str()), (to.0, to.1.as_os_str()), how) {
        Err(e) if how == Rename::New && is_unsupported(&e) => {
            if to.0.has(to.1) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            disk.rename((from.0, from.1.as_os_str()), (to.0, to.1.as_os_str()), Rename::Over)
        }
        done => done,
    }
}
