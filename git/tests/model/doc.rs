//! A path as the model sees it: what stood there, and of a file every line that ever was, by which change put it in and which ones took it away.

use std::collections::BTreeSet;

/// The change that made something; the world's beginning is none of them.
pub(crate) type Maker = Option<usize>;

#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) text: String,
    pub(crate) by: Maker,
    gone: BTreeSet<usize>,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// With what it leads to.
    Link(String),
    Folder,
}

/// One life of a path: from its creation on.
#[derive(Clone, Debug)]
pub(crate) struct Doc {
    pub(crate) kind: Kind,
    pub(crate) by: Maker,
    gone: BTreeSet<usize>,
    /// Who wrote it wholly anew.
    anew: BTreeSet<usize>,
    pub(crate) lines: Vec<Line>,
    modes: Vec<(Maker, u16)>,
    pub(crate) ends_open: bool,
}

/// Whether something is there once the changes in `out` never were.
fn is_there(by: Maker, gone: &BTreeSet<usize>, out: &BTreeSet<usize>) -> bool {
    by.is_none_or(|by| !out.contains(&by)) && gone.iter().all(|change| out.contains(change))
}

impl Doc {
    pub(crate) fn new(by: Maker, texts: Vec<String>, ends_open: bool) -> Self {
        let lines = texts.into_iter().map(|text| Line { text, by, gone: BTreeSet::new() }).collect();
        let modes = vec![(by, 0o644)];
        Self { kind: Kind::Text, by, gone: BTreeSet::new(), anew: BTreeSet::new(), lines, modes, ends_open }
    }

    /// A link or a folder: it has no lines.
    pub(crate) fn of_kind(by: Maker, kind: Kind) -> Self {
        Self { kind, ..Self::new(by, Vec::new(), false) }
    }

    pub(crate) fn lives(&self, out: &BTreeSet<usize>) -> bool {
        is_there(self.by, &self.gone, out) || (self.only_rewritten(out) && is_there(None, &self.gone, out))
    }

    /// Taken away by somebody who is not out.
    pub(crate) fn is_gone(&self, out: &BTreeSet<usize>) -> bool {
        !self.gone.is_subset(out)
    }

    /// Whoever made it is out, and somebody has made another text of it.
    pub(crate) fn only_rewritten(&self, out: &BTreeSet<usize>) -> bool {
        self.by.is_some_and(|by| out.contains(&by)) && !self.anew.is_subset(out)
    }

    /// The lines that are seen, by their place among all.
    pub(crate) fn seen(&self, out: &BTreeSet<usize>) -> Vec<usize> {
        (0..self.lines.len()).filter(|at| is_there(self.lines[*at].by, &self.lines[*at].gone, out)).collect()
    }

    pub(crate) fn text(&self, out: &BTreeSet<usize>) -> String {
        let mut text: String = self.seen(out).into_iter().map(|at| format!("{}\n", self.lines[at].text)).collect();
        if self.ends_open {
            text.pop();
        }
        text
    }

    pub(crate) fn mode(&self, out: &BTreeSet<usize>) -> u16 {
        let stays = self.modes.iter().rev().find(|(by, _)| by.is_none_or(|by| !out.contains(&by)));
        stays.map_or(0o644, |(_, mode)| *mode)
    }

    pub(crate) fn set_mode(&mut self, by: usize, mode: u16) {
        self.modes.push((Some(by), mode));
    }

    pub(crate) fn delete(&mut self, by: usize) {
        self.gone.insert(by);
    }

    /// Puts lines in behind the seen line before `at`.
    pub(crate) fn insert(&mut self, by: usize, out: &BTreeSet<usize>, at: usize, texts: Vec<String>) {
        let seen = self.seen(out);
        let place = if at == 0 { 0 } else { seen[at - 1] + 1 };
        let lines = texts.into_iter().map(|text| Line { text, by: Some(by), gone: BTreeSet::new() });
        self.lines.splice(place..place, lines);
    }

    pub(crate) fn remove(&mut self, by: usize, out: &BTreeSet<usize>, from: usize, to: usize) {
        for at in &self.seen(out)[from..to] {
            self.lines[*at].gone.insert(by);
        }
    }

    pub(crate) fn replace(&mut self, by: usize, out: &BTreeSet<usize>, (from, to): (usize, usize), texts: Vec<String>) {
        let last = self.seen(out)[to - 1];
        self.remove(by, out, from, to);
        let lines = texts.into_iter().map(|text| Line { text, by: Some(by), gone: BTreeSet::new() });
        self.lines.splice(last + 1..=last, lines);
    }

    /// Whatever was in it, also what others had taken away, is not in it any more.
    pub(crate) fn rewrite(&mut self, by: usize, texts: Vec<String>) {
        self.anew.insert(by);
        for line in &mut self.lines {
            line.gone.insert(by);
        }
        self.lines.extend(texts.into_iter().map(|text| Line { text, by: Some(by), gone: BTreeSet::new() }));
    }
}
