//! Writes a plan down: all of it or nothing. Everything new is put beside its place and synced, what stands is compared once more,
//! then names are exchanged, and what comes out is compared again before it goes: an edit that slipped in between is put back.
//! No link is followed (H23). The caller journals the plan before and the result after; a run that was cut off is repeated with
//! the same number and the same writes ([`apply`]). What to write is `rr_core::rollback`'s.

mod leftover;
mod stage;
mod swap;

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use rr_core::content::Content;
use rr_core::rollback::{Place, Write};

use crate::disk::Folder;
use crate::ground::look_at;
use crate::vault::{Vault, VaultError};

/// One path that now is as the plan has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub place: Place,
    pub before: Content,
    /// Also what it was to become, except for a folder that is still there because somebody has files in it.
    pub after: Content,
    pub undoes: Vec<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// Nothing was written. A new plan is needed.
    #[error("{} is not what it was when the rollback was planned", shown(.place))]
    Changed { place: Place, is: Content },
    #[error("{} has other files in it, and a file has to be put in its place", shown(.place))]
    FolderInUse { place: Place },
    #[error("{} has another name (a hard link), which would keep what is taken out here", shown(.place))]
    HardLinked { place: Place },
    #[error("{doing} {}", .path.display())]
    Disk {
        doing: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("a snapshot")]
    Vault(#[from] VaultError),
    /// It could not be taken back, or not be ended: to be repeated once the cause is gone.
    #[error("stopped half way at {}: {why}; what stood there is in {}", shown(.place), .beside.display())]
    HalfWay { place: Place, beside: PathBuf, why: String },
    #[error("{} is left over from a rollback that was cut off, and is neither its old nor its new content", .path.display())]
    LeftOver { path: PathBuf },
}

fn shown(place: &Place) -> String {
    place.root.join(&place.path).display().to_string()
}

fn failed<'a>(doing: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> ApplyError + 'a {
    move |source| ApplyError::Disk { doing, path: path.to_owned(), source }
}

/// Writes all of `writes`, or nothing. `number` tells this rollback from others: its place in the journal. A path that already is
/// as it is to become is fine, so a run that was cut off by the end of the machine is repeated by the same call; one that
/// has become something else since is [`ApplyError::Changed`], and then everything is as it was before.
///
/// # Errors
/// See [`ApplyError`].
pub fn apply(vault: &Vault, number: u64, writes: &[Write]) -> Result<Vec<Applied>, ApplyError> {
    leftover::clear(vault, number, writes)?;
    let mut open: Vec<(usize, &Write)> = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        match look_at(vault, &write.place, false)? {
            is if is == write.becomes => {}
            is if is == write.expects => open.push((at, write)),
            is => return Err(ApplyError::Changed { place: write.place.clone(), is }),
        }
    }
    check_folders(&open)?;
    let staged = stage::all(vault, number, &open)?;
    let done = swap::all(vault, number, &open, &staged);
    // Half way, what lies beside a path is what stood there.
    if done.as_ref().is_err_and(|error| !matches!(error, ApplyError::HalfWay { .. })) {
        stage::drop_all(vault, &staged);
    }
    done?;
    writes.iter().map(|write| applied(vault, write)).collect()
}

fn applied(vault: &Vault, write: &Write) -> Result<Applied, ApplyError> {
    let left = write.expects == Content::Folder && write.becomes == Content::Absent;
    let after = if left { look_at(vault, &write.place, false)? } else { write.becomes };
    Ok(Applied { place: write.place.clone(), before: write.expects, after, undoes: write.undoes.clone() })
}

/// A folder that a file has to take the place of must have nothing in it but what goes as well.
fn check_folders(open: &[(usize, &Write)]) -> Result<(), ApplyError> {
    let gone = open.iter().filter(|(_, write)| write.becomes == Content::Absent);
    let gone: HashSet<&Place> = gone.map(|(_, write)| &write.place).collect();
    for (_, write) in open {
        if write.expects != Content::Folder || matches!(write.becomes, Content::Absent | Content::Folder) {
            continue;
        }
        let path = write.place.root.join(&write.place.path);
        for entry in path.read_dir().map_err(failed("read", &path))? {
            let name = entry.map_err(failed("read", &path))?.file_name();
            let inside = Place { root: write.place.root.clone(), path: write.place.path.join(name) };
            if !gone.contains(&inside) {
                return Err(ApplyError::FolderInUse { place: write.place.clone() });
            }
        }
    }
    Ok(())
}

/// What a rollback calls the files that it has in hand.
#[derive(Clone, Copy)]
enum Kind {
    /// Not written to the end.
    Part,
    /// Whole; after an exchange it holds what stood before.
    New,
    /// What stood before.
    Old,
}

fn name(number: u64, at: usize, kind: Kind) -> std::ffi::OsString {
    let end = match kind {
        Kind::Part => "part",
        Kind::New => "new",
        Kind::Old => "old",
    };
    format!(".railroad-{number}-{at}.{end}").into()
}

/// The folder of a path, no link on the way.
fn parent_of(place: &Place) -> io::Result<Folder> {
    Folder::open(&place.root)?.below(place.path.parent().unwrap_or("".as_ref()))
}
