//! The bytes between `rr-hook` and the sidecar. Owns frames, kinds, limits and the hello's spelling; refuses to know
//! sockets, time, and what any payload means. Next: `courier.rs` sends and receives these frames.
//!
//! # The conversation
//!
//! One connection carries one request and one answer over a Unix stream socket. Every frame is
//!
//! ```text
//! kind: u8 | length: u32 little-endian, at most 65,536 | length bytes
//! ```
//!
//! The hook sends, in this order:
//!
//! | kind | content |
//! |---|---|
//! | `H` | hello, once: lines `key=value`, each ended by `\n` |
//! | `D` | the agent's stdin as it was read, 0..n frames; their concatenation is the input, at most 16 MiB |
//! | `E` | end of input, empty; or |
//! | `X` | input too large, empty: what was sent is cut off, nothing more comes; takes the place of `E` |
//!
//! The hello's keys, each at most once: `version` (decimal, always the first line), `agent` (as given on the command
//! line), `cwd` (absent if it cannot be read), then `env.NAME` for each variable of [`ENV_NAMES`] that is set. In a
//! value a backslash is `\\`, a newline `\n`, and a byte that is not part of valid UTF-8 is `\xHH` (two lower-case hex
//! digits), so the exact bytes can be had back. A variable longer than [`VALUE_LEN_MAX`] is left out. Unknown keys are
//! to be ignored. The process id is not sent: the receiver takes the peer's from the socket, which cannot be forged.
//!
//! The sidecar answers:
//!
//! | kind | content |
//! |---|---|
//! | `O` | bytes for stdout, 0..n frames |
//! | `R` | bytes for stderr, 0..n frames |
//! | `Q` | exit code, one byte: the answer is complete |
//! | `V` | in place of all these: "I do not speak your version", content = the decimal version spoken here |
//!
//! Nothing is printed before `Q` has come; a connection that ends earlier, an unknown kind, a longer frame, a `Q` of
//! another length or more than [`ANSWER_LEN_MAX`] bytes make the answer void, and the hook decides as if nobody were
//! there. The sidecar may answer and close before all input was sent: the hook then stops sending and reads. Bytes
//! after `Q` are ignored. A sidecar should listen with a queue of 1,024 or more (see `socket.rs` on stalls).

/// The version of this conversation; it changes when an old peer would misread a new one.
pub(crate) const VERSION: u32 = 1;

/// Longest payload of one frame; the limit of the lock protocol for every socket frame.
pub(crate) const FRAME_LEN_MAX: usize = 64 * 1024;

/// Most input that is carried; beyond it the call is refused rather than half understood.
pub(crate) const INPUT_LEN_MAX: usize = 16 * 1024 * 1024;

/// Most answer that is buffered; agents cut texts at 10,000 characters, so more is a broken peer.
pub(crate) const ANSWER_LEN_MAX: usize = 1024 * 1024;

/// Longest value of one hello line: the longest path Linux accepts. Sixteen such lines fit into one frame.
pub(crate) const VALUE_LEN_MAX: usize = 4096;

/// The variables that say which agent and session this is. Never keys or tokens: hooks inherit those too.
pub(crate) const ENV_NAMES: [&str; 13] = [
    "CLAUDE_PID",
    "CLAUDE_PROJECT_DIR",
    "CLAUDE_CODE_SESSION_ID",
    "CLAUDE_ENV_FILE",
    "RAILROAD_TASK",
    "CLAUDE_CODE_REMOTE",
    "CURSOR_VERSION",
    "DEVIN_PROJECT_DIR",
    "GROK_SESSION_ID",
    "GEMINI_SESSION_ID",
    "FACTORY_PROJECT_DIR",
    "COPILOT_CLI",
    "RAILROAD_SESSION",
];

pub(crate) const HELLO: u8 = b'H';
pub(crate) const DATA: u8 = b'D';
pub(crate) const END: u8 = b'E';
pub(crate) const TOO_LARGE: u8 = b'X';
pub(crate) const STDOUT: u8 = b'O';
pub(crate) const STDERR: u8 = b'R';
pub(crate) const QUIT: u8 = b'Q';
pub(crate) const OTHER_VERSION: u8 = b'V';

const HEADER_LEN: usize = 5;

/// One frame as it lies in a receive buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes this frame takes in the buffer, header included.
    pub(crate) len: usize,
}

/// A frame announced more than [`FRAME_LEN_MAX`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FrameTooLong(pub(crate) u32);

/// What stands before a payload of `len` bytes, at most [`FRAME_LEN_MAX`]; with none, a whole frame: `E` or `X`.
pub(crate) fn header(kind: u8, len: usize) -> [u8; HEADER_LEN] {
    debug_assert!(len <= FRAME_LEN_MAX);
    // Cannot be cut: every caller passes at most FRAME_LEN_MAX.
    #[allow(clippy::cast_possible_truncation)]
    let [a, b, c, d] = (len as u32).to_le_bytes();
    [kind, a, b, c, d]
}

/// The first frame of `buffer`, or `None` while it is not complete.
pub(crate) fn first_frame(buffer: &[u8]) -> Result<Option<Frame<'_>>, FrameTooLong> {
    let [kind, a, b, c, d, rest @ ..] = buffer else {
        return Ok(None);
    };
    let announced = u32::from_le_bytes([*a, *b, *c, *d]);
    let len = usize::try_from(announced).unwrap_or(usize::MAX);
    if len > FRAME_LEN_MAX {
        return Err(FrameTooLong(announced));
    }
    Ok(rest.get(..len).map(|payload| Frame { kind: *kind, payload, len: HEADER_LEN + len }))
}

/// Appends the hello frame, in place: its length is known, and written, last.
pub(crate) fn push_hello<'a>(
    out: &mut Vec<u8>,
    agent: &[u8],
    cwd: Option<&[u8]>,
    env: impl Iterator<Item = (&'a str, Vec<u8>)>,
) {
    let start = out.len();
    out.extend_from_slice(&header(HELLO, 0));
    push_line(out, start, "", "version", VERSION.to_string().as_bytes());
    push_line(out, start, "", "agent", agent);
    if let Some(cwd) = cwd {
        push_line(out, start, "", "cwd", cwd);
    }
    for (name, value) in env {
        push_line(out, start, "env.", name, &value);
    }
    let len = out.len() - start - HEADER_LEN;
    out[start..start + HEADER_LEN].copy_from_slice(&header(HELLO, len));
}

/// One line of the frame that starts at `frame`. Escaping can make a value four times as long, so the frame's end is
/// checked after it, not before.
fn push_line(text: &mut Vec<u8>, frame: usize, prefix: &str, key: &str, value: &[u8]) {
    if value.len() > VALUE_LEN_MAX {
        return;
    }
    let start = text.len();
    text.extend_from_slice(prefix.as_bytes());
    text.extend_from_slice(key.as_bytes());
    text.push(b'=');
    escape(text, value);
    text.push(b'\n');
    if text.len() - frame - HEADER_LEN > FRAME_LEN_MAX {
        text.truncate(start);
    }
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for chunk in value.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'\\' => out.extend_from_slice(b"\\\\"),
                b'\n' => out.extend_from_slice(b"\\n"),
                _ => out.push(byte),
            }
        }
        for byte in chunk.invalid() {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'\\', b'x', HEX[high], HEX[low]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_kind_length_and_bytes() {
        let frames = [&header(DATA, 3)[..], b"abc", &header(END, 0)].concat();
        assert_eq!(frames, b"D\x03\0\0\0abcE\0\0\0\0");
        let first = first_frame(&frames).unwrap().unwrap();
        assert_eq!((first.kind, first.payload, first.len), (DATA, &b"abc"[..], 8));
        assert_eq!(first_frame(&frames[8..]).unwrap().unwrap().kind, END);
    }

    #[test]
    fn an_incomplete_frame_is_none_at_every_cut() {
        let frame = [&header(STDOUT, 4)[..], b"four"].concat();
        for cut in 0..frame.len() {
            assert_eq!(first_frame(&frame[..cut]), Ok(None), "cut at {cut}");
        }
    }

    #[test]
    fn a_frame_longer_than_the_limit_is_refused_before_it_is_read() {
        assert_eq!(first_frame(b"O\x01\0\x01\0"), Err(FrameTooLong(65_537)));
        assert_eq!(first_frame(b"O\xff\xff\xff\xff"), Err(FrameTooLong(u32::MAX)));
        assert_eq!(first_frame(b"O\0\0\x01\0"), Ok(None));
    }

    #[test]
    fn hello_values_keep_one_line_each_and_every_byte() {
        let mut out = Vec::new();
        let env = [("CLAUDE_PID", b"7\nagent=x".to_vec())].into_iter();
        push_hello(&mut out, b"claude", Some(b"/a\\b/\xff\xc3\xa9"), env);
        let text = first_frame(&out).unwrap().unwrap().payload;
        let want = "version=1\nagent=claude\ncwd=/a\\\\b/\\xffé\nenv.CLAUDE_PID=7\\nagent=x\n";
        assert_eq!(text, want.as_bytes());
    }

    #[test]
    fn hello_stays_one_frame_whatever_the_environment_holds() {
        let mut out = Vec::new();
        let env = ENV_NAMES.iter().map(|name| (*name, vec![0xff; VALUE_LEN_MAX]));
        push_hello(&mut out, b"claude", Some(&[b'x'; VALUE_LEN_MAX + 1]), env);
        let hello = first_frame(&out).unwrap().unwrap();
        assert_eq!(hello.len, out.len());
        let text = String::from_utf8(hello.payload.to_vec()).unwrap();
        assert!(text.ends_with('\n') && !text.contains("cwd="));
    }

    #[test]
    fn no_variable_that_carries_a_secret_is_sent() {
        let secret = |name: &&str| ["KEY", "TOKEN", "SECRET", "PASS"].iter().any(|word| name.contains(word));
        assert_eq!(ENV_NAMES.iter().copied().find(secret), None);
    }
}
