//! The overlap index: every live work tree of every repository, compared with those it meets and with no others. Changes are put
//! in, questions come out, answers are put in, findings come out. It runs nothing and reads nothing; the same change sets and
//! answers give the same findings, in whatever order they came.

use std::collections::{BTreeMap, HashSet};

use super::answers::Answers;
use super::question::{Answer, Question};
use super::repo::Repo;
use super::severity;
use super::side::Standing;
use super::{Finding, pair::View};
use crate::id::RepoId;
use crate::live::{ChangeSet, GitPath, Onto, TreeKey};

/// Answers kept: some thousand merges and checks, at most [`super::EXCERPT_BYTES_MAX`] and a little each.
const ANSWERS_MAX: usize = 4_096;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub answers_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { answers_max: ANSWERS_MAX }
    }
}

#[derive(Clone, Debug)]
pub struct Index {
    repos: BTreeMap<RepoId, Repo>,
    homes: BTreeMap<TreeKey, RepoId>,
    standing: BTreeMap<TreeKey, Standing>,
    answers: Answers,
}

impl Index {
    #[must_use]
    pub fn new(options: Options) -> Self {
        let answers = Answers::new(options.answers_max);
        Self { repos: BTreeMap::new(), homes: BTreeMap::new(), standing: BTreeMap::new(), answers }
    }

    /// Replaces what is known of one work tree; `None`: it is gone. Costs what changed, times those who changed the same.
    pub fn put(&mut self, key: TreeKey, set: Option<ChangeSet>) {
        if let Some(home) =
            self.homes.get(&key).filter(|home| set.as_ref().is_none_or(|set| set.repo != **home)).cloned()
        {
            self.leave(&key, &home);
        }
        let Some(set) = set else {
            self.standing.remove(&key);
            return;
        };
        let repo = set.repo.clone();
        self.repos.entry(repo.clone()).or_default().put(&key, set, &self.answers);
        self.homes.insert(key, repo);
    }

    /// How a work tree that was put takes part from now on; [`Standing::Live`] until something else is said, and again when it is
    /// gone.
    pub fn stand(&mut self, key: &TreeKey, standing: Standing) {
        if standing == Standing::Live {
            self.standing.remove(key);
        } else if self.homes.contains_key(key) {
            self.standing.insert(key.clone(), standing);
        }
    }

    /// What must be asked before the findings are complete, the most useful first: merges before checks, what is about to land
    /// before the rest, files that few share before those that many do.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let mut open = BTreeMap::new();
        for (urgency, question) in self.views().flat_map(|view| severity::questions(&view)) {
            let first = open.entry(question.clone().canonical()).or_insert((urgency, question.clone()));
            if (urgency, &question) < (first.0, &first.1) {
                *first = (urgency, question);
            }
        }
        let mut open: Vec<_> = open.into_values().collect();
        open.sort_unstable();
        open.into_iter().map(|(_, question)| question).collect()
    }

    /// The pairs that a question is asked for: whose contents it needs.
    #[must_use]
    pub fn asked_by(&self, question: &Question) -> Vec<[TreeKey; 2]> {
        let canonical = question.clone().canonical();
        let asks =
            |view: &View<'_>| severity::questions(view).into_iter().any(|(_, open)| open.canonical() == canonical);
        self.views().filter(asks).map(|view| view.sides.map(|side| side.key.clone())).collect()
    }

    /// Whether something between these two is not known yet: a finding that is not there may still come.
    #[must_use]
    pub fn is_open_between(&self, sides: &[TreeKey; 2]) -> bool {
        let is_theirs = |view: &View<'_>| view.sides.iter().all(|side| sides.contains(&side.key));
        self.views().filter(is_theirs).any(|view| view.is_open())
    }

    /// Good for everybody who asks the same, now or later.
    pub fn answer(&mut self, question: &Question, answer: Answer) {
        self.answers.put(question.clone().canonical(), answer.within_limits());
        if self.answers.is_too_large() {
            let needed = self.needed();
            self.answers.tidy(&needed);
        }
    }

    /// What could not be answered is asked again.
    pub fn ask_again(&mut self) {
        self.answers.forget_unanswerable();
    }

    /// Every answer that is kept, to be given to another index with [`Index::answer`].
    #[must_use]
    pub fn answers(&self) -> Vec<(Question, Answer)> {
        self.answers.all()
    }

    /// As far as they are known, level 0 included; the worst first, then what the fewest share.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let mut found: Vec<_> = self
            .views()
            .flat_map(|view| {
                let sharing = |finding: &Finding| {
                    let shared = |path| view.repo.map_or(0, |repo| repo.sharing(path));
                    finding.paths.iter().map(shared).min().unwrap_or_default()
                };
                severity::findings(&view).into_iter().map(|f| (sharing(&f), f)).collect::<Vec<_>>()
            })
            .collect();
        found.sort_by(|(x, a), (y, b)| (b.level, x, &a.id).cmp(&(a.level, y, &b.id)));
        found.into_iter().map(|(_, finding)| finding).collect()
    }

    /// Work that conflicts with the target itself, and where: nobody else's fault, and told apart from findings.
    #[must_use]
    pub fn stale(&self) -> Vec<(TreeKey, Vec<GitPath>)> {
        let stale = |set: &ChangeSet| match &set.onto {
            Onto::Stale(paths) => Some(paths.clone()),
            Onto::Clean(_) | Onto::Alone => None,
        };
        let sides = self.repos.values().flat_map(Repo::sides);
        let mut all: Vec<_> = sides.filter_map(|side| Some((side.key.clone(), stale(&side.set)?))).collect();
        all.sort();
        all
    }

    /// Entries kept, answers apart: zero when no work tree is left.
    #[must_use]
    pub fn size(&self) -> usize {
        self.homes.len() + self.standing.len() + self.repos.values().map(Repo::size).sum::<usize>()
    }

    fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.repos.values().flat_map(|repo| repo.views(&self.standing, &self.answers))
    }

    fn leave(&mut self, key: &TreeKey, home: &RepoId) {
        self.homes.remove(key);
        if let Some(repo) = self.repos.get_mut(home) {
            repo.remove(key);
            if repo.is_empty() {
                self.repos.remove(home);
            }
        }
    }

    /// The questions, answered or not, of all that is live.
    fn needed(&self) -> HashSet<Question> {
        self.views().flat_map(|view| view.wanted()).map(Question::canonical).collect()
    }
}
