//! The unix socket: made with the right mode from its first moment, taken over only from the dead, and open to this user
//! alone. It knows nothing of requests: the servers that listen on one do.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use futures::Stream;
use futures::stream;
use tokio::net::{UnixListener, UnixStream};

use crate::accept::ACCEPT_PAUSE;

/// For its owner alone; the folder is 0700 besides.
const MODE: u32 = 0o600;

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("another process answers on {}", .0.display())]
    Taken(PathBuf),
    #[error("{} is in the way: it is no socket", .0.display())]
    InTheWay(PathBuf),
    #[error("{what} {}", path.display())]
    Socket { what: &'static str, path: PathBuf, source: std::io::Error },
}

/// The socket's file, removed on drop if it is still the same one.
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            // Left over it is replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on `path`. A socket that is there already is replaced only if nobody answers on it.
///
/// # Errors
/// If somebody answers there, something else is there, or the folder does not allow it.
pub async fn bind(path: &Path) -> Result<(UnixListener, SocketFile), LocalError> {
    check_place(path).await?;
    let failed = |what, path: &Path| {
        let path = path.to_owned();
        move |source| LocalError::Socket { what, path, source }
    };
    // Made beside it and moved into place, so that nobody sees it with another mode or finds no socket there.
    let beside = beside(path);
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(failed("listen on", &beside))?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(MODE)).map_err(failed("restrict", &beside))?;
    let inode = fs::symlink_metadata(&beside).map_err(failed("look at", &beside))?.ino();
    fs::rename(&beside, path).map_err(failed("move into place", path))?;
    Ok((listener, SocketFile { path: path.to_owned(), inode }))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".n");
    name.into()
}

async fn check_place(path: &Path) -> Result<(), LocalError> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(source) => {
            return Err(LocalError::Socket { what: "look at", path: path.to_owned(), source });
        }
        Ok(found) if !found.file_type().is_socket() => {
            return Err(LocalError::InTheWay(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(_) => Err(LocalError::Taken(path.to_owned())),
        Err(e) if matches!(e.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // A full queue also means that somebody is there.
        Err(e) if e.kind() == ErrorKind::WouldBlock => Err(LocalError::Taken(path.to_owned())),
        Err(source) => Err(LocalError::Socket { what: "try", path: path.to_owned(), source }),
    }
}

/// Connections of this program's own user; others are dropped unanswered.
pub fn own_connections(listener: UnixListener) -> impl Stream<Item = std::io::Result<UnixStream>> {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) if is_own(&connection) => {
                    return Some((Ok(connection), listener));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}

fn is_own(connection: &UnixStream) -> bool {
    match connection.peer_cred() {
        Ok(peer) if peer.uid() == rustix::process::geteuid().as_raw() => true,
        Ok(peer) => {
            tracing::warn!(uid = peer.uid(), pid = peer.pid(), "refused a connection of another user");
            false
        }
        Err(error) => {
            tracing::warn!(%error, "refused a connection whose user is not known");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_taken_over_from_the_dead_only() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("api.sock");
        let (listener, file) = bind(&path).await.expect("first");
        assert!(matches!(bind(&path).await, Err(LocalError::Taken(_))));
        drop(listener);
        let (_second, second_file) = bind(&path).await.expect("nobody answers any more");
        drop(file);
        assert!(path.exists(), "the first one's end leaves the second one's socket");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, MODE);
        drop(second_file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_file_in_the_way_is_left_alone() {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join("api.sock");
        fs::write(&path, "somebody's").expect("written");
        assert!(matches!(bind(&path).await, Err(LocalError::InTheWay(_))));
        assert_eq!(fs::read(&path).expect("there"), b"somebody's");
    }
}
