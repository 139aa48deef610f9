//! Collects what the walk finds and turns it into the [`Analysis`]. It decides the certainty and nothing else.

use std::path::{Path, PathBuf};

use indexmap::IndexSet;

use crate::field::{Field, is_socket, is_stream};
use crate::model::{Analysis, Certainty, GitUse, How, Invocation, Target, Write};

/// Reasons kept; more help nobody.
const REASONS_MAX: usize = 6;
/// A reason quotes the command's words, which may be long.
const REASON_CHARS_MAX: usize = 160;

#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) invocations: Vec<Invocation>,
    writes: IndexSet<Write>,
    reads: IndexSet<PathBuf>,
    sockets: Vec<PathBuf>,
    git: IndexSet<GitUse>,
    unforeseen: Vec<String>,
    unparsable: Option<String>,
    /// Within what runs in a container or on another machine: its files are not ours.
    pub(crate) elsewhere: usize,
}

impl Findings {
    pub(crate) fn write(&mut self, target: Target, how: How, by: &str) {
        if self.elsewhere > 0 {
            return;
        }
        match &target {
            Target::File(path) if is_socket(path) => return self.sockets.push(path.clone()),
            Target::File(path) if is_stream(path) => return,
            Target::Unknown => self.unforeseen(format!("`{by}` changes a file whose name is known only when it runs")),
            _ => {}
        }
        self.writes.insert(Write { target, how, by: by.to_owned() });
    }

    pub(crate) fn read(&mut self, field: &Field, cwd: Option<&Path>) {
        if self.elsewhere == 0
            && let Target::File(path) = field.target(cwd)
            && !self.opened(&path)
            && !is_stream(&path)
        {
            self.reads.insert(path);
        }
    }

    /// Notes a connection; true if it is one.
    fn opened(&mut self, path: &Path) -> bool {
        let socket = is_socket(path);
        if socket {
            self.sockets.push(path.to_path_buf());
        }
        socket
    }

    pub(crate) fn git(&mut self, usage: GitUse) {
        if self.elsewhere == 0 {
            self.git.insert(usage);
        }
    }

    pub(crate) fn unforeseen(&mut self, why: impl Into<String>) {
        if self.unforeseen.len() >= REASONS_MAX {
            return;
        }
        let why: String = why.into().chars().take(REASON_CHARS_MAX).collect();
        if !self.unforeseen.contains(&why) {
            self.unforeseen.push(why);
        }
    }

    pub(crate) fn unparsable(&mut self, why: String) {
        self.unparsable.get_or_insert(why);
    }

    pub(crate) fn finish(self) -> Analysis {
        let certainty = if let Some(why) = self.unparsable {
            Certainty::Unparsable(why)
        } else if !self.unforeseen.is_empty() {
            Certainty::Unforeseen(self.unforeseen.join("; "))
        } else if self.writes.is_empty() && self.git.is_empty() {
            Certainty::ReadOnly
        } else {
            Certainty::Foreseen
        };
        Analysis {
            invocations: self.invocations,
            writes: self.writes.into_iter().collect(),
            reads: self.reads.into_iter().collect(),
            sockets: self.sockets,
            git: self.git.into_iter().collect(),
            certainty,
        }
    }
}
