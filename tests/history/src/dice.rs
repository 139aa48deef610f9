//! Chance that a seed decides: the same on every machine, and it can stand for the entropy of whoever is tested.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rr_core::id::Entropy;

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug)]
pub struct Dice(Mutex<u64>);

impl Dice {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    fn state(&self) -> MutexGuard<'_, u64> {
        // One number: a poisoned lock is still whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn number(&self) -> u64 {
        let mut state = self.state();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`, which is not 0.
    pub fn below(&self, n: u64) -> u64 {
        self.number() % n
    }

    pub fn one_in(&self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of these; there is at least one.
    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).unwrap_or(0)]
    }
}

impl Entropy for Dice {
    fn bits(&self) -> [u8; 16] {
        (u128::from(self.number()) << 64 | u128::from(self.number())).to_be_bytes()
    }
}
