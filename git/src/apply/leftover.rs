//! What a rollback that was cut off left beside its paths. Contents that are the plan's own go; anything else is somebody's, and
//! is put back where it was. After it, each path is as before or as after, and nothing of that number lies about.

use std::ffi::OsStr;

use rr_core::content::Content;
use rr_core::rollback::Write;

use super::{ApplyError, Kind, failed, name};
use crate::disk::{Folder, Rename};
use crate::ground::look_at;
use crate::vault::Vault;

pub(super) fn clear(vault: &Vault, number: u64, writes: &[Write]) -> Result<(), ApplyError> {
    for (at, write) in writes.iter().enumerate() {
        let Ok(root) = Folder::open(&write.place.root) else { continue };
        for above in write.place.path.ancestors().skip(1) {
            if let Ok(folder) = root.below(above) {
                clear_in(vault, &folder, number, (at, write))?;
            }
        }
    }
    Ok(())
}

fn clear_in(vault: &Vault, folder: &Folder, number: u64, (at, write): (usize, &Write)) -> Result<(), ApplyError> {
    let part = name(number, at, Kind::Part);
    if folder.has(&part) {
        vault.disk().remove(folder, &part).map_err(failed("remove", &folder.path().join(&part)))?;
    }
    for kind in [Kind::New, Kind::Old] {
        let beside = name(number, at, kind);
        let holds = vault.look_in(folder, &beside)?;
        if holds == Content::Absent {
            continue;
        }
        let path = folder.path().join(&beside);
        let stands = look_at(vault, &write.place, false)?;
        let Some(file) = write.place.path.file_name() else { continue };
        // What stood there before is in the vault: it is no loss even where somebody has gone on with what came in its place.
        let is_done = holds == write.expects && (stands == write.becomes || stands != Content::Absent);
        if is_done || (holds == write.becomes && holds != Content::Folder) {
            drop_one(vault, folder, &beside, holds).map_err(failed("remove", &path))?;
        } else if let (Content::Absent, Ok(parent)) = (stands, super::parent_of(&write.place)) {
            // Taken away, and nothing put in its place yet.
            let back = vault.disk().rename((folder, &beside), (&parent, file), Rename::New);
            back.map_err(failed("put back", &path))?;
        } else if let (true, Ok(parent)) = (write.changes() && stands == write.becomes, super::parent_of(&write.place))
        {
            // Exchanged with an edit that nobody had planned with.
            let back = vault.disk().rename((folder, &beside), (&parent, file), Rename::Exchange);
            back.map_err(failed("put back", &path))?;
            vault.disk().remove(folder, &beside).map_err(failed("remove", &path))?;
        } else {
            return Err(ApplyError::LeftOver { path });
        }
    }
    Ok(())
}

fn drop_one(vault: &Vault, folder: &Folder, name: &OsStr, holds: Content) -> std::io::Result<()> {
    match holds {
        Content::Folder => vault.disk().remove_folder(folder, name),
        _ => vault.disk().remove(folder, name),
    }
}
