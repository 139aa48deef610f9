//! Randomness from the operating system, for names that nobody may guess. What is named with it is `rr_core::id`'s.

use rr_core::id::Entropy;

#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn bits(&self) -> [u8; 16] {
        let mut bits = [0; 16];
        // Session names are secrets of a kind: a program without randomness must stop, not go on with guessable ones.
        getrandom::fill(&mut bits).expect("every supported system has randomness once it has booted");
        bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_draws_differ() {
        assert_ne!(OsEntropy.bits(), OsEntropy.bits());
    }
}
