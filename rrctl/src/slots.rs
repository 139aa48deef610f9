//! `rrctl run`'s place in a line: kept by a process of its own, the keeper, so that the command itself can take this program's
//! place. Signals, streams and the exit code are then the command's own, and the slot is given back when its process is gone,
//! however that came about. Here is what the two say to one another; what is typed is `cmd::run`'s. Next: `keeper`.

pub(crate) mod keeper;

/// What the keeper needs to know, on its command line.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct Wanted {
    #[arg(long)]
    pub(crate) slot: String,
    #[arg(long)]
    pub(crate) of: u32,
    /// How long it may stand in line, in milliseconds
    #[arg(long)]
    pub(crate) wait_ms: u64,
    /// The process that has the slot
    #[arg(long)]
    pub(crate) pid: u32,
    /// For others: who has it, and for what
    #[arg(long)]
    pub(crate) who: String,
    /// The work tree that it builds
    #[arg(long)]
    pub(crate) root: String,
}

impl Wanted {
    pub(crate) fn words(&self) -> Vec<String> {
        let Self { slot, of, wait_ms, pid, who, root } = self;
        let pairs = [
            ("--slot", slot.clone()),
            ("--of", of.to_string()),
            ("--wait-ms", wait_ms.to_string()),
            ("--pid", pid.to_string()),
            ("--who", who.clone()),
            ("--root", root.clone()),
        ];
        // With `=`, so that no value is taken for an option.
        pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }
}

/// What the keeper says on its output, in one line.
pub(crate) const HAS_IT: &str = "has it";
/// Followed by the exit code; it has said why.
pub(crate) const GAVE_UP: &str = "gave up ";
