//! Two work trees that meet: on which paths, folders and names, what that makes worth asking, and what is known of the answers.
//! An answer that a later edit has overtaken is kept until the edit is answered for: a conflict does not go away by being typed on.
//! What is found is put into words of [`super::Finding`] by [`super::severity`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::SymbolClash;
use super::answers::Answers;
use super::meeting::Meeting;
use super::packages;
use super::question::{Answer, Base, Question, Why};
use super::repo::{No, Repo};
use super::side::{Side, Standing};
use super::symbols::Candidate;
use crate::id::ObjectId;
use crate::live::{Entry, GitPath, Onto, Rest};

#[derive(Clone, Debug, Default)]
pub(super) struct Pair {
    pub(super) paths: BTreeMap<GitPath, Meeting>,
    pub(super) folders: BTreeMap<GitPath, ()>,
    pub(super) names: BTreeMap<String, Candidate>,
    pub(super) before: BTreeMap<Slot, Known>,
}

impl Pair {
    pub(super) fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.folders.is_empty() && self.names.is_empty()
    }

    pub(super) fn size(&self) -> usize {
        1 + self.paths.len() + self.folders.len() + self.names.len() + self.before.len()
    }
}

/// What a pair may ask, whatever the contents are at present.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    File(GitPath),
    Trees,
    Check,
}

#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) answer: Arc<Answer>,
    /// Which of the two sides the answer calls ours.
    pub(super) ours: usize,
    /// Of a check: what it was run for.
    pub(super) names: BTreeMap<String, SymbolClash>,
}

#[derive(Clone, Debug)]
pub(super) struct Ask {
    slot: Slot,
    pub(super) question: Question,
    ours: usize,
}

/// What git says, or said last, of merging the two.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// Git's words by path.
    pub(super) conflicts: BTreeMap<GitPath, String>,
    /// The hunks, and which side they call ours.
    pub(super) excerpts: Vec<(String, usize)>,
    /// Why something could not be answered.
    pub(super) unknown: Vec<String>,
    /// Not answered yet.
    pub(super) open: Vec<Question>,
}

/// A pair with all that is needed to judge it, the sides in the order of their keys.
pub(super) struct View<'a> {
    /// For how many others change a path; absent while the repository is being changed.
    pub(super) repo: Option<&'a Repo>,
    pub(super) sides: [&'a Side; 2],
    pub(super) numbers: [No; 2],
    pub(super) standing: [Standing; 2],
    pub(super) pair: Option<&'a Pair>,
    answers: &'a Answers,
}

static NO_PATHS: BTreeMap<GitPath, Meeting> = BTreeMap::new();
static NO_NAMES: BTreeMap<String, Candidate> = BTreeMap::new();

impl<'a> View<'a> {
    pub(super) fn new(
        repo: Option<&'a Repo>,
        a: (No, &'a Side),
        b: (No, &'a Side),
        pair: Option<&'a Pair>,
        answers: &'a Answers,
    ) -> Self {
        let (a, b) = if a.1.key < b.1.key { (a, b) } else { (b, a) };
        let standing = [Standing::Live; 2];
        Self { repo, sides: [a.1, b.1], numbers: [a.0, b.0], standing, pair, answers }
    }

    /// None: nobody wants to hear of these two.
    pub(super) fn with_standing(mut self, of: impl Fn(&Side) -> Standing) -> Option<Self> {
        self.standing = self.sides.map(of);
        (!self.standing.contains(&Standing::Aside) && self.sides[0].is_comparable(self.sides[1])).then_some(self)
    }

    pub(super) fn paths(&self) -> &'a BTreeMap<GitPath, Meeting> {
        self.pair.map_or(&NO_PATHS, |pair| &pair.paths)
    }

    pub(super) fn names(&self) -> &'a BTreeMap<String, Candidate> {
        self.pair.map_or(&NO_NAMES, |pair| &pair.names)
    }

    pub(super) fn queued(&self) -> usize {
        self.standing.iter().filter(|standing| matches!(standing, Standing::Queued(_))).count()
    }

    pub(super) fn text(&self) -> Text {
        let mut text = Text::default();
        for ask in self.text_asks() {
            if self.now(&ask).is_none() {
                text.open.push(ask.question.clone());
            }
            let Some(known) = self.known(&ask) else { continue };
            match &*known.answer {
                Answer::Conflict { paths, excerpt } => {
                    let counted: Vec<_> = paths.iter().filter(|(path, _)| self.counts(&ask.question, path)).collect();
                    if !counted.is_empty() && !excerpt.is_empty() {
                        text.excerpts.push((excerpt.clone(), known.ours));
                    }
                    text.conflicts.extend(counted.into_iter().cloned());
                }
                Answer::Unanswerable(why) => text.unknown.push(why.clone()),
                Answer::Clean | Answer::Fails { .. } => {}
            }
        }
        text
    }

    /// The check of the merged tree, where one is worth it and the two merge.
    pub(super) fn check(&self, text: &Text) -> Option<Check> {
        let merges = text.conflicts.is_empty() && text.open.is_empty() && text.unknown.is_empty();
        let ask = self.check_ask().filter(|_| merges)?;
        let settled = self.sides.iter().all(|side| side.set.rest == Rest::Settled);
        let open = (settled && self.now(&ask).is_none()).then(|| ask.question.clone());
        Some(Check { open, known: self.known(&ask), is_now: self.now(&ask).is_some() })
    }

    /// What is to be remembered before the contents change.
    pub(super) fn what_is_known(&self) -> BTreeMap<Slot, Known> {
        let asks = self.text_asks().into_iter().chain(self.check_ask());
        asks.filter_map(|ask| {
            let known = self.known(&ask).filter(|known| !matches!(*known.answer, Answer::Unanswerable(_)))?;
            Some((ask.slot, known))
        })
        .collect()
    }

    /// Whether git has not said yet, or cannot say now, how the two merge.
    pub(super) fn is_open(&self) -> bool {
        let text = self.text();
        !text.open.is_empty() || !text.unknown.is_empty()
    }

    /// Every question of the pair, answered or not.
    pub(super) fn wanted(&self) -> Vec<Question> {
        self.text_asks().into_iter().chain(self.check_ask()).map(|ask| ask.question).collect()
    }

    fn path_of_lock_or_keys(&self, path: &GitPath) -> bool {
        packages::is_lock_file(path) || matches!(self.paths().get(path), Some(Meeting::Keys(_)))
    }

    fn text_asks(&self) -> Vec<Ask> {
        if self.needs_trees() {
            return self.trees_ask().into_iter().collect();
        }
        let asks = |meeting: &Meeting| matches!(meeting, Meeting::Lines(_) | Meeting::Whole | Meeting::Gone);
        self.paths().iter().filter(|(_, meeting)| asks(meeting)).map(|(path, _)| self.file_ask(path)).collect()
    }

    fn needs_trees(&self) -> bool {
        let deleter_adds = |path: &GitPath| {
            let gone = |side: &&Side| side.files.get(path).is_some_and(|file| file.to.is_none());
            self.sides.iter().filter(|side| gone(side)).any(|side| side.added > 0)
        };
        let moved_apart = |path: &GitPath| self.sides[0].moved.get(path) != self.sides[1].moved.get(path);
        let needs = |(path, meeting): (&GitPath, &Meeting)| match meeting {
            Meeting::Moved | Meeting::OtherBase => true,
            Meeting::Gone => deleter_adds(path),
            Meeting::BothGone => moved_apart(path),
            _ => false,
        };
        self.queued() == 2 || self.pair.is_some_and(|pair| !pair.folders.is_empty()) || self.paths().iter().any(needs)
    }

    fn file_ask(&self, path: &GitPath) -> Ask {
        let entry = |side: &Side, entry: fn(&crate::live::FileChange) -> &Option<Entry>| {
            side.files.get(path).and_then(|file| entry(file).clone())
        };
        let base = entry(self.sides[0], |file| &file.from);
        let to = self.sides.map(|side| entry(side, |file| &file.to));
        let ours = usize::from(to[1] < to[0]);
        let [x, y] = to;
        let repo = self.sides[0].set.repo.clone();
        let question = Question::Files { repo, path: path.clone(), base, ours: x, theirs: y }.canonical();
        Ask { slot: Slot::File(path.clone()), question, ours }
    }

    fn trees_ask(&self) -> Option<Ask> {
        let (base, trees) =
            self.onto_target().unwrap_or_else(|| (self.fork(), self.sides.map(|side| side.set.tree.clone())));
        let ours = usize::from(trees[1] < trees[0]);
        let [x, y] = trees;
        let repo = self.sides[0].set.repo.clone();
        let differ = x != y;
        let question = Question::Trees { repo, base, ours: x, theirs: y }.canonical();
        differ.then_some(Ask { slot: Slot::Trees, question, ours })
    }

    fn check_ask(&self) -> Option<Ask> {
        let (base, trees) = self.onto_target()?;
        let best = self.names().iter().min_by_key(|(name, candidate)| (candidate.how, *name));
        let why = match best {
            Some((name, candidate)) => Why::Symbol { how: candidate.how, name: name.clone() },
            None if self.queued() == 2 => Why::Landing,
            None => return None,
        };
        let ours = usize::from(trees[1] < trees[0]);
        let [mut x, mut y] = trees;
        if ours == 1 {
            std::mem::swap(&mut x, &mut y);
        }
        let repo = self.sides[0].set.repo.clone();
        (x != y).then_some(Ask {
            slot: Slot::Check,
            question: Question::Check { repo, base, ours: x, theirs: y, why },
            ours,
        })
    }

    /// Both as they will land, on the one commit that both have merged in.
    fn onto_target(&self) -> Option<(Base, [ObjectId; 2])> {
        let [a, b] = self.sides;
        let target = a.set.target.as_ref().filter(|_| a.shares_target(b))?;
        let (Onto::Clean(x), Onto::Clean(y)) = (&a.set.onto, &b.set.onto) else { return None };
        Some((Base::Target(target.commit.clone()), [x.clone(), y.clone()]))
    }

    fn fork(&self) -> Base {
        match self.sides.map(|side| side.set.head.clone()) {
            [Some(a), Some(b)] => Base::Fork(a, b),
            _ => Base::Nothing,
        }
    }

    /// Whether a conflict on this path is one between these two. From a merge base there also come conflicts of one side with
    /// what the other only has from the target: those are that side's being stale.
    fn counts(&self, question: &Question, path: &GitPath) -> bool {
        if self.path_of_lock_or_keys(path) {
            return false;
        }
        let from_fork = matches!(question, Question::Trees { base: Base::Fork(..) | Base::Nothing, .. });
        let somebody_moves = self.sides.iter().any(|side| !side.moved.is_empty());
        !from_fork || somebody_moves || self.sides.iter().all(|side| side.files.contains_key(path))
    }

    fn now(&self, ask: &Ask) -> Option<&'a Arc<Answer>> {
        match &ask.question {
            Question::Check { .. } => self.answers.get(&ask.question.clone().canonical()),
            canonical => self.answers.get(canonical),
        }
    }

    fn known(&self, ask: &Ask) -> Option<Known> {
        let before = || self.pair.and_then(|pair| pair.before.get(&ask.slot)).cloned();
        let names = || match ask.slot {
            Slot::Check => self.names().iter().map(|(name, candidate)| (name.clone(), candidate.how)).collect(),
            Slot::File(_) | Slot::Trees => BTreeMap::new(),
        };
        match self.now(ask) {
            None => before(),
            Some(answer) => {
                let now = Known { answer: answer.clone(), ours: ask.ours, names: names() };
                if matches!(**answer, Answer::Unanswerable(_)) { before().or(Some(now)) } else { Some(now) }
            }
        }
    }
}

/// Where the check of a pair's merged tree stands.
pub(super) struct Check {
    /// To be asked: not answered for these contents, and both are at rest.
    pub(super) open: Option<Question>,
    /// The answer for these contents, else the one before.
    pub(super) known: Option<Known>,
    pub(super) is_now: bool,
}
