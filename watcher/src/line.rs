//! Who may run a check next: those for whom the fleet stands still before everybody else, then branches and commits, then what stands in
//! work trees, then guesses. It knows no check, and takes a slot from nobody: who holds one asks whether to give way.

use rr_runtime::metrics::Metrics;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

/// What may wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// The fleet stands still for it.
    Break,
    /// A branch that everybody builds on, or a commit of an agent.
    Commit,
    /// What stands in a work tree.
    Edit,
    /// Might be worth knowing: waits while anything else is to be done.
    Guess,
}

const URGENCIES: usize = Urgency::Guess as usize + 1;

pub(crate) struct Line {
    slots: Semaphore,
    /// Who waits, by urgency.
    waiting: watch::Sender<[usize; URGENCIES]>,
    /// How many breaks are open: all others wait for their end.
    breaks: watch::Sender<usize>,
    metrics: Metrics,
}

/// In line for as long as it lives.
struct Waiting<'a> {
    line: &'a Line,
    urgency: Urgency,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.line.count(self.urgency, |waiting| waiting - 1);
    }
}

impl Line {
    pub(crate) fn new(slots: usize, metrics: Metrics) -> Self {
        let (waiting, breaks) = (watch::Sender::new([0; URGENCIES]), watch::Sender::new(0));
        Self { slots: Semaphore::new(slots), waiting, breaks, metrics }
    }

    pub(crate) fn breaks_open(&self, count: usize) {
        self.breaks.send_if_modified(|now| std::mem::replace(now, count) != count);
    }

    /// A slot, when it is this one's turn.
    pub(crate) async fn turn(&self, urgency: Urgency) -> Option<SemaphorePermit<'_>> {
        self.count(urgency, |waiting| waiting + 1);
        let _waiting = Waiting { line: self, urgency };
        let (mut breaks, mut waiting) = (self.breaks.subscribe(), self.waiting.subscribe());
        loop {
            breaks.wait_for(|open| urgency == Urgency::Break || *open == 0).await.ok()?;
            waiting.wait_for(|waiting| is_first(urgency, waiting)).await.ok()?;
            let permit = self.slots.acquire().await.ok()?;
            // Somebody more urgent may have come while this waited for the slot.
            let is_free = urgency == Urgency::Break || *self.breaks.borrow() == 0;
            if is_free && is_first(urgency, &self.waiting.borrow()) {
                return Some(permit);
            }
        }
    }

    /// Until the fleet waits for a slot that something milder has. Nothing gives way to its like.
    pub(crate) async fn must_give_way(&self, urgency: Urgency) {
        if urgency < Urgency::Edit {
            std::future::pending::<()>().await;
        }
        let mut waiting = self.waiting.subscribe();
        if waiting.wait_for(|waiting| waiting[Urgency::Break as usize] > 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Until somebody more urgent waits.
    pub(crate) async fn is_overtaken(&self, urgency: Urgency) {
        let (mut breaks, mut waiting) = (self.breaks.subscribe(), self.waiting.subscribe());
        tokio::select! {
            _ = breaks.wait_for(|open| urgency != Urgency::Break && *open > 0) => {}
            _ = waiting.wait_for(|waiting| !is_first(urgency, waiting)) => {}
        }
    }

    fn count(&self, urgency: Urgency, change: impl Fn(usize) -> usize) {
        self.waiting.send_modify(|waiting| waiting[urgency as usize] = change(waiting[urgency as usize]));
        self.metrics.checks_waiting(self.waiting.borrow().iter().sum());
    }
}

fn is_first(urgency: Urgency, waiting: &[usize; URGENCIES]) -> bool {
    waiting[..urgency as usize].iter().all(|count| *count == 0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::task::yield_now;

    use super::*;

    const ALL: [Urgency; 4] = [Urgency::Guess, Urgency::Edit, Urgency::Commit, Urgency::Break];

    fn line() -> Arc<Line> {
        Arc::new(Line::new(1, Metrics::of("test")))
    }

    fn comes(line: &Arc<Line>, urgency: Urgency, said: &mpsc::UnboundedSender<Urgency>) {
        let (line, said) = (line.clone(), said.clone());
        tokio::spawn(async move {
            let turn = line.turn(urgency).await;
            said.send(urgency).expect("heard");
            drop(turn);
        });
    }

    /// Until all that were spawned wait for something.
    async fn all_wait(line: &Line, count: usize) {
        while line.waiting.borrow().iter().sum::<usize>() != count {
            yield_now().await;
        }
        for _ in 0..50 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_more_urgent_goes_first_however_late_it_comes() {
        let (line, (said, mut heard)) = (line(), mpsc::unbounded_channel());
        let held = line.turn(Urgency::Guess).await;
        for urgency in ALL {
            comes(&line, urgency, &said);
            yield_now().await;
        }
        all_wait(&line, ALL.len()).await;
        drop(held);
        for urgency in ALL.into_iter().rev() {
            assert_eq!(heard.recv().await, Some(urgency));
        }
        assert_eq!(*line.waiting.borrow(), [0; URGENCIES]);
    }

    #[tokio::test]
    async fn while_a_break_is_open_only_its_own_builds_run() {
        let (line, (said, mut heard)) = (line(), mpsc::unbounded_channel());
        line.breaks_open(1);
        comes(&line, Urgency::Commit, &said);
        all_wait(&line, 1).await;
        comes(&line, Urgency::Break, &said);
        assert_eq!(heard.recv().await, Some(Urgency::Break));
        all_wait(&line, 1).await;
        assert!(heard.try_recv().is_err());
        line.breaks_open(0);
        assert_eq!(heard.recv().await, Some(Urgency::Commit));
    }

    #[tokio::test]
    async fn a_break_that_opens_while_others_wait_for_the_slot_keeps_it_from_them() {
        let (line, (said, mut heard)) = (line(), mpsc::unbounded_channel());
        let held = line.turn(Urgency::Guess).await;
        comes(&line, Urgency::Commit, &said);
        all_wait(&line, 1).await;
        line.breaks_open(1);
        drop(held);
        for _ in 0..50 {
            yield_now().await;
        }
        assert!(heard.try_recv().is_err());
        line.breaks_open(0);
        assert_eq!(heard.recv().await, Some(Urgency::Commit));
    }

    #[tokio::test]
    async fn what_is_no_break_and_no_commit_gives_way_to_a_break_alone() {
        let (line, (said, _heard)) = (line(), mpsc::unbounded_channel());
        let _held = line.turn(Urgency::Guess).await;
        comes(&line, Urgency::Commit, &said);
        all_wait(&line, 1).await;
        let gives_way = async |urgency| {
            tokio::select! {
                biased;
                () = line.must_give_way(urgency) => true,
                () = yield_now() => false,
            }
        };
        assert!(!gives_way(Urgency::Guess).await && !gives_way(Urgency::Edit).await);
        comes(&line, Urgency::Break, &said);
        all_wait(&line, 2).await;
        assert!(gives_way(Urgency::Guess).await && gives_way(Urgency::Edit).await);
        assert!(!gives_way(Urgency::Commit).await && !gives_way(Urgency::Break).await);
    }

    #[tokio::test]
    async fn who_waits_with_a_slot_is_overtaken_by_the_more_urgent_and_by_a_break() {
        let (line, (said, _heard)) = (line(), mpsc::unbounded_channel());
        let _held = line.turn(Urgency::Edit).await;
        let overtaken = async |urgency| {
            tokio::select! {
                biased;
                () = line.is_overtaken(urgency) => true,
                () = yield_now() => false,
            }
        };
        assert!(!overtaken(Urgency::Edit).await);
        comes(&line, Urgency::Commit, &said);
        all_wait(&line, 1).await;
        assert!(overtaken(Urgency::Edit).await && !overtaken(Urgency::Commit).await);
        line.breaks_open(1);
        assert!(overtaken(Urgency::Commit).await && !overtaken(Urgency::Break).await);
    }

    #[tokio::test]
    async fn who_gives_up_is_no_longer_waited_for() {
        let (line, (said, mut heard)) = (line(), mpsc::unbounded_channel());
        let held = line.turn(Urgency::Commit).await;
        let given_up = tokio::spawn({
            let line = line.clone();
            async move { line.turn(Urgency::Break).await.map(drop) }
        });
        all_wait(&line, 1).await;
        comes(&line, Urgency::Edit, &said);
        all_wait(&line, 2).await;
        given_up.abort();
        drop(held);
        assert_eq!(heard.recv().await, Some(Urgency::Edit));
    }
}
