//! What one run of a check may take of the machine. The agents work on the same one: a check that asks for more is
//! ended, and nobody is blamed for it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

const MIB: u64 = 1024 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    pub wall_clock: Duration,
    /// Of all its processes together, what is theirs alone; measured, so a short excess is possible.
    pub memory_bytes: u64,
    /// At one time. Measured too: the kernel's own limit counts all processes of the user, the agents' among them, and
    /// does not hold root.
    pub processes: usize,
    /// Kept of what it prints: a quarter from its begin, the rest from its end.
    pub output_bytes: usize,
    /// It is ended when less than this is free under its folder, or under a folder that the runner was told to guard.
    pub free_bytes_floor: u64,
    /// Of one file that it writes.
    pub file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Twice the slowest first build of what was measured (4 min for 331 dependencies), and room.
            wall_clock: Duration::from_secs(15 * 60),
            // A linker of a large program takes 4 GiB.
            memory_bytes: 8 * 1024 * MIB,
            // A build runs a few for each core.
            processes: 512,
            // Some thousand errors; what is cut is the middle.
            output_bytes: 1024 * 1024,
            // The agents' own work and the journal need room to go on.
            free_bytes_floor: 1024 * MIB,
            file_bytes: 8 * 1024 * MIB,
        }
    }
}
