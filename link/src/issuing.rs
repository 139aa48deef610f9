//! Keys and certificates that a person makes by hand, and where they lie. What stands in them is `authority`'s.

use std::path::Path;

use crate::authority::{Authority, Issued};
use crate::files::{self, FileError, Files};
use crate::pem;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be the name of a file: letters, digits, dots, dashes and underscores can")]
pub struct BadFileName(String);

/// The files of one name in a folder; the authority's certificate lies beside them.
///
/// # Errors
/// If the name would lead elsewhere.
pub fn files_of(folder: &Path, name: &str) -> Result<Files, BadFileName> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) {
        return Err(BadFileName(name.chars().take(80).collect()));
    }
    let file = |ending: &str| folder.join(format!("{name}.{ending}"));
    Ok(Files { ca: folder.join("ca.pem"), cert: file("pem"), key: file("key") })
}

/// Writes them. A key or certificate that is there is never written over.
///
/// # Errors
/// If one is there, or the folder cannot be written.
pub fn keep(files: &Files, authority: &Authority, issued: &Issued) -> Result<(), FileError> {
    for file in [&files.key, &files.cert] {
        if file.symlink_metadata().is_ok() {
            return Err(FileError::Exists(file.clone()));
        }
    }
    for folder in [&files.ca, &files.cert, &files.key].into_iter().filter_map(|f| f.parent()) {
        files::make_folder(folder)?;
    }
    files::create(&files.key, &issued.key)?;
    files::replace(&files.ca, &pem::certificate(authority.certificate()))?;
    files::create(&files.cert, &issued.certificate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert_eq!(files_of(Path::new("/x"), "etcd-1").unwrap().key, Path::new("/x/etcd-1.key"));
        for bad in ["", "..", "../a", "a/b", "/etc/x", "-o", "a b", "a\n"] {
            assert!(files_of(Path::new("/x"), bad).is_err(), "{bad:?}");
        }
    }
}
