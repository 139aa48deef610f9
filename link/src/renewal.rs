//! Keeping one machine's certificate fresh: at half of its life a new one is fetched for the same key, and the files are
//! exchanged whole; whoever uses the material goes on with the new one. It never ends by itself: a fleet whose coordinators
//! are gone for an hour is the normal case, and half a life is long.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rr_core::id::Entropy as _;
use rr_proto::v1;
use rr_proto::v1::enrol_client::EnrolClient;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::errors::chain;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, AuthorityError, Order};
use crate::dial::{self, Address};
use crate::files::{self, FileError};
use crate::material::{LOOK_EVERY, Loaded, Material};
use crate::pem;
use crate::verify::check_received;

/// A store that has lost its leader may take seconds.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Machines that joined together shall not all come back together: up to this part of a life later.
const JITTER_PART: u32 = 10;
/// After a failure: from this part of a life to that, doubling.
const FIRST_RETRY_PART: u32 = 1_000;
const LAST_RETRY_PART: u32 = 50;
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    #[error("no coordinator is known: name them under `coordinators` in config.yaml")]
    Nowhere,
    #[error("no coordinator gave a new certificate:{0}")]
    Refused(String),
    #[error("sign this machine's own certificate")]
    Sign(#[source] AuthorityError),
    #[error("the new certificate cannot be used: {0}")]
    BadAnswer(String),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Where new certificates come from.
pub enum Source {
    /// Asked in order.
    Coordinators(Vec<Address>),
    /// This machine has the authority.
    Own(Arc<Authority>),
}

/// Renews until the end.
pub async fn keep_fresh(material: Material, source: Source, shutdown: CancellationToken) {
    let (mut failures, mut not_before) = (0, Instant::now());
    loop {
        // In between somebody may exchange the files by hand.
        material.look();
        let present = material.current();
        let wait = until_half_life(&present).max(not_before.saturating_duration_since(Instant::now()));
        let _ = tokio::time::timeout(wait.min(LOOK_EVERY), shutdown.cancelled()).await;
        if shutdown.is_cancelled() {
            return;
        }
        if wait > LOOK_EVERY {
            continue;
        }
        match renew(&material, &source).await {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                not_before = Instant::now() + retry_after(&present, failures);
                tell(&present, &error, failures);
            }
        }
    }
}

fn until_half_life(present: &Loaded) -> Duration {
    // From the certificate itself: the same at each look, and different on each machine.
    let spread = u32::from(present.card.key.last().copied().unwrap_or_default());
    let jitter = present.life() / JITTER_PART * spread / 255;
    (present.half_life() + jitter).duration_since(SystemTime::now()).unwrap_or_default()
}

fn retry_after(present: &Loaded, failures: u32) -> Duration {
    let life = present.life();
    let first = (life / FIRST_RETRY_PART).max(RETRY_MIN);
    let last = (life / LAST_RETRY_PART).clamp(RETRY_MIN, RETRY_MAX);
    let wait = first.saturating_mul(1 << failures.min(16)).min(last);
    // Between a half and all of it.
    wait / 2 + wait / 2 * u32::from(OsEntropy.bits()[0]) / 255
}

fn tell(present: &Loaded, error: &RenewError, failures: u32) {
    let left = present.card.until.duration_since(SystemTime::now()).unwrap_or_default().as_secs();
    let error = chain(error);
    // Told often at first, then at each doubling: it can go on for hours.
    if failures.is_power_of_two() {
        tracing::warn!(error, failures, left_s = left, "could not renew this machine's certificate; it is tried again");
    }
}

/// Fetches a new certificate and puts it into place.
///
/// # Errors
/// If nobody gives one, or what came is not for this machine.
pub async fn renew(material: &Material, source: &Source) -> Result<(), RenewError> {
    let certificate = match source {
        Source::Own(authority) => {
            let card = &material.current().card;
            let order = Order { identity: &card.identity, names: &card.names };
            authority.sign_key(&card.key, &order).map_err(RenewError::Sign)?
        }
        Source::Coordinators(addresses) => ask(material, addresses).await?,
    };
    take(material, &certificate)
}

async fn ask(material: &Material, addresses: &[Address]) -> Result<CertificateDer<'static>, RenewError> {
    if addresses.is_empty() {
        return Err(RenewError::Nowhere);
    }
    let mut tried = String::new();
    for address in addresses {
        match ask_one(material, address).await {
            Ok(certificate) => return Ok(certificate),
            Err(why) => tried.push_str(&format!("\n{address}: {why}")),
        }
    }
    Err(RenewError::Refused(tried))
}

async fn ask_one(material: &Material, address: &Address) -> Result<CertificateDer<'static>, String> {
    let channel = dial::dial(address, Some(material)).await.map_err(|e| e.to_string())?;
    let call = async { EnrolClient::new(channel).renew(v1::RenewRequest {}).await };
    match tokio::time::timeout(ANSWER_MAX, call).await {
        Ok(Ok(reply)) => Ok(CertificateDer::from(reply.into_inner().certificate)),
        Ok(Err(status)) if status.message().is_empty() => Err(dial::explain(&status)),
        Ok(Err(status)) => Err(status.message().to_owned()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Only what is this machine's own, for the key it has, is written.
fn take(material: &Material, certificate: &CertificateDer<'_>) -> Result<(), RenewError> {
    let present = material.current();
    let card = check_received(&present.authority, material.fleet(), certificate)
        .map_err(|e| RenewError::BadAnswer(e.to_string()))?;
    let same = card.key == present.card.key
        && card.identity.host == present.card.identity.host
        && card.identity.role == present.card.identity.role;
    if !same {
        return Err(RenewError::BadAnswer("it is for another key, host or role".to_owned()));
    }
    files::replace(&material.files().cert, &pem::certificate(certificate))?;
    material.look();
    Ok(())
}
