//! A wire that can be cut: bytes go from one address to another, until it is told to hold them back. Owns what a cut and a
//! delay do to connections; knows nothing of what they carry. Silence is all that a cut shows, as with a real one: nothing
//! is refused or reset. Next: `cmd::demo_link` is its process.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// Read and passed on at once: about what a kernel's buffers hold, so that a held sender soon stands still.
const PIECE_BYTES: usize = 16 << 10;
/// Pieces on the way with a delay, in one direction: 1 MiB, more than a tenth of a second of what stores say.
const ON_THE_WAY_MAX: usize = 64;
/// After a failed accept (no more open files) the next is tried so much later.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What happens to bytes at this moment. Up is from whoever connected to where the wire leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) up_is_cut: bool,
    pub(crate) down_is_cut: bool,
    /// Each way.
    pub(crate) delay: Duration,
}

impl Wire {
    /// One word of the steering language, see `cmd::demo_link`.
    pub(crate) fn told(self, order: &str) -> Result<Self, String> {
        let words: Vec<&str> = order.split_whitespace().collect();
        match words[..] {
            ["cut", "both"] => Ok(Self { up_is_cut: true, down_is_cut: true, ..self }),
            ["cut", "up"] => Ok(Self { up_is_cut: true, ..self }),
            ["cut", "down"] => Ok(Self { down_is_cut: true, ..self }),
            ["delay", ms] => match ms.parse() {
                Ok(ms) => Ok(Self { delay: Duration::from_millis(ms), ..self }),
                Err(_) => Err(format!("{ms} is no number of milliseconds")),
            },
            ["heal"] => Ok(Self::default()),
            _ => Err(format!("not an order: {order}; say cut both|up|down, delay MS, or heal")),
        }
    }

    const fn is_whole(self) -> bool {
        !self.up_is_cut && !self.down_is_cut
    }
}

/// Passes on what comes to `listener`, as `wire` says at each moment. Ends with its task.
pub(crate) async fn run(listener: TcpListener, to: SocketAddr, wire: watch::Receiver<Wire>) {
    loop {
        match listener.accept().await {
            Ok((near, _)) => drop(tokio::spawn(connection(near, to, wire.clone()))),
            Err(_) => sleep(ACCEPT_AGAIN).await,
        }
    }
}

async fn connection(near: TcpStream, to: SocketAddr, mut wire: watch::Receiver<Wire>) -> io::Result<()> {
    if !wire.borrow().is_whole() {
        // A hand-shake needs both ways. What was said meanwhile must not arrive later: nobody was connected to say it.
        let _ = wire.wait_for(|w| w.is_whole()).await;
        return Ok(());
    }
    let far = TcpStream::connect(to).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    let up = one_way(near_in, far_out, wire.clone(), |w| !w.up_is_cut);
    let down = one_way(far_in, near_out, wire, |w| !w.down_is_cut);
    // Each to its own end: what breaks in one direction must not be seen through a cut in the other.
    tokio::join!(up, down);
    Ok(())
}

/// A piece of bytes, and when it was taken; nothing at the end.
type Piece = (Instant, Vec<u8>);

async fn one_way(from: OwnedReadHalf, to: OwnedWriteHalf, wire: watch::Receiver<Wire>, flows: fn(&Wire) -> bool) {
    let (send, taken) = mpsc::channel(ON_THE_WAY_MAX);
    tokio::join!(take(from, send), give(taken, to, wire, flows));
}

async fn take(mut from: OwnedReadHalf, send: mpsc::Sender<Piece>) {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        // A reset is passed on as an end: the other side sees that nobody is there any more.
        let len = from.read(&mut piece).await.unwrap_or(0);
        piece.truncate(len);
        if send.send((Instant::now(), piece)).await.is_err() || len == 0 {
            return;
        }
    }
}

async fn give(
    mut taken: mpsc::Receiver<Piece>,
    mut to: OwnedWriteHalf,
    mut wire: watch::Receiver<Wire>,
    flows: fn(&Wire) -> bool,
) {
    while let Some((at, piece)) = taken.recv().await {
        let due = at + wire.borrow().delay;
        sleep_until(due).await;
        // Dropped at the end, `to` tells the other side that nothing more comes.
        let is_over = wire.wait_for(flows).await.is_err() || piece.is_empty();
        if is_over || to.write_all(&piece).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    /// Long enough for loopback to carry what is not held back: what must not arrive is waited for so long.
    const MOMENT: Duration = Duration::from_millis(150);
    /// What must arrive is waited for so long: only a hang takes it.
    const SOON: Duration = Duration::from_secs(30);

    struct Laid {
        wire: watch::Sender<Wire>,
        at: SocketAddr,
        far: TcpListener,
    }

    async fn laid() -> Laid {
        let far = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let (wire, seen) = watch::channel(Wire::default());
        let (at, to) = (listener.local_addr().expect("address"), far.local_addr().expect("address"));
        tokio::spawn(run(listener, to, seen));
        Laid { wire, at, far }
    }

    impl Laid {
        fn order(&self, order: &str) {
            self.wire.send_modify(|w| *w = w.told(order).expect("an order"));
        }

        async fn ends(&self) -> (TcpStream, TcpStream) {
            let near = TcpStream::connect(self.at).await.expect("connect");
            (near, self.far.accept().await.expect("accept").0)
        }
    }

    async fn heard(from: &mut TcpStream, to: &mut TcpStream, word: &[u8; 2], limit: Duration) -> bool {
        from.write_all(word).await.expect("write");
        let mut heard = [0; 2];
        timeout(limit, to.read_exact(&mut heard)).await.is_ok_and(|read| read.is_ok() && heard == *word)
    }

    async fn says(from: &mut TcpStream, to: &mut TcpStream, word: &[u8; 2]) -> bool {
        heard(from, to, word, SOON).await
    }

    async fn is_held_back(from: &mut TcpStream, to: &mut TcpStream, word: &[u8; 2]) -> bool {
        !heard(from, to, word, MOMENT).await
    }

    #[tokio::test]
    async fn a_cut_holds_back_its_direction_alone_and_healing_brings_everything_in_order() {
        let laid = laid().await;
        let (mut near, mut far) = laid.ends().await;
        assert!(says(&mut near, &mut far, b"u1").await && says(&mut far, &mut near, b"d1").await);
        laid.order("cut up");
        assert!(is_held_back(&mut near, &mut far, b"u2").await && says(&mut far, &mut near, b"d2").await);
        laid.order("cut down");
        assert!(is_held_back(&mut far, &mut near, b"d3").await);
        laid.order("heal");
        let mut up = [0; 2];
        far.read_exact(&mut up).await.expect("arrives after all");
        assert_eq!(&up, b"u2");
        let mut down = [0; 2];
        near.read_exact(&mut down).await.expect("arrives after all");
        assert_eq!(&down, b"d3");
    }

    #[tokio::test]
    async fn who_connects_during_a_cut_reaches_nobody_not_even_later() {
        let laid = laid().await;
        for way in ["cut up", "cut down"] {
            laid.order(way);
            let mut near = TcpStream::connect(laid.at).await.expect("the wire itself takes it");
            near.write_all(b"late").await.expect("write");
            assert!(timeout(MOMENT, laid.far.accept()).await.is_err());
            assert!(timeout(MOMENT, near.read(&mut [0; 1])).await.is_err(), "neither refused nor reset");
            laid.order("heal");
            assert!(timeout(MOMENT, laid.far.accept()).await.is_err(), "what was said before a hand-shake is lost");
        }
        let (mut near, mut far) = laid.ends().await;
        assert!(says(&mut near, &mut far, b"ok").await);
    }

    #[tokio::test]
    async fn an_end_is_passed_on_and_only_when_the_wire_is_whole() {
        let laid = laid().await;
        let (near, mut far) = laid.ends().await;
        laid.order("cut both");
        drop(near);
        assert!(timeout(MOMENT, far.read(&mut [0; 1])).await.is_err());
        laid.order("heal");
        assert_eq!(far.read(&mut [0; 1]).await.expect("reads"), 0);
    }

    #[tokio::test]
    async fn a_delay_is_added_each_way() {
        let laid = laid().await;
        let (mut near, mut far) = laid.ends().await;
        laid.order("delay 40");
        let start = Instant::now();
        near.write_all(b"a").await.expect("write");
        far.read_exact(&mut [0; 1]).await.expect("arrives");
        far.write_all(b"b").await.expect("write");
        near.read_exact(&mut [0; 1]).await.expect("arrives");
        assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
    }

    #[test]
    fn what_is_no_order_is_refused_with_the_orders() {
        for wrong in ["", "cut", "cut left", "delay", "delay soon", "heal now"] {
            assert!(Wire::default().told(wrong).is_err(), "{wrong}");
        }
        let told = Wire::default().told("cut sideways").expect_err("no such way");
        assert!(told.contains("cut both|up|down"), "{told}");
    }
}
