//! Where the sidecar listens and whether that place can be trusted. Owns the socket's path and the mark of a stalled
//! sidecar; refuses to know the conversation. Next: `courier.rs` connects to the path found here.
//!
//! The first that applies: `--socket`; `$RAILROAD_RUNTIME_DIR/hook.sock`; `$XDG_RUNTIME_DIR/railroad/hook.sock`;
//! `/run/user/<uid>/railroad/hook.sock` if `/run/user/<uid>` exists; `/tmp/railroad-<uid>/hook.sock`. A variable that
//! is empty or not absolute counts as not set.

use std::env;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use crate::trouble::Trouble;

/// Left beside the socket by a hook that waited in vain. `connect` has no timeout in std and blocks only when the
/// listener's queue (1,024 or more) is full of unanswered calls; the first of them left this mark two seconds in. So
/// only a hook that sees it needs a watchdog around `connect`, and all others save the thread.
const STALL_MARK: &str = "hook.stalled";

const SOCKET_NAME: &str = "hook.sock";

/// Mode bits that let somebody else put a socket of his own in the folder.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// A socket path in a folder that only this user can change.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) socket: PathBuf,
    stall_mark: PathBuf,
}

impl Place {
    pub(crate) fn find(given: Option<PathBuf>) -> Result<Place, Trouble> {
        let uid = own_uid()?;
        let socket = given.unwrap_or_else(|| default_path(uid, |name| env::var_os(name).map(PathBuf::from)));
        let folder = match socket.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        trust(folder, uid, &socket)?;
        let stall_mark = folder.join(STALL_MARK);
        Ok(Place { socket, stall_mark })
    }

    pub(crate) fn is_stalled(&self) -> bool {
        fs::symlink_metadata(&self.stall_mark).is_ok()
    }

    /// Failing to write or remove the mark costs time in a later call, never safety of this one.
    pub(crate) fn mark_stalled(&self, stalled: bool) {
        drop(if stalled { fs::write(&self.stall_mark, b"") } else { fs::remove_file(&self.stall_mark) });
    }
}

fn default_path(uid: u32, env: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name: &str| env(name).filter(|path| path.is_absolute());
    if let Some(folder) = absolute("RAILROAD_RUNTIME_DIR") {
        return folder.join(SOCKET_NAME);
    }
    let run = PathBuf::from(format!("/run/user/{uid}"));
    let folder = match absolute("XDG_RUNTIME_DIR") {
        Some(runtime) => runtime.join("railroad"),
        None if run.is_dir() => run.join("railroad"),
        None => PathBuf::from(format!("/tmp/railroad-{uid}")),
    };
    folder.join(SOCKET_NAME)
}

/// A link is refused too: its owner could turn it elsewhere between this look and the connection.
fn trust(folder: &Path, uid: u32, socket: &Path) -> Result<(), Trouble> {
    let untrusted = |why| Err(Trouble::Untrusted { folder: folder.to_owned(), why });
    let found = match fs::symlink_metadata(folder) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Trouble::Absent(socket.to_owned()));
        }
        Err(error) => {
            return Err(Trouble::Io { step: "look at the socket folder", error });
        }
    };
    match () {
        () if !found.is_dir() => untrusted("is not a folder"),
        () if found.uid() != uid => untrusted("belongs to another user"),
        () if found.mode() & WRITABLE_BY_OTHERS != 0 => untrusted("can be written by other users"),
        () => Ok(()),
    }
}

/// The owner of a socket made just now: the user id without a system call that std lacks. `/proc/self` would tell it
/// too, at twenty times the price in a new process.
fn own_uid() -> Result<u32, Trouble> {
    let own = UnixDatagram::unbound().and_then(|socket| File::from(OwnedFd::from(socket)).metadata());
    own.map(|own| own.uid()).map_err(|error| Trouble::Io { step: "find the own user id", error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn path(pairs: &[(&str, &str)]) -> PathBuf {
        // A uid without a folder under /run/user on any machine.
        default_path(4_000_000_001, |name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1.into()))
    }

    #[test]
    fn the_own_user_id_is_the_one_proc_shows() {
        assert_eq!(own_uid().unwrap(), fs::metadata("/proc/self").unwrap().uid());
    }

    #[test]
    fn the_socket_path_follows_the_order() {
        let both = [("RAILROAD_RUNTIME_DIR", "/r"), ("XDG_RUNTIME_DIR", "/x")];
        assert_eq!(path(&both), Path::new("/r/hook.sock"));
        assert_eq!(path(&both[1..]), Path::new("/x/railroad/hook.sock"));
        assert_eq!(path(&[]), Path::new("/tmp/railroad-4000000001/hook.sock"));
    }

    #[test]
    fn relative_and_empty_variables_count_as_not_set() {
        let odd = [("RAILROAD_RUNTIME_DIR", "here"), ("XDG_RUNTIME_DIR", "")];
        assert_eq!(path(&odd), Path::new("/tmp/railroad-4000000001/hook.sock"));
    }

    #[test]
    fn only_an_own_real_folder_that_others_cannot_write_is_trusted() {
        let base = env::temp_dir().join(format!("rr-hook-trust-{}", std::process::id()));
        let folder = base.join("run");
        fs::create_dir_all(&folder).unwrap();
        let set = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let uid = own_uid().unwrap();
        let socket = folder.join(SOCKET_NAME);
        set(0o700);
        assert!(trust(&folder, uid, &socket).is_ok());
        assert!(matches!(trust(&folder, uid + 1, &socket), Err(Trouble::Untrusted { .. })));
        for mode in [0o770, 0o707, 0o1777] {
            set(mode);
            assert!(matches!(trust(&folder, uid, &socket), Err(Trouble::Untrusted { .. })), "{mode:o}");
        }
        set(0o700);
        symlink(&folder, base.join("link")).unwrap();
        assert!(matches!(trust(&base.join("link"), uid, &socket), Err(Trouble::Untrusted { .. })));
        assert!(matches!(trust(&base.join("none"), uid, &socket), Err(Trouble::Absent(_))));
        fs::remove_dir_all(&base).unwrap();
    }
}
