//! The TLS files of this machine: read whole for each connection, and read again now and then to see whether they have
//! changed. Who renews them, and what is in them, is not known here.

use std::path::Path;

use etcd_client::{Certificate, Identity, TlsOptions};
use tonic::transport::Endpoint;

use super::failure::chain;
use super::options::TlsFiles;

/// What the three files hold at one time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Material {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Material {
    pub(super) fn config(&self) -> TlsOptions {
        let identity = Identity::from_pem(&self.cert, &self.key);
        TlsOptions::new().ca_certificate(Certificate::from_pem(&self.ca)).identity(identity)
    }
}

/// Whether a connection could be made with them at all.
pub(super) async fn check(files: &TlsFiles) -> Result<(), String> {
    let material = read(files).await?;
    let any = Endpoint::from_static("https://localhost").tls_config(material.config());
    any.map(drop).map_err(|error| {
        let names = [&files.ca, &files.cert, &files.key].map(|path| path.display().to_string()).join(", ");
        format!("{names} do not go together: {}", chain(&error))
    })
}

/// An error names the file.
pub(super) async fn read(files: &TlsFiles) -> Result<Material, String> {
    let (ca, cert, key) = (pem(&files.ca).await?, pem(&files.cert).await?, pem(&files.key).await?);
    Ok(Material { ca, cert, key })
}

async fn pem(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = tokio::fs::read(path).await.map_err(|e| format!("read {}: {e}", path.display()))?;
    // The library takes a file without any for an empty list, and fails much later.
    if !bytes.windows(11).any(|window| window == b"-----BEGIN ") {
        return Err(format!("{} holds no PEM block", path.display()));
    }
    Ok(bytes)
}
