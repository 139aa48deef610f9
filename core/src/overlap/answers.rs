//! What git and checks have answered, by the contents asked about. Bounded: beyond its size, answers that nobody's work needs at
//! present go first, the oldest before the rest. What is needed stays; that is bounded by the change sets themselves.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::question::{Answer, Question};

#[derive(Clone, Debug)]
pub(super) struct Answers {
    known: HashMap<Question, Kept>,
    max: usize,
    /// Tidying waits for this many, so that needed answers above `max` do not make every answer a tidying.
    tidy_at: usize,
    given: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    answer: Arc<Answer>,
    /// The how-manieth answer it was.
    nr: u64,
}

impl Answers {
    pub(super) fn new(max: usize) -> Self {
        Self { known: HashMap::new(), max, tidy_at: max, given: 0 }
    }

    pub(super) fn get(&self, canonical: &Question) -> Option<&Arc<Answer>> {
        self.known.get(canonical).map(|kept| &kept.answer)
    }

    pub(super) fn put(&mut self, canonical: Question, answer: Answer) {
        self.given += 1;
        self.known.insert(canonical, Kept { answer: Arc::new(answer), nr: self.given });
    }

    pub(super) fn is_too_large(&self) -> bool {
        self.known.len() > self.tidy_at
    }

    /// Down to three quarters of its size, but nothing of what is needed.
    pub(super) fn tidy(&mut self, needed: &HashSet<Question>) {
        let mut idle: Vec<(u64, Question)> =
            self.known.iter().filter(|(q, _)| !needed.contains(q)).map(|(q, kept)| (kept.nr, q.clone())).collect();
        idle.sort_unstable();
        let surplus = self.known.len().saturating_sub(self.max / 4 * 3);
        for (_, question) in idle.into_iter().take(surplus) {
            self.known.remove(&question);
        }
        self.tidy_at = self.max.max(self.known.len() / 4 * 5);
    }

    pub(super) fn forget_unanswerable(&mut self) {
        self.known.retain(|_, kept| !matches!(*kept.answer, Answer::Unanswerable(_)));
    }

    /// In the order they were given.
    pub(super) fn all(&self) -> Vec<(Question, Answer)> {
        let mut all: Vec<_> = self.known.iter().collect();
        all.sort_unstable_by_key(|(_, kept)| kept.nr);
        all.into_iter().map(|(question, kept)| (question.clone(), (*kept.answer).clone())).collect()
    }
}
