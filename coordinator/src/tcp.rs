//! The address for other programs: without encryption, and so on this machine only. It knows nothing of requests. Next: `app`
//! serves what connects here.

use std::net::SocketAddr;

use futures::{Stream, stream};
use tokio::net::{TcpListener, TcpStream};

use crate::app::ServeError;
use crate::socket::ACCEPT_PAUSE;

/// Listens on an address of this machine that no other machine can reach.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, ServeError> {
    if !address.ip().to_canonical().is_loopback() {
        return Err(ServeError::Open(address));
    }
    let failed = |source| ServeError::Tcp { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    tracing::info!(%address, "the coordinator listens");
    Ok(listener)
}

pub(crate) fn connections(listener: TcpListener) -> impl Stream<Item = std::io::Result<TcpStream>> {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Answers are small: waiting to fill a packet only costs time.
                    let _ = connection.set_nodelay(true);
                    return Some((Ok(connection), listener));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    })
}
