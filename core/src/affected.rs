//! What a break concerns, where not everybody stands still for it: folders of one repository. Whatever is not certain to lie outside of
//! them is inside. It knows neither packages nor what a call does: the watcher draws the folders, the gate asks about each change.

use serde::{Deserialize, Serialize};

use crate::id::RepoId;
use crate::path::RepoPath;
use crate::scope::Scope;

/// More are as good as all of the repository, and a hold stays small.
pub const FOLDERS_MAX: usize = 32;

/// The folders, from the repository's root; an empty one is the root itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    pub repo: RepoId,
    pub folders: Vec<String>,
}

impl Affected {
    /// Without folders that lie in others; all of the repository, where there are none or too many.
    #[must_use]
    pub fn new(repo: RepoId, folders: impl IntoIterator<Item = String>) -> Self {
        let mut kept: Vec<String> = Vec::new();
        let mut all: Vec<String> = folders.into_iter().collect();
        // Those further up come first.
        all.sort_by_key(|folder| (folder.len(), folder.clone()));
        for folder in all {
            let is_below = |above: &String| {
                above.is_empty()
                    || folder.strip_prefix(above.as_str()).is_some_and(|r| r.is_empty() || r.starts_with('/'))
            };
            if !kept.iter().any(is_below) {
                kept.push(folder);
            }
        }
        if kept.is_empty() || kept.len() > FOLDERS_MAX {
            kept = vec![String::new()];
        }
        Self { repo, folders: kept }
    }

    /// Whether a change of this may change something that the break concerns. What a repository has only one of (index, HEAD, refs) always
    /// does.
    #[must_use]
    pub fn reaches(&self, repo: &RepoId, scope: &Scope) -> bool {
        if *repo != self.repo {
            return false;
        }
        // A folder that no lock could name is not understood: then all is inside.
        let meets = |folder: &String| {
            RepoPath::parse(folder.as_bytes()).map_or(true, |folder| Scope::Path(folder).meets(scope))
        };
        matches!(scope, Scope::Named(_)) || self.folders.iter().any(meets)
    }

    /// As people read it.
    #[must_use]
    pub fn shown(&self) -> String {
        let name =
            |folder: &String| if folder.is_empty() { "all of the repository".to_owned() } else { folder.clone() };
        self.folders.iter().map(name).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glob::Glob;
    use crate::scope::Name;

    fn repo(digit: &str) -> RepoId {
        RepoId::parse(&digit.repeat(16)).expect("an id")
    }

    fn affected(folders: &[&str]) -> Affected {
        Affected::new(repo("a"), folders.iter().map(|f| (*f).to_owned()))
    }

    fn path(text: &str) -> Scope {
        Scope::Path(RepoPath::parse(text.as_bytes()).expect("a path"))
    }

    #[test]
    fn only_what_lies_outside_for_certain_is_outside() {
        let some = affected(&["packages/a", "tools"]);
        for inside in ["packages/a", "packages/a/src/x", "packages", "", "tools/x", "Packages/A/x"] {
            assert!(some.reaches(&repo("a"), &path(inside)), "{inside}");
        }
        for outside in ["packages/b", "packages/ab", "README.md", "tool", "src/tools"] {
            assert!(!some.reaches(&repo("a"), &path(outside)), "{outside}");
        }
        assert!(!some.reaches(&repo("b"), &path("packages/a/src/x")), "another repository");
        let glob = |folder: &str, glob: &str| Scope::Glob {
            folder: RepoPath::parse(folder.as_bytes()).expect("a path"),
            glob: Glob::parse(glob).expect("a pattern"),
        };
        assert!(
            some.reaches(&repo("a"), &glob("packages", "*/x/**")) && !some.reaches(&repo("a"), &glob("docs", "**"))
        );
        let index = Scope::Named(Name::parse("index.1").expect("a name"));
        assert!(some.reaches(&repo("a"), &index) && !some.reaches(&repo("b"), &index));
    }

    #[test]
    fn what_is_not_known_is_all_of_the_repository() {
        assert_eq!(affected(&[]).folders, [""]);
        assert_eq!(affected(&["a", "", "b"]).folders, [""]);
        assert_eq!(affected(&["b/c", "a", "b", "a/x", "ab", "a"]).folders, ["a", "b", "ab"]);
        let many: Vec<String> = (0..=FOLDERS_MAX).map(|n| format!("f{n}")).collect();
        assert_eq!(Affected::new(repo("a"), many).folders, [""]);
        assert!(affected(&[]).reaches(&repo("a"), &path("anything")));
        let odd = Affected { repo: repo("a"), folders: vec!["../up".into()] };
        assert!(odd.reaches(&repo("a"), &path("anything")), "a folder that is not understood");
    }
}
