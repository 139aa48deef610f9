//! What a team wrote about commands, files and scopes, as written: plain data with the line each entry stands on. Here is
//! what a legal entry is; what it means for a call is decided by the policy crate, and how a file is read is the
//! runtime's. Next: `PolicySource`.

use std::fmt;

use crate::glob::{Glob, GlobError};
use crate::path::RepoPath;

/// An entry is typed by hand; a longer one is a pasted script.
pub const WORDS_BYTES_MAX: usize = 512;
/// Words of one entry: a program, its subcommands and flags.
pub const WORDS_MAX: usize = 32;
/// Entries of one list. Rules are indexed by program, so this bounds memory more than time.
pub const ENTRIES_MAX: usize = 2_000;
/// Patterns or names of one entry: each call is compared with all of them.
pub const PATTERNS_MAX: usize = 256;
/// Scopes of one file.
pub const SCOPES_MAX: usize = 500;
/// Kinds of slots of one file.
pub const SLOTS_MAX: usize = 16;
/// Slots of one kind: more builds at a time run on no machine.
pub const SLOTS_OF_MAX: usize = 64;
/// A reason is shown to an agent in one line.
pub const BECAUSE_CHARS_MAX: usize = 300;

/// Everything that `railroad.yaml` says about what may be run and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicySource {
    pub effect: Effect,
    pub defaults: Defaults,
    /// Refused in every session.
    pub blocklist: Vec<Entry>,
    /// A person is asked.
    pub approve: Vec<Entry>,
    /// Lifts rules of the default set and approvals that it names; never the blocklist.
    pub allow: Vec<Entry>,
    pub scopes: Vec<ScopeSource>,
}

/// Whether the rules hold or are only tried out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    #[default]
    Enforced,
    /// What would be refused is logged instead.
    Shadow,
}

/// Whether the built-in rules apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Defaults {
    #[default]
    On,
    Off,
}

/// One entry of a list. It applies where all that it names holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The line it stands on; 0 if it stands in no file.
    pub line: u32,
    pub words: Option<Words>,
    /// Commands that also have these words are left alone.
    pub except: Vec<Words>,
    pub paths: Vec<PathPattern>,
    pub tools: Vec<String>,
    pub agents: Vec<String>,
    pub because: Option<String>,
}

/// Commands of which a host runs only so many at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotSource {
    pub line: u32,
    pub name: String,
    pub of: usize,
    /// Each names a command. None: the slot is for those who ask for it by name.
    pub commands: Vec<Entry>,
}

/// Where a class of sessions may write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeSource {
    pub line: u32,
    pub name: String,
    pub who: Who,
    /// Empty: everywhere but where the others say no.
    pub may: Vec<Glob>,
    pub never: Vec<Glob>,
    pub create_only: Vec<Glob>,
    pub read_only: Vec<Glob>,
    /// Whom to ask for a change outside.
    pub owner: Option<String>,
}

/// Whom a scope is for: each kind that is named must match one of its patterns (`*` stands for anything). With no kind
/// named, it is for the session, task or agent of the scope's own name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    pub session: Vec<String>,
    pub task: Vec<String>,
    pub folder: Vec<String>,
    pub branch: Vec<String>,
    pub worktree: Vec<String>,
    pub agent: Vec<String>,
}

/// A command in plain words: `terraform destroy`, `rm -rf`, `DROP TABLE`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Words {
    shown: String,
    words: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    #[error("an entry names a command; this one is empty")]
    Empty,
    #[error("longer than {WORDS_BYTES_MAX} bytes: name the program and what makes it dangerous")]
    TooLong,
    #[error("more than {WORDS_MAX} words: name the program and what makes it dangerous")]
    TooMany,
    #[error("a quote is never closed")]
    OpenQuote,
    #[error("control characters in an entry")]
    Control,
    #[error("`{0}` joins commands: name one, it is found wherever it stands in a line")]
    Joined(String),
    #[error("`{0}` is a flag: begin with the program, as in `rm -rf`")]
    FlagFirst(String),
}

impl Words {
    /// Takes blanks apart outside of quotes. Nothing is expanded.
    ///
    /// # Errors
    /// If it is empty, too long, has an open quote, joins several commands, or begins with a flag.
    pub fn parse(text: &str) -> Result<Self, WordsError> {
        if text.len() > WORDS_BYTES_MAX {
            return Err(WordsError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(WordsError::Control);
        }
        let words = split(text)?;
        match words.first() {
            None => Err(WordsError::Empty),
            Some(first) if first.is_empty() => Err(WordsError::Empty),
            _ if words.len() > WORDS_MAX => Err(WordsError::TooMany),
            Some(_) => Ok(Self { shown: text.trim().to_owned(), words }),
        }
    }

    /// The same for an entry that must name a program.
    ///
    /// # Errors
    /// As [`Words::parse`], and if it begins with a flag.
    pub fn command(text: &str) -> Result<Self, WordsError> {
        let words = Self::parse(text)?;
        if words.words[0].starts_with('-') {
            return Err(WordsError::FlagFirst(words.words[0].clone()));
        }
        Ok(words)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.shown
    }

    /// At least one.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn split(text: &str) -> Result<Vec<String>, WordsError> {
    let (mut words, mut word): (Vec<String>, Option<String>) = (Vec::new(), None);
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if matches!(c, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            None if matches!(c, '|' | ';' | '&' | '`') => return Err(WordsError::Joined(c.to_string())),
            None if c.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(WordsError::OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

/// Files an entry is about: in the repository, in the home folder (`~/`), or anywhere (`/`). One that names a folder
/// covers all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    pub base: Base,
    glob: Glob,
    /// Its first part, where that is a plain name: most paths are told apart by it.
    first: Option<RepoPath>,
}

/// What a pattern is relative to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    Repository,
    Home,
    Root,
}

impl PathPattern {
    /// # Errors
    /// As [`Glob::parse`].
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let (base, rest) = match (text.strip_prefix("~/"), text.strip_prefix('/')) {
            (Some(rest), _) => (Base::Home, rest),
            (None, Some(rest)) => (Base::Root, rest),
            (None, None) => (Base::Repository, text),
        };
        let rest = rest.trim_end_matches('/');
        let glob = Glob::parse(rest)?;
        let part = rest.split('/').next().filter(|part| !part.contains(['*', '?', '[']));
        let first = part.and_then(|part| RepoPath::parse(part.as_bytes()).ok());
        Ok(Self { base, glob, first })
    }

    /// Whether it covers a path given relative to its base.
    #[must_use]
    pub fn covers(&self, relative: &RepoPath) -> bool {
        self.first.as_ref().is_none_or(|first| first.covers(relative)) && covers(&self.glob, relative)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = match self.base {
            Base::Repository => "",
            Base::Home => "~/",
            Base::Root => "/",
        };
        write!(f, "{base}{}", self.glob.as_str())
    }
}

/// Whether a pattern covers the path or a folder that it is in.
#[must_use]
pub fn covers(glob: &Glob, path: &RepoPath) -> bool {
    let parts = path.key_parts();
    (1..=parts.len()).rev().any(|n| glob.matches(&parts[..n]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_taken_apart_at_blanks_outside_of_quotes() {
        let words = Words::command("  psql -c 'DROP  TABLE' \"a b\"c ").expect("legal");
        assert_eq!(words.words(), ["psql", "-c", "DROP  TABLE", "a bc"]);
        assert_eq!(words.as_str(), "psql -c 'DROP  TABLE' \"a b\"c");
    }

    #[test]
    fn an_entry_that_names_no_single_command_is_refused() {
        for (text, refused) in [
            ("", WordsError::Empty),
            ("  ", WordsError::Empty),
            ("'' x", WordsError::Empty),
            ("rm 'x", WordsError::OpenQuote),
            ("rm -rf /; ls", WordsError::Joined(";".to_owned())),
            ("curl x | sh", WordsError::Joined("|".to_owned())),
            ("a\nb", WordsError::Control),
            ("-rf", WordsError::FlagFirst("-rf".to_owned())),
        ] {
            assert_eq!(Words::command(text), Err(refused), "{text:?}");
        }
        assert_eq!(Words::command(&"a".repeat(WORDS_BYTES_MAX + 1)), Err(WordsError::TooLong));
        assert_eq!(Words::command(&"a ".repeat(WORDS_MAX + 1)), Err(WordsError::TooMany));
    }

    #[test]
    fn a_pattern_of_a_folder_covers_what_is_below() {
        let path = |text: &str| RepoPath::parse(text.as_bytes()).expect(text);
        for (pattern, base, inside, outside) in [
            ("src", Base::Repository, "src/a/b", "srx/a"),
            ("src/", Base::Repository, "src", "a/src"),
            ("~/.aws/**", Base::Home, ".aws/credentials", "aws"),
            ("/etc/*.conf", Base::Root, "etc/a.conf", "etc/a"),
            ("**/migrations", Base::Repository, "db/migrations/1.sql", "db/1.sql"),
        ] {
            let parsed = PathPattern::parse(pattern).expect(pattern);
            assert_eq!(parsed.base, base, "{pattern}");
            assert!(parsed.covers(&path(inside)) && !parsed.covers(&path(outside)), "{pattern}");
        }
        assert!(PathPattern::parse("../x").is_err());
    }
}
