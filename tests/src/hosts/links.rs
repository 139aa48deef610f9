//! Wires between programs on one loopback: a `rrctl demo-link` process for each, in place of cables between machines. Owns
//! those processes; what a cut does to bytes is theirs. They end with this value, and with the test whatever ends it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

use crate::daemon::{Sandbox, rrctl_program};

pub(super) struct Link {
    child: Child,
    at: SocketAddr,
    ends: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Link {
    pub(super) fn to(host: &Sandbox, far: SocketAddr) -> Result<Self> {
        let mut command = host.command(rrctl_program());
        command.args(["demo-link", "--listen", "127.0.0.1:0", "--to", &far.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).spawn()?;
        let orders = child.stdin.take().context("its input is a pipe")?;
        let mut answers = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        let mut line = String::new();
        answers.read_line(&mut line).context("hear where it listens")?;
        let at = line.trim().parse().with_context(|| format!("demo-link said {line:?}"))?;
        Ok(Self { child, at, ends: Mutex::new((orders, answers)) })
    }

    /// The near end.
    pub(super) const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Says something in the steering language of `rrctl/src/cmd/demo_link.rs`, and returns once it is done.
    pub(super) fn order(&self, order: &str) -> Result<()> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(ends.0, "{order}")?;
        let mut answer = String::new();
        ends.1.read_line(&mut answer)?;
        ensure!(answer == "done\n", "demo-link was told {order:?} and said {answer:?}");
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
