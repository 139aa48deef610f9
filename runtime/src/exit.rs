//! How a program fails: what happened, why, what to type next, and the exit code that a script can tell it by. Every exit
//! code of every program is here. It knows no command. Next: `program` (or `rrctl`'s `cli`) shows a failure, once.

use std::error::Error;
use std::fmt::{Display, Write as _};

use serde_json::json;

/// What went wrong, as far as a script cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The reader of our output went away: no fault of ours, and nobody to tell.
    Unread,
    Failed,
    Usage,
    /// Nobody answers: no daemon, no coordinator, no store.
    Unreachable,
    /// Understood, and not done for a reason that the message names.
    Refused,
    /// Nothing, or more than one thing, has that name.
    NotFound,
    /// `doctor` found something that needs a hand.
    Findings,
}

impl Kind {
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Failed => 1,
            // As clap has it.
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Refused => 4,
            Self::NotFound => 5,
            Self::Findings => 6,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::NotFound => "not_found",
            Self::Findings => "findings",
        }
    }
}

/// The failure of a command or of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: Kind,
    what: String,
    cause: Option<String>,
    hint: Option<String>,
    /// Told before, or not worth telling: only the exit code is left to give.
    pub is_told: bool,
}

impl Failure {
    #[must_use]
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), cause: None, hint: None, is_told: false }
    }

    /// Failed at doing something, for the reasons that an error and its sources tell.
    #[must_use]
    pub fn at(what: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        Self::new(Kind::Failed, what).because(chain(error))
    }

    /// The same, of another kind.
    #[must_use]
    pub fn of_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    #[must_use]
    pub fn because(mut self, cause: impl Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn told(mut self) -> Self {
        self.is_told = true;
        self
    }

    /// As one line a part, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.what);
        for (label, part) in [("cause", &self.cause), ("hint", &self.hint)] {
            if let Some(part) = part {
                let part = part.replace('\n', "\n       ");
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{label}: {}{part}", if label == "hint" { " " } else { "" });
            }
        }
        text
    }

    /// As one line of JSON, for programs.
    #[must_use]
    pub fn json(&self) -> String {
        let error = json!({
            "kind": self.kind.word(), "exit": self.kind.code(),
            "message": self.what, "cause": self.cause, "hint": self.hint,
        });
        format!("{}\n", json!({ "error": error }))
    }
}

/// An error and its sources, joined by colons.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !text.ends_with(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_the_exit_code_that_is_documented() {
        let kinds = [
            (Kind::Unread, 0),
            (Kind::Failed, 1),
            (Kind::Usage, 2),
            (Kind::Unreachable, 3),
            (Kind::Refused, 4),
            (Kind::NotFound, 5),
            (Kind::Findings, 6),
        ];
        for (kind, code) in kinds {
            assert_eq!(kind.code(), code, "{kind:?}");
        }
    }

    #[test]
    fn a_failure_says_what_why_and_what_to_type() {
        let failure =
            Failure::new(Kind::Unreachable, "no daemon answers").because("no socket").hint("rrctl up --detach");
        assert_eq!(failure.text(), "error: no daemon answers\ncause: no socket\nhint:  rrctl up --detach\n");
        let json: serde_json::Value = serde_json::from_str(&failure.json()).expect("json");
        assert_eq!(json["error"]["kind"], "unreachable");
        assert_eq!(json["error"]["exit"], 3);
        assert_eq!(json["error"]["hint"], "rrctl up --detach");
    }
}
