//! The `rr-hook` program that is carried inside `rrctl`. Owns its bytes and how they are put on disk whole or not at all;
//! refuses to know who calls it. Next: `install.rs` names the placed file in the agents' settings.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The program as `build.rs` compiled it.
pub(crate) const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rr-hook"));

const NAME: &str = "rr-hook";

/// Everybody may run it, only the owner replace it.
const MODE: u32 = 0o755;

/// Puts the program at `<dir>/rr-hook` unless it stands there already. Hooks may start it at any moment of this: they
/// find the old file or the new one, never a part.
pub(crate) fn place(dir: &Path) -> io::Result<PathBuf> {
    let path = dir.join(NAME);
    if !is_current(&path) {
        fs::create_dir_all(dir)?;
        replace(dir, &path)?;
    }
    Ok(path)
}

/// Whether `path` is this program, as a plain file that can be run.
pub(crate) fn is_current(path: &Path) -> bool {
    let runnable = fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    runnable && fs::read(path).is_ok_and(|found| found == BYTES)
}

fn replace(dir: &Path, path: &Path) -> io::Result<()> {
    let draft = dir.join(format!(".{NAME}.{}", std::process::id()));
    let written = write_draft(&draft).and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        // Best effort: the error that is returned says more than one about the draft.
        drop(fs::remove_file(&draft));
    }
    written?;
    File::open(dir)?.sync_all()
}

fn write_draft(draft: &Path) -> io::Result<()> {
    // A draft left by a crashed process of the same number would keep its mode.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(draft)?;
    file.write_all(BYTES)?;
    // The umask may have taken bits away.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_program_is_placed_once_and_repaired_when_it_differs() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let path = place(&bin).unwrap();
        assert_eq!(fs::read(&path).unwrap(), BYTES);
        let first = fs::metadata(&path).unwrap();
        assert_eq!(first.permissions().mode() & 0o7777, MODE);
        place(&bin).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), first.modified().unwrap());
        fs::write(&path, &BYTES[..100]).unwrap();
        assert!(!is_current(&path));
        place(&bin).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(!is_current(&path));
        place(&bin).unwrap();
        assert!(is_current(&path));
        assert_eq!(fs::read_dir(&bin).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn the_embedded_program_runs_and_denies_without_a_sidecar() {
        let dir = tempfile::tempdir().unwrap();
        let path = place(dir.path()).unwrap();
        let out = std::process::Command::new(path)
            .args(["--agent", "claude", "--socket"])
            .arg(dir.path().join("none/hook.sock"))
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        assert!(String::from_utf8(out.stdout).unwrap().contains(r#""permissionDecision":"deny""#));
        assert!(BYTES.len() < 3 * 1024 * 1024);
    }
}
