//! The memory of the fleet. `contract` says what a store promises; each engine is a folder that keeps it: `embedded` is a
//! file on this machine, `etcd` a cluster. `suite` checks an engine against the contract, `faulty` wraps one for tests of its callers.
//! Nothing here knows what the keys mean: that is `rr_fleet`'s.

mod check;
mod contract;
pub mod embedded;
pub mod etcd;
pub mod faulty;
mod forgetful;
pub mod suite;

pub use contract::*;
pub use embedded::{EmbeddedStore, OpenError, Options};
pub use etcd::{ConnectError, EtcdOptions, EtcdStore};
pub use forgetful::Forgetful;
