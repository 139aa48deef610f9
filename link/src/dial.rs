//! Reaching a coordinator: `https://` with both ends proven, or `http://` on this machine only. Each new connection shows the
//! certificate that is in use at that moment. What is asked over it is the caller's.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, Error as TlsError};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::material::Material;
use crate::verify::Objection;

/// Name, connection and handshake together; after it the next address is tried.
pub const CONNECT_MAX: Duration = Duration::from_secs(4);
/// A connection whose other end went without a word is found dead within this and the next one.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEP_ALIVE_ANSWER_MAX: Duration = Duration::from_secs(3);
/// Where a coordinator listens if no port is named.
pub const PORT: u16 = 7_420;

/// Where a coordinator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    tls: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("{0:?} is no address of a coordinator: write it as https://host:{PORT}")]
    Bad(String),
    #[error(
        "{0:?} is on another machine and without TLS, and whoever is on the way could read and change what is said: write \
         https:// instead"
    )]
    Plain(String),
}

impl Address {
    /// # Errors
    /// If it is none, or plain and not on this machine.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Bad(text.chars().take(120).collect());
        let (tls, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(bad()),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = split(rest).ok_or_else(bad)?;
        ServerName::try_from(host).map_err(|_| bad())?;
        let address = Self { host: host.to_owned(), port, tls };
        if !tls && address.on_this_machine().is_none() {
            return Err(AddressError::Plain(text.chars().take(120).collect()));
        }
        Ok(address)
    }

    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// Loopback addresses and `localhost`, which is never looked up: a name server does not say where this machine is.
    fn on_this_machine(&self) -> Option<SocketAddr> {
        let ip = match self.host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            other => other.parse().ok()?,
        };
        ip.is_loopback().then_some(SocketAddr::new(ip, self.port))
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = match self.on_this_machine() {
            Some(here) => TcpStream::connect(here).await?,
            None => TcpStream::connect((self.host.as_str(), self.port)).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split(rest: &str) -> Option<(&str, u16)> {
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => rest.find(':').map_or((rest, ""), |at| rest.split_at(at)),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => PORT,
        None => return None,
        Some(digits) => digits.parse().ok().filter(|p| *p > 0)?,
    };
    Some((host, port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("{0} asks for a certificate and this machine has none: `rrctl join` with a token gets one")]
    NoCertificate(Address),
    #[error(
        "this machine's certificate ended {} ago, so nobody believes it: `rrctl join` with a new token (an admin makes it \
         with `rrctl join-token create`)",
        span(*.0)
    )]
    Ended(Duration),
    #[error("reach {address}: {why}")]
    Failed {
        address: Address,
        why: String,
        #[source]
        source: tonic::transport::Error,
    },
}

/// A channel to one coordinator. It connects anew by itself, with the certificate of that moment.
///
/// # Errors
/// If this machine has no certificate to show, or the coordinator cannot be reached or believed.
pub async fn dial(address: &Address, material: Option<&Material>) -> Result<Channel, DialError> {
    if !address.tls {
        return open(address, None).await;
    }
    let material = material.cloned().ok_or_else(|| DialError::NoCertificate(address.clone()))?;
    // Somebody may have renewed it by hand a moment ago.
    material.look();
    if let Ok(ago) = SystemTime::now().duration_since(material.current().card.until) {
        return Err(DialError::Ended(ago));
    }
    open(address, Some(Arc::new(move || material.current().client()))).await
}

/// The configuration for one new connection.
type Show = Arc<dyn Fn() -> Arc<ClientConfig> + Send + Sync>;

pub(crate) async fn open(address: &Address, show: Option<Show>) -> Result<Channel, DialError> {
    let target = address.clone();
    let connector = service_fn(move |_| {
        let (target, show) = (target.clone(), show.clone());
        async move { connect(&target, show.as_ref().map(|show| show())).await.map(TokioIo::new) }
    });
    // The name is never looked up: the connector knows the way.
    let endpoint = Endpoint::from_static("http://coordinator.railroad")
        .connect_timeout(CONNECT_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
        .keep_alive_timeout(KEEP_ALIVE_ANSWER_MAX)
        .keep_alive_while_idle(true);
    endpoint.connect_with_connector(connector).await.map_err(|source| DialError::Failed {
        address: address.clone(),
        why: explain(&source),
        source,
    })
}

trait Both: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Both for T {}

async fn connect(address: &Address, config: Option<Arc<ClientConfig>>) -> io::Result<Box<dyn Both>> {
    let connecting = async {
        let stream = address.connect().await?;
        let Some(config) = config else { return Ok(Box::new(stream) as Box<dyn Both>) };
        let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Box::new(stream) as Box<dyn Both>)
    };
    tokio::time::timeout(CONNECT_MAX, connecting)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within its time")))
}

/// Why a connection or a call over it failed, in words that say what to do; the layers above only say that it did.
#[must_use]
pub fn explain(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    let mut next = Some(error);
    while let Some(present) = next {
        innermost = present;
        if let Some(told) = present.downcast_ref::<TlsError>().and_then(of_tls) {
            return told;
        }
        // An I/O error hides what it wraps: its source is the source of that.
        let wrapped = present.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(told) = wrapped.and_then(|w| w.downcast_ref::<TlsError>()).and_then(of_tls) {
            return told;
        }
        next = present.source();
    }
    // On a connection in use the layer above keeps the alert's text alone.
    let text = innermost.to_string();
    let alert = text.split_once("received fatal alert: ").and_then(|(_, alert)| of_alert(alert.trim()));
    alert.map_or(text, str::to_owned)
}

fn of_tls(error: &TlsError) -> Option<String> {
    use CertificateError as C;
    let told = match error {
        TlsError::AlertReceived(alert) => return of_alert(&format!("{alert:?}")).map(str::to_owned),
        TlsError::InvalidCertificate(C::Other(other)) => {
            let objection = other.0.downcast_ref::<Objection>()?;
            return Some(format!("its certificate is refused: {objection}"));
        }
        TlsError::InvalidCertificate(C::UnknownIssuer | C::BadSignature) => {
            "its certificate was signed by another authority: it is no coordinator of this fleet, or somebody stands in \
             for it"
        }
        TlsError::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            "its certificate has ended: restart the coordinator there, and compare both clocks"
        }
        TlsError::InvalidCertificate(C::NotValidYet | C::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: compare both clocks"
        }
        TlsError::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            "its certificate is for other names than the one it was reached by"
        }
        TlsError::InvalidCertificate(C::InvalidPurpose | C::InvalidPurposeContext { .. }) => {
            "its certificate is not that of a coordinator: the role of its machine is below operator"
        }
        TlsError::InvalidMessage(_) => "it does not speak TLS",
        _ => return None,
    };
    Some(told.to_owned())
}

/// By the alert's name in the protocol.
fn of_alert(alert: &str) -> Option<&'static str> {
    Some(match alert {
        "UnknownCA" | "DecryptError" | "BadCertificate" => {
            "it refuses this machine's certificate: another authority signed it (is this another fleet?)"
        }
        "CertificateExpired" => {
            "it refuses this machine's certificate as ended: `rrctl join` with a new token, and compare both clocks"
        }
        "CertificateRequired" => "it asks for a certificate and got none: `rrctl join` with a token gets one",
        "CertificateUnknown" | "AccessDenied" => {
            "it refuses this machine's certificate: it is of another fleet, or of none"
        }
        "ProtocolVersion" => "it speaks another version of TLS: update the older of the two programs",
        _ => return None,
    })
}

/// A span in words.
fn span(of: Duration) -> String {
    match of.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_with_and_without_its_port() {
        for (text, shown) in [
            ("https://host-a", "https://host-a:7420"),
            ("https://host-a.local:1/", "https://host-a.local:1"),
            ("https://10.0.0.1:7421", "https://10.0.0.1:7421"),
            ("https://[fd00::1]", "https://[fd00::1]:7420"),
            ("https://[fd00::1]:9", "https://[fd00::1]:9"),
            ("http://127.0.0.1:7420", "http://127.0.0.1:7420"),
            ("http://127.9.9.9", "http://127.9.9.9:7420"),
            ("http://localhost:7420", "http://localhost:7420"),
            ("http://[::1]:7420", "http://[::1]:7420"),
        ] {
            assert_eq!(Address::parse(text).map(|a| a.to_string()), Ok(shown.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "host",
            "host:1",
            "ftp://host",
            "https://",
            "https://host:0",
            "https://host:x",
            "https://host:70000",
            "https://[fd00::1",
            "https://[::1]x",
            "https://a b",
            "https://user@host",
            "https://host/path",
        ] {
            assert!(matches!(Address::parse(text), Err(AddressError::Bad(_))), "{text:?}");
        }
    }

    #[test]
    fn plain_connections_to_other_machines_are_refused_with_what_to_write() {
        for text in ["http://host-a:7420", "http://10.0.0.1", "http://localhost.evil.example", "http://0.0.0.0:7420"] {
            let refused = Address::parse(text).unwrap_err();
            assert!(matches!(refused, AddressError::Plain(_)) && refused.to_string().contains("https://"), "{text}");
        }
    }
}
