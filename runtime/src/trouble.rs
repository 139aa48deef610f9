//! Errors that repeat: told when they begin, ever more rarely while they last, and once when they end, with a growing wait
//! between the tries. It does not know what is tried.

use std::error::Error;

use rr_core::time::Span;

use crate::errors::chain;

const WAIT_FIRST: Span = Span::from_millis(500);
/// A store that is back is noticed within this.
const WAIT_MAX: Span = Span::from_secs(10);

/// The run of failures of one thing that is tried again and again.
#[derive(Debug)]
pub struct Trouble {
    doing: &'static str,
    failures: u32,
}

impl Trouble {
    #[must_use]
    pub fn with(doing: &'static str) -> Self {
        Self { doing, failures: 0 }
    }

    /// Notes a failure; the answer is how long to wait before the next try.
    pub fn failed(&mut self, why: &str) -> Span {
        let wait = WAIT_FIRST * (1 << self.failures.min(8));
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            let failures = self.failures;
            tracing::warn!(doing = self.doing, failures, why, "failed: trying again, and telling when it works");
        }
        wait.min(WAIT_MAX)
    }

    pub fn worked(&mut self) {
        if self.failures > 0 {
            tracing::info!(doing = self.doing, failures = self.failures, "works again");
        }
        self.failures = 0;
    }
}

/// Tries until it works or fails for a reason that does not pass by itself.
///
/// # Errors
/// The first error for which `passes` does not hold.
pub async fn patiently<T, E, F>(
    doing: &'static str,
    passes: impl Fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    E: Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut trouble = Trouble::with(doing);
    loop {
        let wait = match attempt().await {
            Ok(done) => {
                trouble.worked();
                return Ok(done);
            }
            Err(error) if passes(&error) => trouble.failed(&chain(&error)),
            Err(error) => return Err(error),
        };
        tokio::time::sleep(wait.as_std()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_its_bound_and_starts_over_after_a_success() {
        let mut trouble = Trouble::with("test");
        let waits: Vec<u64> = (0..40).map(|_| trouble.failed("no").as_millis()).collect();
        assert_eq!(waits[..6], [500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert_eq!(waits[39], 10_000);
        trouble.worked();
        assert_eq!(trouble.failed("no"), WAIT_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_success_or_with_an_error_that_stays() {
        let tries = std::cell::Cell::new(0);
        let attempt = async |good_at: u32| {
            tries.set(tries.get() + 1);
            match tries.get() {
                n if n == good_at => Ok(n),
                9 => Err(std::io::Error::other("for good")),
                _ => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
            }
        };
        let passes = |e: &std::io::Error| e.kind() == std::io::ErrorKind::ConnectionRefused;
        assert_eq!(patiently("try", passes, || attempt(5)).await.unwrap(), 5);
        assert_eq!(patiently("try", passes, || attempt(99)).await.unwrap_err().to_string(), "for good");
        assert_eq!(tries.get(), 9);
    }
}
