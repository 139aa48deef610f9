//! Who this machine is: an id chosen at random on first start and kept, the id of this boot, and names for people. A host
//! name repeats and changes (H14), so nothing but a display ever uses it. Sessions are built from these in the sidecar.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rr_core::id::{Entropy, HostId, hex};

use crate::dirs::{Dirs, own_uid};
use crate::entropy::OsEntropy;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("{doing} {file}")]
    Io {
        doing: &'static str,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{file} holds no host id: if no daemon runs, type `rm {file}` and a new one is chosen")]
    Garbage { file: PathBuf },
}

/// This machine's id, from `host-id` in the state folder; chosen and kept on first use.
///
/// # Errors
/// If the file cannot be read or made, or holds something else.
pub fn host_id(dirs: &Dirs) -> Result<HostId, HostError> {
    let file = dirs.state.join("host-id");
    match read_id(&file)? {
        Some(id) => Ok(id),
        None => choose_id(&file),
    }
}

fn read_id(file: &Path) -> Result<Option<HostId>, HostError> {
    match fs::read_to_string(file) {
        Ok(text) => {
            let file = file.to_owned();
            let id = HostId::parse(text.trim()).map_err(|_| HostError::Garbage { file })?;
            Ok(Some(id))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error("read", file, source)),
    }
}

/// Written aside and linked into place: of several at once one wins whole, and the others take its id.
fn choose_id(file: &Path) -> Result<HostId, HostError> {
    let id = HostId::from_random(OsEntropy.bits());
    let aside = file.with_extension(hex(&OsEntropy.bits()));
    write_durably(&aside, &format!("{id}\n")).map_err(|e| io_error("write", &aside, e))?;
    let linked = fs::hard_link(&aside, file);
    let removed = fs::remove_file(&aside);
    match linked {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let file = file.to_owned();
            return read_id(&file)?.ok_or(HostError::Garbage { file });
        }
        Err(e) => return Err(io_error("make", file, e)),
    }
    removed.map_err(|e| io_error("remove", &aside, e))?;
    sync_folder(file).map_err(|e| io_error("make durable", file, e))?;
    Ok(id)
}

fn write_durably(file: &Path, text: &str) -> io::Result<()> {
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    out.write_all(text.as_bytes())?;
    out.sync_all()
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}

fn io_error(doing: &'static str, file: &Path, source: io::Error) -> HostError {
    let file = file.to_owned();
    HostError::Io { doing, file, source }
}

/// The id of this boot. Where the system tells none, one is chosen for this process's life: then nothing of an earlier
/// life is ever taken for this boot's, which costs an adoption and never gives a wrong one.
#[must_use]
pub fn boot_id() -> String {
    static CHOSEN: OnceLock<String> = OnceLock::new();
    match fs::read_to_string(BOOT_ID) {
        Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => CHOSEN.get_or_init(|| format!("process-{}", hex(&OsEntropy.bits()))).clone(),
    }
}

/// The host's name, for people only.
#[must_use]
pub fn host_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    if name.is_empty() { "unnamed host".to_owned() } else { name }
}

/// The user's name, for people only: from the system's list, not from a variable that anybody can set.
#[must_use]
pub fn user_name() -> String {
    let uid = own_uid();
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&list, uid)
        .or_else(|| std::env::var("USER").ok().filter(|name| !name.is_empty()))
        .unwrap_or_else(|| format!("uid {uid}"))
}

/// The name of a user of this machine, for people only; of one that the system's list does not have, the number.
#[must_use]
pub fn user_name_of(uid: u32) -> String {
    let list = fs::read_to_string("/etc/passwd").unwrap_or_default();
    name_in(&list, uid).unwrap_or_else(|| format!("uid {uid}"))
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    let uid = uid.to_string();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid))?;
    line.split(':').next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirs(temp: &tempfile::TempDir) -> Dirs {
        let state = temp.path().to_owned();
        let runtime = temp.path().to_owned();
        Dirs { state, runtime }
    }

    #[test]
    fn the_host_id_is_chosen_once_and_nothing_else_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let first = host_id(&dirs(&temp)).unwrap();
        assert_eq!(host_id(&dirs(&temp)).unwrap(), first);
        let names: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["host-id"]);
    }

    #[test]
    fn many_at_once_agree_on_one_host_id() {
        let temp = tempfile::tempdir().unwrap();
        let dirs = dirs(&temp);
        let ids: std::collections::BTreeSet<HostId> = std::thread::scope(|s| {
            let one = || host_id(&dirs).unwrap();
            let all: Vec<_> = (0..16).map(|_| s.spawn(one)).collect();
            all.into_iter().map(|h| h.join().unwrap()).collect()
        });
        assert_eq!(ids.len(), 1);
    }

    #[test]
    fn a_damaged_host_id_is_an_error_and_not_a_new_identity() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("host-id"), "").unwrap();
        let refused = host_id(&dirs(&temp)).unwrap_err();
        assert!(matches!(refused, HostError::Garbage { .. }), "{refused}");
    }

    #[test]
    fn the_boot_id_stays_the_same() {
        assert_eq!(boot_id(), boot_id());
        assert!(!boot_id().contains('\n'));
    }

    #[test]
    fn the_users_name_comes_from_the_systems_list() {
        let list = "root:x:0:0::/root:/bin/sh\nkim:x:1000:1000:Kim:/home/kim:/bin/sh\n";
        assert_eq!(name_in(list, 1_000).as_deref(), Some("kim"));
        assert_eq!(name_in(list, 7), None);
        assert!(!user_name().is_empty() && !host_name().is_empty());
    }
}
