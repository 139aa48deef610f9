//! The handshake's own question: is this certificate one of our fleet's, and may its owner be at that end? Both answers are
//! given before a byte of a request is read. Chain, validity and names are checked by the library; here is what is ours.
//! Next: `material` puts these into configurations.

use std::fmt;
use std::sync::Arc;

use rr_core::id::FleetName;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::identity::{Card, IdentityError, Role};

/// Why a certificate that the authority signed is refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Objection {
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("it is of fleet {found}, and this is fleet {ours}")]
    OtherFleet { found: FleetName, ours: FleetName },
    #[error("its role is {found}, and only {} and above may be a coordinator", Role::SERVES)]
    MayNotServe { found: Role },
}

fn refuse(objection: Objection) -> TlsError {
    TlsError::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(objection))))
}

fn of_fleet(certificate: &CertificateDer<'_>, ours: &FleetName) -> Result<Card, Objection> {
    let card = Card::read(certificate)?;
    let found = &card.identity.fleet;
    if found != ours {
        return Err(Objection::OtherFleet { found: found.clone(), ours: ours.clone() });
    }
    Ok(card)
}

pub(crate) fn roots(authority: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in authority {
        roots.add(certificate.clone())?;
    }
    Ok(Arc::new(roots))
}

/// What a caller asks of a coordinator's certificate.
pub(crate) struct CoordinatorVerifier {
    inner: Arc<WebPkiServerVerifier>,
    fleet: FleetName,
}

impl CoordinatorVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        fleet: FleetName,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, TlsError> {
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .map_err(|e| TlsError::General(e.to_string()))?;
        Ok(Arc::new(Self { inner, fleet }))
    }
}

impl fmt::Debug for CoordinatorVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoordinatorVerifier").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for CoordinatorVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verified = self.inner.verify_server_cert(certificate, between, name, ocsp, now)?;
        let card = of_fleet(certificate, &self.fleet).map_err(refuse)?;
        let found = card.identity.role;
        if found < Role::SERVES {
            return Err(refuse(Objection::MayNotServe { found }));
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// What a coordinator asks of a caller's certificate; whether one without any may come in is its listener's choice.
pub(crate) struct CallerVerifier {
    inner: Arc<dyn ClientCertVerifier>,
    fleet: FleetName,
}

impl CallerVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        fleet: FleetName,
        strangers: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let builder = if strangers { builder.allow_unauthenticated() } else { builder };
        let inner = builder.build().map_err(|e| TlsError::General(e.to_string()))?;
        Ok(Arc::new(Self { inner, fleet }))
    }
}

impl fmt::Debug for CallerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallerVerifier").field("fleet", &self.fleet).finish_non_exhaustive()
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self.inner.verify_client_cert(certificate, between, now)?;
        of_fleet(certificate, &self.fleet).map_err(refuse)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.inner.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Whether `certificate` is one of `fleet`'s, signed by that authority and valid now: for one that came as an answer.
pub(crate) fn check_received(
    authority: &[CertificateDer<'static>],
    fleet: &FleetName,
    certificate: &CertificateDer<'_>,
) -> Result<Card, TlsError> {
    let verifier = CallerVerifier::new(roots(authority)?, fleet.clone(), false, &provider())?;
    verifier.verify_client_cert(certificate, &[], UnixTime::now())?;
    of_fleet(certificate, fleet).map_err(refuse)
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    };
    use std::time::Duration;

    /// A server's certificate by hand: our own authority gives none to a role that may not serve.
    fn made(uris: &[String]) -> (CertificateDer<'static>, CertificateDer<'static>) {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut host = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        host.subject_alt_names.extend(uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap())));
        host.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let host = host.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
        (authority.der().clone(), host.der().clone())
    }

    fn as_coordinator(uris: &[String]) -> Result<(), String> {
        let (authority, host) = made(uris);
        let roots = roots(&[authority]).unwrap();
        let verifier = CoordinatorVerifier::new(roots, FleetName::default(), &provider()).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        match verifier.verify_server_cert(&host, &[], &name, &[], now) {
            Ok(_) => Ok(()),
            Err(TlsError::InvalidCertificate(CertificateError::Other(why))) => Err(why.0.to_string()),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_coordinator_is_one_host_of_our_fleet_that_may_serve() {
        let uri = |fleet: &str, role: &str| format!("railroad://{fleet}/{role}/{}", "a".repeat(32));
        let told = |uris: &[String]| as_coordinator(uris).unwrap_err();
        for role in ["operator", "admin"] {
            assert_eq!(as_coordinator(&[uri("default", role)]), Ok(()));
        }
        for role in ["viewer", "agent"] {
            assert!(told(&[uri("default", role)]).contains("only operator and above"), "{role}");
        }
        assert!(told(&[uri("other", "admin")]).contains("it is of fleet other"));
        assert!(told(&[]).contains("names no fleet"));
        assert!(told(&[uri("default", "admin"), uri("default", "viewer")]).contains("several"));
    }
}
