//! The rules that hold without a word in `railroad.yaml`: what hardly anybody means to have an agent do, each with its
//! reason and the safe way to the same end. One file below for each family. It knows no team's entries.

mod data;
mod files;
mod git;
mod infra;
mod network;
mod places;
mod reading;
mod system;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use crate::call::{Call, Hit, Origin};
use crate::seen::Seen;

/// One built-in rule.
pub(crate) struct Builtin {
    /// `default/<what>`.
    pub(crate) name: &'static str,
    /// Programs whose commands it looks at; none: it looks at the call as a whole.
    programs: &'static [&'static str],
    pub(crate) because: &'static str,
    pub(crate) instead: &'static str,
    look: Look,
}

enum Look {
    /// Whether this command is one.
    Command(fn(&Seen<'_>, &Scene<'_>) -> bool),
    /// The paths that must not be touched so.
    Paths(fn(&Scene<'_>) -> Vec<PathBuf>),
    /// The command that is one, by how it stands to the others.
    Call(fn(&Scene<'_>) -> Option<usize>),
}

/// The call with what all rules need of it.
pub(crate) struct Scene<'a> {
    pub(crate) call: &'a Call<'a>,
    pub(crate) seen: &'a [Seen<'a>],
}

impl<'a> Scene<'a> {
    pub(crate) fn new(call: &'a Call<'a>, seen: &'a [Seen<'a>]) -> Self {
        Self { call, seen }
    }

    /// The commands whose output one gets.
    pub(crate) fn feeders<'s>(&'s self, seen: &'s Seen<'a>) -> impl Iterator<Item = &'s Seen<'a>> {
        seen.call.fed_by.iter().filter_map(|at| self.seen.get(*at))
    }

    /// The command that names this path.
    fn naming(&self, path: &std::path::Path) -> Option<usize> {
        let named = |seen: &&Seen<'_>| seen.texts().any(|text| seen.path(text).as_deref() == Some(path));
        self.seen.iter().find(named).map(|seen| seen.at)
    }
}

/// A built-in rule that matched.
pub(crate) struct Found {
    pub(crate) rule: &'static Builtin,
    pub(crate) at: Option<usize>,
    pub(crate) path: Option<PathBuf>,
    what: String,
}

impl Found {
    pub(crate) fn hit(self) -> Hit {
        Hit {
            rule: self.rule.name.to_owned(),
            origin: Origin::DefaultSet,
            what: self.what,
            because: self.rule.because.to_owned(),
            instead: Some(self.rule.instead.to_owned()),
        }
    }
}

pub(crate) fn all() -> &'static [&'static Builtin] {
    static ALL: LazyLock<Vec<&'static Builtin>> = LazyLock::new(|| {
        let families = [
            files::RULES,
            git::RULES,
            infra::RULES,
            data::RULES,
            reading::RULES,
            network::RULES,
            places::RULES,
            system::RULES,
        ];
        families.into_iter().flatten().collect()
    });
    &ALL
}

/// Rules by the program they look at.
fn by_program() -> &'static HashMap<&'static str, Vec<&'static Builtin>> {
    static INDEX: LazyLock<HashMap<&'static str, Vec<&'static Builtin>>> = LazyLock::new(|| {
        let mut index: HashMap<&'static str, Vec<&'static Builtin>> = HashMap::new();
        for rule in all() {
            for program in rule.programs {
                index.entry(program).or_default().push(rule);
            }
        }
        index
    });
    &INDEX
}

/// Every built-in rule that the call breaks.
pub(crate) fn find(scene: &Scene<'_>) -> Vec<Found> {
    let mut out = Vec::new();
    for seen in scene.seen {
        for rule in by_program().get(seen.name).into_iter().flatten() {
            if let Look::Command(look) = rule.look
                && look(seen, scene)
            {
                out.push(Found { rule, at: Some(seen.at), path: None, what: seen.shown() });
            }
        }
    }
    for rule in all() {
        if let Look::Call(look) = rule.look
            && let Some(seen) = look(scene).and_then(|at| scene.seen.get(at))
        {
            out.push(Found { rule, at: Some(seen.at), path: None, what: seen.shown() });
        }
        if let Look::Paths(look) = rule.look {
            out.extend(look(scene).into_iter().map(|path| Found {
                rule,
                at: scene.naming(&path),
                what: path.display().to_string(),
                path: Some(path),
            }));
        }
    }
    out
}
