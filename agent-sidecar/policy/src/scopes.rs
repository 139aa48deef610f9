//! Where a session may write. Every scope that is for it applies, and a path must be inside of all of them; a session that
//! no scope is for is said to have none, which is for the caller to judge. Paths come resolved: no link is followed here.

use rr_core::glob::Glob;
use rr_core::path::RepoPath;
use rr_core::policy::{ScopeSource, Who, covers};

use crate::seen::like;

/// Compiled scopes of one version of the file.
#[derive(Clone, Debug, Default)]
pub struct Scopes {
    all: Vec<ScopeSource>,
}

/// Who makes a change, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    pub session: Option<&'a str>,
    pub task: Option<&'a str>,
    pub branch: Option<&'a str>,
    pub worktree: Option<&'a str>,
    /// The folder it works in, relative to the repository.
    pub folder: Option<&'a str>,
    pub agent: Option<&'a str>,
}

/// One path that would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Resolved.
    pub path: RepoPath,
    pub how: TouchKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TouchKind {
    Create,
    Change,
    Delete,
}

/// Whether changes are within the scopes of who makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeVerdict {
    /// Within all of these scopes.
    Within {
        scopes: Vec<String>,
    },
    /// No scope is for this session.
    Unscoped,
    Outside {
        path: RepoPath,
        why: Why,
        scope: String,
        owner: Option<String>,
    },
}

/// Which part of a scope says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    NotInMay,
    Never,
    CreateOnly,
    ReadOnly,
}

impl Scopes {
    #[must_use]
    pub fn compile(source: &[ScopeSource]) -> Self {
        Self { all: source.to_vec() }
    }

    /// The scopes that are for somebody.
    pub fn of(&self, who: &Facts<'_>) -> impl Iterator<Item = &ScopeSource> {
        self.all.iter().filter(|scope| is_for(scope, who))
    }

    /// Decides all changes of one call: the first that is outside refuses it.
    #[must_use]
    pub fn decide(&self, who: &Facts<'_>, touched: &[Touch]) -> ScopeVerdict {
        let scopes: Vec<&ScopeSource> = self.of(who).collect();
        if scopes.is_empty() {
            return ScopeVerdict::Unscoped;
        }
        for touch in touched {
            for scope in &scopes {
                if let Some(why) = objection(scope, touch) {
                    let owner = self.owner(touch).or(scope.owner.as_ref()).cloned();
                    return ScopeVerdict::Outside { path: touch.path.clone(), why, scope: scope.name.clone(), owner };
                }
            }
        }
        ScopeVerdict::Within { scopes: scopes.iter().map(|scope| scope.name.clone()).collect() }
    }

    /// Whom to ask: the owner of a scope in which the change would be right.
    fn owner(&self, touch: &Touch) -> Option<&String> {
        let mut fitting = self.all.iter().filter(|scope| {
            let named = [&scope.may, &scope.create_only].into_iter().any(|list| any(list, &touch.path));
            named && objection(scope, touch).is_none()
        });
        fitting.find_map(|scope| scope.owner.as_ref())
    }
}

fn objection(scope: &ScopeSource, touch: &Touch) -> Option<Why> {
    let Touch { path, how } = touch;
    if any(&scope.never, path) {
        return Some(Why::Never);
    }
    if any(&scope.read_only, path) {
        return Some(Why::ReadOnly);
    }
    if any(&scope.create_only, path) {
        return (*how != TouchKind::Create).then_some(Why::CreateOnly);
    }
    let limited = !(scope.may.is_empty() && scope.create_only.is_empty());
    (limited && !any(&scope.may, path)).then_some(Why::NotInMay)
}

fn any(globs: &[Glob], path: &RepoPath) -> bool {
    globs.iter().any(|glob| covers(glob, path))
}

fn is_for(scope: &ScopeSource, who: &Facts<'_>) -> bool {
    let Who { session, task, folder, branch, worktree, agent } = &scope.who;
    let kinds = [
        (session, who.session),
        (task, who.task),
        (folder, who.folder),
        (branch, who.branch),
        (worktree, who.worktree),
        (agent, who.agent),
    ];
    if kinds.iter().all(|(wanted, _)| wanted.is_empty()) {
        return [who.session, who.task, who.agent].contains(&Some(scope.name.as_str()));
    }
    kinds.iter().all(|(wanted, fact)| {
        wanted.is_empty()
            || fact.is_some_and(|fact| wanted.iter().any(|pattern| like(pattern, fact) || below(pattern, fact)))
    })
}

/// A folder is also meant by what is above it.
fn below(pattern: &str, fact: &str) -> bool {
    fact.strip_prefix(pattern.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
}
