//! Taking connections: each comes out with who is at its other end, proven before a byte of a request is read. Handshakes run
//! beside each other under a deadline, and nobody can take all places. What a peer may do is the server's to say.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use crate::dial::explain;
use crate::identity::{Card, Role};
use crate::loopback;
use crate::material::Material;

/// A handshake is two round trips; who needs longer is not there.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(5);
/// One without a certificate comes to show a token: one request.
pub const STRANGER_LIFE: Duration = Duration::from_secs(30);
/// Connections in all, and from one address: a fleet's machines and people many times over (H29).
const PLACES: Places = Places { all: 2_048, an_address: 128, strangers: 64, handshakes: 256 };
/// Out of file descriptors or the like: waiting is all that helps, and spinning would not.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
struct Places {
    all: usize,
    an_address: usize,
    strangers: usize,
    handshakes: usize,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub enum Peer {
    /// A program of this user on this machine.
    Local,
    /// Whoever this certificate names.
    Host(Arc<Card>),
    /// Nobody yet: no certificate was shown.
    Stranger,
}

impl Peer {
    /// What it may do at most. A stranger may do nothing.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self {
            Self::Local => Some(Role::Admin),
            Self::Host(card) => Some(card.identity.role),
            Self::Stranger => None,
        }
    }
}

/// One connection, whatever it runs over.
pub struct Connection {
    peer: Peer,
    io: Io,
    /// When its right ends: with its certificate, whatever goes on over it then.
    ends: Option<Pin<Box<Sleep>>>,
    _place: Option<Place>,
}

enum Io {
    Unix(UnixStream),
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// One over a unix socket whose other end was seen to be this user's.
    #[must_use]
    pub fn local(stream: UnixStream) -> Self {
        Self { peer: Peer::Local, io: Io::Unix(stream), ends: None, _place: None }
    }

    fn over(&mut self) -> Pin<&mut dyn Both> {
        match &mut self.io {
            Io::Unix(io) => Pin::new(io),
            Io::Plain(io) => Pin::new(io),
            Io::Tls(io) => Pin::new(io.as_mut()),
        }
    }

    fn has_ended(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let Some(ends) = &mut self.ends else { return Ok(()) };
        if ends.as_mut().poll(cx).is_pending() {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the certificate of the other end has ended"))
    }
}

trait Both: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Both for T {}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.has_ended(cx)?;
        self.over().poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.has_ended(cx)?;
        self.over().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.over().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.over().poll_shutdown(cx)
    }
}

/// A listener's door.
#[derive(Clone)]
pub enum Door {
    /// Certificates are asked for. `strangers`: one without may come in, to show a token.
    Tls { material: Material, strangers: bool },
    /// Loopback without certificates: this user's programs only.
    Loopback,
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(
        "{0} can be reached from other machines, and there is no certificate to prove who speaks: set `tls` in \
         config.yaml (`rrctl ca init` or `rrctl join` makes what it names), or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
    #[error("listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
}

/// Listens on an address. Without certificates only loopback is taken.
///
/// # Errors
/// If the address is open to others without certificates, or cannot be bound.
pub async fn listen(address: SocketAddr, door: &Door) -> Result<TcpListener, ListenError> {
    if matches!(door, Door::Loopback) && !address.ip().is_loopback() {
        return Err(ListenError::Open(address));
    }
    TcpListener::bind(address).await.map_err(|source| ListenError::Bind { address, source })
}

/// The connections of a listener, each with its peer; whoever is refused is logged and dropped.
pub fn incoming(listener: TcpListener, door: Door) -> impl Stream<Item = io::Result<Connection>> + Send {
    incoming_within(listener, door, PLACES)
}

fn incoming_within(
    listener: TcpListener,
    door: Door,
    places: Places,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let gate = Gate { listener, door, crowd: Crowd::new(places), handshakes: JoinSet::new() };
    stream::unfold(gate, |mut gate| async move {
        let next = gate.next().await;
        Some((Ok(next), gate))
    })
}

struct Gate {
    listener: TcpListener,
    door: Door,
    crowd: Arc<Crowd>,
    handshakes: JoinSet<Option<Connection>>,
}

impl Gate {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                done = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Some(Ok(Some(connection))) = done {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => self.greet(stream, from),
                    Err(error) => {
                        tracing::warn!(%error, "could not accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    fn greet(&mut self, stream: TcpStream, from: SocketAddr) {
        if self.handshakes.len() >= self.crowd.places.handshakes {
            return tracing::warn!(%from, "dropped a connection: too many handshakes at once");
        }
        let Some(place) = Crowd::enter(&self.crowd, from.ip()) else {
            return tracing::warn!(%from, "dropped a connection: too many are open");
        };
        let door = self.door.clone();
        self.handshakes.spawn(async move {
            let handshake = timeout(HANDSHAKE_MAX, door.admit(stream, place));
            let refused = match handshake.await {
                Ok(Ok(connection)) => return Some(connection),
                Ok(Err(error)) => explain(&error),
                Err(_) => "no handshake within its time".to_owned(),
            };
            tracing::warn!(%from, why = refused, "refused a connection");
            None
        });
    }
}

impl Door {
    async fn admit(self, stream: TcpStream, place: Place) -> io::Result<Connection> {
        // Answers are small and awaited.
        stream.set_nodelay(true)?;
        match self {
            Self::Loopback => own(stream, place),
            Self::Tls { material, strangers } => {
                let acceptor = TlsAcceptor::from(material.current().server(strangers));
                known(acceptor.accept(stream).await?, place)
            }
        }
    }
}

fn own(stream: TcpStream, place: Place) -> io::Result<Connection> {
    if !loopback::is_own(stream.local_addr()?, stream.peer_addr()?) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is not this user's"));
    }
    Ok(Connection { peer: Peer::Local, io: Io::Plain(stream), ends: None, _place: Some(place) })
}

fn known(stream: TlsStream<TcpStream>, mut place: Place) -> io::Result<Connection> {
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
    let (peer, life) = match shown {
        None => {
            if !place.is_for_a_stranger() {
                return Err(io::Error::other("too many without a certificate"));
            }
            (Peer::Stranger, STRANGER_LIFE)
        }
        Some(shown) => {
            let card = Card::read(&shown).map_err(io::Error::other)?;
            let life = card.until.duration_since(SystemTime::now()).unwrap_or_default();
            (Peer::Host(Arc::new(card)), life)
        }
    };
    Ok(Connection { peer, io: Io::Tls(Box::new(stream)), ends: Some(Box::pin(sleep(life))), _place: Some(place) })
}

/// Who is in.
struct Crowd {
    places: Places,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    all: usize,
    strangers: usize,
    from: HashMap<IpAddr, usize>,
}

/// One place, given back on drop.
struct Place {
    crowd: Arc<Crowd>,
    from: IpAddr,
    stranger: bool,
}

impl Crowd {
    fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, inside: Mutex::default() })
    }

    fn enter(crowd: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let mut inside = crowd.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let here = inside.from.get(&from).copied().unwrap_or(0);
        if inside.all >= crowd.places.all || here >= crowd.places.an_address {
            return None;
        }
        inside.all += 1;
        inside.from.insert(from, here + 1);
        Some(Place { crowd: crowd.clone(), from, stranger: false })
    }
}

impl Place {
    fn is_for_a_stranger(&mut self) -> bool {
        let mut inside = self.crowd.inside.lock().unwrap_or_else(PoisonError::into_inner);
        self.stranger = inside.strangers < self.crowd.places.strangers;
        inside.strangers += usize::from(self.stranger);
        self.stranger
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.crowd.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        inside.strangers -= usize::from(self.stranger);
        if let Some(here) = inside.from.get_mut(&self.from) {
            *here -= 1;
            if *here == 0 {
                inside.from.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEW: Places = Places { all: 3, an_address: 2, strangers: 1, handshakes: 4 };

    #[test]
    fn nobody_can_take_all_places() {
        let crowd = Crowd::new(FEW);
        let [one, two, three]: [IpAddr; 3] = [[10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 3]].map(IpAddr::from);
        let mut first = Crowd::enter(&crowd, one).unwrap();
        let mut second = Crowd::enter(&crowd, one).unwrap();
        assert!(Crowd::enter(&crowd, one).is_none(), "an address has two");
        let _third = Crowd::enter(&crowd, two).unwrap();
        assert!(Crowd::enter(&crowd, three).is_none(), "there are three in all");
        assert!(first.is_for_a_stranger() && !second.is_for_a_stranger());
        drop(first);
        assert!(second.is_for_a_stranger(), "a place that was left can be taken");
        drop(second);
        assert!(Crowd::enter(&crowd, one).is_some());
    }

    #[tokio::test]
    async fn an_open_address_without_certificates_is_refused_with_what_to_do() {
        for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let refused = listen(open.parse().unwrap(), &Door::Loopback).await.unwrap_err().to_string();
            assert!(refused.contains("rrctl join") && refused.contains("127.0.0.1"), "{refused}");
        }
        for own in ["127.0.0.1:0", "127.8.8.8:0", "[::1]:0"] {
            listen(own.parse().unwrap(), &Door::Loopback).await.unwrap();
        }
    }
}
