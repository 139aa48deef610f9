//! The store that this machine's file names, opened: the file on this machine, or the etcd cluster. Both are one trait to
//! everybody above, with every request's time taken on the way (`metered`). What is kept in it is `rr_fleet`'s.

mod metered;

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::time::Clock;
use rr_store::embedded::{EmbeddedStore, OpenError, Options};
use rr_store::etcd::{ConnectError, Credentials, EtcdOptions, EtcdStore};
use rr_store::{Store, etcd};

use crate::config::{MachineConfig, StoreConfig, StoreKind};
use crate::dirs::Dirs;
use crate::exit::{Failure, Kind};

pub use metered::Metered;

/// Of a store in this process, whose watches lag by little: a thousand locks taken. One that lags further lists again.
const HISTORY_CHANGES_MAX: usize = 4 << 10;

/// Far above any password; a larger file is another one.
const PASSWORD_BYTES_MAX: u64 = 4 << 10;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("open the store of this machine")]
    Embedded(#[source] OpenError),
    #[error("reach the etcd cluster")]
    Etcd(#[source] ConnectError),
    #[error("read the password of the store's user from {file}")]
    Password {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl StoreError {
    /// Whether the same may work later, with nothing changed here.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(self, Self::Etcd(ConnectError::Unreachable { .. }))
    }
}

/// Opens the store once.
///
/// # Errors
/// Says which store and why not; [`StoreError::passes`] whether to try again.
pub async fn open(config: &MachineConfig, dirs: &Dirs, clock: Arc<dyn Clock>) -> Result<Arc<dyn Store>, StoreError> {
    match config.store.kind {
        StoreKind::Embedded => {
            let options = Options { history_changes_max: HISTORY_CHANGES_MAX, ..Options::default() };
            let store = EmbeddedStore::open(&dirs.store_dir(), options, clock);
            Ok(store.map_err(StoreError::Embedded)?)
        }
        StoreKind::Etcd => {
            let store = EtcdStore::connect(etcd_options(config)?, clock).await;
            Ok(store.map_err(StoreError::Etcd)?)
        }
    }
}

/// What etcd's client needs to know, the password read from its file.
///
/// # Errors
/// If that file cannot be read or is empty.
pub fn etcd_options(config: &MachineConfig) -> Result<EtcdOptions, StoreError> {
    let StoreConfig { endpoints, user, password_file, .. } = &config.store;
    let credentials = match (user, password_file) {
        (Some(user), Some(file)) => {
            let failed = |source| StoreError::Password { file: file.clone(), source };
            Some(Credentials { user: user.clone(), password: password(file).map_err(failed)? })
        }
        _ => None,
    };
    let tls = config.tls.as_ref().filter(|_| endpoints.iter().any(|e| e.starts_with("https:")));
    let tls = tls.map(|t| etcd::TlsFiles { ca: t.ca.clone(), cert: t.cert.clone(), key: t.key.clone() });
    Ok(EtcdOptions { endpoints: endpoints.clone(), credentials, tls })
}

/// The first line: editors end files with a newline.
fn password(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(file)?.take(PASSWORD_BYTES_MAX).read_to_string(&mut text)?;
    match text.lines().next() {
        Some(password) if !password.is_empty() => Ok(password.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it is empty: write the password on its first line")),
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Embedded(OpenError::InUse { .. }) => Kind::Refused,
            StoreError::Embedded(_) => Kind::Failed,
            StoreError::Password { .. } => Kind::Usage,
            StoreError::Etcd(ConnectError::Unreachable { .. }) => Kind::Unreachable,
            StoreError::Etcd(ConnectError::Refused { .. }) => Kind::Refused,
            StoreError::Etcd(_) => Kind::Usage,
        };
        let failure = Self::at("open the store", &error).of_kind(kind);
        match error {
            StoreError::Embedded(error) => hinted(failure, &error),
            StoreError::Password { .. } => {
                failure.hint("store.password_file names it, in config.yaml or the environment")
            }
            StoreError::Etcd(ConnectError::Unreachable { .. }) => failure.hint("rrctl doctor"),
            StoreError::Etcd(_) => {
                failure.hint("correct `store` and `tls` in config.yaml; rrctl doctor looks at each member")
            }
        }
    }
}

fn hinted(failure: Failure, error: &OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => failure,
        OpenError::Newer { .. } => failure.hint("install the newer rrctl again"),
        // Moving the file is the person's word that what it held may be forgotten: no option does that by the way.
        OpenError::Damaged { kept_at, .. } => failure.hint(format!(
            "it holds who has which lock and whether the fleet is paused; to start with nothing of that known, end all \
             agents, then: mv {} ~/ && rrctl up --detach",
            kept_at.display()
        )),
        OpenError::Io { .. } => failure.hint("rrctl doctor"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsFiles;

    fn etcd(endpoint: &str) -> MachineConfig {
        let mut config = MachineConfig::default();
        config.store.kind = StoreKind::Etcd;
        config.store.endpoints = vec![endpoint.to_owned()];
        config
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        let mut config = etcd("http://127.0.0.1:2379");
        config.store.user = Some("railroad".into());
        config.store.password_file = Some(file.clone());
        let refused = etcd_options(&config).unwrap_err();
        assert!(!refused.passes() && Failure::from(refused).kind == Kind::Usage);
        std::fs::write(&file, "\n").unwrap();
        assert!(etcd_options(&config).is_err());
        std::fs::write(&file, "open sesame\n").unwrap();
        let options = etcd_options(&config).unwrap();
        assert_eq!(options.credentials.as_ref().unwrap().password, "open sesame");
        assert!(!format!("{options:?}").contains("sesame"), "{options:?}");
    }

    #[test]
    fn this_machines_certificate_goes_to_https_members_only() {
        let files = TlsFiles { ca: "/a".into(), cert: "/b".into(), key: "/c".into() };
        for (endpoint, wanted) in [("https://10.0.0.1:2379", true), ("http://127.0.0.1:2379", false)] {
            let config = MachineConfig { tls: Some(files.clone()), ..etcd(endpoint) };
            assert_eq!(etcd_options(&config).unwrap().tls.is_some(), wanted, "{endpoint}");
        }
    }
}
