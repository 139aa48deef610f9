//! What one request asks for, and which two requests exclude each other. The relation is symmetric and has a version
//! ([`CONFLICT_RULES`]): every program of a fleet must use the same one (lock-protocol §4).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::glob::{Glob, GlobError};
use crate::path::RepoPath;

/// Version of the conflict relation, stored in the fleet's schema record.
pub const CONFLICT_RULES: u32 = 1;

/// A set of things that is locked as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// A path and everything below it.
    Path(RepoPath),
    /// Exactly the paths that match a pattern below a folder.
    Glob { folder: RepoPath, glob: Glob },
    /// Something that is no file: the index of a worktree, the build slot, a migration.
    Named(Name),
}

/// The name of something that is no file. `!` in front of it in a key keeps it apart from every path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("a lock's name is 1-80 of a-z 0-9 . _ -, got {0:?}")]
    Name(String),
    #[error(transparent)]
    Glob(#[from] GlobError),
    #[error(transparent)]
    Path(#[from] crate::path::PathError),
}

impl Name {
    /// # Errors
    /// If the name is empty, longer than 80 bytes, or has other characters than `a-z 0-9 . _ -`.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let ok = (1..=80).contains(&text.len())
            && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
        if ok { Ok(Self(text.to_owned())) } else { Err(ScopeError::Name(text.chars().take(80).collect())) }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Exclusive,
    Shared,
}

/// One thing asked for, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub scope: Scope,
    pub mode: Mode,
}

impl Claim {
    #[must_use]
    pub fn exclusive(scope: Scope) -> Self {
        Self { scope, mode: Mode::Exclusive }
    }

    #[must_use]
    pub fn shared(scope: Scope) -> Self {
        Self { scope, mode: Mode::Shared }
    }

    /// Whether two sessions must not hold these at once.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let both_shared = self.mode == Mode::Shared && other.mode == Mode::Shared;
        !both_shared && self.scope.meets(&other.scope)
    }

    /// Whether holding this is as good as holding `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        (self.mode == Mode::Exclusive || other.mode == Mode::Shared) && self.scope.covers(&other.scope)
    }
}

impl Scope {
    /// Whether the two sets share a member.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(a), Self::Path(b)) => a.covers(b) || b.covers(a),
            (Self::Path(p), Self::Glob { folder, glob }) | (Self::Glob { folder, glob }, Self::Path(p)) => {
                path_meets_glob(p, folder, glob)
            }
            (Self::Glob { folder: f, glob: g }, Self::Glob { folder: e, glob: h }) => g.meets(f, h, e),
            (Self::Named(a), Self::Named(b)) => a == b,
            // A lock on the whole repository also excludes what is no file.
            (Self::Path(p), Self::Named(_)) | (Self::Named(_), Self::Path(p)) => p.is_root(),
            (Self::Glob { .. }, Self::Named(_)) | (Self::Named(_), Self::Glob { .. }) => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Path(a), Self::Path(b)) => a.covers(b),
            (Self::Path(a), Self::Glob { folder, .. }) => a.covers(folder),
            (Self::Path(a), Self::Named(_)) => a.is_root(),
            (Self::Glob { folder, glob }, Self::Path(p)) => glob_covers_path(folder, glob, p),
            _ => self == other,
        }
    }

    /// Where the holder's key lies: the path itself, or the folder of the pattern, or the name behind `!`.
    #[must_use]
    pub fn anchor_key(&self) -> String {
        match self {
            Self::Path(p) => p.key(),
            Self::Glob { folder, .. } => folder.key(),
            Self::Named(n) => format!("!{}", n.as_str()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(p) => write!(f, "{p}"),
            Self::Glob { folder, glob } if folder.is_root() => f.write_str(glob.as_str()),
            Self::Glob { folder, glob } => write!(f, "{folder}/{}", glob.as_str()),
            Self::Named(n) => write!(f, "!{}", n.as_str()),
        }
    }
}

fn path_meets_glob(p: &RepoPath, folder: &RepoPath, glob: &Glob) -> bool {
    p.covers(folder) || (folder.covers(p) && glob.reaches_into(&p.key_parts()[folder.key_parts().len()..]))
}

fn glob_covers_path(folder: &RepoPath, glob: &Glob, p: &RepoPath) -> bool {
    folder.covers(p) && glob.covers_all_of(&p.key_parts()[folder.key_parts().len()..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 3] = ["a", "ab", "b"];

    /// Every path of up to three parts over a few names: enough for every shape of overlap.
    fn universe() -> Vec<Vec<&'static str>> {
        let mut all: Vec<Vec<&str>> = vec![vec![]];
        let mut last = all.clone();
        for _ in 0..3 {
            last = last.iter().flat_map(|p| NAMES.iter().map(move |n| [p.as_slice(), &[*n]].concat())).collect();
            all.extend(last.clone());
        }
        all
    }

    /// The oracle: brute-force recursion, written for clarity and sharing nothing with the rules.
    fn oracle_covers(scope: &Scope, path: &[&str]) -> bool {
        match scope {
            Scope::Path(p) => {
                p.shown().is_empty() || format!("{}/", path.join("/")).starts_with(&format!("{}/", p.shown()))
            }
            Scope::Glob { folder, glob } => {
                let full = if folder.is_root() {
                    glob.as_str().to_owned()
                } else {
                    format!("{}/{}", folder.shown(), glob.as_str())
                };
                oracle_glob(&full.split('/').collect::<Vec<_>>(), path)
            }
            Scope::Named(_) => false,
        }
    }

    fn oracle_glob(pattern: &[&str], path: &[&str]) -> bool {
        match pattern.split_first() {
            None => path.is_empty(),
            Some((&"**", rest)) => (0..=path.len()).any(|n| oracle_glob(rest, &path[n..])),
            Some((p, rest)) => path.split_first().is_some_and(|(n, tail)| oracle_part(p, n) && oracle_glob(rest, tail)),
        }
    }

    fn oracle_part(pattern: &str, name: &str) -> bool {
        match pattern.chars().next() {
            None => name.is_empty(),
            Some('*') => (0..=name.len()).any(|n| oracle_part(&pattern[1..], &name[n..])),
            Some('?') => !name.is_empty() && oracle_part(&pattern[1..], &name[1..]),
            Some(c) => name.starts_with(c) && oracle_part(&pattern[1..], &name[1..]),
        }
    }

    fn folder() -> impl Strategy<Value = RepoPath> {
        proptest::collection::vec(proptest::sample::select(NAMES.to_vec()), 0..3)
            .prop_map(|parts| RepoPath::parse(parts.join("/").as_bytes()).expect("legal"))
    }

    fn scope() -> impl Strategy<Value = Scope> {
        let part = proptest::sample::select(vec!["a", "b", "ab", "*", "a*", "*b", "?", "**", "?b"]);
        let glob = proptest::collection::vec(part, 1..4).prop_map(|p| Glob::parse(&p.join("/")).expect("legal"));
        prop_oneof![
            folder().prop_map(Scope::Path),
            (folder(), glob).prop_map(|(folder, glob)| Scope::Glob { folder, glob }),
        ]
    }

    fn mode() -> impl Strategy<Value = Mode> {
        prop_oneof![Just(Mode::Exclusive), Just(Mode::Shared)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200_000, ..ProptestConfig::default() })]

        #[test]
        fn two_hundred_thousand_pairs_agree_with_brute_force(a in scope(), b in scope(), m in mode(), n in mode()) {
            thread_local!(static ALL: Vec<Vec<&'static str>> = universe());
            let share = ALL.with(|all| all.iter().any(|p| oracle_covers(&a, p) && oracle_covers(&b, p)));
            // The universe ends at three parts: a pattern that only meets deeper down may be found to meet, never the reverse.
            let meets = a.meets(&b);
            prop_assert!(meets || !share, "{} and {} share a path", a, b);
            if meets && !share {
                prop_assert!(deeper_than_universe(&a) || deeper_than_universe(&b), "{} and {} share none", a, b);
            }
            let (x, y) = (Claim { scope: a, mode: m }, Claim { scope: b, mode: n });
            prop_assert_eq!(x.conflicts(&y), y.conflicts(&x));
            prop_assert_eq!(x.conflicts(&y), meets && (m == Mode::Exclusive || n == Mode::Exclusive));
        }
    }

    fn deeper_than_universe(scope: &Scope) -> bool {
        match scope {
            Scope::Glob { folder, glob } => {
                let fixed = glob.as_str().split('/').filter(|p| *p != "**").count();
                folder.key_parts().len() + fixed > 3 || glob.as_str().contains('*') || glob.as_str().contains('?')
            }
            Scope::Path(_) | Scope::Named(_) => false,
        }
    }

    fn path(text: &str) -> Scope {
        Scope::Path(RepoPath::parse(text.as_bytes()).expect(text))
    }

    #[test]
    fn name_sakes_and_disjoint_patterns_do_not_meet() {
        let glob = |folder: &str, g: &str| Scope::Glob {
            folder: RepoPath::parse(folder.as_bytes()).expect(folder),
            glob: Glob::parse(g).expect(g),
        };
        assert!(!path("src/a").meets(&path("src/ab")));
        assert!(!glob("", "**/*.rs").meets(&glob("", "**/*.ts")));
        assert!(!glob("src", "*.rs").meets(&path("src/a/b")));
        assert!(glob("src", "*.rs").meets(&path("src")));
        assert!(glob("", "**/a*").meets(&glob("src", "*b")));
        assert!(!glob("src", "a*").meets(&glob("lib", "a*")));
    }

    #[test]
    fn the_root_excludes_names_and_a_file_does_not() {
        let build = Scope::Named(Name::parse("build").expect("legal"));
        assert!(Scope::Path(RepoPath::root()).meets(&build));
        assert!(!path("a").meets(&build));
        assert!(Name::parse("Build").is_err() && Name::parse("").is_err() && Name::parse("a/b").is_err());
    }

    #[test]
    fn an_exclusive_folder_covers_a_shared_file_in_it_and_not_the_reverse() {
        assert!(Claim::exclusive(path("src")).covers(&Claim::shared(path("src/a"))));
        assert!(!Claim::shared(path("src")).covers(&Claim::exclusive(path("src/a"))));
        assert!(!Claim::exclusive(path("src/a")).covers(&Claim::exclusive(path("src"))));
        let below =
            |g: &str| Claim::exclusive(Scope::Glob { folder: RepoPath::root(), glob: Glob::parse(g).expect(g) });
        assert!(below("s*/**").covers(&Claim::exclusive(path("src"))));
        assert!(!below("s*").covers(&Claim::exclusive(path("src"))), "not what is in it");
    }
}
