//! The processes behind a session: who called, which of them is the agent, what it started, and when all of that is gone.
//! Identity is (pid, start time) within this boot: a pid alone is given out again (H13). The kernel tells who is at the other
//! end of the socket, so a caller cannot claim to be somebody else (H21).

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::io::unix::AsyncFd;

/// How far up a caller's parents are followed: agent, shell, wrapper, terminal, and room.
const CHAIN_MAX: usize = 16;

/// Programs that stand between an agent and its hook.
const SHELLS: [&str; 7] = ["sh", "bash", "dash", "zsh", "fish", "env", "rr-hook"];

/// Which daemon an agent's hooks speak to, where that was said.
const RUNTIME_DIR_VARIABLE: &str = "RAILROAD_RUNTIME_DIR";

/// Fifty-two numbers and a name of at most 64 bytes.
const STAT_BYTES_MAX: usize = 2_048;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Process {
    pub pid: u32,
    /// Clock ticks since boot.
    pub start: u64,
}

#[derive(Clone, Debug)]
struct Stat {
    comm: String,
    state: char,
    parent: u32,
    group: u32,
    start: u64,
}

impl Process {
    /// This one.
    pub(crate) fn own() -> Option<Self> {
        let pid = std::process::id();
        stat(pid).map(|s| Self { pid, start: s.start })
    }

    #[cfg(test)]
    fn of(pid: u32) -> Option<Self> {
        stat(pid).map(|s| Self { pid, start: s.start })
    }

    /// Whether it still runs. A zombie does not: it can write nothing any more.
    pub(crate) fn is_alive(self) -> bool {
        stat(self.pid).is_some_and(|s| s.start == self.start && !matches!(s.state, 'Z' | 'X'))
    }

    /// Returns when the process is gone.
    pub(crate) async fn gone(self) {
        let Some(fd) = self.pidfd() else { return };
        // A pidfd may have been opened on a process that took over the pid: its identity is compared after opening.
        if !self.is_alive() {
            return;
        }
        // Deprecated for types that lie about their descriptor; an `OwnedFd` cannot, and the new form needs `unsafe`.
        #[allow(deprecated)]
        let fd = AsyncFd::new(fd);
        if let Ok(fd) = fd {
            let _ = fd.readable().await;
        }
    }

    fn pidfd(self) -> Option<OwnedFd> {
        pidfd_open(self.raw()?, PidfdFlags::NONBLOCK).ok()
    }

    pub(crate) fn signal(self, signal: Signal) {
        // Between the check and the signal the pid could be given out again only after the process was reaped.
        if self.is_alive()
            && let Some(pid) = self.raw()
        {
            let _ = kill_process(pid, signal);
        }
    }

    fn raw(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// The caller and its parents, the caller first; no further than `last`, if that is among them.
pub(crate) fn chain(pid: u32, last: Option<Process>) -> Vec<(Process, String)> {
    let mut found = Vec::new();
    let mut at = pid;
    while at > 1 && found.len() < CHAIN_MAX {
        let Some(s) = stat(at) else { break };
        let process = Process { pid: at, start: s.start };
        found.push((process, s.comm));
        if Some(process) == last {
            break;
        }
        at = s.parent;
    }
    found
}

/// Which process of a chain is the agent: the one it names itself if that is in the chain, else the nearest that is neither the
/// hook nor a shell around it.
pub(crate) fn agent_in(chain: &[(Process, String)], named: Option<u32>) -> Option<Process> {
    let claimed = chain.iter().skip(1).find(|(p, _)| Some(p.pid) == named);
    let nearest = || chain.iter().skip(1).find(|(_, comm)| !SHELLS.contains(&comm.as_str()));
    claimed.or_else(nearest).or_else(|| chain.get(1)).map(|(p, _)| *p)
}

/// All processes at one moment. Taking it costs a look at each, so one is shared by all questions of the same moment.
pub(crate) struct Snapshot(Vec<(u32, Stat)>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        Self(pids().filter_map(|pid| stat(pid).map(|s| (pid, s))).collect())
    }

    /// Everything that a process started and that still runs, itself not included.
    pub(crate) fn below(&self, root: Process) -> BTreeSet<Process> {
        let mut family: BTreeSet<u32> = BTreeSet::from([root.pid]);
        let mut found = BTreeSet::new();
        loop {
            let is_new = |(pid, s): &&(u32, Stat)| family.contains(&s.parent) && !family.contains(pid);
            let more: Vec<&(u32, Stat)> = self.0.iter().filter(is_new).collect();
            if more.is_empty() {
                return found;
            }
            for (pid, s) in more {
                family.insert(*pid);
                if s.state != 'Z' {
                    found.insert(Process { pid: *pid, start: s.start });
                }
            }
        }
    }
}

/// What a dead agent left running: known children and their children, members of their process groups, and everything that
/// carries the session's mark in its environment.
pub(crate) fn survivors(known: &BTreeSet<Process>, agent: Process, marks: &[String]) -> BTreeSet<Process> {
    let mut found: BTreeSet<Process> = known.iter().copied().filter(|p| p.is_alive()).collect();
    // Only groups that a child leads: the agent's own group may hold its neighbours.
    let leaders: BTreeSet<u32> = known.iter().map(|p| p.pid).collect();
    let groups: BTreeSet<u32> = found.iter().filter_map(|p| stat(p.pid)).map(|s| s.group).collect();
    let groups: BTreeSet<u32> = groups.intersection(&leaders).copied().collect();
    for pid in pids() {
        let Some(s) = stat(pid) else { continue };
        let in_group = groups.contains(&s.group);
        if pid != std::process::id() && s.state != 'Z' && (in_group || is_marked(pid, marks)) {
            found.insert(Process { pid, start: s.start });
        }
    }
    let now = Snapshot::take();
    let below: Vec<Process> = found.iter().flat_map(|p| now.below(*p)).collect();
    found.extend(below);
    // A hook of the agent that is just ending asks us, and waits for our answer.
    found.retain(|p| *p != agent && stat(p.pid).is_some_and(|s| s.comm != "rr-hook"));
    found
}

fn is_marked(pid: u32, marks: &[String]) -> bool {
    let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
    carries(&environment, marks, std::env::var_os(RUNTIME_DIR_VARIABLE).as_deref())
}

/// Whether an environment has one of these marks, and is not of an agent that another daemon looks after: sessions of two daemons may
/// have one name.
fn carries(environment: &[u8], marks: &[String], own: Option<&OsStr>) -> bool {
    let entries = || environment.split(|b| *b == 0);
    let room =
        |entry: &[u8]| entry.strip_prefix(RUNTIME_DIR_VARIABLE.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec);
    let elsewhere = own.zip(entries().find_map(room)).is_some_and(|(own, theirs)| own.as_bytes() != theirs);
    !elsewhere && entries().any(|entry| marks.iter().any(|m| entry == m.as_bytes()))
}

/// A process's name and pid, for people.
pub(crate) fn describe(process: Process) -> String {
    let comm = stat(process.pid).map_or_else(|| "gone".to_owned(), |s| s.comm);
    format!("{comm} ({})", process.pid)
}

/// What a process was started as. `None`: it is gone, or shows nothing.
pub(crate) fn words_of(process: Process) -> Option<Vec<String>> {
    let line = std::fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
    let words = line.strip_suffix(b"\0").unwrap_or(&line).split(|byte| *byte == 0);
    let words: Vec<String> = words.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (process.is_alive() && !line.is_empty()).then_some(words)
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// `/proc/<pid>/stat`. The name in it may hold spaces and brackets: the fields start after the last bracket.
fn stat(pid: u32) -> Option<Stat> {
    // One look: the line is short, and asking for its length first would cost more than reading it.
    let mut line = [0; STAT_BYTES_MAX];
    let mut file = std::fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let len = std::io::Read::read(&mut file, &mut line).ok()?;
    let text = String::from_utf8_lossy(line.get(..len)?);
    let (head, tail) = text.rsplit_once(')')?;
    let comm = head.split_once('(')?.1.to_owned();
    let fields: Vec<&str> = tail.split_whitespace().collect();
    Some(Stat {
        comm,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_mark_counts_unless_another_daemon_looks_after_it() {
        let marks = ["RAILROAD_SESSION=one".to_owned()];
        let own = Some(OsStr::new("/run/here"));
        let of = |text: &[u8], own| carries(text, &marks, own);
        assert!(of(b"HOME=/x\0RAILROAD_SESSION=one\0", own) && of(b"RAILROAD_SESSION=one", None));
        assert!(of(b"RAILROAD_RUNTIME_DIR=/run/here\0RAILROAD_SESSION=one", own));
        assert!(of(b"RAILROAD_RUNTIME_DIR=/run/there\0RAILROAD_SESSION=one", None), "ours is where it is by default");
        assert!(!of(b"RAILROAD_RUNTIME_DIR=/run/there\0RAILROAD_SESSION=one", own));
        assert!(!of(b"RAILROAD_SESSION=one2\0XRAILROAD_SESSION=one", own));
    }

    #[test]
    fn the_agent_is_the_nearest_ancestor_that_is_no_shell_or_the_one_it_names() {
        let p = |pid| Process { pid, start: 1 };
        let name = |pid, comm: &str| (p(pid), comm.to_owned());
        let chain = [name(9, "rr-hook"), name(8, "sh"), name(7, "claude"), name(6, "bash"), name(5, "tmux")];
        assert_eq!(agent_in(&chain, None), Some(p(7)));
        assert_eq!(agent_in(&chain, Some(6)), Some(p(6)));
        assert_eq!(agent_in(&chain, Some(1_000)), Some(p(7)), "a pid outside the chain is no proof");
        assert_eq!(agent_in(&[name(9, "rr-hook"), name(8, "sh")], None), Some(p(8)));
    }

    #[tokio::test]
    async fn a_process_and_what_it_started_are_seen_until_they_are_gone() {
        let mut shell = Command::new("sh").args(["-c", "RR_MARK=m1 sleep 60 & wait"]).spawn().expect("sh");
        let root = Process::of(shell.id()).expect("runs");
        let children = loop {
            let found = Snapshot::take().below(root);
            if found.iter().any(|p| stat(p.pid).is_some_and(|s| s.comm == "sleep")) {
                break found;
            }
            tokio::task::yield_now().await;
        };
        shell.kill().expect("kill");
        shell.wait().expect("wait");
        root.gone().await;
        assert!(!root.is_alive());
        let left = survivors(&BTreeSet::new(), root, &["RR_MARK=m1".to_owned()]);
        assert_eq!(left, children, "found by its mark alone");
        for p in left {
            p.signal(Signal::KILL);
            p.gone().await;
        }
        assert!(survivors(&children, root, &[]).is_empty());
    }
}
