//! Which two locks exclude each other, by a rule of its own: paths by their parts, names, and the patterns that tests use,
//! `*.ext`. Other patterns are asked of `rr_core`, whose rule has an oracle of its own beside it.

use rr_core::glob::Glob;
use rr_core::path::RepoPath;
use rr_core::scope::{Claim, Mode, Name, Scope};
use rr_store::KeyValue;
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claimed {
    /// As in the key: folded, escaped; a name begins with `!`.
    pub(crate) anchor: String,
    shown: String,
    pattern: Option<String>,
    shared: bool,
}

impl Claimed {
    /// What a holder's record and the anchor of its key say.
    pub(crate) fn held(anchor: &str, kv: &KeyValue) -> Result<Self, String> {
        Self::of(anchor, &json(kv)?).ok_or_else(|| format!("{}: its value is no holder's", kv.key))
    }

    /// What a queue entry asks for.
    pub(crate) fn wanted(kv: &KeyValue) -> Result<Vec<Self>, String> {
        let value = json(kv)?;
        let claims = value["claims"].as_array().map(|claims| {
            claims.iter().map(|claim| Self::of(claim["anchor"].as_str()?, claim)).collect::<Option<Vec<_>>>()
        });
        claims.flatten().ok_or_else(|| format!("{}: its value is no queue entry's", kv.key))
    }

    fn of(anchor: &str, value: &Value) -> Option<Self> {
        Some(Self {
            anchor: anchor.to_owned(),
            shown: value["shown"].as_str()?.to_owned(),
            pattern: value["glob"].as_str().map(str::to_owned),
            shared: value["mode"].as_str()? == "shared",
        })
    }

    /// Whether it is what was asked for in these words.
    pub(crate) fn is(&self, claim: &Claim) -> bool {
        let pattern = match &claim.scope {
            Scope::Glob { glob, .. } => Some(glob.as_str()),
            Scope::Path(_) | Scope::Named(_) => None,
        };
        self.anchor == claim.scope.anchor_key()
            && self.pattern.as_deref() == pattern
            && self.shared == (claim.mode == Mode::Shared)
    }

    pub(crate) fn excludes(&self, other: &Self) -> bool {
        if self.shared && other.shared {
            return false;
        }
        match (self.extension(), other.extension()) {
            (Known::Path, Known::Path) => related(&self.anchor, &other.anchor),
            (Known::Ends(a), Known::Ends(b)) => self.anchor == other.anchor && a == b,
            (Known::Ends(end), Known::Path) => other.meets_files_of(&self.anchor, end),
            (Known::Path, Known::Ends(end)) => self.meets_files_of(&other.anchor, end),
            (Known::No, _) | (_, Known::No) => self.as_core().zip(other.as_core()).is_none_or(|(a, b)| a.conflicts(&b)),
        }
    }

    fn extension(&self) -> Known<'_> {
        match self.pattern.as_deref() {
            None => Known::Path,
            Some(pattern) => match pattern.strip_prefix("*.") {
                Some(end) if !end.contains(['*', '?', '/', '.', '[', '{']) => Known::Ends(end),
                _ => Known::No,
            },
        }
    }

    /// Whether this path is one of the files `*.end` in a folder, or a folder that holds them.
    fn meets_files_of(&self, folder: &str, end: &str) -> bool {
        if self.anchor.starts_with('!') {
            return false;
        }
        let below = parts(&self.anchor).collect::<Vec<_>>();
        let folder = parts(folder).collect::<Vec<_>>();
        let inside = |rest: &[&str]| rest.len() == 1 && rest[0].ends_with(&format!(".{end}"));
        folder.starts_with(&below) || below.strip_prefix(folder.as_slice()).is_some_and(inside)
    }

    fn as_core(&self) -> Option<Claim> {
        let scope = if let Some(name) = self.anchor.strip_prefix('!') {
            Scope::Named(Name::parse(name).ok()?)
        } else {
            let path = RepoPath::from_key(&self.anchor, &self.shown)?;
            match &self.pattern {
                None => Scope::Path(path),
                Some(pattern) => Scope::Glob { folder: path, glob: Glob::parse(pattern).ok()? },
            }
        };
        Some(if self.shared { Claim::shared(scope) } else { Claim::exclusive(scope) })
    }
}

enum Known<'a> {
    Path,
    Ends(&'a str),
    No,
}

fn parts(anchor: &str) -> impl Iterator<Item = &str> {
    anchor.split('/').filter(|part| !part.is_empty())
}

/// Whether one lies at, above or below the other. A name lies below the root alone.
pub(crate) fn related(a: &str, b: &str) -> bool {
    let (a, b): (Vec<_>, Vec<_>) = (parts(a).collect(), parts(b).collect());
    a.starts_with(&b) || b.starts_with(&a)
}

pub(crate) fn json(kv: &KeyValue) -> Result<Value, String> {
    serde_json::from_slice(&kv.value).map_err(|why| format!("{}: {why}", kv.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claimed(anchor: &str, pattern: Option<&str>, shared: bool) -> Claimed {
        let (anchor, shown) = (anchor.to_owned(), anchor.to_owned());
        Claimed { anchor, shown, pattern: pattern.map(str::to_owned), shared }
    }

    #[test]
    fn paths_patterns_and_names_exclude_each_other_as_promised() {
        let path = |anchor| claimed(anchor, None, false);
        let glob = |anchor, pattern| claimed(anchor, Some(pattern), false);
        for (a, b, excludes) in [
            (path("src"), path("src/a"), true),
            (path("src/a"), path("src/ab"), false),
            (path(""), path("!build"), true),
            (path("a"), path("!build"), false),
            (glob("a", "*.rs"), path("a/b.rs"), true),
            (glob("a", "*.rs"), path("a/b/c.rs"), false),
            (glob("a", "*.rs"), path("a/b.md"), false),
            (glob("a", "*.rs"), path(""), true),
            (glob("a", "*.rs"), path("!build"), false),
            (glob("a", "*.rs"), glob("a", "*.md"), false),
            (glob("a", "**/b*"), path("a/c/b1"), true),
            (glob("a", "**/b*"), glob("a", "*.rs"), true),
        ] {
            assert_eq!((a.excludes(&b), b.excludes(&a)), (excludes, excludes), "{a:?} and {b:?}");
        }
        assert!(!claimed("a", None, true).excludes(&claimed("a", None, true)));
        assert!(claimed("a", None, true).excludes(&path("a")));
    }
}
