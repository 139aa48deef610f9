//! Letting machines in and shutting them out. Who asks was proven at the handshake, whether he may at the gate; here a token is
//! made, spent, and a certificate signed for exactly the key that was proven. A host's id, role and names are never taken from
//! one who already has a certificate. Next: `rr_fleet`'s hosts, `rr_link`'s authority.

use rr_core::id::{Entropy as _, HostId};
use rr_core::time::Span;
use rr_fleet::{Applicant, Denial, Fleet, Invitation, Join};
use rr_link::authority::{Authority, AuthorityError, NAMES_MAX, Order, key_in};
use rr_link::dial::Address;
use rr_link::identity::{Identity, Role};
use rr_link::token::{JoinToken, SECRET_BYTES, hash};
use rr_proto::v1;
use rr_runtime::clock::unix_ms;
use rr_runtime::entropy::OsEntropy;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::gate::Caller;
use crate::ops::text;
use crate::refusal::{bad, from_fleet};

/// A word that lets machines in shall not lie around.
const TOKEN_TTL_MAX_S: u32 = 15 * 60;
const NAME_CHARS_MAX: usize = 63;
/// Whoever asks to be let in has proven nothing yet: he shall not keep the store busy for the others.
const JOINS_AT_ONCE_MAX: usize = 4;

/// What a coordinator needs to give out certificates.
pub struct Issuer {
    authority: Authority,
    /// Where machines that join find the coordinators.
    addresses: Vec<Address>,
    /// What they are told of the store. Empty: it is no business of theirs.
    store_endpoints: Vec<String>,
    joining: Semaphore,
}

pub(crate) fn without_authority() -> Status {
    Status::failed_precondition(
        "this coordinator gives out no certificates: ask one that has the authority (`authority` in its config.yaml), or make \
         one here with `rrctl ca init`",
    )
}

impl Issuer {
    #[must_use]
    pub fn new(authority: Authority, addresses: Vec<Address>, store_endpoints: Vec<String>) -> Self {
        Self { authority, addresses, store_endpoints, joining: Semaphore::new(JOINS_AT_ONCE_MAX) }
    }

    /// Makes a word that lets one machine in.
    pub(crate) async fn create_token(
        &self,
        fleet: &Fleet,
        caller: &Caller,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenReply, Status> {
        let v1::CreateTokenRequest { role, ttl_s, addresses, who } = request;
        let role = Role::parse(&role).map_err(|e| bad(e.to_string()))?;
        let ttl_s = if ttl_s == 0 { TOKEN_TTL_MAX_S } else { ttl_s };
        if ttl_s > TOKEN_TTL_MAX_S {
            return Err(bad(format!(
                "a token lives at most {TOKEN_TTL_MAX_S} s: ask for another one when it is needed"
            )));
        }
        let expires_unix_ms = unix_ms() + u64::from(ttl_s) * 1_000;
        let mut secret = [0; SECRET_BYTES];
        for half in secret.chunks_exact_mut(16) {
            half.copy_from_slice(&OsEntropy.bits());
        }
        let token = JoinToken {
            secret,
            fleet: self.authority.fleet().clone(),
            role,
            expires_unix_ms,
            addresses: self.addresses(&addresses)?,
            authority: self.authority.certificate().clone(),
        };
        let text = token.text().map_err(|e| bad(e.to_string()))?;
        let who = caller.who(&crate::ops::text("who", who)?);
        let invitation = Invitation { role: role.word().to_owned(), who: who.clone(), expires_unix_ms };
        let ttl = Span::from_secs(ttl_s.into());
        fleet.invite(&hash(&secret), &invitation, ttl).await.map_err(|e| from_fleet(&e))?;
        tracing::warn!(who, %role, ttl_s, "a join token was made");
        Ok(v1::CreateTokenReply { token: text, expires_unix_ms })
    }

    fn addresses(&self, asked: &[String]) -> Result<Vec<Address>, Status> {
        let asked: Result<Vec<_>, _> = asked.iter().map(|a| Address::parse(a)).collect();
        let asked = asked.map_err(|e| bad(e.to_string()))?;
        let addresses = if asked.is_empty() { self.addresses.clone() } else { asked };
        if addresses.is_empty() {
            return Err(Status::failed_precondition(
                "other machines cannot find this coordinator: set `listen.coordinator` and `coordinators` in its config.yaml, \
                 or say `--address https://...`",
            ));
        }
        Ok(addresses)
    }

    /// Lets one machine in. What can be wrong with the request is found before its token is spent.
    pub(crate) async fn join(&self, fleet: &Fleet, request: v1::JoinRequest) -> Result<v1::CertificateReply, Status> {
        let v1::JoinRequest { secret, fleet: theirs, host, name, names, request } = request;
        if theirs != self.authority.fleet().as_str() {
            let ours = self.authority.fleet();
            return Err(Status::permission_denied(format!("the token is of another fleet; this is fleet {ours}")));
        }
        if secret.len() != SECRET_BYTES || names.len() > NAMES_MAX {
            return Err(bad("the token or the request is not whole: copy the token again"));
        }
        let host = HostId::parse(&host).map_err(|e| bad(e.to_string()))?;
        let key = key_in(&request).map_err(|e| bad(e.to_string()))?;
        Authority::check_names(&names).map_err(|e| bad(e.to_string()))?;
        let name: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect();
        let applicant = Applicant {
            host: host.clone(),
            name: name.clone(),
            key: hash(&key),
            token: hash(&secret),
            now_unix_ms: unix_ms(),
        };
        let _turn = self.joining.acquire().await;
        let invitation = match fleet.join(&applicant).await.map_err(|e| from_fleet(&e))? {
            Join::Done(invitation) => invitation,
            refused => return Err(refusal(refused)),
        };
        let role = Role::parse(&invitation.role).map_err(|e| Status::internal(e.to_string()))?;
        let identity = Identity { fleet: self.authority.fleet().clone(), host, role, name };
        let order = Order { identity: &identity, names: &names };
        let certificate = self.authority.sign_request(&request, &order).map_err(|e| unsigned(&e))?;
        tracing::warn!(%identity, invited_by = invitation.who, "a machine joined the fleet");
        Ok(self.reply(&certificate, role))
    }

    /// A new certificate for exactly what the present one says, for the key that the handshake proved.
    pub(crate) fn renew(&self, caller: &Caller) -> Result<v1::CertificateReply, Status> {
        let card = caller.card().ok_or_else(|| {
            bad("only a certificate can be renewed, and this connection showed none: `rrctl join` gets the first one")
        })?;
        let order = Order { identity: &card.identity, names: &card.names };
        let certificate = self.authority.sign_key(&card.key, &order).map_err(|e| unsigned(&e))?;
        tracing::info!(identity = %card.identity, "a certificate was renewed");
        Ok(self.reply(&certificate, card.identity.role))
    }

    fn reply(&self, certificate: &[u8], role: Role) -> v1::CertificateReply {
        v1::CertificateReply {
            certificate: certificate.to_vec(),
            role: role.word().to_owned(),
            store_endpoints: self.store_endpoints.clone(),
        }
    }
}

fn refusal(join: Join) -> Status {
    match join {
        Join::Denied(denial) => from_fleet(&rr_fleet::FleetError::Denied(denial)),
        Join::OtherKey(known) => Status::already_exists(format!(
            "this host id belongs to {} with another key: if this is that machine and its key is lost, remove `host-id` in the \
             state folder and join as a new host",
            known.name
        )),
        Join::NoInvitation { used_by: Some(record) } => Status::permission_denied(format!(
            "the token was used already, by {}: a token lets one machine in; ask an admin for another (`rrctl join-token \
             create`), and if that machine is not yours, tell them",
            record.name
        )),
        Join::NoInvitation { used_by: None } | Join::Done(_) => Status::permission_denied(
            "the token has ended or was never made here: ask an admin for another (`rrctl join-token create`)",
        ),
    }
}

fn unsigned(error: &AuthorityError) -> Status {
    let error = rr_runtime::errors::chain(error);
    tracing::error!(error, "could not sign a certificate");
    Status::internal(format!("could not sign the certificate: {error}"))
}

/// Shuts a host out.
///
/// # Errors
/// If no reason is given, or the store does not answer.
pub async fn deny(fleet: &Fleet, request: v1::DenyRequest) -> Result<v1::DenyReply, Status> {
    let v1::DenyRequest { host, who, reason } = request;
    let host = HostId::parse(&host).map_err(|e| bad(e.to_string()))?;
    let denial = Denial { who: text("who", who)?, reason: text("reason", reason)?, since_unix_ms: unix_ms() };
    let done = fleet.deny(&host, &denial).await.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who = denial.who, reason = denial.reason, %host, sessions = done.sessions_ended, "a host was shut out");
    let sessions_ended = u32::try_from(done.sessions_ended).unwrap_or(u32::MAX);
    Ok(v1::DenyReply { already: done.already.is_some(), sessions_ended })
}

/// Lets a host in again.
///
/// # Errors
/// If nobody is named, or the store does not answer.
pub async fn allow(fleet: &Fleet, request: v1::AllowRequest) -> Result<v1::AllowReply, Status> {
    let v1::AllowRequest { host, who } = request;
    let who = text("who", who)?;
    let host = HostId::parse(&host).map_err(|e| bad(e.to_string()))?;
    let allowed = fleet.allow(&host).await.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who, %host, allowed, "a host was let in again");
    Ok(v1::AllowReply { allowed })
}

/// Every host that joined, is at work, or is shut out.
///
/// # Errors
/// If the store does not answer.
pub async fn hosts(fleet: &Fleet) -> Result<v1::HostsReply, Status> {
    let rows = fleet.hosts().await.map_err(|e| from_fleet(&e))?;
    let hosts = rows.into_iter().map(|row| {
        let (role, since_unix_ms) = row.record.map_or((String::new(), 0), |r| (r.role, r.since_unix_ms));
        let denied = row.denied.map(|d| v1::Denial { who: d.who, reason: d.reason, since_unix_ms: d.since_unix_ms });
        v1::Host { id: row.host.to_string(), name: row.name, role, since_unix_ms, denied }
    });
    Ok(v1::HostsReply { hosts: hosts.collect() })
}
