//! One command as rules look at it: its plain name, its flags in any order and spelling, its operands, its subcommand.
//! It knows how options are written and no rule. Used by `pattern` and `defaults`.

use std::cell::OnceCell;
use std::path::{Component, Path, PathBuf};

use rr_shell::{Invocation, Word};

use crate::sql::Statements;

/// A view of one invocation.
pub(crate) struct Seen<'a> {
    pub(crate) at: usize,
    pub(crate) call: &'a Invocation,
    pub(crate) name: &'a str,
    /// What a database client is told to do.
    pub(crate) statements: Statements,
    /// Where the subcommand of git stands, which each of its rules asks for.
    pub(crate) git_verb_at: OnceCell<Option<usize>>,
}

/// GNU tools under other names, and names with a version or suffix.
fn plain(name: &str) -> &str {
    let name = name.strip_suffix(".exe").unwrap_or(name);
    match name {
        "grm" | "gdd" | "gmv" | "gcp" | "gfind" | "gchmod" | "gchown" | "gkill" | "gcat" | "gshred" | "gtruncate" => {
            &name[1..]
        }
        _ if name.starts_with("python3.") => "python3",
        _ if name.starts_with("mkfs.") => "mkfs",
        "aws-cdk" => "cdk",
        "aws-cli" => "aws",
        "tofu" | "tf" => "terraform",
        "Remove-Item" | "ri" => "remove-item",
        other => other,
    }
}

impl<'a> Seen<'a> {
    pub(crate) fn new(at: usize, call: &'a Invocation) -> Self {
        let name = call.name().map_or("", plain);
        Self { at, call, name, statements: Statements::new(name, call), git_verb_at: OnceCell::new() }
    }

    /// Its words after the program.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.call.args.iter().map(Word::text)
    }

    fn flags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.texts().take_while(|text| *text != "--").filter(|text| text.starts_with('-') && text.len() > 1)
    }

    /// Whether a flag is given: a letter alone or in a cluster, or the long name, also abbreviated or with a value.
    pub(crate) fn has(&self, short: char, long: &str) -> bool {
        self.letter(short) || self.long(long)
    }

    pub(crate) fn letter(&self, short: char) -> bool {
        self.flags()
            .any(|flag| !flag.starts_with("--") && flag[1..].chars().take_while(|c| *c != '=').any(|c| c == short))
    }

    /// A long name, with one dash or two, in full, with a value, or abbreviated to three letters or more.
    pub(crate) fn long(&self, long: &str) -> bool {
        !long.is_empty()
            && self.flags().any(|flag| {
                let name = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
                name == long || (flag.starts_with("--") && name.len() >= 3 && long.starts_with(name))
            })
    }

    /// Exactly this word, as a flag with or without a value.
    pub(crate) fn exact(&self, flag: &str) -> bool {
        self.flags().any(|given| given == flag || given.strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')))
    }

    /// The value of an option, in the next word or after `=`.
    pub(crate) fn value(&self, options: &[&str]) -> Option<&'a str> {
        let texts: Vec<&str> = self.texts().collect();
        texts.iter().enumerate().find_map(|(at, text)| {
            if options.contains(text) {
                return texts.get(at + 1).copied();
            }
            options.iter().find_map(|option| text.strip_prefix(option)?.strip_prefix('='))
        })
    }

    /// Words that are no flags.
    pub(crate) fn operands(&self) -> Vec<&'a Word> {
        let mut dashes = false;
        let mut out = Vec::new();
        for word in &self.call.args {
            let text = word.text();
            if !dashes && text == "--" {
                dashes = true;
            } else if dashes || !text.starts_with('-') || text == "-" {
                out.push(word);
            }
        }
        out
    }

    /// Operands without the values of these options: subcommands and what they are given.
    pub(crate) fn verbs(&self, valued: &[&str]) -> Vec<&'a str> {
        self.each_verb(valued).collect()
    }

    /// The same, one by one.
    pub(crate) fn each_verb<'v>(&self, valued: &'v [&'v str]) -> impl Iterator<Item = &'a str> + use<'a, 'v> {
        self.places_of_verbs(valued).map(|(_, text)| text)
    }

    /// The same, with their places among the words.
    pub(crate) fn places_of_verbs<'v>(
        &self,
        valued: &'v [&'v str],
    ) -> impl Iterator<Item = (usize, &'a str)> + use<'a, 'v> {
        let mut texts = self.texts().enumerate();
        std::iter::from_fn(move || {
            loop {
                let (at, text) = texts.next()?;
                if !text.starts_with('-') {
                    return Some((at, text));
                }
                if valued.contains(&text) {
                    texts.next();
                }
            }
        })
    }

    /// Words where the first subcommand of an entry can be: up to the first one that is neither a flag nor may be a flag's
    /// value.
    pub(crate) fn leading(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut texts = self.texts();
        let mut may_skip = false;
        let mut ended = false;
        std::iter::from_fn(move || {
            while !ended {
                let text = texts.next()?;
                if text.starts_with('-') {
                    may_skip = !text.contains('=');
                    continue;
                }
                ended = !std::mem::take(&mut may_skip) && !text.starts_with('+');
                return Some(text);
            }
            None
        })
    }

    /// Whether the subcommands are these, in order.
    pub(crate) fn is(&self, valued: &[&str], verbs: &[&str]) -> bool {
        self.each_verb(valued).take(verbs.len()).eq(verbs.iter().copied())
    }

    pub(crate) fn any(&self, words: &[&str]) -> bool {
        self.texts().any(|text| words.contains(&text))
    }

    /// The command as a person would type it, shortened.
    pub(crate) fn shown(&self) -> String {
        const CHARS_MAX: usize = 120;
        let mut out = self.call.program.text().to_owned();
        for text in self.texts() {
            if out.len() > CHARS_MAX {
                break;
            }
            out.push(' ');
            out.push_str(text);
        }
        if out.chars().count() > CHARS_MAX {
            out = out.chars().take(CHARS_MAX).chain("...".chars()).collect();
        }
        out.replace('\n', " ")
    }

    /// A word of it as an absolute path, `..` taken off as written.
    pub(crate) fn path(&self, text: &str) -> Option<PathBuf> {
        absolute(self.call.cwd.as_deref(), text)
    }
}

/// `text` from `cwd`, lexically.
pub(crate) fn absolute(cwd: Option<&Path>, text: &str) -> Option<PathBuf> {
    if text.is_empty() {
        return None;
    }
    let path = Path::new(text);
    let joined = if path.is_absolute() { path.to_path_buf() } else { cwd?.join(path) };
    Some(straight(&joined))
}

/// Without `.` and `..`.
pub(crate) fn straight(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// Whether `text` matches a pattern of `*`, `?` and plain characters. One point of return, so it cannot back-track far.
pub(crate) fn like(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    // Most pairs differ at their ends already.
    if let (Some(wanted), given) = (pattern.last(), text.last())
        && !matches!(wanted, b'*' | b'?')
        && Some(wanted) != given
    {
        return false;
    }
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            p = at + 1;
            t = from + 1;
            star = Some((at, from + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}
