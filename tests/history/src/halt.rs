//! A task that can be stopped and continued as a process is by SIGSTOP and SIGCONT: nothing of it runs meanwhile, time goes
//! on, and what it waited for may all have happened when it goes on.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
struct State {
    stopped: bool,
    waiting: Option<Waker>,
}

/// The hand on one task.
#[derive(Clone, Debug, Default)]
pub struct Halt(Arc<Mutex<State>>);

impl Halt {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stop(&self) {
        self.state().stopped = true;
    }

    pub fn go_on(&self) {
        let waiting = {
            let mut state = self.state();
            state.stopped = false;
            state.waiting.take()
        };
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    /// The task, now in this hand.
    pub fn hold<F: Future + Send + 'static>(&self, task: F) -> Held<F::Output> {
        Held { halt: self.clone(), task: Box::pin(task) }
    }
}

/// A task that runs only while it is not stopped.
pub struct Held<T> {
    halt: Halt,
    task: Pin<Box<dyn Future<Output = T> + Send>>,
}

impl<T> Future for Held<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        {
            let mut state = self.halt.state();
            if state.stopped {
                state.waiting = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
        self.task.as_mut().poll(context)
    }
}
