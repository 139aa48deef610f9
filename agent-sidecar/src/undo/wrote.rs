//! The files that rollbacks have written, for as long as a call is under way that began before: what such a call finds changed there
//! at its end is none of its work. It knows neither calls nor contents.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rr_core::time::BootTime;

#[derive(Default)]
pub(crate) struct Wrote(Mutex<HashMap<PathBuf, BootTime>>);

impl Wrote {
    /// `oldest`: when the oldest call began that is still under way. What was written before that, nobody asks about any more.
    pub(super) fn note(&self, files: impl Iterator<Item = PathBuf>, at: BootTime, oldest: Option<BootTime>) {
        let mut wrote = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wrote.retain(|_, then| oldest.is_some_and(|oldest| *then >= oldest));
        if oldest.is_some() {
            wrote.extend(files.map(|file| (file, at)));
        }
    }

    pub(crate) fn since(&self, file: &Path, since: BootTime) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).is_some_and(|at| *at >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_known_until_no_call_from_before_is_under_way() {
        let (wrote, at) = (Wrote::default(), BootTime::from_millis);
        let note = |file: &str, when, oldest| wrote.note([PathBuf::from(file)].into_iter(), at(when), oldest);
        note("/a", 5, Some(at(3)));
        assert!(
            wrote.since("/a".as_ref(), at(3))
                && !wrote.since("/a".as_ref(), at(6))
                && !wrote.since("/b".as_ref(), at(3))
        );
        note("/b", 9, Some(at(7)));
        assert!(!wrote.since("/a".as_ref(), at(3)) && wrote.since("/b".as_ref(), at(7)));
        note("/c", 11, None);
        assert!(wrote.0.lock().expect("unpoisoned").is_empty());
    }
}
