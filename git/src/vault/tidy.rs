//! What nobody names any more goes, and what is left is packed, by the git program. It is told what is wanted; retention is the
//! journal's. A content that somebody was told is kept since the last tidying stays, whatever the journal says yet.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use rr_core::content::BlobId;

use super::{Vault, VaultError, disk_error, locked};
use crate::command::{GitError, Input, git_with};
use crate::disk::Folder;

/// More contents than any journal names between two tidyings. Beyond it, one removes nothing.
const TOLD_MAX: usize = 1_000_000;

/// What a tidying did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    pub kept: usize,
    pub removed: usize,
    /// Left where they are, because they are damaged or were asked for meanwhile.
    pub left: usize,
}

/// What was found to be there already, and when.
#[derive(Default)]
pub(super) struct Told {
    blobs: HashMap<BlobId, Instant>,
    too_many: bool,
}

impl Told {
    pub(super) fn remember(&mut self, blob: BlobId) {
        if self.blobs.len() < TOLD_MAX {
            self.blobs.insert(blob, Instant::now());
        } else {
            self.too_many = true;
        }
    }

    /// What was told so long ago that the journal names it, if anybody does, is forgotten.
    fn lately(&mut self, older_than: Duration) -> HashSet<BlobId> {
        self.blobs.retain(|_, at| at.elapsed() < older_than);
        self.blobs.keys().copied().collect()
    }
}

impl Vault {
    /// Removes what `keep` does not name and no checkpoint needs, of what is older than `older_than`; packs the rest.
    ///
    /// # Errors
    /// If git or the disk fails: then nothing was removed that is wanted.
    pub fn tidy(&self, keep: &dyn Fn(BlobId) -> bool, older_than: Duration) -> Result<Tidied, VaultError> {
        let told = locked(&self.0.told).lately(older_than);
        let young = self.young(older_than);
        let needed = self.needed_by_checkpoints()?;
        let wanted = |blob: &BlobId| keep(*blob) || needed.contains(blob) || told.contains(blob);
        let old = self.all_objects()?.into_iter().filter(|blob| !young.contains(blob));
        let (mut stay, dead): (Vec<BlobId>, Vec<BlobId>) = old.partition(wanted);
        let old_packs = self.pack_files("pack");
        let (new_pack, damaged) = self.pack(&mut stay)?;
        let _alone = self.0.tidying.write().unwrap_or_else(PoisonError::into_inner);
        let told = locked(&self.0.told);
        let asked_for = |blob: &BlobId| told.too_many || told.blobs.contains_key(blob);
        let (held, dead): (HashSet<BlobId>, HashSet<BlobId>) = dead.into_iter().partition(asked_for);
        let packed: HashSet<BlobId> = stay.iter().copied().filter(|_| new_pack.is_some()).collect();
        // An old pack may be the only one that has what was asked for meanwhile, or the rest of what is damaged.
        if held.is_empty() && damaged.is_empty() {
            self.remove_packs(&old_packs, new_pack.as_deref())?;
        }
        for (blob, file) in self.loose_objects() {
            if !young.contains(&blob) && (dead.contains(&blob) || packed.contains(&blob)) {
                std::fs::remove_file(&file).map_err(disk_error("remove", &file))?;
            }
        }
        drop(told);
        *self.0.packs.write().unwrap_or_else(PoisonError::into_inner) = super::borrow::odb_of(&self.0.objects)?;
        Ok(Tidied { kept: stay.len() + young.len(), removed: dead.len(), left: held.len() + damaged.len() })
    }

    pub(crate) fn own_git(
        &self,
        args: &[&str],
        stdin: Option<&[u8]>,
        env: &[(&str, &OsStr)],
    ) -> Result<Vec<u8>, GitError> {
        let args = [&["--git-dir=."], args].concat();
        git_with(&self.0.dir, args, &Input { stdin, env, ..Input::default() })
    }

    /// Objects in files of their own that were written lately, and unfinished ones removed that were not.
    fn young(&self, older_than: Duration) -> HashSet<BlobId> {
        let since = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_young = |file: &Path| file.metadata().and_then(|m| m.modified()).is_ok_and(|at| at > since);
        for first in 0..=255u8 {
            let folder = self.0.objects.join(format!("{first:02x}"));
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let unfinished = entry.file_name().to_string_lossy().starts_with("tmp_obj_");
                if unfinished && !is_young(&entry.path()) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
        self.loose_objects().filter(|(_, file)| is_young(file)).map(|(blob, _)| blob).collect()
    }

    fn needed_by_checkpoints(&self) -> Result<HashSet<BlobId>, VaultError> {
        let said = self.own_git(&["rev-list", "--objects", "--no-object-names", "--all"], None, &[])?;
        Ok(names(&said).collect())
    }

    fn all_objects(&self) -> Result<Vec<BlobId>, VaultError> {
        let args = ["cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objectname)"];
        Ok(names(&self.own_git(&args, None, &[])?).collect())
    }

    /// One pack of all of these. Those that cannot be read are left out, and named.
    fn pack(&self, stay: &mut Vec<BlobId>) -> Result<(Option<PathBuf>, HashSet<BlobId>), VaultError> {
        if stay.is_empty() {
            return Ok((None, HashSet::new()));
        }
        let mut damaged = HashSet::new();
        let said = match self.pack_these(stay) {
            Ok(said) => said,
            Err(e) => {
                damaged = self.check().into_iter().filter_map(|d| d.object).collect();
                if damaged.is_empty() {
                    return Err(e.into());
                }
                stay.retain(|blob| !damaged.contains(blob));
                self.pack_these(stay)?
            }
        };
        let folder = self.0.objects.join("pack");
        Folder::open(&folder).and_then(|f| self.0.disk.sync_folder(&f)).map_err(disk_error("sync", &folder))?;
        let name = String::from_utf8_lossy(&said).trim().to_owned();
        Ok(((!name.is_empty()).then(|| folder.join(format!("pack-{name}.pack"))), damaged))
    }

    fn pack_these(&self, blobs: &[BlobId]) -> Result<Vec<u8>, GitError> {
        let list: String = blobs.iter().map(|blob| format!("{blob}\n")).collect();
        self.own_git(&["pack-objects", "-q", "--delta-base-offset", "objects/pack/pack"], Some(list.as_bytes()), &[])
    }

    fn remove_packs(&self, old: &[PathBuf], new: Option<&Path>) -> Result<(), VaultError> {
        for pack in old.iter().filter(|pack| Some(pack.as_path()) != new) {
            // The index first: a pack without one is not seen.
            for end in ["idx", "rev", "bitmap", "pack"] {
                let file = pack.with_extension(end);
                match std::fs::remove_file(&file) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(disk_error("remove", &file)(e)),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn names(said: &[u8]) -> impl Iterator<Item = BlobId> {
    said.split(|b| *b == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
}
