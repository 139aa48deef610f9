//! What a command of an agent asks this machine's sidecar on behalf of its session: before a push to look at the session's commits now
//! (the command that commits and pushes is still under way then, and so are its locks), and for the repair of a broken branch.
//! Speaks the hook's frames (`hook/src/wire.rs`).

use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A look asks git and the store a few times; a sidecar that takes longer is stuck.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// An answer is a line or two.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Has the sidecar judge and record what `session` has committed in the work tree at `folder`.
///
/// # Errors
/// In words: nobody answers, or why it could not be done.
pub(crate) fn look(socket: &Path, session: &str, folder: &Path) -> Result<(), String> {
    asked(socket, "git", session, folder.as_os_str().as_bytes()).map(drop)
}

/// Claims the repair of an incident for `session`, or gives it back: `word` says which. What the sidecar said to it.
///
/// # Errors
/// In words: nobody answers, or why it could not be done.
pub(crate) fn repair(socket: &Path, session: &str, word: &str, incident: &str) -> Result<String, String> {
    asked(socket, "repair", session, format!("{word} {incident}").as_bytes())
}

fn asked(socket: &Path, by: &str, session: &str, what: &[u8]) -> Result<String, String> {
    let answer =
        ask(socket, by, session, what).map_err(|e| format!("the sidecar of this machine does not answer ({e})"))?;
    match answer {
        (0, said) => Ok(said.trim().to_owned()),
        (_, said) => Err(said.trim().to_owned()),
    }
}

fn ask(socket: &Path, by: &str, session: &str, what: &[u8]) -> io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let hello = format!("version=1\nagent={by}\nenv.RAILROAD_SESSION={session}\n");
    let mut question = frame(b'H', hello.as_bytes());
    question.extend(frame(b'D', what));
    question.extend(frame(b'E', b""));
    stream.write_all(&question)?;
    let mut said = Vec::new();
    loop {
        let (kind, payload) = read_frame(&mut stream)?;
        match (kind, payload.as_slice()) {
            (b'Q', [code]) => return Ok((*code, String::from_utf8_lossy(&said).into_owned())),
            (b'O' | b'R', text) if said.len() + text.len() <= ANSWER_BYTES_MAX => said.extend_from_slice(text),
            (b'V', _) => return Err(io::Error::other("it is of another version")),
            _ => return Err(io::Error::other("its answer makes no sense")),
        }
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    // A session's name, a path or an id: far below the limit of a frame.
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    [&[kind][..], &len.to_le_bytes(), payload].concat()
}

fn read_frame(stream: &mut UnixStream) -> io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let [kind, a, b, c, d] = head;
    let len = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if len > ANSWER_BYTES_MAX {
        return Err(io::Error::other("its answer is too long"));
    }
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload)?;
    Ok((kind, payload))
}
