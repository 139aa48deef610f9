//! The one way to start something that runs beside the rest of a program: with a name, and with what its end means. An
//! essential task that ends before shutdown stops the program; at shutdown all are awaited, then cut off. What the tasks do
//! is not known here.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::errors::chain;

/// What the end of a task before shutdown means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program is not itself without it: its end, whatever the reason, stops everything.
    Essential,
    /// May end at any time (a connection, one job). A failure is logged.
    Background,
}

/// An essential task ended before shutdown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {name} ended before shutdown: {why}")]
pub struct TaskFailed {
    pub name: &'static str,
    pub why: String,
}

/// What a task may return: nothing, or a result whose error says why it failed.
pub trait TaskEnd: Send + 'static {
    /// The whole chain of the error, or `None` for an end without one.
    fn failure(self) -> Option<String>;
}

impl TaskEnd for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Into<Box<dyn Error + Send + Sync>> + Send + 'static> TaskEnd for Result<(), E> {
    fn failure(self) -> Option<String> {
        let error: Box<dyn Error + Send + Sync> = self.err()?.into();
        Some(chain(&*error))
    }
}

/// A cheap handle: clones start tasks of the same program.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    tracker: TaskTracker,
    shutdown: CancellationToken,
    /// The deadline of the shutdown has passed.
    cut_off: CancellationToken,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    running: BTreeMap<u64, &'static str>,
    /// The first essential task that ended early: the cause, where later ones are its consequence.
    failed: Option<TaskFailed>,
}

impl Tasks {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the program shall stop: by its caller, or by the end of an essential task.
    #[must_use]
    pub fn shutdown_token(&self) -> CancellationToken {
        self.inner.shutdown.clone()
    }

    pub fn spawn<F, T>(&self, name: &'static str, kind: Kind, future: F)
    where
        F: Future<Output = T> + Send + 'static,
        T: TaskEnd,
    {
        let number = self.inner.book().enter(name);
        // A task of its own, so that its panic ends there and can be told.
        let handle = tokio::spawn(future);
        let inner = Arc::clone(&self.inner);
        self.inner.tracker.spawn(async move {
            let end = inner.end_of(handle).await;
            inner.note(number, name, kind, end);
        });
    }

    /// Waits for the shutdown, then for every task until `deadline` after it, then cuts off what still runs.
    ///
    /// # Errors
    /// If the shutdown came from an essential task that ended or panicked.
    pub async fn run_until_end(&self, deadline: Duration) -> Result<(), TaskFailed> {
        self.inner.shutdown.cancelled().await;
        self.inner.tracker.close();
        let drained = tokio::time::timeout(deadline, self.inner.tracker.wait()).await;
        if drained.is_err() {
            let late: Vec<&str> = self.inner.book().running.values().copied().collect();
            tracing::warn!(tasks = ?late, ?deadline, "cut off tasks that did not end in time");
            self.inner.cut_off.cancel();
            self.inner.tracker.wait().await;
        }
        self.inner.book().failed.clone().map_or(Ok(()), Err)
    }
}

/// How a task ended.
enum End {
    Quiet,
    Failed(String),
    CutOff,
}

impl Inner {
    async fn end_of<T: TaskEnd>(&self, mut handle: JoinHandle<T>) -> End {
        tokio::select! {
            end = &mut handle => told(end),
            () = self.cut_off.cancelled() => {
                handle.abort();
                // One that never yields cannot be cut off; it must not keep the program from ending.
                End::CutOff
            }
        }
    }

    fn note(&self, number: u64, name: &'static str, kind: Kind, end: End) {
        let mut book = self.book();
        book.running.remove(&number);
        let stopping = self.shutdown.is_cancelled();
        match (end, kind) {
            (End::Failed(why), Kind::Background) => {
                tracing::warn!(task = name, why, "a background task failed");
            }
            (End::Failed(why), Kind::Essential) if stopping => {
                tracing::warn!(task = name, why, "a task failed while stopping");
            }
            (End::CutOff, _) | (End::Quiet, Kind::Background) => {}
            (End::Quiet, Kind::Essential) if stopping => {}
            (end, Kind::Essential) => {
                let why = match end {
                    End::Failed(why) => why,
                    End::Quiet | End::CutOff => "it returned".to_owned(),
                };
                tracing::error!(task = name, why, "an essential task ended: stopping");
                book.failed.get_or_insert(TaskFailed { name, why });
                self.shutdown.cancel();
            }
        }
    }

    /// The book is only ever changed by single steps, so a panic while it was open leaves it whole.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn enter(&mut self, name: &'static str) -> u64 {
        self.next += 1;
        self.running.insert(self.next, name);
        self.next
    }
}

fn told<T: TaskEnd>(end: Result<T, JoinError>) -> End {
    match end {
        Ok(end) => end.failure().map_or(End::Quiet, End::Failed),
        Err(error) if error.is_panic() => {
            let panic = error.into_panic();
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            End::Failed(format!("panicked: {}", text.unwrap_or_default()))
        }
        Err(_) => End::CutOff,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn an_essential_task_that_returns_stops_all_and_is_named() {
        let tasks = Tasks::new();
        let seen = Arc::new(AtomicBool::new(false));
        let (token, flag) = (tasks.shutdown_token(), Arc::clone(&seen));
        tasks.spawn("drainer", Kind::Essential, async move {
            token.cancelled().await;
            flag.store(true, Ordering::Relaxed);
        });
        tasks.spawn("server", Kind::Essential, async {});
        let failed = tasks.run_until_end(SOON).await.unwrap_err();
        assert_eq!(failed.name, "server");
        assert!(seen.load(Ordering::Relaxed), "the other task was awaited");
    }

    fn give_up(why: &str) {
        panic!("{why}");
    }

    #[tokio::test]
    async fn a_panic_of_an_essential_task_is_told_with_its_text() {
        let tasks = Tasks::new();
        tasks.spawn("lease", Kind::Essential, async { give_up("lost 7") });
        let failed = tasks.run_until_end(SOON).await.unwrap_err();
        assert_eq!(failed.to_string(), "task lease ended before shutdown: panicked: lost 7");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("serve the socket")]
    struct Outer(#[source] std::fmt::Error);

    #[tokio::test]
    async fn the_whole_chain_of_an_error_is_told() {
        let tasks = Tasks::new();
        let failing = async { Err::<(), _>(Outer(std::fmt::Error)) };
        tasks.spawn("api", Kind::Essential, failing);
        let failed = tasks.run_until_end(SOON).await.unwrap_err();
        assert_eq!(failed.why, format!("serve the socket: {}", std::fmt::Error));
    }

    #[tokio::test]
    async fn a_background_task_may_end_fail_or_panic_and_all_goes_on() {
        let tasks = Tasks::new();
        tasks.spawn("one", Kind::Background, async {});
        tasks.spawn("two", Kind::Background, async { Err::<(), _>(Outer(std::fmt::Error)) });
        tasks.spawn("three", Kind::Background, async {
            give_up("only this one");
        });
        let (sent, all_ended) = tokio::sync::oneshot::channel();
        let probe = tasks.clone();
        tokio::spawn(async move {
            while !probe.inner.book().running.is_empty() {
                tokio::task::yield_now().await;
            }
            sent.send(probe.shutdown_token().is_cancelled()).unwrap();
        });
        assert!(!all_ended.await.unwrap(), "nothing was stopped");
        tasks.shutdown_token().cancel();
        tasks.run_until_end(SOON).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ignores_the_shutdown_is_cut_off_at_the_deadline() {
        let tasks = Tasks::new();
        tasks.spawn("deaf", Kind::Essential, std::future::pending::<()>());
        tasks.shutdown_token().cancel();
        let from = tokio::time::Instant::now();
        tasks.run_until_end(SOON).await.unwrap();
        assert_eq!(from.elapsed(), SOON);
    }
}
