//! The agent's stdin, read within the budget. Owns the choice of how to read each kind of stdin without a thread;
//! refuses to know what the bytes mean. Next: `courier.rs` sends on what is read here.
//!
//! std has no read with a timeout for a pipe. A pipe is therefore read non-blocking, a socket (what some agents use as
//! a pipe) with a receive timeout, and a file never blocks. Only what is late, or of another kind, is read blocking
//! with the watchdog running: that costs a thread, a quarter of the whole process. Looking into `/proc` costs nearly as
//! much and is avoided: the kernel builds a new process's entries at the first look.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::thread;

use crate::guard::Watchdog;
use crate::trouble::{Trouble, is_timeout};
use crate::wire;

/// Empty looks at a pipe before a thread is worth its price: a started program is quicker than the agent's first write
/// by some ten microseconds, each look costs about one and lets the agent run.
const LOOKS_MAX: u32 = 100;

/// First room for the input. Most inputs are shorter; a larger buffer costs system calls and page faults in every call.
const INPUT_LEN_USUAL: usize = 2 * 1024;

enum Source {
    /// With the number of empty looks so far.
    Pipe(File, u32),
    Socket(UnixStream),
    Plain,
}

/// Stdin and all that was read of it.
pub(crate) struct Input {
    source: Source,
    pub(crate) seen: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    More,
    Ended,
    TooLarge,
}

impl Input {
    pub(crate) fn open(watchdog: &mut Watchdog) -> Result<Input, Trouble> {
        let source = open_source(watchdog)?;
        Ok(Input { source, seen: Vec::with_capacity(INPUT_LEN_USUAL), state: State::More })
    }

    /// Reads until a frame is full or stdin ends; the new bytes are `seen[start..]`, `start` as returned.
    pub(crate) fn read_piece(&mut self, watchdog: &mut Watchdog) -> Result<(usize, State), Trouble> {
        let start = self.seen.len();
        while self.state == State::More && self.seen.len() - start < wire::FRAME_LEN_MAX {
            let want = wire::FRAME_LEN_MAX - (self.seen.len() - start);
            match self.read_up_to(want, watchdog) {
                Ok(got) if got < want => self.state = State::Ended,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => self.wait_for_the_rest(watchdog)?,
                Err(error) => {
                    return Err(Trouble::Io { step: "read the agent's message", error });
                }
            }
            if self.seen.len() > wire::INPUT_LEN_MAX {
                self.seen.truncate(wire::INPUT_LEN_MAX);
                self.state = State::TooLarge;
            }
        }
        Ok((start, self.state))
    }

    /// Reads what is left, to decide alone.
    pub(crate) fn finish(&mut self, watchdog: &mut Watchdog) -> Result<(), Trouble> {
        while self.read_piece(watchdog)?.1 == State::More {}
        Ok(())
    }

    fn read_up_to(&mut self, want: usize, watchdog: &Watchdog) -> io::Result<usize> {
        let before = self.seen.len();
        let limit = want as u64;
        // What came before an error is kept in `seen`, so the count is taken from there.
        let end = match &mut self.source {
            Source::Pipe(pipe, _) => pipe.take(limit).read_to_end(&mut self.seen),
            Source::Socket(socket) => socket
                .set_read_timeout(Some(watchdog.budget.left()))
                .and_then(|()| socket.take(limit).read_to_end(&mut self.seen)),
            Source::Plain => io::stdin().lock().take(limit).read_to_end(&mut self.seen),
        };
        end.map(|_| self.seen.len() - before)
    }

    fn wait_for_the_rest(&mut self, watchdog: &mut Watchdog) -> Result<(), Trouble> {
        match &mut self.source {
            Source::Pipe(_, looks) if *looks < LOOKS_MAX => {
                *looks += 1;
                thread::yield_now();
                Ok(())
            }
            Source::Pipe(pipe, _) => {
                watchdog.start(Trouble::InputUnfinished)?;
                let again = pipe.try_clone().and_then(|pipe| set_nonblocking(pipe, false));
                self.source = Source::Plain;
                again.map(drop).map_err(|error| Trouble::Io { step: "wait for the agent's message", error })
            }
            Source::Socket(_) | Source::Plain => Err(Trouble::InputUnfinished),
        }
    }
}

fn open_source(watchdog: &mut Watchdog) -> Result<Source, Trouble> {
    match quick_source(watchdog) {
        Ok(Some(source)) => Ok(source),
        Ok(None) | Err(_) => {
            watchdog.start(Trouble::InputUnfinished)?;
            Ok(Source::Plain)
        }
    }
}

/// A way to read stdin that cannot block for ever, if its kind has one.
fn quick_source(watchdog: &Watchdog) -> io::Result<Option<Source>> {
    let own = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let kind = own.metadata()?.file_type();
    if kind.is_fifo() {
        return set_nonblocking(own, true).map(|pipe| Some(Source::Pipe(pipe, 0)));
    }
    if kind.is_socket() {
        let socket = UnixStream::from(OwnedFd::from(own));
        socket.set_read_timeout(Some(watchdog.budget.left()))?;
        return Ok(Some(Source::Socket(socket)));
    }
    Ok(kind.is_file().then_some(Source::Plain))
}

/// std offers the flag on sockets only, but sets it by a request that every kind of file understands. It is shared with
/// whoever else holds the pipe's reading end; the agent made that for this one call and holds the other end.
fn set_nonblocking(pipe: File, on: bool) -> io::Result<File> {
    let handle = UnixStream::from(OwnedFd::from(pipe));
    handle.set_nonblocking(on)?;
    Ok(File::from(OwnedFd::from(handle)))
}
