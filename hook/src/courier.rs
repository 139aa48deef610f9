//! The way of one call: reach the sidecar, carry the agent's message to it, bring the answer back. Owns the order of
//! these steps; refuses to know what the message means. Next: `wire.rs` for the frames, `fallback.rs` if nobody answers.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read, Write};
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

/// Room for the hello and the frames' headers.
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
    match carry(&options, &mut input, &mut watchdog) {
        Ok(answer) => answer,
        Err(trouble) => decide_alone(&mut input, &trouble, &mut watchdog),
    }
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
    let (place, stalled, stream) = reach(options, watchdog)?;
    let (_, state) = input.read_piece(watchdog)?;
    let mut request = Vec::with_capacity(input.seen.len() + HELLO_LEN_USUAL);
    hello(&mut request, options);
    push_piece(&mut request, &input.seen, state);
    let answer = exchange(stream, &request, state, input, watchdog);
    match &answer {
        Ok(_) if stalled => place.mark_stalled(false),
        Err(Trouble::NoAnswer) => place.mark_stalled(true),
        _ => {}
    }
    answer
}

fn hello(request: &mut Vec<u8>, options: &Options) {
    let cwd = env::current_dir().ok();
    let present = wire::ENV_NAMES
        .iter()
        .filter_map(|name| Some((*name, env::var_os(name)?.into_vec())));
    let cwd = cwd.as_ref().map(|path| path.as_os_str().as_bytes());
    wire::push_hello(request, options.agent.as_bytes(), cwd, present);
}

fn push_piece(request: &mut Vec<u8>, piece: &[u8], state: State) {
    wire::push_data(request, wire::DATA, piece);
    match state {
        State::More => {}
        State::Ended => wire::push_mark(request, wire::END),
        State::TooLarge => wire::push_mark(request, wire::TOO_LARGE),
    }
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
        _ => Trouble::Io {
            step: "connect to the sidecar",
            error,
        },
    })
}

fn exchange(
    mut stream: UnixStream,
    request: &[u8],
    state: State,
    input: &mut Input,
    watchdog: &mut Watchdog,
) -> Result<Answer, Trouble> {
    let budget = watchdog.budget;
    let mut listening = send(&mut stream, request, budget)?;
    let mut state = state;
    while listening && state == State::More {
        let (start, now) = input.read_piece(watchdog)?;
        let mut frames = Vec::with_capacity(input.seen.len() - start + 16);
        push_piece(&mut frames, &input.seen[start..], now);
        listening = send(&mut stream, &frames, budget)?;
        state = now;
    }
    receive(&mut stream, budget)
}

/// `false` = the sidecar has closed its ear; its answer may be there all the same.
fn send(stream: &mut UnixStream, bytes: &[u8], budget: Budget) -> Result<bool, Trouble> {
    let mut rest = bytes;
    while !rest.is_empty() {
        if budget.is_spent() {
            return Err(Trouble::NoAnswer);
        }
        stream
            .set_write_timeout(Some(budget.left()))
            .map_err(Trouble::io("set the time limit"))?;
        match stream.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_closed(&error) => return Ok(false),
            Err(error) => return Err(Trouble::io("send to the sidecar")(error)),
        }
    }
    Ok(true)
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
    )
}

/// Collects the whole answer; a part of one is never returned.
fn receive(stream: &mut UnixStream, budget: Budget) -> Result<Answer, Trouble> {
    let mut buffer = vec![0; ANSWER_LEN_USUAL];
    let (mut start, mut end) = (0, 0);
    let mut answer = Answer::default();
    loop {
        while let Some(frame) =
            wire::first_frame(&buffer[start..end]).map_err(|_| garbage("a frame is too long"))?
        {
            if take(&frame, &mut answer)? {
                return Ok(answer);
            }
            start += frame.len;
        }
        buffer.copy_within(start..end, 0);
        (start, end) = (0, end - start);
        if end == buffer.len() {
            // The one frame that is not complete yet is at most FRAME_LEN_MAX long: this happens a few times only.
            buffer.resize(buffer.len() * 2, 0);
        }
        end += receive_some(stream, &mut buffer[end..], budget)?;
    }
}

fn receive_some(
    stream: &mut UnixStream,
    space: &mut [u8],
    budget: Budget,
) -> Result<usize, Trouble> {
    loop {
        if budget.is_spent() {
            return Err(Trouble::NoAnswer);
        }
        stream
            .set_read_timeout(Some(budget.left()))
            .map_err(Trouble::io("set the time limit"))?;
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
            return Err(Trouble::Version(
                String::from_utf8_lossy(theirs).into_owned(),
            ));
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
