//! The floor under every program: clock, randomness, folders, who this host is, configuration, tasks, logs. Everything
//! that the rules ask for through a trait (`rr_core::time::Clock`, `rr_core::id::Entropy`) gets its real form here. It knows
//! no store, no lock and no agent. Start at [`dirs`] and [`config`]; a program's `app` file goes on with [`tasks`].

pub mod clock;
pub mod config;
pub mod dirs;
pub mod entropy;
pub mod errors;
pub mod host;
pub mod tasks;
pub mod telemetry;
