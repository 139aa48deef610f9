//! The memory of the fleet. `contract` says what a store promises; each engine is a folder that keeps it.
//! Nothing here knows what the keys mean: that is `rr_fleet`'s.

mod contract;

pub use contract::*;
