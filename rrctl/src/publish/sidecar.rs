//! The question to this machine's sidecar before an agent's push: "look at this session's commits now". The command that
//! commits and pushes is still under way then, and so are its locks. Speaks the hook's frames (`hook/src/wire.rs`).

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
    let answer =
        ask(socket, session, folder).map_err(|e| format!("the sidecar of this machine does not answer ({e})"))?;
    match answer {
        (0, _) => Ok(()),
        (_, said) => Err(said.trim().to_owned()),
    }
}

fn ask(socket: &Path, session: &str, folder: &Path) -> io::Result<(u8, String)> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    let hello = format!("version=1\nagent=git\nenv.RAILROAD_SESSION={session}\n");
    let mut question = frame(b'H', hello.as_bytes());
    question.extend(frame(b'D', folder.as_os_str().as_bytes()));
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
    // A session's name and a path: far below the limit of a frame.
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
