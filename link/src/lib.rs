//! The links between programs on different machines: who may speak to whom, proven by certificates of the fleet's own
//! authority (docs/adr/0011-who-may-speak.md). It owns keys, certificates, handshakes and the way in for a new machine; what a
//! role may do, and what the store says of a host, is decided elsewhere.
//! Start at [`identity`], then [`authority`], [`material`], [`accept`] and [`dial`]; [`token`], [`join`] and [`renewal`] are the
//! life of one machine's certificate.

pub mod accept;
pub mod authority;
pub mod dial;
mod files;
pub mod identity;
pub mod issuing;
pub mod join;
pub mod local;
mod loopback;
pub mod material;
pub mod pem;
pub mod renewal;
pub mod token;
pub mod upkeep;
mod verify;

pub use files::{FileError, Files};
