//! How an error is told in one line: whoever consumes it says it once, with all its causes. What errors there are is each crate's own.

use std::error::Error;

/// An error with its causes, joined by colons.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_in_its_order() {
        #[derive(Debug, thiserror::Error)]
        #[error("read the log")]
        struct Outer(#[source] std::io::Error);
        assert_eq!(chain(&Outer(std::io::Error::other("disk is gone"))), "read the log: disk is gone");
    }
}
