//! A new machine's way in: it makes its key, which never leaves it, shows the token to a coordinator that the token's authority
//! vouches for, and keeps the certificate that comes back. Who may come in is the coordinator's to say.

use std::time::Duration;

use rr_core::id::HostId;
use rr_proto::v1;
use rr_proto::v1::enrol_client::EnrolClient;
use rustls::pki_types::CertificateDer;
use tonic::Status;
use tonic::transport::Channel;

use crate::authority::{AuthorityError, new_key_text, request_for};
use crate::dial::{self, Address};
use crate::files::{self, FileError, Files};
use crate::identity::Card;
use crate::material::stranger;
use crate::pem;
use crate::token::JoinToken;
use crate::verify::check_received;

/// A store that has lost its leader may take seconds.
const ANSWER_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("make a key and a request for a certificate")]
    Key(#[source] AuthorityError),
    #[error("the token's authority cannot be used: {0}")]
    Authority(rustls::Error),
    #[error("no coordinator that the token names could be asked:{}", lines(.0))]
    Unreachable(Vec<(Address, String)>),
    /// In the coordinator's words.
    #[error("{0}")]
    Refused(String),
    #[error("the coordinator's answer cannot be used ({0}): the token is spent, ask for a new one")]
    BadAnswer(String),
}

fn lines(tried: &[(Address, String)]) -> String {
    tried.iter().map(|(address, why)| format!("\n{address}: {why}")).collect()
}

/// Who comes.
#[derive(Clone, Debug)]
pub struct Newcomer {
    pub host: HostId,
    /// For people.
    pub name: String,
    /// Names and addresses it can be reached by.
    pub names: Vec<String>,
}

/// What came of it; the files are written.
#[derive(Clone, Debug)]
pub struct Joined {
    pub card: Card,
    pub store_endpoints: Vec<String>,
}

/// Joins with a token. A key that is there already is kept: the machine comes back as itself.
///
/// # Errors
/// If no coordinator could be reached or believed, or it refused, or the files cannot be written.
pub async fn join(token: &JoinToken, newcomer: &Newcomer, files: &Files) -> Result<Joined, JoinError> {
    let key = own_key(files)?;
    let request = v1::JoinRequest {
        secret: token.secret.to_vec(),
        fleet: token.fleet.to_string(),
        host: newcomer.host.to_string(),
        name: newcomer.name.clone(),
        names: newcomer.names.clone(),
        request: request_for(&key).map_err(JoinError::Key)?,
    };
    let channel = reach(token).await?;
    let call = async { EnrolClient::new(channel).join(request.clone()).await };
    let reply = match tokio::time::timeout(ANSWER_MAX, call).await {
        Ok(Ok(reply)) => reply.into_inner(),
        Ok(Err(status)) => return Err(refused(&status)),
        Err(_) => return Err(JoinError::BadAnswer("none came in time".to_owned())),
    };
    let certificate = CertificateDer::from(reply.certificate);
    let card = checked(token, newcomer, &request.request, &certificate)?;
    files::replace(&files.ca, &pem::certificate(&token.authority))?;
    files::replace(&files.cert, &pem::certificate(&certificate))?;
    // They go into a file that a person trusts: what is no address stays out of it.
    let store_endpoints = reply.store_endpoints.into_iter().filter(|e| is_plain_address(e)).collect();
    Ok(Joined { card, store_endpoints })
}

fn is_plain_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    rest.is_some_and(|rest| !rest.is_empty() && rest.len() < 256 && rest.chars().all(plain))
}

fn own_key(files: &Files) -> Result<String, JoinError> {
    if let Some(folder) = files.key.parent() {
        files::make_folder(folder)?;
    }
    if files.key.symlink_metadata().is_err() {
        let made = files::create(&files.key, &new_key_text().map_err(JoinError::Key)?);
        // Another join on this machine was faster: its key is as good.
        if !matches!(made, Ok(()) | Err(FileError::Exists(_))) {
            made?;
        }
    }
    Ok(files::private_text(&files.key)?)
}

/// The first coordinator that answers and is believed. Nothing is shown to any other.
///
/// # Errors
/// If there is none.
pub async fn reach(token: &JoinToken) -> Result<Channel, JoinError> {
    let config = stranger(&token.authority, &token.fleet).map_err(JoinError::Authority)?;
    let mut tried = Vec::new();
    for address in &token.addresses {
        let config = config.clone();
        match dial::open(address, Some(std::sync::Arc::new(move || config.clone()))).await {
            Ok(channel) => return Ok(channel),
            Err(error) => tried.push((address.clone(), why(error))),
        }
    }
    Err(JoinError::Unreachable(tried))
}

fn why(error: dial::DialError) -> String {
    match error {
        dial::DialError::Failed { why, .. } => why,
        other => other.to_string(),
    }
}

fn refused(status: &Status) -> JoinError {
    use std::error::Error as _;
    if status.source().is_some() {
        return JoinError::BadAnswer(dial::explain(status));
    }
    JoinError::Refused(status.message().to_owned())
}

/// Nothing is taken on trust: our key, our id, our fleet, the role that was promised, signed by the pinned authority.
fn checked(
    token: &JoinToken,
    newcomer: &Newcomer,
    request: &[u8],
    certificate: &CertificateDer<'_>,
) -> Result<Card, JoinError> {
    let bad = |why: &str| JoinError::BadAnswer(why.to_owned());
    let card = check_received(std::slice::from_ref(&token.authority), &token.fleet, certificate)
        .map_err(|e| JoinError::BadAnswer(e.to_string()))?;
    let own = crate::authority::key_in(request).map_err(JoinError::Key)?;
    if card.key != own {
        return Err(bad("the certificate is for another key"));
    }
    if card.identity.host != newcomer.host || card.identity.role != token.role {
        return Err(bad("the certificate is for another host or role"));
    }
    Ok(card)
}
