//! Ends of calls that are being written down at this moment. A hook answers in time even where that takes longer, and its agent goes
//! on: whoever is about to read what calls have done waits first for the ends that have begun. It knows neither calls nor the journal.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Ends {
    begun: Mutex<Begun>,
    over: Notify,
}

#[derive(Default)]
struct Begun {
    next: u64,
    open: BTreeSet<u64>,
}

/// One end, for as long as it is being written down.
pub(crate) struct End<'a> {
    of: &'a Ends,
    number: u64,
}

impl Ends {
    pub(crate) fn begin(&self) -> End<'_> {
        let mut begun = self.lock();
        let number = begun.next;
        begun.next += 1;
        begun.open.insert(number);
        End { of: self, number }
    }

    /// Until all are over that had begun when this was asked; those that begin meanwhile are not waited for.
    pub(crate) async fn settled(&self) {
        let before = self.lock().next;
        loop {
            // Made ready before the look, so that an end between the two is not slept through.
            let over = self.over.notified();
            tokio::pin!(over);
            over.as_mut().enable();
            if self.lock().open.first().is_none_or(|first| *first >= before) {
                return;
            }
            over.await;
        }
    }

    /// Nothing panics while holding the lock; a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.of.lock().open.remove(&self.number);
        self.of.over.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn is_ready(future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn what_has_begun_is_waited_for_and_what_begins_later_is_not() {
        let ends = Ends::default();
        assert!(is_ready(pin!(ends.settled())), "nothing has begun");
        let (first, second) = (ends.begin(), ends.begin());
        let mut asked = pin!(ends.settled());
        assert!(!is_ready(asked.as_mut()));
        let _later = ends.begin();
        drop(second);
        assert!(!is_ready(asked.as_mut()));
        drop(first);
        assert!(is_ready(asked.as_mut()));
        assert!(!is_ready(pin!(ends.settled())), "the later one has begun by now");
    }
}
