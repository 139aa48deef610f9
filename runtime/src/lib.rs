//! The floor under every program: clock, randomness, folders, who this host is, configuration, store, tasks, logs, metrics,
//! the way from `main` to the end. Everything that the rules ask for through a trait (`rr_core::time::Clock`,
//! `rr_core::id::Entropy`) gets its real form here. It opens a store and knows no lock and no agent. Start at [`program`],
//! then [`config`] and [`dirs`]; a program's `app` file goes on with [`tasks`].

pub mod clock;
pub mod config;
pub mod dirs;
pub mod entropy;
pub mod errors;
pub mod exit;
pub mod host;
pub mod metrics;
pub mod process;
pub mod program;
pub mod readiness;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod trouble;
