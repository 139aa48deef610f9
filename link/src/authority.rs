//! The fleet's authority: a key that signs certificates, in a folder for its owner alone. It decides what stands in a
//! certificate; whether somebody gets one is decided before (`rr_coordinator`). From a request it takes the key alone.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SubjectPublicKeyInfo,
};
use rr_core::id::FleetName;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::files::{self, FileError};
use crate::identity::{Identity, Role};
use crate::pem;

/// Long enough that nobody has to think of it; the fleet is set up anew before that.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// A stolen certificate is of no use the next day; renewal is at half of it.
pub const HOST_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// Clocks of machines differ: a certificate is valid a little before it was made.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Names and addresses in one certificate: a machine has a few.
pub const NAMES_MAX: usize = 32;
/// A person's or machine's name, for display.
const NAME_CHARS_MAX: usize = 63;

#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("there is an authority in {} already: it is never written over, because everything it signed would end", .0.display())]
    Exists(PathBuf),
    #[error("{} is the authority of another fleet ({found}), not of {fleet}", folder.display())]
    OtherFleet { folder: PathBuf, found: String, fleet: FleetName },
    #[error("key and certificate of the authority in {} do not belong together", .0.display())]
    Mismatch(PathBuf),
    #[error("{0:?} is neither a host name nor an address")]
    BadName(String),
    #[error("at most {NAMES_MAX} names and addresses fit into one certificate")]
    TooManyNames,
    #[error("the request for a certificate is not understood or not signed by its own key: {0}")]
    BadRequest(String),
    #[error("keys are ECDSA on P-256; this one is of another kind")]
    OtherKey,
    #[error("make a certificate")]
    Sign(#[source] rcgen::Error),
}

/// The authority of one fleet.
pub struct Authority {
    fleet: FleetName,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    life: Duration,
}

/// What shall stand in a certificate.
pub struct Order<'a> {
    pub identity: &'a Identity,
    /// Host names and addresses; dropped for a role that may not serve.
    pub names: &'a [String],
}

/// A private key with its certificate, as PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Makes an authority. One that is there already is left alone.
    ///
    /// # Errors
    /// If there is one, or the folder cannot be written.
    pub fn init(folder: &Path, fleet: &FleetName) -> Result<Self, AuthorityError> {
        let (certificate_file, key_file) = paths(folder);
        if certificate_file.symlink_metadata().is_ok() || key_file.symlink_metadata().is_ok() {
            return Err(AuthorityError::Exists(folder.to_owned()));
        }
        files::make_folder(folder)?;
        let key = new_key()?;
        let mut params = empty(AUTHORITY_LIFE);
        params.distinguished_name.push(DnType::CommonName, common_name(fleet));
        // It signs hosts, never another authority.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(AuthorityError::Sign)?;
        // The key first: a certificate without its key is the half that can do harm by being trusted.
        files::create(&key_file, &key.serialize_pem())?;
        files::create(&certificate_file, &certificate.pem())?;
        Self::open(folder, fleet)
    }

    /// # Errors
    /// If there is none, it is another fleet's, or its files are not a pair.
    pub fn open(folder: &Path, fleet: &FleetName) -> Result<Self, AuthorityError> {
        let (certificate_file, key_file) = paths(folder);
        let key = KeyPair::from_pem(&files::private_text(&key_file)?).map_err(AuthorityError::Sign)?;
        let certificate = files::certificates(&certificate_file)?.swap_remove(0);
        let found = check_pair(&certificate, &key).ok_or_else(|| AuthorityError::Mismatch(folder.to_owned()))?;
        if found != common_name(fleet) {
            return Err(AuthorityError::OtherFleet { folder: folder.to_owned(), found, fleet: fleet.clone() });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(AuthorityError::Sign)?;
        Ok(Self { fleet: fleet.clone(), certificate, issuer, life: HOST_LIFE })
    }

    /// Gives out certificates of another life.
    #[must_use]
    pub fn with_life(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    #[must_use]
    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// Its own certificate: what everybody trusts.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Signs what was ordered for the key of a request. Whatever else the request asks for is not looked at.
    ///
    /// # Errors
    /// If the request is not signed by its own key, or a name is none.
    pub fn sign_request(&self, request: &[u8], order: &Order<'_>) -> Result<CertificateDer<'static>, AuthorityError> {
        self.sign(&key_of(request)?, order)
    }

    /// Signs what was ordered for a key that the caller has seen proven: the one of a connection's certificate.
    ///
    /// # Errors
    /// If the key is of another kind, or a name is none.
    pub fn sign_key(&self, key: &[u8], order: &Order<'_>) -> Result<CertificateDer<'static>, AuthorityError> {
        let key = SubjectPublicKeyInfo::from_der(key).map_err(|e| AuthorityError::BadRequest(e.to_string()))?;
        self.sign(&key, order)
    }

    /// Makes a key and its certificate in one: for a person, or for this machine itself.
    ///
    /// # Errors
    /// As [`Authority::sign_key`].
    pub fn issue(&self, order: &Order<'_>) -> Result<Issued, AuthorityError> {
        let key = new_key()?;
        let certificate = self.sign(&key, order)?;
        Ok(Issued { certificate: pem::certificate(&certificate), key: key.serialize_pem() })
    }

    /// A certificate for a member of the store: it serves and it asks, and it is nobody in the fleet.
    ///
    /// # Errors
    /// As [`Authority::sign_key`].
    pub fn issue_for_store(&self, name: &str, names: &[String]) -> Result<Issued, AuthorityError> {
        let key = new_key()?;
        let mut params = empty(self.life);
        params.distinguished_name.push(DnType::CommonName, clip(name));
        params.subject_alt_names = sans(names)?;
        serve_and_ask(&mut params, true);
        let certificate = params.signed_by(&key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(Issued { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Whether these can be names of a machine.
    ///
    /// # Errors
    /// If one of them cannot, or there are too many.
    pub fn check_names(names: &[String]) -> Result<(), AuthorityError> {
        sans(names).map(|_| ())
    }

    fn sign(&self, key: &impl PublicKeyData, order: &Order<'_>) -> Result<CertificateDer<'static>, AuthorityError> {
        if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(AuthorityError::OtherKey);
        }
        let identity = order.identity;
        let serves = identity.role >= Role::SERVES;
        let mut params = empty(self.life);
        params.distinguished_name.push(DnType::CommonName, identity.store_user());
        params.distinguished_name.push(DnType::OrganizationalUnitName, clip(&identity.name));
        let uri = identity.uri().try_into().map_err(AuthorityError::Sign)?;
        params.subject_alt_names = if serves { sans(order.names)? } else { Vec::new() };
        params.subject_alt_names.push(SanType::URI(uri));
        serve_and_ask(&mut params, serves);
        let certificate = params.signed_by(key, &self.issuer).map_err(AuthorityError::Sign)?;
        Ok(certificate.der().clone())
    }
}

/// A new private key, as PEM.
///
/// # Errors
/// If the system gives no randomness.
pub fn new_key_text() -> Result<String, AuthorityError> {
    Ok(new_key()?.serialize_pem())
}

/// A request for a certificate: it carries the key and proves that its maker has it.
///
/// # Errors
/// If `key` is no private key in PEM.
pub fn request_for(key: &str) -> Result<Vec<u8>, AuthorityError> {
    let key = KeyPair::from_pem(key).map_err(AuthorityError::Sign)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(AuthorityError::Sign)?;
    Ok(request.der().to_vec())
}

/// The public key of a request, as it stands in certificates, once the request proves that its maker has the private one.
///
/// # Errors
/// If it does not prove that.
pub fn key_in(request: &[u8]) -> Result<Vec<u8>, AuthorityError> {
    Ok(key_of(request)?.subject_public_key_info())
}

fn key_of(request: &[u8]) -> Result<rcgen::PublicKey, AuthorityError> {
    let der = CertificateSigningRequestDer::from(request);
    let parsed =
        CertificateSigningRequestParams::from_der(&der).map_err(|e| AuthorityError::BadRequest(e.to_string()))?;
    if parsed.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(AuthorityError::OtherKey);
    }
    Ok(parsed.public_key)
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(AuthorityError::Sign)
}

fn paths(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join("ca.pem"), folder.join("ca.key"))
}

fn common_name(fleet: &FleetName) -> String {
    format!("railroad-{fleet} authority")
}

/// The certificate's common name, if the key is its own.
fn check_pair(certificate: &CertificateDer<'_>, key: &KeyPair) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return None;
    }
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

fn empty(life: Duration) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + life).into();
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params
}

fn serve_and_ask(params: &mut CertificateParams, serves: bool) {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if serves {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
}

fn sans(names: &[String]) -> Result<Vec<SanType>, AuthorityError> {
    if names.len() > NAMES_MAX {
        return Err(AuthorityError::TooManyNames);
    }
    names.iter().map(|name| san(name)).collect()
}

/// A wildcard or anything else that is no plain name would speak for more than one machine.
fn san(name: &str) -> Result<SanType, AuthorityError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let bad = || AuthorityError::BadName(name.chars().take(80).collect());
    let label = |part: &str| {
        (1..=63).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(bad());
    }
    Ok(SanType::DnsName(name.to_ascii_lowercase().try_into().map_err(|_| bad())?))
}

/// What stands in a certificate is shown on terminals.
fn clip(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Card, IdentityError};
    use rr_core::id::HostId;
    use std::os::unix::fs::MetadataExt as _;

    fn identity(role: Role) -> Identity {
        let host = HostId::from_random([7; 16]);
        Identity { fleet: FleetName::default(), host, role, name: "box-1".to_owned() }
    }

    fn authority() -> (tempfile::TempDir, Authority) {
        let dir = tempfile::tempdir().unwrap();
        let made = Authority::init(&dir.path().join("ca"), &FleetName::default()).unwrap();
        (dir, made)
    }

    #[test]
    fn an_authority_is_made_once_for_its_owner_alone() {
        let (dir, _) = authority();
        let folder = dir.path().join("ca");
        assert_eq!(std::fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::metadata(folder.join("ca.key")).unwrap().mode() & 0o777, 0o600);
        let before = std::fs::read(folder.join("ca.key")).unwrap();
        assert!(matches!(Authority::init(&folder, &FleetName::default()), Err(AuthorityError::Exists(_))));
        assert_eq!(std::fs::read(folder.join("ca.key")).unwrap(), before);
        let other = FleetName::parse("other").unwrap();
        assert!(matches!(Authority::open(&folder, &other), Err(AuthorityError::OtherFleet { .. })));
    }

    #[test]
    fn an_authority_whose_key_was_exchanged_is_refused() {
        let (dir, _) = authority();
        let key = dir.path().join("ca/ca.key");
        std::fs::write(&key, new_key_text().unwrap()).unwrap();
        let opened = Authority::open(&dir.path().join("ca"), &FleetName::default());
        assert!(matches!(opened, Err(AuthorityError::Mismatch(_))));
    }

    #[test]
    fn of_a_request_only_the_key_is_taken() {
        let (_dir, authority) = authority();
        // A request that asks to be an authority and an admin of another machine.
        let key = new_key().unwrap();
        let mut greedy = CertificateParams::new(vec!["etcd-1".to_owned()]).unwrap();
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        greedy.distinguished_name.push(DnType::CommonName, "root");
        let admin = Identity { role: Role::Admin, host: HostId::from_random([9; 16]), ..identity(Role::Admin) };
        greedy.subject_alt_names.push(SanType::URI(admin.uri().try_into().unwrap()));
        let request = greedy.serialize_request(&key).unwrap();
        let ordered = identity(Role::Agent);
        let names = ["10.0.0.1".to_owned()];
        let signed = authority.sign_request(request.der(), &Order { identity: &ordered, names: &names }).unwrap();
        let card = Card::read(&signed).unwrap();
        assert_eq!(card.identity, ordered);
        assert_eq!(card.key, key.subject_public_key_info());
        assert!(card.names.is_empty(), "a machine that may not serve has no name to serve under: {:?}", card.names);
        let (_, parsed) = X509Certificate::from_der(&signed).unwrap();
        assert_eq!(parsed.subject().iter_common_name().next().unwrap().as_str().unwrap(), "railroad-default");
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
    }

    #[test]
    fn whoever_may_serve_serves_under_its_own_names_alone() {
        let (_dir, authority) = authority();
        let request = request_for(&new_key_text().unwrap()).unwrap();
        let ordered = identity(Role::Operator);
        let order = |names: &[String]| authority.sign_request(&request, &Order { identity: &ordered, names });
        let card = Card::read(&order(&["Host-A.local".to_owned(), "::1".to_owned()]).unwrap()).unwrap();
        assert_eq!(card.names, ["host-a.local", "::1"]);
        for bad in ["*.local", "a b", "", "a..b", "railroad://default/admin/x", "a/b"] {
            assert!(matches!(order(&[bad.to_owned()]), Err(AuthorityError::BadName(_))), "{bad:?}");
        }
        assert!(matches!(order(&vec!["a".to_owned(); 33]), Err(AuthorityError::TooManyNames)));
    }

    #[test]
    fn a_request_that_its_key_did_not_sign_is_refused() {
        let (_dir, authority) = authority();
        let mut request = request_for(&new_key_text().unwrap()).unwrap();
        let last = request.len() - 1;
        request[last] ^= 1;
        let ordered = identity(Role::Agent);
        for bad in [&request[..], b"garbage", b""] {
            let refused = authority.sign_request(bad, &Order { identity: &ordered, names: &[] });
            assert!(matches!(refused, Err(AuthorityError::BadRequest(_))), "{bad:?}");
        }
    }

    #[test]
    fn a_member_of_the_store_is_nobody_in_the_fleet() {
        let (_dir, authority) = authority();
        let issued = authority.issue_for_store("etcd-1", &["127.0.0.1".to_owned()]).unwrap();
        let certificate = pem::read_certificate(&issued.certificate).unwrap();
        assert_eq!(Card::read(&certificate), Err(IdentityError::NoName));
        assert_eq!(Card::read(authority.certificate()), Err(IdentityError::Authority));
    }

    #[test]
    fn a_certificate_begins_before_it_is_made_and_lives_as_long_as_it_is_told() {
        let (_dir, authority) = authority();
        let authority = authority.with_life(Duration::from_secs(6));
        let ordered = identity(Role::Agent);
        let issued = authority.issue(&Order { identity: &ordered, names: &[] }).unwrap();
        let card = Card::read(&pem::read_certificate(&issued.certificate).unwrap()).unwrap();
        let now = SystemTime::now();
        assert!(card.from <= now - BACKDATE + Duration::from_secs(1));
        assert!(!card.has_ended(now) && card.has_ended(now + Duration::from_secs(7)));
    }
}
