//! Entries that cannot all mean what they say: an allowance the blocklist takes back, one that lifts nothing, an entry
//! written twice. Told at `rrctl policy check`; a judgement never depends on it, since the strictest wins.

use std::fmt;

use rr_core::policy::Defaults;

use crate::compile::Policy;
use crate::defaults;
use crate::lists::{List, Listed};
use crate::pattern::Pattern;

/// One entry that has no effect, or another than it seems to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction {
    pub line: u32,
    pub entry: String,
    pub wrong: Wrong,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The blocklist refuses what this would allow or ask for.
    Blocked { line: u32, entry: String },
    /// The same stands on an earlier line.
    Twice { line: u32 },
    /// A program alone does not say what is allowed of it, and lifts nothing.
    TooWide,
    /// There is no built-in rule of this name.
    NoSuchRule,
    /// It names a built-in rule in a list that only takes commands.
    RuleOutOfPlace,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: `{}` ", self.line, self.entry)?;
        match &self.wrong {
            Wrong::Blocked { line, entry } => {
                write!(f, "never has an effect: `{entry}` on line {line} refuses it, and the strictest wins")
            }
            Wrong::Twice { line } => write!(f, "stands on line {line} already"),
            Wrong::TooWide => f.write_str("lifts nothing: name the subcommand or flags that are allowed too"),
            Wrong::NoSuchRule => f.write_str("is no built-in rule (`rrctl policy check` lists them)"),
            Wrong::RuleOutOfPlace => f.write_str("names a built-in rule, which only `allow` can lift"),
        }
    }
}

pub(crate) fn find(policy: &Policy) -> Vec<Contradiction> {
    let mut out = Vec::new();
    for list in [&policy.blocklist, &policy.approve, &policy.allow] {
        twice(list, &mut out);
    }
    for list in [&policy.blocklist, &policy.approve] {
        for listed in list.entries() {
            if matches!(listed.pattern, Some(Pattern::Builtin(_))) {
                out.push(told(listed, Wrong::RuleOutOfPlace));
            }
        }
    }
    for list in [&policy.approve, &policy.allow] {
        blocked(list, policy, &mut out);
    }
    for listed in policy.allow.entries() {
        match &listed.pattern {
            Some(Pattern::Builtin(name)) => {
                let known = defaults::all().iter().any(|rule| rule.name == name);
                if !known || policy.defaults == Defaults::Off {
                    out.push(told(listed, Wrong::NoSuchRule));
                }
            }
            Some(pattern) if !pattern.is_narrow() && !lifts_an_approval(policy, listed) => {
                out.push(told(listed, Wrong::TooWide));
            }
            _ => {}
        }
    }
    out.sort_by_key(|found| found.line);
    out
}

/// Of the commands of one slot.
pub(crate) fn in_slot(commands: &List, policy: &Policy) -> Vec<Contradiction> {
    let mut out = Vec::new();
    twice(commands, &mut out);
    blocked(commands, policy, &mut out);
    out
}

fn blocked(list: &List, policy: &Policy, out: &mut Vec<Contradiction>) {
    for listed in list.entries() {
        if let Some(stricter) = policy.blocklist.entries().iter().find(|block| is_within(listed, block)) {
            let wrong = Wrong::Blocked { line: stricter.entry.line, entry: stricter.shown() };
            out.push(told(listed, wrong));
        }
    }
}

fn told(listed: &Listed, wrong: Wrong) -> Contradiction {
    Contradiction { line: listed.entry.line, entry: listed.shown(), wrong }
}

fn lifts_an_approval(policy: &Policy, listed: &Listed) -> bool {
    policy.approve.entries().iter().any(|approve| is_within(listed, approve))
}

/// Whether all that `narrow` matches is matched by `wide` too.
pub(crate) fn is_within(narrow: &Listed, wide: &Listed) -> bool {
    let within = |narrow: &[String], wide: &[String]| {
        wide.is_empty() || !narrow.is_empty() && narrow.iter().all(|n| wide.contains(n))
    };
    let words = match (&narrow.pattern, &wide.pattern) {
        (Some(narrow), Some(wide)) => narrow.is_within(wide),
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let paths = wide.entry.paths.is_empty()
        || !narrow.entry.paths.is_empty() && narrow.entry.paths.iter().all(|path| wide.entry.paths.contains(path));
    let excepted = wide.entry.except.iter().all(|words| narrow.entry.except.contains(words));
    words
        && paths
        && excepted
        && within(&narrow.entry.tools, &wide.entry.tools)
        && within(&narrow.entry.agents, &wide.entry.agents)
}

fn twice(list: &List, out: &mut Vec<Contradiction>) {
    use std::collections::HashMap;
    let mut seen: HashMap<String, Vec<&Listed>> = HashMap::new();
    for listed in list.entries() {
        let earlier = seen.entry(listed.shown()).or_default();
        let same = |other: &&&Listed| is_within(listed, other) && is_within(other, listed);
        if let Some(first) = earlier.iter().find(same) {
            out.push(told(listed, Wrong::Twice { line: first.entry.line }));
        }
        earlier.push(listed);
    }
}
