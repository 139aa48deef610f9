//! One machine's identity as it is used: files read into TLS configurations, read again when they change. What is in use is
//! always a whole pair: a half-written one leaves the last good one in place and is told. It opens no connection; `accept` and
//! `dial` take the present configuration for each new one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rr_core::id::FleetName;
use rr_runtime::errors::chain;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{ClientConfig, Error as TlsError, RootCertStore, ServerConfig};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::authority::BACKDATE;
use crate::files::{self, FileError, Files};
use crate::identity::{Card, IdentityError};
use crate::verify::{CallerVerifier, CoordinatorVerifier, check_received, provider, roots};

/// A look costs three calls to the system; a person who exchanged a file waits this long.
pub const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Both ends are ours: there is nothing to negotiate down to.
const VERSIONS: &[&rustls::SupportedProtocolVersion] = &[&TLS13];
const ALPN: &[u8] = b"h2";

#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the certificate in {file} is not this machine's")]
    Identity { file: String, source: IdentityError },
    #[error("the certificate in {file} is of fleet {found}, and this machine is of fleet {ours}")]
    OtherFleet { file: String, found: FleetName, ours: FleetName },
    #[error("{cert} and {key} do not belong together, or {ca} did not sign them")]
    Mismatch { cert: String, key: String, ca: String, source: Box<TlsError> },
}

/// What is in use.
#[derive(Debug)]
pub struct Loaded {
    pub card: Card,
    pub authority: Vec<CertificateDer<'static>>,
    callers_only: Arc<ServerConfig>,
    with_strangers: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Loaded {
    /// For accepting; `strangers`: one without a certificate may come in, to show a token.
    #[must_use]
    pub fn server(&self, strangers: bool) -> Arc<ServerConfig> {
        if strangers { self.with_strangers.clone() } else { self.callers_only.clone() }
    }

    #[must_use]
    pub fn client(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }

    /// How long a certificate of this kind lives from its making on.
    #[must_use]
    pub fn life(&self) -> Duration {
        let whole = self.card.until.duration_since(self.card.from).unwrap_or_default();
        whole.saturating_sub(BACKDATE)
    }

    /// When it is to be exchanged: with half of its life left.
    #[must_use]
    pub fn half_life(&self) -> SystemTime {
        self.card.until - self.life() / 2
    }
}

/// A handle on it; clones see the same.
#[derive(Clone, Debug)]
pub struct Material {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    files: Files,
    fleet: FleetName,
    current: watch::Sender<Arc<Loaded>>,
    looked: Mutex<Looked>,
}

#[derive(Debug, Default)]
struct Looked {
    seen: Option<Stamp>,
    /// The last trouble, told once.
    told: Option<String>,
}

/// What changes when a file does: inode, size, time of its last change.
type Stamp = [Option<(u64, u64, i64, i64)>; 3];

impl Material {
    /// # Errors
    /// If a file cannot be read, is not ours, or they do not belong together. A certificate that has ended is no error here:
    /// nobody will take it, and it may be about to be exchanged.
    pub fn load(files: Files, fleet: &FleetName) -> Result<Self, MaterialError> {
        let seen = Some(stamp(&files));
        let loaded = read(&files, fleet)?;
        let looked = Mutex::new(Looked { seen, told: None });
        let current = watch::Sender::new(Arc::new(loaded));
        Ok(Self { shared: Arc::new(Shared { files, fleet: fleet.clone(), current, looked }) })
    }

    #[must_use]
    pub fn current(&self) -> Arc<Loaded> {
        self.shared.current.borrow().clone()
    }

    #[must_use]
    pub fn files(&self) -> &Files {
        &self.shared.files
    }

    #[must_use]
    pub fn fleet(&self) -> &FleetName {
        &self.shared.fleet
    }

    /// Told of each exchange.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Loaded>> {
        self.shared.current.subscribe()
    }

    /// Reads the files again if they changed. Whether what is in use changed.
    pub fn look(&self) -> bool {
        let shared = &*self.shared;
        let mut looked = shared.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let present = stamp(&shared.files);
        if looked.seen == Some(present) {
            return false;
        }
        let read = read(&shared.files, &shared.fleet);
        // Written meanwhile: the next look reads it whole.
        let whole = stamp(&shared.files) == present;
        match read {
            Ok(loaded) if whole => {
                *looked = Looked { seen: Some(present), told: None };
                tracing::info!(identity = %loaded.card.identity, "this machine's certificate was exchanged");
                shared.current.send_replace(Arc::new(loaded));
                true
            }
            Ok(_) => false,
            Err(error) => {
                let why = chain(&error);
                if looked.told.as_ref() != Some(&why) {
                    tracing::warn!(error = why, "kept the last good certificate: the new files cannot be used");
                    looked.told = Some(why);
                }
                false
            }
        }
    }

    /// Looks until the end.
    pub async fn follow(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            self.look();
            let _ = tokio::time::timeout(LOOK_EVERY, shutdown.cancelled()).await;
        }
    }
}

fn stamp(files: &Files) -> Stamp {
    let of = |file: &Path| {
        let found = fs::metadata(file).ok()?;
        Some((found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
    };
    [of(&files.ca), of(&files.cert), of(&files.key)]
}

fn read(files: &Files, fleet: &FleetName) -> Result<Loaded, MaterialError> {
    let authority = files::certificates(&files.ca)?;
    let chain = files::certificates(&files.cert)?;
    let key = files::private_key(&files.key)?;
    let name = |file: &Path| file.display().to_string();
    let card = Card::read(&chain[0]).map_err(|source| MaterialError::Identity { file: name(&files.cert), source })?;
    if card.identity.fleet != *fleet {
        let found = card.identity.fleet;
        return Err(MaterialError::OtherFleet { file: name(&files.cert), found, ours: fleet.clone() });
    }
    let mismatch = |source: TlsError| MaterialError::Mismatch {
        cert: name(&files.cert),
        key: name(&files.key),
        ca: name(&files.ca),
        source: Box::new(source),
    };
    check_signed(&authority, fleet, &chain[0]).map_err(mismatch)?;
    configurations(card, authority, &chain, &key).map_err(mismatch)
}

/// Validity in time is not asked for: see [`Material::load`].
fn check_signed(
    authority: &[CertificateDer<'static>],
    fleet: &FleetName,
    certificate: &CertificateDer<'_>,
) -> Result<(), TlsError> {
    use rustls::CertificateError as E;
    match check_received(authority, fleet, certificate) {
        Err(TlsError::InvalidCertificate(
            E::Expired | E::ExpiredContext { .. } | E::NotValidYet | E::NotValidYetContext { .. },
        )) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn configurations(
    card: Card,
    authority: Vec<CertificateDer<'static>>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Loaded, TlsError> {
    let fleet = card.identity.fleet.clone();
    let roots = roots(&authority)?;
    let server = |strangers| server(&roots, &fleet, strangers, chain, key);
    let (callers_only, with_strangers) = (server(false)?, server(true)?);
    let verifier = CoordinatorVerifier::new(roots.clone(), fleet.clone(), &provider())?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain.to_vec(), key.clone_key())?;
    Ok(Loaded { card, authority, callers_only, with_strangers, client: finished(client) })
}

fn server(
    roots: &Arc<RootCertStore>,
    fleet: &FleetName,
    strangers: bool,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = CallerVerifier::new(roots.clone(), fleet.clone(), strangers, &provider())?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.to_vec(), key.clone_key())?;
    // A resumed session would skip the look at the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Arc::new(config)
}

/// For a machine that is nobody yet: it knows whom it speaks to, and shows nothing of itself.
pub(crate) fn stranger(authority: &CertificateDer<'static>, fleet: &FleetName) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = roots(std::slice::from_ref(authority))?;
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(CoordinatorVerifier::new(roots, fleet.clone(), &provider())?)
        .with_no_client_auth();
    Ok(finished(config))
}
