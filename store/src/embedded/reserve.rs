//! Space set aside for the day the disk is full: pausing is a delete, a delete is a record, and a record needs room.
//! It knows one file of zeros. `log` gives it up for writes that only free, and asks for it back before any other.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::time::{BootTime, Span};

use super::disk::{Disk, is_full};

const RESERVE_FILE: &str = "store.reserve";
/// Room for hundreds of deletes: pause, and the ends of many sessions.
const RESERVE_BYTES: usize = 64 << 10;
/// A full disk is asked again at most this often.
const RETRY_AFTER: Span = Span::from_secs(1);

pub(super) struct Reserve {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    held: bool,
    tried_at: Option<BootTime>,
}

impl Reserve {
    pub(super) fn open(dir: &Path, disk: Arc<dyn Disk>, now: BootTime) -> io::Result<Self> {
        let path = dir.join(RESERVE_FILE);
        let whole = std::fs::metadata(&path).is_ok_and(|file| file.len() == RESERVE_BYTES as u64);
        let mut reserve = Self { path, disk, held: whole, tried_at: None };
        reserve.restore(now)?;
        Ok(reserve)
    }

    /// Makes sure of the reserve; `false` while there is no room for it.
    pub(super) fn restore(&mut self, now: BootTime) -> io::Result<bool> {
        let soon = self.tried_at.is_some_and(|tried| now.since(tried) < RETRY_AFTER);
        if self.held || soon {
            return Ok(self.held);
        }
        self.tried_at = Some(now);
        match self.write() {
            Ok(()) => self.held = true,
            Err(error) if is_full(&error) => self.remove()?,
            Err(error) => return Err(error),
        }
        Ok(self.held)
    }

    /// Gives the space up. `false` if that was done before.
    pub(super) fn give_up(&mut self, now: BootTime) -> io::Result<bool> {
        let held = std::mem::replace(&mut self.held, false);
        if held {
            self.tried_at = Some(now);
            self.remove()?;
        }
        Ok(held)
    }

    fn write(&self) -> io::Result<()> {
        let file = create(&self.path)?;
        self.disk.extend(&file, &[0; RESERVE_BYTES], 0)?;
        self.disk.sync(&file)
    }

    fn remove(&self) -> io::Result<()> {
        match self.disk.remove(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// An empty file for this user alone.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}
