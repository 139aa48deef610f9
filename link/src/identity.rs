//! Who a certificate speaks for: fleet, host and role, read from one name in it. Whether the certificate can be believed is
//! for the handshake (`verify`); what a role may do is for the coordinator's table.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rr_core::id::{FleetName, HostId};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

const SCHEME: &str = "railroad://";

/// What somebody may do, from least to most: each may do all that those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks on.
    Viewer,
    /// A machine on which agents work.
    Agent,
    /// Pauses and resumes, takes locks away, and serves: a coordinator's machine has this role at least.
    Operator,
    /// Lets machines in and shuts them out.
    Admin,
}

impl Role {
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Agent, Self::Operator, Self::Admin];
    /// Below it nobody is believed to be a coordinator, and no certificate is good for a server: a machine that agents work
    /// on could stand in for the store otherwise.
    pub const SERVES: Self = Self::Operator;

    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Agent => "agent",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// # Errors
    /// If `word` is none of the four.
    pub fn parse(word: &str) -> Result<Self, NoRole> {
        Self::ALL.into_iter().find(|r| r.word() == word).ok_or_else(|| NoRole(word.chars().take(40).collect()))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no role: it is viewer, agent, operator or admin")]
pub struct NoRole(String);

/// Who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub fleet: FleetName,
    /// A machine, or a person's own certificate: what a denial names.
    pub host: HostId,
    pub role: Role,
    /// For people only.
    pub name: String,
}

impl Identity {
    /// The name in the certificate that says it all.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{SCHEME}{}/{}/{}", self.fleet, self.role, self.host)
    }

    /// The user that the store knows it as. A viewer gets none that exists: the store cannot tell reading from writing by role.
    #[must_use]
    pub fn store_user(&self) -> String {
        match self.role {
            Role::Viewer => format!("railroad-{}-viewer", self.fleet),
            Role::Agent | Role::Operator | Role::Admin => store_user(&self.fleet),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.role, self.name, self.host.short())
    }
}

/// The store's user of one fleet: whoever has it may write the fleet's keys and no others.
#[must_use]
pub fn store_user(fleet: &FleetName) -> String {
    format!("railroad-{fleet}")
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    #[error("the certificate is none of a railroad host (it names no fleet, role and host)")]
    NoName,
    #[error("the certificate names several railroad hosts")]
    SeveralNames,
    #[error("the certificate's railroad name {0:?} is not understood")]
    BadName(String),
    #[error("the certificate is an authority's, not a host's")]
    Authority,
}

/// All that is read from one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub identity: Identity,
    pub from: SystemTime,
    pub until: SystemTime,
    /// The public key, as DER: what stays the same from one certificate of a host to the next.
    pub key: Vec<u8>,
    /// Host names and addresses it may serve under.
    pub names: Vec<String>,
}

impl Card {
    /// # Errors
    /// If it is no certificate, or not that of exactly one host.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let unreadable = |e: &dyn fmt::Display| IdentityError::Unreadable(e.to_string());
        let (rest, parsed) = X509Certificate::from_der(certificate).map_err(|e| unreadable(&e))?;
        if !rest.is_empty() {
            return Err(IdentityError::Unreadable("something follows it".to_owned()));
        }
        if parsed.is_ca() {
            return Err(IdentityError::Authority);
        }
        let validity = parsed.validity();
        let (uri, names) = names_of(&parsed)?;
        let mut identity = parse(&uri)?;
        let unit = parsed.subject().iter_organizational_unit().next();
        identity.name = unit.and_then(|u| u.as_str().ok()).unwrap_or_default().to_owned();
        Ok(Self {
            identity,
            from: at(validity.not_before.timestamp()),
            until: at(validity.not_after.timestamp()),
            key: parsed.public_key().raw.to_vec(),
            names,
        })
    }

    #[must_use]
    pub fn has_ended(&self, now: SystemTime) -> bool {
        now >= self.until
    }
}

/// Our own name, and the names it may serve under.
fn names_of(certificate: &X509Certificate<'_>) -> Result<(String, Vec<String>), IdentityError> {
    let found = certificate.subject_alternative_name().map_err(|e| IdentityError::Unreadable(e.to_string()))?;
    let (mut own, mut names) = (Vec::new(), Vec::new());
    for name in found.iter().flat_map(|san| &san.value.general_names) {
        match name {
            GeneralName::URI(uri) if uri.starts_with(SCHEME) => own.push((*uri).to_owned()),
            GeneralName::DNSName(name) => names.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
            _ => {}
        }
    }
    match (own.pop(), own.is_empty()) {
        (None, _) => Err(IdentityError::NoName),
        (Some(_), false) => Err(IdentityError::SeveralNames),
        (Some(uri), true) => Ok((uri, names)),
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

fn parse(uri: &str) -> Result<Identity, IdentityError> {
    let bad = || IdentityError::BadName(uri.chars().take(160).collect());
    let parts: Vec<&str> = uri.strip_prefix(SCHEME).ok_or_else(bad)?.split('/').collect();
    let [fleet, role, host] = parts[..] else { return Err(bad()) };
    Ok(Identity {
        fleet: FleetName::parse(fleet).map_err(|_| bad())?,
        role: Role::parse(role).map_err(|_| bad())?,
        host: HostId::parse(host).map_err(|_| bad())?,
        name: String::new(),
    })
}

fn at(seconds: i64) -> SystemTime {
    // Before 1970 or after the year 2500 or so nothing of ours is valid; either end of time says the same.
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(1 << 34))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_ordered_and_spelt_one_way_only() {
        assert!(Role::Viewer < Role::Agent && Role::Agent < Role::Operator && Role::Operator < Role::Admin);
        for role in Role::ALL {
            assert_eq!(Role::parse(role.word()), Ok(role));
        }
        for word in ["", "Admin", "root", "admin "] {
            assert!(Role::parse(word).is_err(), "{word:?}");
        }
    }

    #[test]
    fn a_name_in_a_certificate_is_read_as_written_or_not_at_all() {
        let identity = Identity {
            fleet: FleetName::parse("blue.team").unwrap(),
            host: HostId::from_random([7; 16]),
            role: Role::Agent,
            name: String::new(),
        };
        assert_eq!(parse(&identity.uri()), Ok(identity.clone()));
        let host = identity.host.as_str();
        for bad in [
            "railroad://blue/agent".to_owned(),
            format!("railroad://blue/agent/{host}/admin"),
            format!("railroad://blue/Admin/{host}"),
            format!("railroad://blue//{host}"),
            format!("railroad://../agent/{host}x"),
            format!("railroad://blue/agent/{}", host.to_uppercase().replace('0', "G")),
        ] {
            assert!(matches!(parse(&bad), Err(IdentityError::BadName(_))), "{bad}");
        }
    }

    #[test]
    fn a_viewer_is_no_user_of_the_store() {
        let mut identity = Identity {
            fleet: FleetName::default(),
            host: HostId::from_random([7; 16]),
            role: Role::Viewer,
            name: String::new(),
        };
        assert_eq!(identity.store_user(), "railroad-default-viewer");
        identity.role = Role::Agent;
        assert_eq!(identity.store_user(), store_user(&identity.fleet));
    }
}
