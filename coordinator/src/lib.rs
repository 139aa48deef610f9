//! The coordinator: the programs' and people's way to the fleet. It answers questions and carries out orders; it decides
//! no tool call and is never on the path of one (D1): a lost coordinator stops no agent.
//! Start at [`app::serve`]; what each request does is in [`ops`] and [`publish`], which `rrctl` also uses on a store of its own.

pub mod app;
mod follow;
pub mod ops;
mod picture;
pub mod publish;
mod refusal;
mod services;
mod socket;
