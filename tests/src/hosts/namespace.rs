//! One machine as the kernel can pretend it: a network, a host name, mounts and a clock since boot of its own, for the
//! programs that are started in it. Owns what such a machine consists of and how to get into it. It lasts as long as its
//! keeper process, which ends with this value or with the test. How machines are joined is `switch`'s.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::until;
use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// The file by which a machine's boots are told apart.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Machines were not all switched on at once: so far apart, in seconds, are their clocks.
const UPTIME_APART: u64 = 100_000;

/// In `sh`, within the new namespaces: name, boot id file. It says when it is ready, and ends with its input.
const KEEP: &str =
    r#"hostname "$1" && ip link set lo up && mount --bind "$2" "$3" && echo ready && exec cat >/dev/null"#;

pub struct Namespace {
    name: String,
    number: u8,
    keeper: Child,
    boot_id: PathBuf,
    has_own_clock: bool,
}

impl Namespace {
    /// Makes machine `number` of this test; its files are in `folder`.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn new(name: &str, number: u8, folder: &Path) -> Result<Self> {
        let boot_id = folder.join(format!("{name}.boot-id"));
        let mut new = Self::keep(name, number, boot_id)?;
        let mut said = String::new();
        let answer = new.keeper.stdout.take().context("the keeper has an output")?;
        BufReader::new(answer).read_line(&mut said).context("hear the keeper")?;
        ensure!(said == "ready\n", "the kernel refuses parts of a machine of its own, see above");
        Ok(new)
    }

    fn keep(name: &str, number: u8, boot_id: PathBuf) -> Result<Self> {
        write_boot_id(&boot_id)?;
        let has_own_clock = works(Command::new("unshare").args(["--time", "--boottime", "1", "true"]));
        let mut command = Command::new("unshare");
        command.args(["--net", "--uts", "--mount"]);
        if has_own_clock {
            let uptime = (u64::from(number) * UPTIME_APART).to_string();
            command.args(["--time", "--boottime", &uptime, "--monotonic", &uptime]);
        }
        command.args(["sh", "-c", KEEP, "sh", name]).arg(&boot_id).arg(BOOT_ID);
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("start unshare")?;
        Ok(Self { name: name.to_owned(), number, keeper, boot_id, has_own_clock })
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address in the common network.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        Ipv4Addr::new(10, 77, 0, self.number).into()
    }

    /// The end of its cable at the switch.
    pub(super) fn port(&self) -> String {
        format!("v{}", self.number)
    }

    pub(super) fn keeper_pid(&self) -> u32 {
        self.keeper.id()
    }

    /// What goes before a command so that it runs on this machine. The process stays the same, so its pid is the program's;
    /// only the working folder is lost on the way.
    #[must_use]
    pub fn prefix(&self) -> Vec<String> {
        let pid = self.keeper.id().to_string();
        let clock = if self.has_own_clock { &["--time"][..] } else { &[] };
        let words = ["nsenter", "-t", &pid, "--net", "--uts", "--mount"];
        words.iter().chain(clock).map(|&word| word.to_owned()).collect()
    }

    /// Runs a command of the system on it.
    ///
    /// # Errors
    /// If it fails.
    pub(super) fn run(&self, words: &[&str]) -> Result<()> {
        let prefix = self.prefix();
        let all: Vec<&str> = prefix.iter().map(String::as_str).chain(words.iter().copied()).collect();
        run(&all)
    }

    /// Does something on a thread that has this machine's network. What it opens there stays there.
    ///
    /// # Panics
    /// If the kernel refuses, or `deed` panics.
    pub fn inside<T: Send>(&self, deed: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.keeper.id())).expect("open its network");
        let deed = move || {
            move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).expect("enter its network");
            deed()
        };
        std::thread::scope(|scope| scope.spawn(deed).join().expect("the deed is done"))
    }

    /// Ends every program on it at once, as a loss of power does, and is another boot afterwards.
    ///
    /// # Panics
    /// If processes cannot be looked at.
    pub fn lose_power(&self) {
        let of = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/uts")).ok();
        let own = of(self.keeper.id());
        assert!(own.is_some(), "its keeper lives");
        let others = || {
            let pids = fs::read_dir("/proc").expect("look at the processes").flatten();
            let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
            pids.filter(|&pid| pid != self.keeper.id() && of(pid) == own).collect::<Vec<_>>()
        };
        // Until there is none: one may just have started another.
        until("every program has ended", || {
            let left = others();
            for pid in left.iter().filter_map(|&pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
            left.is_empty()
        });
        write_boot_id(&self.boot_id).expect("write the next boot id");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

/// In place: the file is bound to where programs look.
fn write_boot_id(file: &Path) -> io::Result<()> {
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let mut out = File::options().write(true).create(true).truncate(true).open(file)?;
    out.write_all(id.as_bytes())
}

pub(super) fn works(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs a command to its end.
pub(super) fn run(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("start {}", words[0]))?;
    ensure!(output.status.success(), "{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(())
}
