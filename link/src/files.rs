//! The files that an identity is made of: PEM read whole, written whole or not at all, and a private key for its owner alone.
//! It knows no certificate's meaning. Next: `material` makes configurations of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rr_core::id::{Entropy as _, hex};
use rr_runtime::entropy::OsEntropy;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A chain of a few certificates is some KiB; anything longer is another file.
const FILE_BYTES_MAX: u64 = 256 << 10;
/// Whoever can read a private key is that host.
const FOR_OTHERS: u32 = 0o077;
const KEY_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{doing} {}", file.display())]
    Io { doing: &'static str, file: PathBuf, source: io::Error },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes: no key or certificate is", .0.display())]
    TooLarge(PathBuf),
    #[error("{} holds no {what} in PEM", file.display())]
    NoPem { file: PathBuf, what: &'static str },
    #[error("{} can be read by others (mode {mode:04o}): type `chmod 600 {}`", file.display(), file.display())]
    OpenKey { file: PathBuf, mode: u32 },
    #[error("{} is there already and is never written over: move it away first", .0.display())]
    Exists(PathBuf),
}

/// One machine's identity on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl Files {
    /// Where they lie if nothing else is said: `tls` in the state folder.
    #[must_use]
    pub fn below(state: &Path) -> Self {
        let folder = state.join("tls");
        Self { ca: folder.join("ca.pem"), cert: folder.join("host.pem"), key: folder.join("host.key") }
    }

    /// Whether any of them is there: then all are meant to be used.
    #[must_use]
    pub fn any_exists(&self) -> bool {
        [&self.ca, &self.cert, &self.key].iter().any(|f| f.symlink_metadata().is_ok())
    }
}

fn io_error(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> FileError {
    let file = file.to_owned();
    move |source| FileError::Io { doing, file, source }
}

fn read(file: &Path, secret: bool) -> Result<Vec<u8>, FileError> {
    let open = File::open(file).map_err(io_error("read", file))?;
    let found = open.metadata().map_err(io_error("look at", file))?;
    if secret && found.mode() & FOR_OTHERS != 0 {
        return Err(FileError::OpenKey { file: file.to_owned(), mode: found.mode() & 0o7777 });
    }
    let mut bytes = Vec::new();
    open.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_error("read", file))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge(file.to_owned()));
    }
    Ok(bytes)
}

pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let bytes = read(file, false)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let none = || FileError::NoPem { file: file.to_owned(), what: "certificate" };
    let found = found.map_err(|_| none())?;
    if found.is_empty() { Err(none()) } else { Ok(found) }
}

pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    let bytes = read(file, true)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| FileError::NoPem { file: file.to_owned(), what: "private key" })
}

/// A private key's text, for whoever signs with it.
pub(crate) fn private_text(file: &Path) -> Result<String, FileError> {
    let none = || FileError::NoPem { file: file.to_owned(), what: "private key" };
    String::from_utf8(read(file, true)?).map_err(|_| none())
}

/// Makes a folder for its owner alone, with its parents.
pub(crate) fn make_folder(folder: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(folder).map_err(io_error("make folder", folder))
}

/// Replaces a file whole: its readers see the old or the new one, also after a crash.
pub(crate) fn replace(file: &Path, text: &str) -> Result<(), FileError> {
    let aside = write_aside(file, text)?;
    let moved = fs::rename(&aside, file).map_err(io_error("move into place", file));
    if moved.is_err() {
        let _ = fs::remove_file(&aside);
    }
    moved.and_then(|()| keep_entry(file))
}

/// Writes a file that must not be there yet. Of several at once one wins.
pub(crate) fn create(file: &Path, text: &str) -> Result<(), FileError> {
    let aside = write_aside(file, text)?;
    let linked = fs::hard_link(&aside, file);
    let _ = fs::remove_file(&aside);
    match linked {
        Ok(()) => keep_entry(file),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(FileError::Exists(file.to_owned())),
        Err(e) => Err(io_error("put into place", file)(e)),
    }
}

/// All files here are for their owner alone: one mode, no mistake about which holds the key.
fn write_aside(file: &Path, text: &str) -> Result<PathBuf, FileError> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}", hex(&OsEntropy.bits())));
    let aside = PathBuf::from(name);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(KEY_MODE)
        .open(&aside)
        .and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written.map_err(io_error("write", &aside)).map(|()| aside)
}

/// The folder's entry too must survive a crash.
fn keep_entry(file: &Path) -> Result<(), FileError> {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|open| open.sync_all()).map_err(io_error("keep", folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.key");
        create(&file, "one").unwrap();
        assert!(matches!(create(&file, "two"), Err(FileError::Exists(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        replace(&file, "three").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "three");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, KEY_MODE);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn a_private_key_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("host.key");
        fs::write(&file, "x").unwrap();
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let refused = private_key(&file).unwrap_err();
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_pem_is_said_to_be_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("ca.pem");
        for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"] {
            fs::write(&file, text).unwrap();
            assert!(matches!(certificates(&file), Err(FileError::NoPem { .. })), "{text:?}");
        }
        fs::write(&file, "x".repeat(300 << 10)).unwrap();
        assert!(matches!(certificates(&file), Err(FileError::TooLarge(_))));
    }
}
