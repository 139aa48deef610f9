//! Health checks: which commands say whether a tree is sound (`find`), how one is run without harm to the machine
//! (`run`), what a red one says (`read`), what is known already (`verdicts`), and when a check may be believed
//! (`trust`). It knows folders and processes; of git, the store, sessions and whose change it was it knows nothing.
//! Next: `find`.

pub mod find;
mod outcome;
pub mod read;
pub mod run;
mod tools;
mod trust;
pub mod verdicts;

pub use find::{Check, Configured, Hash, Origin, Plan, Tree, When, commands_hash, discover};
pub use outcome::{Outcome, Output, Why};
pub use read::{Finding, Findings, Nature};
pub use run::{Limits, Runner};
pub use tools::ToolVersions;
pub use trust::{Trust, trust};
pub use verdicts::{Key, Known, Verdicts};
