//! Writing to standard output. A reader that goes away (`rrctl locks | head`) ends the command, quietly and without a
//! panic. What is written is decided elsewhere.

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::exit::{Failure, Kind};

/// Columns assumed where the terminal tells none.
const COLUMNS_DEFAULT: u16 = 80;

pub(crate) fn text(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Err(Failure::new(Kind::Unread, "nobody reads the output")),
        Err(e) => Err(Failure::at("write the output", &e)),
    }
}

/// One value, on one line.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let line = serde_json::to_string(value).map_err(|e| Failure::at("encode the output", &e))?;
    text(&format!("{line}\n"))
}

/// Whether a person looks who has not said that colours are unwanted.
pub(crate) fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let unable = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
    std::io::stdout().is_terminal() && !unwanted && !unable
}

/// How many columns there are, if a person looks at them.
pub(crate) fn columns() -> Option<u16> {
    let out = std::io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let told = rustix::termios::tcgetwinsize(&out).map_or(0, |size| size.ws_col);
    Some(if told == 0 { COLUMNS_DEFAULT } else { told })
}
