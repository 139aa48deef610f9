//! The hook's socket: who may speak, how much, how long. One connection is one question and one answer, in the frames that
//! `hook/src/wire.rs` describes. It knows bytes only; what they mean is `app`'s handler.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rr_core::limits::{CONNECTIONS_MAX, FRAME_BYTES_MAX, HOOK_INPUT_BYTES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use crate::hosts::Output;

const WIRE_VERSION: &str = "1";
/// A hook sends its question at once; whoever does not is no hook (H29).
const QUESTION_DEADLINE: Duration = Duration::from_millis(1_500);
/// How long a connection waits for a free place. With the question's deadline it stays within the hook's budget.
const PLACE_DEADLINE: Duration = Duration::from_millis(1_000);
/// Connections that may wait for a place: more are closed at once, and their hooks deny.
const WAITING_MAX: usize = 1_024;
/// Most questions are shorter.
const QUESTION_BYTES_USUAL: usize = 4 << 10;

/// What one hook asked.
#[derive(Debug, Default)]
pub(crate) struct Question {
    /// The hook's own process, from the kernel.
    pub pid: u32,
    pub agent: String,
    /// The allowed variables of the hook's environment.
    pub env: Vec<(String, String)>,
    pub input: Vec<u8>,
    /// More came than is taken: `input` is cut off.
    pub too_large: bool,
}

impl Question {
    pub(crate) fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error("another sidecar answers at {0}: stop it first (`rrctl down`)")]
    InUse(String),
    #[error("listen at {path}")]
    Listen {
        path: String,
        #[source]
        source: std::io::Error,
    },
}

/// Opens the socket. One that nobody answers on is a left-over and is replaced.
///
/// # Errors
/// If somebody answers there, or the folder does not allow it.
pub(crate) fn listen(path: &Path) -> Result<UnixListener, SocketError> {
    let shown = path.display().to_string();
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(SocketError::InUse(shown));
    }
    let fail = |source| SocketError::Listen { path: shown.clone(), source };
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail(e)),
        _ => {}
    }
    UnixListener::bind(path).map_err(fail)
}

/// Answers hooks until `shutdown`.
pub(crate) async fn serve<H, F>(listener: UnixListener, handler: H, shutdown: tokio_util::sync::CancellationToken)
where
    H: Fn(Question) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Output> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let waiting = Arc::new(Semaphore::new(WAITING_MAX));
    let running = tokio_util::task::TaskTracker::new();
    loop {
        let stream = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: give the open connections time to end.
                    tracing::warn!(%error, "accept a hook's connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let Ok(wait) = waiting.clone().try_acquire_owned() else { continue };
        let (handler, places) = (handler.clone(), places.clone());
        running.spawn(async move {
            let place = tokio::time::timeout(PLACE_DEADLINE, places.acquire_owned()).await;
            drop(wait);
            if let Ok(Ok(_place)) = place {
                converse(stream, handler).await;
            }
        });
    }
    // A hook that comes now is told at once that nobody answers, rather than left to wait for an answer.
    drop(listener);
    running.close();
    running.wait().await;
}

async fn converse<H, F>(mut stream: UnixStream, handler: H)
where
    H: Fn(Question) -> F,
    F: Future<Output = Output>,
{
    let Ok(peer) = stream.peer_cred() else { return };
    if peer.uid() != rustix::process::getuid().as_raw() {
        tracing::warn!(uid = peer.uid(), "refused a connection of another user");
        return;
    }
    let pid = peer.pid().and_then(|p| u32::try_from(p).ok()).unwrap_or(0);
    // A usual question comes in one piece: it is read in one.
    let mut asking = BufReader::with_capacity(QUESTION_BYTES_USUAL, &mut stream);
    match tokio::time::timeout(QUESTION_DEADLINE, question(&mut asking, pid)).await {
        Ok(Ok(Some(question))) => {
            let output = handler(question).await;
            if let Err(error) = stream.write_all(&frames(&output)).await {
                tracing::debug!(%error, "the hook was gone before its answer");
            }
        }
        Ok(Ok(None)) => {
            let _ = stream.write_all(&frame(b'V', WIRE_VERSION.as_bytes())).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "dropped a connection that made no sense"),
        Err(_) => tracing::debug!("dropped a connection that asked nothing in time"),
    }
}

/// Reads one question. `None`: it speaks another version.
async fn question(stream: &mut (impl AsyncRead + Unpin), pid: u32) -> std::io::Result<Option<Question>> {
    let mut asked = Question { pid, ..Question::default() };
    let mut greeted = false;
    loop {
        let kind = stream.read_u8().await?;
        let len = usize::try_from(stream.read_u32_le().await?).unwrap_or(usize::MAX);
        if len > FRAME_BYTES_MAX {
            return Err(bad("frame too long"));
        }
        let mut payload = vec![0; len];
        stream.read_exact(&mut payload).await?;
        match (kind, greeted) {
            (b'H', false) => {
                greeted = true;
                if !hello(&mut asked, &payload) {
                    return Ok(None);
                }
            }
            (b'D', true) if asked.input.len() + len <= HOOK_INPUT_BYTES_MAX => asked.input.extend_from_slice(&payload),
            (b'E', true) => return Ok(Some(asked)),
            (b'D' | b'X', true) => {
                asked.too_large = true;
                return Ok(Some(asked));
            }
            _ => return Err(bad("unknown frame")),
        }
    }
}

/// Takes in the hello's lines; false if it is of another version.
fn hello(asked: &mut Question, payload: &[u8]) -> bool {
    let text = String::from_utf8_lossy(payload);
    let mut version = None;
    for (key, value) in text.lines().filter_map(|l| l.split_once('=')) {
        let value = unescape(value);
        match key {
            "version" => version = Some(value),
            "agent" => asked.agent = value,
            _ => {
                if let Some(name) = key.strip_prefix("env.") {
                    asked.env.push((name.to_owned(), value));
                }
            }
        }
    }
    version.as_deref() == Some(WIRE_VERSION)
}

/// `\\`, `\n` and `\xHH` as the hook wrote them; bytes that are no UTF-8 become the replacement character.
fn unescape(value: &str) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(b) = bytes.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'x') => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let hex = std::str::from_utf8(&digits).ok().and_then(|d| u8::from_str_radix(d, 16).ok());
                out.extend(hex);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn frames(output: &Output) -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, bytes) in [(b'O', &output.stdout), (b'R', &output.stderr)] {
        for piece in bytes.chunks(FRAME_BYTES_MAX) {
            all.extend(frame(kind, piece));
        }
    }
    all.extend(frame(b'Q', &[output.exit]));
    all
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    // Every caller passes at most one frame's worth.
    out.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(payload);
    out
}

fn bad(why: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(bytes: &[u8]) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("hook.sock");
        let listener = listen(&path).expect("listen");
        let stop = tokio_util::sync::CancellationToken::new();
        let echo = |q: Question| async move {
            let said = format!("{}|{}|{}|{}", q.agent, q.env("A").unwrap_or("-"), q.input.len(), q.too_large);
            Output { stdout: said.into_bytes(), ..Output::default() }
        };
        let server = tokio::spawn(serve(listener, echo, stop.clone()));
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        // A peer that closes early is part of the test.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        stop.cancel();
        server.await.expect("server");
        answer
    }

    fn hello_frame(version: &str) -> Vec<u8> {
        frame(b'H', format!("version={version}\nagent=claude\nenv.A=x\\n\\\\y\\xff\n").as_bytes())
    }

    #[tokio::test]
    async fn a_question_is_answered_with_what_to_print_and_how_to_exit() {
        let asked = [hello_frame("1"), frame(b'D', b"abc"), frame(b'D', b"de"), frame(b'E', b"")].concat();
        let said = "claude|x\n\\y\u{fffd}|5|false";
        assert_eq!(ask(&asked).await, [frame(b'O', said.as_bytes()), frame(b'Q', &[0])].concat());
    }

    #[tokio::test]
    async fn another_version_is_told_so() {
        assert_eq!(ask(&hello_frame("2")).await, frame(b'V', b"1"));
    }

    #[tokio::test]
    async fn input_over_the_limit_is_cut_off_and_said_so() {
        let mut asked = hello_frame("1");
        for _ in 0..(HOOK_INPUT_BYTES_MAX / FRAME_BYTES_MAX) {
            asked.extend(frame(b'D', &vec![b'x'; FRAME_BYTES_MAX]));
        }
        asked.extend(frame(b'D', b"one more"));
        let answer = String::from_utf8_lossy(&ask(&asked).await).into_owned();
        assert!(answer.contains("|16777216|true"), "{answer:?}");
    }

    #[tokio::test]
    async fn nonsense_gets_no_answer() {
        for bytes in [
            frame(b'D', b"no hello"),
            frame(b'?', b""),
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            vec![b'H', 255, 255, 255, 255],
        ] {
            assert!(ask(&bytes).await.is_empty());
        }
    }

    #[tokio::test]
    async fn idle_connections_by_the_hundred_do_not_keep_a_hook_out() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("hook.sock");
        let listener = listen(&path).expect("listen");
        let stop = tokio_util::sync::CancellationToken::new();
        let server = tokio::spawn(serve(listener, |_| async { Output::default() }, stop.clone()));
        let mut idle = Vec::new();
        for _ in 0..(CONNECTIONS_MAX - 1) {
            idle.push(UnixStream::connect(&path).await.expect("connect"));
        }
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(&[hello_frame("1"), frame(b'E', b"")].concat()).await.expect("write");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answer");
        assert_eq!(answer, frame(b'Q', &[0]));
        drop(idle);
        stop.cancel();
        server.await.expect("server");
    }

    #[tokio::test]
    async fn at_the_end_a_call_under_way_is_answered_and_no_other_is_taken() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("hook.sock");
        let listener = listen(&path).expect("listen");
        let stop = tokio_util::sync::CancellationToken::new();
        let (asked, go_on) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
        let slow = {
            let (asked, go_on) = (asked.clone(), go_on.clone());
            move |_| {
                let (asked, go_on) = (asked.clone(), go_on.clone());
                async move {
                    asked.notify_one();
                    go_on.notified().await;
                    Output::default()
                }
            }
        };
        let server = tokio::spawn(serve(listener, slow, stop.clone()));
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(&[hello_frame("1"), frame(b'E', b"")].concat()).await.expect("write");
        asked.notified().await;
        stop.cancel();
        while UnixStream::connect(&path).await.is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(!server.is_finished(), "it waits for the call");
        go_on.notify_one();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("answer");
        assert_eq!(answer, frame(b'Q', &[0]));
        server.await.expect("server");
    }

    #[tokio::test]
    async fn a_socket_that_answers_is_never_taken_over() {
        let dir = tempfile::tempdir().expect("temp dir");
        let path = dir.path().join("hook.sock");
        let first = listen(&path).expect("listen");
        assert!(matches!(listen(&path), Err(SocketError::InUse(_))));
        drop(first);
        assert!(listen(&path).is_ok(), "a left-over is replaced");
    }
}
