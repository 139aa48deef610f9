//! Every text that an agent reads: what happened, who, since when, what to do next. Facts, not orders: an agent's guard
//! against injected instructions must have no reason to doubt them. They lie in the files below, by what they are about; here is
//! what these share. Nothing is decided here.

mod files;
mod guard;
mod kept;
mod line;
mod overlap;
mod policy;
mod repair;
mod slots;
mod standstill;

use rr_core::scope::Scope;
use rr_core::time::Span;

pub(crate) use self::files::*;
pub(crate) use self::guard::*;
pub(crate) use self::kept::*;
pub(crate) use self::line::*;
pub(crate) use self::overlap::*;
pub(crate) use self::policy::*;
pub(crate) use self::repair::*;
pub(crate) use self::slots::*;
pub(crate) use self::standstill::*;

/// Longest piece of somebody else's prompt or path that is repeated.
const QUOTE_CHARS_MAX: usize = 120;

/// Longest error of a configuration file that is repeated: file, place, what, what was meant.
const ERROR_CHARS_MAX: usize = 400;

/// Who stands in the way, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// First digits of the session.
    pub session: String,
    pub agent: String,
    /// The user whose saves it stands for, if it is no agent.
    pub person: Option<String>,
    pub host: String,
    pub pid: u32,
    pub task: String,
    pub since: Option<Span>,
}

impl Who {
    /// For those who see it beside what it does.
    pub(crate) fn in_short(&self) -> String {
        format!("session {} ({}, pid {} on {})", self.session, self.agent, self.pid, self.host)
    }

    fn named(&self) -> String {
        let task = if self.task.is_empty() { String::new() } else { format!(", at work on \"{}\"", quote(&self.task)) };
        let since = self.since.map_or_else(String::new, |s| format!(", since {}", span(s)));
        if let Some(user) = &self.person {
            return format!("{user} in an editor (a person on {}, session {}){since}", self.host, self.session);
        }
        format!("session {} ({}, pid {} on {}{task}){since}", self.session, self.agent, self.pid, self.host)
    }
}

/// What a lock is on, in words.
pub(crate) fn scope(scope: &Scope) -> String {
    let Scope::Named(name) = scope else {
        let text = scope.to_string();
        return text.strip_suffix("/**").map_or(text.clone(), str::to_owned);
    };
    let words = match name.as_str().split('.').next() {
        Some("tree") => "the whole work tree",
        Some("head") => "the HEAD of this work tree",
        Some("index") => "git's index (what is staged) of this work tree",
        Some("stash") => "git's stash",
        Some("refs") => "git's refs (branches, tags)",
        Some("config") => "git's configuration",
        _ => return scope.to_string(),
    };
    words.to_owned()
}

pub(crate) fn span(span: Span) -> String {
    match span.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3_600),
    }
}

fn quote(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), QUOTE_CHARS_MAX)
}

pub(crate) fn cut(line: &str, chars_max: usize) -> String {
    let cut: String = line.chars().take(chars_max).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_who_since_when_what_and_what_next() {
        let who = Who {
            session: "abc12345".into(),
            agent: "claude".into(),
            person: None,
            host: "box".into(),
            pid: 77,
            task: format!("rewrite\nthe parser {}", "x".repeat(500)),
            since: Some(Span::from_secs(150)),
        };
        let said = held("src/types/api.ts", &who, 0, Span::from_secs(60));
        for part in [
            "src/types/api.ts is being edited by session abc12345",
            "claude, pid 77 on box",
            "rewrite the parser",
            "since 2 min",
            "next in line",
            "kept for you",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(said.len() < 700 && !said.contains('\n'));
        let person = Who { agent: "person".into(), person: Some("ann".into()), ..who };
        let said = held("src/types/api.ts", &person, 0, Span::from_secs(60));
        assert!(said.contains("src/types/api.ts is being edited by ann in an editor (a person on box"), "{said}");
        assert!(said.contains("since 2 min") && !said.contains("pid"), "{said}");
    }
}
