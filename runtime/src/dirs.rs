//! Where this user's state and sockets lie, and whether those folders can be trusted. It owns their names and modes; what
//! is written into them belongs to their users. The order of the runtime folder is the hook's too (`rr-hook`, file
//! `socket.rs`): change both or neither.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes of a Unix socket's path: `sun_path` has 108 on Linux, 104 on macOS, with the closing NUL.
const SOCKET_PATH_BYTES_MAX: usize = 103;
/// Whoever may write into one of these folders can put a socket or a store of his own there.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const OWN_MODE: u32 = 0o700;

#[derive(Debug, thiserror::Error)]
pub enum DirsError {
    #[error("no place for the state: set HOME, XDG_STATE_HOME or RAILROAD_STATE_DIR to an absolute path")]
    NoHome,
    #[error("create folder {folder}")]
    Create {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("look at folder {folder}")]
    Look {
        folder: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{folder} is not a folder (a link is refused too): move it away or set {variable}")]
    NotAFolder { folder: PathBuf, variable: &'static str },
    #[error("{folder} belongs to user {owner}, not to you ({uid}): set {variable} to a folder of your own")]
    OtherOwner { folder: PathBuf, owner: u32, uid: u32, variable: &'static str },
    #[error("{folder} has mode {mode:04o}, so others can write into it or you cannot: type `chmod 700 {folder}`")]
    Mode { folder: PathBuf, mode: u32 },
    #[error(
        "{socket} is too long for a socket (at most {SOCKET_PATH_BYTES_MAX} bytes): set RAILROAD_RUNTIME_DIR to a shorter folder"
    )]
    SocketPathTooLong { socket: PathBuf },
}

/// The two folders of one user on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dirs {
    /// Survives a reboot.
    pub state: PathBuf,
    /// Sockets and the pid file.
    pub runtime: PathBuf,
}

impl Dirs {
    /// The first of each that applies. State: `$RAILROAD_STATE_DIR`, `$XDG_STATE_HOME/railroad`,
    /// `$HOME/.local/state/railroad`. Runtime: `$RAILROAD_RUNTIME_DIR`, `$XDG_RUNTIME_DIR/railroad`,
    /// `/run/user/<uid>/railroad` if `/run/user/<uid>` exists, `/tmp/railroad-<uid>`. A variable that is empty or not
    /// absolute counts as not set.
    ///
    /// # Errors
    /// If nothing says where the state goes.
    pub fn from_env() -> Result<Self, DirsError> {
        Self::from(own_uid(), |name| std::env::var_os(name))
    }

    /// As [`Dirs::from_env`], of variables that somebody else looks up.
    pub(crate) fn from_variables(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, DirsError> {
        Self::from(own_uid(), env)
    }

    fn from(uid: u32, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, DirsError> {
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let state = absolute("RAILROAD_STATE_DIR")
            .or_else(|| Some(absolute("XDG_STATE_HOME")?.join("railroad")))
            .or_else(|| Some(absolute("HOME")?.join(".local/state/railroad")))
            .ok_or(DirsError::NoHome)?;
        let run = PathBuf::from(format!("/run/user/{uid}"));
        let runtime = absolute("RAILROAD_RUNTIME_DIR")
            .or_else(|| Some(absolute("XDG_RUNTIME_DIR")?.join("railroad")))
            .or_else(|| run.is_dir().then(|| run.join("railroad")))
            .unwrap_or_else(|| PathBuf::from(format!("/tmp/railroad-{uid}")));
        Ok(Self { state, runtime })
    }

    /// Makes both folders where they are missing, and refuses what somebody else could change.
    ///
    /// # Errors
    /// Names the folder and what to do about it.
    pub fn prepare(&self) -> Result<(), DirsError> {
        let socket = self.hook_socket();
        if socket.as_os_str().as_bytes().len() > SOCKET_PATH_BYTES_MAX {
            return Err(DirsError::SocketPathTooLong { socket });
        }
        let uid = own_uid();
        prepare(&self.state, uid, "RAILROAD_STATE_DIR")?;
        prepare(&self.runtime, uid, "RAILROAD_RUNTIME_DIR")
    }

    /// Where hooks knock.
    #[must_use]
    pub fn hook_socket(&self) -> PathBuf {
        self.runtime.join("hook.sock")
    }

    /// Where `rrctl` talks to the coordinator of this machine.
    #[must_use]
    pub fn api_socket(&self) -> PathBuf {
        self.runtime.join("api.sock")
    }

    #[must_use]
    pub fn pid_file(&self) -> PathBuf {
        self.runtime.join("daemon.pid")
    }

    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.state.join("store")
    }

    /// What the sidecar writes down of every call.
    #[must_use]
    pub fn journal_dir(&self) -> PathBuf {
        self.state.join("journal")
    }

    /// What files held before and after each change.
    #[must_use]
    pub fn snapshots_dir(&self) -> PathBuf {
        self.state.join("snapshots.git")
    }

    /// The plans of rollbacks under way.
    #[must_use]
    pub fn rollbacks_dir(&self) -> PathBuf {
        self.state.join("rollbacks")
    }

    /// One bare repository for each repository that agents of this machine work on.
    #[must_use]
    pub fn mirrors_dir(&self) -> PathBuf {
        self.state.join("mirrors")
    }

    /// Where checks are run.
    #[must_use]
    pub fn checks_dir(&self) -> PathBuf {
        self.state.join("checks")
    }

    #[must_use]
    pub fn log_file(&self) -> PathBuf {
        self.state.join("daemon.log")
    }

    /// Programs that agents are told to start.
    #[must_use]
    pub fn bin_dir(&self) -> PathBuf {
        self.state.join("bin")
    }
}

pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn prepare(folder: &Path, uid: u32, variable: &'static str) -> Result<(), DirsError> {
    let made = DirBuilder::new().recursive(true).mode(OWN_MODE).create(folder);
    match made {
        Ok(()) => {}
        // A file or a dangling link in its place: the look below says which.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            let folder = folder.to_owned();
            return Err(DirsError::Create { folder, source });
        }
    }
    let found = fs::symlink_metadata(folder).map_err(|source| DirsError::Look { folder: folder.to_owned(), source })?;
    trust(folder, &found, uid, variable)
}

/// A link is refused too: its owner could turn it elsewhere between this look and the use.
fn trust(folder: &Path, found: &Metadata, uid: u32, variable: &'static str) -> Result<(), DirsError> {
    let folder = folder.to_owned();
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if !found.is_dir() {
        Err(DirsError::NotAFolder { folder, variable })
    } else if owner != uid {
        Err(DirsError::OtherOwner { folder, owner, uid, variable })
    } else if mode & WRITABLE_BY_OTHERS != 0 || mode & OWN_MODE != OWN_MODE {
        Err(DirsError::Mode { folder, mode })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn dirs(pairs: &[(&str, &str)]) -> Result<Dirs, DirsError> {
        // A uid without a folder under /run/user on any machine.
        Dirs::from(4_000_000_001, |name| {
            let found = pairs.iter().find(|p| p.0 == name);
            found.map(|p| p.1.into())
        })
    }

    #[test]
    fn the_state_folder_follows_the_order() {
        let all = [("RAILROAD_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h")];
        let state = |n: usize| dirs(&all[n..]).unwrap().state;
        assert_eq!(state(0), Path::new("/s"));
        assert_eq!(state(1), Path::new("/x/railroad"));
        assert_eq!(state(2), Path::new("/h/.local/state/railroad"));
        assert!(matches!(dirs(&[]), Err(DirsError::NoHome)));
    }

    #[test]
    fn the_runtime_folder_follows_the_order_of_the_hook() {
        let all = [("RAILROAD_RUNTIME_DIR", "/r"), ("XDG_RUNTIME_DIR", "/x"), ("HOME", "/h")];
        let runtime = |n: usize| dirs(&all[n..]).unwrap().runtime;
        assert_eq!(runtime(0), Path::new("/r"));
        assert_eq!(runtime(1), Path::new("/x/railroad"));
        assert_eq!(runtime(2), Path::new("/tmp/railroad-4000000001"));
    }

    #[test]
    fn empty_and_relative_variables_count_as_not_set() {
        let odd = [("RAILROAD_STATE_DIR", "here"), ("RAILROAD_RUNTIME_DIR", ""), ("HOME", "/h")];
        let found = dirs(&odd).unwrap();
        assert_eq!(found.state, Path::new("/h/.local/state/railroad"));
        assert_eq!(found.runtime, Path::new("/tmp/railroad-4000000001"));
    }

    fn in_temp() -> (tempfile::TempDir, Dirs) {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("a/state");
        let runtime = temp.path().join("run");
        (temp, Dirs { state, runtime })
    }

    #[test]
    fn missing_folders_are_made_for_their_owner_alone() {
        let (_temp, dirs) = in_temp();
        dirs.prepare().unwrap();
        dirs.prepare().unwrap();
        for folder in [&dirs.state, &dirs.runtime] {
            assert_eq!(fs::metadata(folder).unwrap().mode() & 0o7777, 0o700);
        }
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused_with_the_command_that_repairs_it() {
        let (_temp, dirs) = in_temp();
        dirs.prepare().unwrap();
        for mode in [0o770, 0o702, 0o1777, 0o500] {
            fs::set_permissions(&dirs.runtime, fs::Permissions::from_mode(mode)).unwrap();
            let refused = dirs.prepare().unwrap_err();
            let text = refused.to_string();
            let repair = format!("chmod 700 {}", dirs.runtime.display());
            assert!(matches!(refused, DirsError::Mode { .. }) && text.contains(&repair), "{mode:o}: {text}");
        }
        fs::set_permissions(&dirs.runtime, fs::Permissions::from_mode(0o755)).unwrap();
        dirs.prepare().unwrap();
    }

    #[test]
    fn a_link_a_file_or_somebody_elses_folder_is_refused() {
        let (temp, dirs) = in_temp();
        let real = temp.path().join("real");
        fs::create_dir(&real).unwrap();
        symlink(&real, &dirs.runtime).unwrap();
        assert!(matches!(dirs.prepare(), Err(DirsError::NotAFolder { .. })));
        fs::remove_file(&dirs.runtime).unwrap();
        fs::write(&dirs.runtime, "").unwrap();
        assert!(matches!(dirs.prepare(), Err(DirsError::NotAFolder { .. })));
        let other = prepare(&real, own_uid() + 1, "X");
        assert!(matches!(other, Err(DirsError::OtherOwner { .. })));
    }

    #[test]
    fn a_socket_path_that_no_kernel_takes_is_refused_early() {
        let (temp, mut dirs) = in_temp();
        dirs.runtime = temp.path().join("x".repeat(120));
        assert!(matches!(dirs.prepare(), Err(DirsError::SocketPathTooLong { .. })));
    }
}
