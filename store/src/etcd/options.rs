//! Where the cluster is and who we are to it, checked before anything is sent; and why a connection to it cannot be had,
//! in words that name the endpoint and say what to do. It opens no connection.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use tonic::transport::Uri;

/// A cluster has three to seven members; more is a list that somebody has pasted wrongly.
const ENDPOINTS_MAX: usize = 32;

/// How to reach a cluster.
#[derive(Clone, Debug, Default)]
pub struct EtcdOptions {
    /// `http://HOST:PORT` or `https://HOST:PORT`, one a member.
    pub endpoints: Vec<String>,
    /// Absent: no user, or the one that the certificate's common name stands for.
    pub credentials: Option<Credentials>,
    pub tls: Option<TlsFiles>,
}

#[derive(Clone)]
pub struct Credentials {
    pub user: String,
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// PEM files. They are read for each new connection, and looked at again while connected.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why there is no store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("no etcd endpoints are configured; list them under `store.endpoints`")]
    NoEndpoints,
    #[error("etcd endpoint {endpoint:?}: {why}")]
    BadEndpoint { endpoint: String, why: String },
    #[error("etcd endpoints {plain} and {tls} mix http and https; use https for all of them, or for none")]
    Mixed { plain: String, tls: String },
    #[error("TLS files for etcd: {why}")]
    Tls { why: String },
    #[error("etcd at {endpoint} refuses us: {why}")]
    Refused { endpoint: String, why: String },
    #[error("no etcd endpoint can be reached; start etcd or correct `store.endpoints`:{}", listed(.tried))]
    Unreachable {
        /// Each endpoint with its cause.
        tried: Vec<(String, String)>,
    },
    #[error("etcd endpoints {one} and {other} belong to different clusters; keep those of one cluster only")]
    TwoClusters { one: String, other: String },
}

fn listed(tried: &[(String, String)]) -> String {
    tried.iter().map(|(endpoint, why)| format!("\n  {endpoint}: {why}")).collect()
}

/// Endpoints that can be dialled.
pub(super) fn check(options: &EtcdOptions) -> Result<Vec<Uri>, ConnectError> {
    let uris = options.endpoints.iter().map(|e| parse(e)).collect::<Result<Vec<_>, _>>()?;
    let bad = |endpoint: &Uri, why: &str| ConnectError::BadEndpoint { endpoint: shown(endpoint), why: why.into() };
    let Some(first) = uris.first() else { return Err(ConnectError::NoEndpoints) };
    if let Some(many) = uris.get(ENDPOINTS_MAX) {
        return Err(bad(many, &format!("more than {ENDPOINTS_MAX} endpoints; one for each member is enough")));
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = uris.iter().find(|uri| !seen.insert(shown(uri))) {
        return Err(bad(twice, "it is listed twice; list each member once"));
    }
    if let Some(other) = uris.iter().find(|uri| uri.scheme() != first.scheme()) {
        let (plain, tls) = if is_tls(first) { (other, first) } else { (first, other) };
        return Err(ConnectError::Mixed { plain: shown(plain), tls: shown(tls) });
    }
    match (is_tls(first), &options.tls) {
        (true, None) => Err(bad(first, "https needs a CA, a certificate and its key; configure `tls`, or use http")),
        (false, Some(_)) => Err(bad(first, "TLS files are configured, but it is http; write https")),
        _ => Ok(uris),
    }
}

fn parse(endpoint: &str) -> Result<Uri, ConnectError> {
    let bad = |why: &str| ConnectError::BadEndpoint { endpoint: endpoint.into(), why: why.into() };
    const FORM: &str = "write it as https://HOST:PORT or http://HOST:PORT";
    let uri: Uri = endpoint.trim().parse().map_err(|e| bad(&format!("{e}; {FORM}")))?;
    let scheme_known = matches!(uri.scheme_str(), Some("http" | "https"));
    let bare = uri.path_and_query().is_none_or(|rest| rest.as_str() == "/");
    if !scheme_known || !bare || uri.port_u16().is_none() || uri.host().is_none_or(str::is_empty) {
        return Err(bad(FORM));
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(bad("a user does not belong into an endpoint; use `store.user` and `store.password_file`"));
    }
    Ok(uri)
}

pub(super) fn is_tls(uri: &Uri) -> bool {
    uri.scheme_str() == Some("https")
}

/// As people write it: without the slash that a parsed address ends with.
pub(super) fn shown(uri: &Uri) -> String {
    uri.to_string().trim_end_matches('/').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(endpoints: &[&str]) -> EtcdOptions {
        EtcdOptions { endpoints: endpoints.iter().map(|e| (*e).to_owned()).collect(), ..EtcdOptions::default() }
    }

    #[test]
    fn endpoints_that_cannot_be_dialled_are_named() {
        for wrong in [
            "",
            " ",
            "10.0.0.1:2379",
            "10.0.0.1",
            "ftp://a:1",
            "http://a",
            "http://:2379",
            "http://a:2379/v3",
            "http://a:99999",
            "http://root:secret@a:2379",
            "unix:///tmp/etcd.sock",
            "http://a b:2379",
        ] {
            let error = check(&with(&["http://127.0.0.1:2379", wrong])).expect_err(wrong);
            assert!(
                matches!(&error, ConnectError::BadEndpoint { endpoint, .. } if endpoint == wrong),
                "{wrong}: {error:?}"
            );
        }
        assert_eq!(check(&with(&[])).unwrap_err(), ConnectError::NoEndpoints);
        assert!(check(&with(&["http://a:2379", "http://A:2379/"])).unwrap_err().to_string().contains("listed twice"));
        assert_eq!(check(&with(&[" http://a:2379", "http://[::1]:2379"])).unwrap().len(), 2);
    }

    #[test]
    fn plain_and_tls_endpoints_are_not_mixed() {
        let mixed = check(&with(&["http://a:1", "https://b:1"])).unwrap_err();
        assert_eq!(mixed, ConnectError::Mixed { plain: "http://a:1".into(), tls: "https://b:1".into() });
        assert!(check(&with(&["https://a:1"])).unwrap_err().to_string().contains("https needs"));
        let files = TlsFiles { ca: "ca".into(), cert: "cert".into(), key: "key".into() };
        let useless = EtcdOptions { tls: Some(files.clone()), ..with(&["http://a:1"]) };
        assert!(check(&useless).unwrap_err().to_string().contains("write https"));
        assert!(check(&EtcdOptions { tls: Some(files), ..with(&["https://a:1"]) }).is_ok());
    }

    #[test]
    fn a_password_is_never_printed() {
        let credentials = Credentials { user: "fleet".into(), password: "hunter2".into() };
        let options = EtcdOptions { credentials: Some(credentials), ..with(&["http://a:1"]) };
        let text = format!("{options:?}");
        assert!(text.contains("fleet") && !text.contains("hunter2"), "{text}");
    }
}
