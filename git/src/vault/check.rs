//! Finds what is damaged in the store, for `rrctl doctor`. Reads every object and compares it with its name. It changes nothing:
//! what is whole stays usable beside what is not.

use std::path::{Path, PathBuf};

use rr_core::content::BlobId;

use super::{Vault, VaultError};
use crate::command::git;

/// Something of the store that cannot be used any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The object; none where a whole file of the store is meant.
    pub object: Option<BlobId>,
    pub file: PathBuf,
    pub why: String,
}

impl Vault {
    /// Reads everything.
    #[must_use]
    pub fn check(&self) -> Vec<Damage> {
        let mut found = Vec::new();
        for (object, file) in self.loose_objects() {
            if let Some(Err(VaultError::Damaged { why, .. })) = self.read_loose(object, &mut |_| Ok(())) {
                found.push(Damage { object: Some(object), file, why });
            }
        }
        for index in self.pack_files("idx") {
            if let Err(e) = git(&self.0.dir, ["--git-dir=.".as_ref(), "verify-pack".as_ref(), index.as_os_str()]) {
                found.extend(self.damaged_in(&index, &e.to_string()));
            }
        }
        found
    }

    /// The objects of a pack that cannot be read; the pack itself where that cannot be said.
    fn damaged_in(&self, index: &Path, why: &str) -> Vec<Damage> {
        let whole = Damage { object: None, file: index.to_owned(), why: why.to_owned() };
        let Ok(odb) = super::borrow::odb_of(&self.0.objects) else { return vec![whole] };
        let Ok(bytes) = std::fs::read(index) else { return vec![whole] };
        let input = crate::command::Input { stdin: Some(&bytes), ..Default::default() };
        let Ok(listed) = crate::command::git_with(&self.0.dir, ["--git-dir=.", "show-index"], &input) else {
            return vec![whole];
        };
        let names = String::from_utf8_lossy(&listed).into_owned();
        let objects = names.lines().filter_map(|line| line.split(' ').nth(1)?.parse::<BlobId>().ok());
        let damaged = objects.filter_map(|object| {
            let oid = git2::Oid::from_bytes(&object.0).ok()?;
            let why = odb.read(oid).err()?.message().to_owned();
            Some(Damage { object: Some(object), file: index.to_owned(), why })
        });
        let damaged: Vec<Damage> = damaged.collect();
        if damaged.is_empty() { vec![whole] } else { damaged }
    }

    /// Every object that lies in a file of its own.
    pub(super) fn loose_objects(&self) -> impl Iterator<Item = (BlobId, PathBuf)> + use<> {
        let objects = self.0.objects.clone();
        (0..=255u8).flat_map(move |first| {
            let first = format!("{first:02x}");
            let entries = std::fs::read_dir(objects.join(&first)).into_iter().flatten().flatten();
            entries.filter_map(move |entry| {
                let name = format!("{first}{}", entry.file_name().to_str()?);
                Some((name.parse().ok()?, entry.path()))
            })
        })
    }

    pub(super) fn pack_files(&self, kind: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.0.objects.join("pack")).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|end| end == kind)).collect()
    }
}
