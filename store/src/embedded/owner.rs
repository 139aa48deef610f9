//! One process owns a store's folder at a time: a lock file, held by the kernel until the process is gone, with the
//! owner's name inside for people. It knows nothing of what it protects.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::OpenError;

pub(super) const LOCK_FILE: &str = "store.lock";
/// Far above any owner line; a longer file is not ours to read whole.
const OWNER_BYTES_MAX: u64 = 256;

/// The right to the folder, given back on drop.
#[derive(Debug)]
pub(super) struct Owner {
    // Held for its lock alone.
    _file: File,
}

impl Owner {
    pub(super) fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let failed = |source| OpenError::Io { what: "lock", path: path.clone(), source };
        // The file is never removed: whoever opened it just before would hold a lock that nobody sees.
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&mut file)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        write_owner(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

fn write_owner(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    let (pid, start) = (std::process::id(), start_identity());
    match writeln!(file, "pid {pid} {start}") {
        // The lock is what counts; on a full disk the line is missing and pausing must still work.
        Err(error) if super::disk::is_full(&error) => Ok(()),
        other => other,
    }
}

fn in_use(file: &mut File) -> OpenError {
    let mut owner = String::new();
    // What cannot be read is not named; the refusal stands.
    let _ = file.take(OWNER_BYTES_MAX).read_to_string(&mut owner);
    let pid = owner.split_whitespace().nth(1).and_then(|pid| pid.parse().ok());
    OpenError::InUse { pid, owner: owner.trim().to_owned() }
}

/// What tells this process from another that gets the same pid later: when it started, in which boot.
fn start_identity() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name may hold spaces and brackets; the fields are counted from behind it. The start is the 22nd.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let start = fields.split_whitespace().nth(19).unwrap_or("unknown");
    let boot = Some(boot.trim()).filter(|boot| !boot.is_empty()).unwrap_or("unknown");
    format!("start {start} boot {boot}")
}
