//! What the stories, faults and end-to-end tests share. Nothing imports this crate.
//!
//! One module a tool, each usable alone: `isolation` (a test without a network), `wait` (for a condition,
//! never for a time), `scripted_model` (the answers an agent gets), `claude` (the real Claude Code),
//! `daemon` (a machine in a folder, and the real daemon on it), `programs` (the separate programs on it), `agent` (an agent
//! steered call by call), `etcd` (a real cluster), `crowd` (simulated sidecars on a cluster, and the judge), `hosts` (several
//! machines and the wires between them), `room` (a folder that does not outlive its test).
//! The tests themselves are in `tests/`, one file for each thing they prove.

pub mod agent;
pub mod claude;
pub mod crowd;
pub mod daemon;
pub mod etcd;
pub mod hosts;
pub mod isolation;
pub mod programs;
pub mod room;
pub mod scripted_model;
pub mod wait;
