//! The page over HTTP: `/metrics` for Prometheus, `/healthz` (this process answers) and `/readyz` (it does its work). Plain,
//! for this machine only: the configuration lets no other address in.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::readiness::Readiness;

/// As Prometheus names its text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, thiserror::Error)]
pub enum PageError {
    #[error("listen.metrics {address} goes up to no further port: take a lower one")]
    NoPort { address: SocketAddr },
    #[error("listen for metrics on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: std::io::Error,
    },
}

/// The page, listening.
pub struct Page {
    listener: TcpListener,
    router: Router,
    pub address: SocketAddr,
}

impl Page {
    /// Listens on `address`, `step` ports further: programs of one machine share its file. Port 0 is any free one.
    ///
    /// # Errors
    /// If the address is taken or there is none.
    pub async fn open(address: SocketAddr, step: u16, metrics: Metrics, ready: Readiness) -> Result<Self, PageError> {
        let port = match address.port() {
            0 => 0,
            port => port.checked_add(step).ok_or(PageError::NoPort { address })?,
        };
        let address = SocketAddr::new(address.ip(), port);
        let failed = |source| PageError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "metrics are served");
        Ok(Self { listener, router: router(metrics, ready), address })
    }

    /// # Errors
    /// If the connections can no longer be accepted.
    pub async fn serve(self, shutdown: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(shutdown.cancelled_owned()).await
    }
}

fn router(metrics: Metrics, ready: Readiness) -> Router {
    let text = move || {
        let metrics = metrics.clone();
        async move { ([(header::CONTENT_TYPE, TEXT)], metrics.text().await) }
    };
    let ready = move || async move {
        match ready.check() {
            Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        }
    };
    Router::new().route("/metrics", get(text)).route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;

    async fn asked(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn the_page_tells_health_readiness_and_numbers_and_ends_with_its_program() {
        let any = "127.0.0.1:0".parse().unwrap();
        let ready = Readiness::of(&["watcher"]);
        let page = Page::open(any, 2, Metrics::of("rr-watcher"), ready.clone()).await.unwrap();
        let (address, shutdown) = (page.address, CancellationToken::new());
        let served = tokio::spawn(page.serve(shutdown.clone()));
        assert!(asked(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
        let early = asked(address, "/readyz").await;
        assert!(early.starts_with("HTTP/1.1 503 ") && early.ends_with("waiting for: watcher\n"), "{early}");
        ready.is_up("watcher");
        assert!(asked(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
        assert!(asked(address, "/metrics").await.contains("\nrailroad_leader 0\n"));
        assert!(asked(address, "/else").await.starts_with("HTTP/1.1 404 "));
        let taken = Page::open(address, 0, Metrics::of("x"), ready.clone()).await;
        assert!(matches!(taken, Err(PageError::Listen { .. })));
        shutdown.cancel();
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_port_beyond_the_last_is_refused() {
        let last = "127.0.0.1:65535".parse().unwrap();
        let refused = Page::open(last, 1, Metrics::of("x"), Readiness::default()).await;
        assert!(matches!(refused, Err(PageError::NoPort { .. })));
    }
}
