//! The cables between machines: a bridge in the test's own network, and what it is told to drop. Owns which frames pass; it
//! drops without a word, so both ends see nothing but silence. There is no way out of it: no machine has a default route.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use super::namespace::{Namespace, run};

const BRIDGE: &str = "rr0";
/// The test's own place at the bridge, from which everything can be seen whatever is cut.
const CONSOLE: &str = "10.77.0.254/24";
const TABLE: &str = "bridge rr_cuts";

/// Frames from one machine to another; `None` is every other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

pub(super) struct Switch {
    cuts: Mutex<BTreeSet<Cut>>,
}

impl Switch {
    /// Only in a network that was made for this test.
    pub(super) fn new() -> Result<Self> {
        run(&["ip", "link", "add", BRIDGE, "type", "bridge"])?;
        run(&["ip", "addr", "add", CONSOLE, "dev", BRIDGE])?;
        run(&["ip", "link", "set", BRIDGE, "up"])?;
        Ok(Self { cuts: Mutex::default() })
    }

    pub(super) fn plug_in(&self, machine: &Namespace) -> Result<()> {
        let (port, pid) = (machine.port(), machine.keeper_pid().to_string());
        run(&["ip", "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &pid])?;
        run(&["ip", "link", "set", &port, "master", BRIDGE, "up"])?;
        machine.run(&["ip", "addr", "add", &format!("{}/24", machine.ip()), "dev", "eth0"])?;
        machine.run(&["ip", "link", "set", "eth0", "up"])
    }

    /// From now on these are dropped too.
    pub(super) fn cut(&self, new: impl IntoIterator<Item = Cut>) -> Result<()> {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.extend(new);
        tell(&cuts)
    }

    /// Nothing from or to this port is dropped any more.
    pub(super) fn heal(&self, port: &str) -> Result<()> {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        cuts.retain(|cut| cut.from.as_deref() != Some(port) && cut.to.as_deref() != Some(port));
        tell(&cuts)
    }
}

/// All rules at once: there is no moment with only some of them.
fn tell(cuts: &BTreeSet<Cut>) -> Result<()> {
    let mut rules = format!("table {TABLE}\ndelete table {TABLE}\ntable {TABLE} {{\nchain f {{\n");
    rules.push_str("type filter hook forward priority 0; policy accept;\n");
    for Cut { from, to } in cuts {
        for (word, port) in [("iifname", from), ("oifname", to)] {
            if let Some(port) = port {
                write!(rules, "{word} \"{port}\" ")?;
            }
        }
        rules.push_str("drop\n");
    }
    rules.push_str("}\n}\n");
    nft(&rules)
}

fn nft(rules: &str) -> Result<()> {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("start nft (package nftables)")?;
    child.stdin.take().context("its input is a pipe")?.write_all(rules.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft: {}\n{rules}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
