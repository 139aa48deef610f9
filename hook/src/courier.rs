//! The way of one call: reach the sidecar, carry the agent's message to it, bring the answer back. Owns the order of
//! these steps; refuses to know what the message means. Next: `wire.rs` for the frames, `fallback.rs` if nobody answers.
//!
//! A fresh process pays for each buffer twice, asking for the memory and touching it: so what was read is sent from where
//! it lies, the usual answer fits on the stack, and nothing is given back just before the process ends.

use std::env;
use std::ffi::OsString;
use std::io::{self, IoSlice, Read, Write};
use std::mem;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;

use crate::args::{self, OnUnavailable, Options};
use crate::daemon;
use crate::fallback::{self, Answer};
use crate::guard::{Budget, Watchdog};
use crate::input::{Input, State};
use crate::socket::Place;
use crate::trouble::Trouble;
use crate::wire;

/// First size of the answer's buffer: silence, a note or a refusal fit, so one read takes them.
const ANSWER_LEN_USUAL: usize = 2 * 1024;

/// Room for the hello: paths and a few variables.
const HELLO_LEN_USUAL: usize = 1024;

/// Asks the sidecar, or decides alone: there is always an answer.
pub(crate) fn run(budget: Budget, words: impl Iterator<Item = OsString>) -> Answer {
    let options = match args::parse(words) {
        Ok(options) => options,
        Err(wrong) => return fallback::answer(&[], &Trouble::Usage(wrong.0), OnUnavailable::Deny),
    };
    let policy = options.on_unavailable;
    let mut watchdog = Watchdog::new(budget, policy);
    let mut input = match Input::open(&mut watchdog) {
        Ok(input) => input,
        Err(trouble) => return fallback::answer(&[], &trouble, policy),
    };
    let answer = match carry(&options, &mut input, &mut watchdog) {
        Ok(answer) => answer,
        Err(trouble) => decide_alone(&mut input, &trouble, &mut watchdog),
    };
    // The end of the process frees them at once.
    mem::forget((options, input));
    answer
}

fn decide_alone(input: &mut Input, trouble: &Trouble, watchdog: &mut Watchdog) -> Answer {
    let policy = watchdog.policy;
    match input.finish(watchdog) {
        Ok(()) => fallback::answer(&input.seen, trouble, policy),
        Err(_) => fallback::answer(&[], trouble, policy),
    }
}

fn carry(options: &Options, input: &mut Input, watchdog: &mut Watchdog) -> Result<Answer, Trouble> {
    // Connect first: the sidecar wakes up and accepts while the message is read here.
    let (place, stalled, mut stream) = reach(options, watchdog)?;
    let answer = exchange(&mut stream, options, input, watchdog);
    match &answer {
        Ok(_) if stalled => place.mark_stalled(false),
        Err(Trouble::NoAnswer) => place.mark_stalled(true),
        _ => {}
    }
    mem::forget((place, stream));
    answer
}

fn hello(options: &Options) -> Vec<u8> {
    let cwd = env::current_dir().ok();
    let present = wire::ENV_NAMES.iter().filter_map(|name| Some((*name, env::var_os(name)?.into_vec())));
    let cwd = cwd.as_ref().map(|path| path.as_os_str().as_bytes());
    let mut frame = Vec::with_capacity(HELLO_LEN_USUAL);
    wire::push_hello(&mut frame, options.agent.as_bytes(), cwd, present);
    frame
}

/// A connection, from a sidecar that is started if need be; and whether calls were going unanswered before.
fn reach(options: &Options, watchdog: &mut Watchdog) -> Result<(Place, bool, UnixStream), Trouble> {
    let find = || Place::find(options.socket.clone());
    let found = find().and_then(|place| {
        let stalled = place.is_stalled();
        if stalled {
            watchdog.start(Trouble::NoAnswer)?;
        }
        connect(&place).map(|stream| (place, stalled, stream))
    });
    match (found, &options.daemon) {
        (Err(trouble), Some(program)) if trouble.mended_by_a_start() => {
            let (place, stream) = daemon::start(program, watchdog.budget, find)?;
            let stalled = place.is_stalled();
            Ok((place, stalled, stream))
        }
        (found, _) => found,
    }
}

pub(crate) fn connect(place: &Place) -> Result<UnixStream, Trouble> {
    UnixStream::connect(&place.socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Trouble::Absent(place.socket.clone()),
        io::ErrorKind::ConnectionRefused => Trouble::Refused(place.socket.clone()),
        _ => Trouble::Io { step: "connect to the sidecar", error },
    })
}

fn exchange(
    stream: &mut UnixStream,
    options: &Options,
    input: &mut Input,
    watchdog: &mut Watchdog,
) -> Result<Answer, Trouble> {
    let budget = watchdog.budget;
    let mut head = hello(options);
    loop {
        let (start, state) = input.read_piece(watchdog)?;
        let piece = &input.seen[start..];
        if !piece.is_empty() {
            head.extend_from_slice(&wire::header(wire::DATA, piece.len()));
        }
        let tail: &[u8] = match state {
            State::More => &[],
            State::Ended => &wire::header(wire::END, 0),
            State::TooLarge => &wire::header(wire::TOO_LARGE, 0),
        };
        let listening = send(stream, [&head, piece, tail], budget)?;
        if !listening || state != State::More {
            break;
        }
        head.clear();
    }
    mem::forget(head);
    receive(stream, budget)
}

/// `false` = the sidecar has closed its ear; its answer may be there all the same.
fn send(stream: &mut UnixStream, parts: [&[u8]; 3], budget: Budget) -> Result<bool, Trouble> {
    let mut slices = parts.map(IoSlice::new);
    let mut rest = &mut slices[..];
    // Also drops what is empty: a write of nothing would look like a closed socket.
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        if budget.is_spent() {
            return Err(Trouble::NoAnswer);
        }
        stream.set_write_timeout(Some(budget.left())).map_err(Trouble::io("set the time limit"))?;
        match stream.write_vectored(rest) {
            Ok(count) => IoSlice::advance_slices(&mut rest, count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_closed(&error) => return Ok(false),
            Err(error) => return Err(Trouble::io("send to the sidecar")(error)),
        }
    }
    Ok(true)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// Collects the whole answer; a part of one is never returned.
fn receive(stream: &mut UnixStream, budget: Budget) -> Result<Answer, Trouble> {
    let mut usual = [0; ANSWER_LEN_USUAL];
    let mut large: Vec<u8>;
    let mut buffer = &mut usual[..];
    let (mut start, mut end) = (0, 0);
    let mut answer = Answer::default();
    loop {
        while let Some(frame) = wire::first_frame(&buffer[start..end]).map_err(|_| garbage("a frame is too long"))? {
            if take(&frame, &mut answer)? {
                return Ok(answer);
            }
            start += frame.len;
        }
        buffer.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        if end == buffer.len() {
            // The one frame that is not complete yet is at most FRAME_LEN_MAX long: this happens a few times only.
            let mut larger = buffer.to_vec();
            larger.resize(end * 2, 0);
            large = larger;
            buffer = &mut large;
        }
        end += receive_some(stream, &mut buffer[end..], budget)?;
    }
}

fn receive_some(stream: &mut UnixStream, space: &mut [u8], budget: Budget) -> Result<usize, Trouble> {
    loop {
        if budget.is_spent() {
            return Err(Trouble::NoAnswer);
        }
        stream.set_read_timeout(Some(budget.left())).map_err(Trouble::io("set the time limit"))?;
        match stream.read(space) {
            Ok(0) => return Err(garbage("it ends too early")),
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_closed(&error) => return Err(garbage("it ends too early")),
            Err(error) => return Err(Trouble::io("read the sidecar's answer")(error)),
        }
    }
}

/// Adds one frame; `true` = the answer is complete.
fn take(frame: &wire::Frame<'_>, answer: &mut Answer) -> Result<bool, Trouble> {
    match (frame.kind, frame.payload) {
        (wire::STDOUT, text) => answer.stdout.extend_from_slice(text),
        (wire::STDERR, text) => answer.stderr.extend_from_slice(text),
        (wire::QUIT, [code]) => {
            answer.code = *code;
            return Ok(true);
        }
        (wire::QUIT, _) => return Err(garbage("its exit code is not one byte")),
        (wire::OTHER_VERSION, theirs) => {
            return Err(Trouble::Version(String::from_utf8_lossy(theirs).into_owned()));
        }
        _ => return Err(garbage("a frame is of an unknown kind")),
    }
    if answer.stdout.len() + answer.stderr.len() > wire::ANSWER_LEN_MAX {
        return Err(garbage("it is too long"));
    }
    Ok(false)
}

fn garbage(what: &'static str) -> Trouble {
    Trouble::Garbage(what)
}
