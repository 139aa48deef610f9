//! The coordinator: the programs' and people's way to the fleet. It answers questions and carries out orders; it decides
//! no tool call and is never on the path of one (D1): a lost coordinator stops no agent.
//! Start at [`app::start`]; what each request does is in [`ops`], [`enrol`], [`publish`], [`approvals`], [`slots`] and [`watch`], which
//! `rrctl` also uses on a store of its own.

pub mod app;
pub mod approvals;
pub mod enrol;
pub mod follow;
mod gate;
pub mod journal;
mod numbers;
pub mod ops;
mod picture;
pub mod publish;
mod refusal;
mod remote;
mod rights;
mod services;
pub mod slots;
pub mod watch;
