//! An entry in plain words against a command: program, subcommands in their order, flags in any order and spelling; or SQL
//! against what a client is given. It says whether they match and whether one entry is as narrow as another.

use rr_core::policy::Words;

use crate::seen::{Seen, like};
use crate::sql;

/// What an entry's words mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    Command {
        programs: Vec<String>,
        verbs: Vec<String>,
        flags: Vec<Flag>,
        operands: Vec<String>,
    },
    Sql(Vec<String>),
    /// A built-in rule by its name.
    Builtin(String),
}

/// One flag of an entry, and the same in its other spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flag {
    letter: Option<char>,
    long: Option<String>,
    /// Exactly as written, with a value.
    exact: Option<String>,
}

/// The prefix of built-in rules.
pub(crate) const BUILTIN: &str = "default/";
const SQL_VERBS: &[&str] = &[
    "drop", "truncate", "delete", "alter", "update", "insert", "grant", "revoke", "create", "select", "vacuum",
    "reindex",
];
const SQL_NOUNS: &[&str] = &[
    "table", "database", "schema", "from", "into", "user", "role", "index", "view", "all", "on", "column", "owned",
    "sequence",
];
/// Subcommands by which git is meant where its name is left out (`push --force`).
const GIT_VERBS: &[&str] = &[
    "push",
    "reset",
    "checkout",
    "rebase",
    "merge",
    "clean",
    "stash",
    "commit",
    "pull",
    "fetch",
    "branch",
    "tag",
    "cherry-pick",
    "revert",
    "filter-branch",
    "reflog",
    "restore",
    "worktree",
    "gc",
    "amend",
];
/// Letters and the long options they stand for, program by program; the empty name is for all.
const SPELLINGS: &[(&str, char, &str)] = &[
    ("", 'f', "force"),
    ("", 'r', "recursive"),
    ("", 'R', "recursive"),
    ("", 'n', "dry-run"),
    ("", 'y', "yes"),
    ("", 'a', "all"),
    ("", 'q', "quiet"),
    ("", 'v', "verbose"),
    ("", 'i', "interactive"),
    ("", 'h', "help"),
    ("git", 'd', "delete"),
    ("git", 'D', "delete"),
    ("git", 'm', "message"),
    ("git", 'u', "set-upstream"),
    ("docker", 'v', "volumes"),
    ("docker", 't', "tag"),
    ("kubectl", 'n', "namespace"),
    ("kubectl", 'f', "filename"),
    ("npm", 'g', "global"),
    ("pnpm", 'g', "global"),
];

impl Pattern {
    pub(crate) fn new(words: &Words) -> Self {
        let words = words.words();
        if let Some(name) = words[0].strip_prefix(BUILTIN).filter(|_| words.len() == 1) {
            return Self::Builtin(format!("{BUILTIN}{name}"));
        }
        if is_sql(words) {
            return Self::Sql(words.iter().map(|word| word.to_uppercase()).collect());
        }
        Self::command(words)
    }

    fn command(words: &[String]) -> Self {
        let program = words[0].rsplit('/').next().unwrap_or(&words[0]).to_owned();
        let mut rest = &words[1..];
        let mut programs = vec![program.clone()];
        let mut verbs = Vec::new();
        if GIT_VERBS.contains(&program.as_str()) {
            programs = vec!["git".to_owned()];
            rest = words;
        }
        let (mut flags, mut operands) = (Vec::new(), Vec::new());
        for word in rest {
            if word.starts_with('-') && word.len() > 1 {
                flags.extend(flags_of(&programs[0], word));
            } else if flags.is_empty() && operands.is_empty() && is_verb(word) {
                verbs.push(word.clone());
            } else {
                operands.push(word.clone());
            }
        }
        Self::Command { programs, verbs, flags, operands }
    }

    /// Programs it can match; none if it could be any.
    pub(crate) fn programs(&self) -> Vec<&str> {
        match self {
            Self::Command { programs, .. } => programs.iter().map(String::as_str).collect(),
            Self::Sql(_) => sql::CLIENTS.to_vec(),
            Self::Builtin(_) => Vec::new(),
        }
    }

    /// The first subcommand, if it is a plain word.
    pub(crate) fn first_verb(&self) -> Option<&str> {
        match self {
            Self::Command { verbs, .. } => verbs.first().map(String::as_str).filter(|verb| !verb.contains(['*', '?'])),
            Self::Sql(_) | Self::Builtin(_) => None,
        }
    }

    pub(crate) fn matches(&self, seen: &Seen<'_>) -> bool {
        match self {
            Self::Command { programs, verbs, flags, operands } => {
                programs.iter().any(|program| like(program, seen.name))
                    && verbs_match(seen, verbs)
                    && flags.iter().all(|flag| flag.given(seen))
                    && operands.iter().all(|wanted| seen.texts().any(|text| operand_matches(wanted, text)))
            }
            Self::Sql(words) => seen.statements.iter().any(|statement| statement.contains(words)),
            Self::Builtin(_) => false,
        }
    }

    /// Words of an exception: they need not begin with the program.
    pub(crate) fn is_in(words: &Words, seen: &Seen<'_>) -> bool {
        let all = words.words().iter().all(|word| {
            if word.starts_with('-') {
                flags_of(seen.name, word).iter().all(|flag| flag.given(seen))
            } else {
                like(word, seen.name) || seen.texts().any(|text| operand_matches(word, text))
            }
        });
        all || Self::new(words).matches(seen)
    }

    /// Whether everything this matches is matched by `other` too.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Command { programs, verbs, flags, operands },
                Self::Command { programs: p, verbs: v, flags: f, operands: o },
            ) => {
                programs.iter().all(|name| p.iter().any(|wide| like(wide, name)))
                    && verbs.len() >= v.len()
                    && verbs.iter().zip(v).all(|(narrow, wide)| like(wide, narrow))
                    && f.iter().all(|flag| flags.contains(flag))
                    && o.iter().all(|wide| operands.iter().any(|narrow| like(wide, narrow)))
            }
            (Self::Sql(words), Self::Sql(wide)) => words.windows(wide.len()).any(|window| window == wide),
            (Self::Builtin(a), Self::Builtin(b)) => a == b,
            _ => false,
        }
    }

    /// Whether it names more than a program: only then may it lift a built-in rule.
    pub(crate) fn is_narrow(&self) -> bool {
        match self {
            Self::Command { verbs, flags, operands, .. } => {
                !(verbs.is_empty() && flags.is_empty() && operands.is_empty())
            }
            Self::Sql(_) | Self::Builtin(_) => true,
        }
    }
}

fn is_sql(words: &[String]) -> bool {
    let first = words[0].to_lowercase();
    let shouted = words[0].len() >= 4 && words[0].bytes().all(|b| b.is_ascii_uppercase());
    let second = words.get(1).map(|word| word.to_lowercase());
    shouted || SQL_VERBS.contains(&first.as_str()) && second.is_some_and(|word| SQL_NOUNS.contains(&word.as_str()))
}

/// A plain word is a subcommand and has its place; anything else may stand anywhere.
fn is_verb(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '*' | '?'))
}

fn operand_matches(wanted: &str, text: &str) -> bool {
    like(wanted, text) || (text.ends_with('/') && like(wanted, text.trim_end_matches('/')))
}

/// Subcommands one after another. A word behind a flag may be the flag's value, so it may be skipped.
fn verbs_match(seen: &Seen<'_>, verbs: &[String]) -> bool {
    let mut wanted = verbs.iter();
    let Some(mut next) = wanted.next() else {
        return true;
    };
    let mut may_skip = false;
    for text in seen.texts() {
        if text.starts_with('-') {
            may_skip = !text.contains('=');
        } else if like(next, text) {
            match wanted.next() {
                Some(more) => next = more,
                None => return true,
            }
            may_skip = false;
        } else if std::mem::take(&mut may_skip) || text.starts_with('+') {
        } else {
            return false;
        }
    }
    false
}

fn flags_of(program: &str, word: &str) -> Vec<Flag> {
    let bare = word.trim_start_matches('-');
    let spelled = |letter: char| {
        let of = |name: &str| SPELLINGS.iter().find(|(p, c, _)| *p == name && *c == letter).map(|(.., long)| *long);
        of(program).or_else(|| of(""))
    };
    if bare.contains('=') {
        return vec![Flag { letter: None, long: None, exact: Some(word.to_owned()) }];
    }
    let clustered = !word.starts_with("--") && bare.chars().count() <= CLUSTER_LETTERS_MAX && !dashes_once(program);
    if clustered {
        let flag = |c| Flag { letter: Some(c), long: spelled(c).map(str::to_owned), exact: None };
        return bare.chars().map(flag).collect();
    }
    let letter =
        SPELLINGS.iter().find(|(p, _, long)| *long == bare && (p.is_empty() || *p == program)).map(|(_, c, _)| *c);
    vec![Flag { letter, long: Some(bare.to_owned()), exact: None }]
}

/// Letters in one word, as `-xzvf`; longer ones are names with a single dash.
const CLUSTER_LETTERS_MAX: usize = 5;

/// Programs whose long options have one dash.
fn dashes_once(program: &str) -> bool {
    matches!(program, "terraform" | "packer" | "vault" | "consul" | "nomad" | "find" | "java" | "go" | "openssl")
}

impl Flag {
    fn given(&self, seen: &Seen<'_>) -> bool {
        if let Some(exact) = &self.exact {
            return seen.texts().any(|text| like(exact, text));
        }
        let letter = self.letter.is_some_and(|c| {
            !dashes_once(seen.name) && (seen.letter(c) || (c == 'r' && seen.letter('R') && seen.name != "git"))
        });
        letter || self.long.as_deref().is_some_and(|long| seen.long(long))
    }
}
