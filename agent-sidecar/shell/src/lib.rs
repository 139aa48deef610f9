//! What a shell command would read and change, decided from its parse and never by matching its text.
//!
//! Pure: a command and two folders in, plain data out; no file is looked at, so a path that may be a file or a
//! folder is named in a way that the caller can resolve ([`Target`]). The rule of thumb: neither [`Certainty::ReadOnly`]
//! nor [`Certainty::Foreseen`] is claimed when a write could be missed; an unknown program is unforeseen.
//! The path: [`analyse`] -> `parse` (bounds, then the grammar) -> `walk` (commands in order, through wrappers and
//! nested shells) -> `expand` (words) -> `programs` and `git` (what one call does). It refuses to know rules and locks.

mod brace;
mod builtins;
mod calls;
mod escapes;
mod expand;
mod field;
mod findings;
mod git;
mod handed;
mod inline;
mod lex;
mod model;
mod nested;
mod options;
mod parse;
mod programs;
mod redirect;
mod shell;
mod stack;
mod walk;
mod wrappers;

pub use model::{Analysis, Certainty, Env, GitResource, GitUse, How, Invocation, Target, TreeUse, Word, Write};

/// Longest command looked at. Agents send whole files in here-documents, rarely more than a few KiB; past this the
/// grammar's cost and its stack would have to be bounded by hope.
pub const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// Before the slot's name, how `rrctl run` is called among the wrappers of an [`Invocation`].
pub const SLOT_WRAPPER: &str = "rrctl run --slot ";

/// Reads `command` as bash would and says what it would do in `env`. Never panics, whatever the text.
#[must_use]
pub fn analyse(command: &str, env: &Env<'_>) -> Analysis {
    if command.contains('\0') {
        return Analysis::unparsable("it has a NUL, which no shell takes".to_owned());
    }
    if command.len() > COMMAND_BYTES_MAX {
        return Analysis::unparsable(format!(
            "the command is {} bytes long, more than {COMMAND_BYTES_MAX}",
            command.len()
        ));
    }
    let walked = std::panic::catch_unwind(|| walk::analyse(command, env));
    walked.unwrap_or_else(|_| Analysis::unparsable("the parser gave up on it".to_owned()))
}
