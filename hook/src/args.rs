//! The command line. Owns its spelling; refuses to know what the options lead to. Anything it does not understand is
//! an error, never ignored: a misspelt `--on-unavailable` must not open the gate. Next: `courier.rs`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What becomes of a changing call when nobody answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnUnavailable {
    #[default]
    Deny,
    Allow,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) agent: OsString,
    /// The `rrctl` that can start a sidecar.
    pub(crate) daemon: Option<PathBuf>,
    pub(crate) on_unavailable: OnUnavailable,
    pub(crate) socket: Option<PathBuf>,
}

/// What is wrong with the command line, for the refusal's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError(pub(crate) String);

pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> Result<Options, UsageError> {
    let mut options = Options::default();
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| unknown("a value is missing after", &word));
        match word.to_str() {
            Some("--agent") => options.agent = value()?,
            Some("--daemon") => options.daemon = Some(value()?.into()),
            Some("--socket") => options.socket = Some(value()?.into()),
            Some("--on-unavailable") => options.on_unavailable = on_unavailable(&value()?)?,
            _ => return Err(unknown("unknown argument", &word)),
        }
    }
    if options.agent.is_empty() {
        return Err(UsageError("--agent is missing".to_owned()));
    }
    Ok(options)
}

fn on_unavailable(value: &OsStr) -> Result<OnUnavailable, UsageError> {
    match value.to_str() {
        Some("deny") => Ok(OnUnavailable::Deny),
        Some("allow") => Ok(OnUnavailable::Allow),
        _ => Err(unknown("--on-unavailable takes deny or allow, not", value)),
    }
}

fn unknown(what: &str, word: &OsStr) -> UsageError {
    UsageError(format!("{what} {}", word.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Options, UsageError> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn every_option_is_understood_in_any_order() {
        let options = parsed(&["--socket", "/s", "--on-unavailable", "allow", "--daemon", "/d", "--agent", "claude"]);
        let want = Options {
            agent: "claude".into(),
            daemon: Some("/d".into()),
            on_unavailable: OnUnavailable::Allow,
            socket: Some("/s".into()),
        };
        assert_eq!(options, Ok(want));
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_never_allows() {
        let bad: [&[&str]; 6] = [
            &[],
            &["--agent"],
            &["--agent", "claude", "--on-unavailable", "alow"],
            &["--agent", "claude", "--on_unavailable", "allow"],
            &["--agent", "claude", "extra"],
            &["--agent", ""],
        ];
        for words in bad {
            assert!(parsed(words).is_err(), "{words:?}");
        }
    }
}
