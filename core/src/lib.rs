//! The rules of the house: plain data in, decision out. No clock, no I/O, no tokio; whoever needs one hands in what it
//! read. Start at [`path`] (what can be locked), then [`scope`] and [`lock`] (who may hold it), [`session`] (is the holder
//! still alive), [`permit`] (may the fleet run) and [`affected`] (whom a break stops). [`culprit`] finds who broke a build. [`limits`] has every number, with its
//! reason; [`bugs`] are the tests' own.

pub mod affected;
pub mod bugs;
pub mod content;
pub mod culprit;
pub mod glob;
pub mod history;
pub mod id;
pub mod incident;
pub mod limits;
pub mod live;
pub mod lock;
pub mod overlap;
pub mod path;
pub mod permit;
pub mod policy;
pub mod rollback;
pub mod scope;
pub mod session;
pub mod time;
