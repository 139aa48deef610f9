//! Every process that a check started, also those that left its process group, its session and their parents: known by
//! parent, by group, by the mark in their environment, by the pipe they print to. Identity is (pid, start time): a pid
//! alone is given out again. It counts, measures and ends them; when, is decided in `run`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

/// Fifty-two numbers and a name of at most 64 bytes.
const STAT_BYTES_MAX: usize = 2_048;
/// Looks at all processes until none of the family is left; what was born during one look is found by the next.
const SWEEPS_MAX: usize = 200;
/// No machine starts the 32,768 processes in it after which a pid is given out again.
const PIDS_ARE_UNIQUE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug)]
struct Stat {
    state: u8,
    parent: u32,
    group: u32,
    session: u32,
    threads: u64,
    start: u64,
}

/// What a look at the family found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub processes: usize,
    /// What is theirs alone: shared files and libraries are not counted.
    pub memory_bytes: u64,
    /// One of them was stopped by the terminal that it tried to read or to set up.
    pub is_stopped: bool,
}

pub(super) struct Family {
    leader: u32,
    /// `NAME=value`, as it stands in an environment.
    mark: Vec<u8>,
    /// How the pipe that the check prints to is named by `/proc/<pid>/fd`.
    pipe: PathBuf,
    page_bytes: u64,
    /// Members by pid, with their start times; gone ones are dropped with the next look.
    members: BTreeMap<u32, u64>,
    /// Processes of others, so that each is looked into once.
    strangers: BTreeMap<u32, u64>,
    /// Not even worth a look while the check runs: they were there before it.
    before: HashSet<u32>,
    born: Instant,
}

impl Family {
    pub(super) fn new(leader: u32, mark: Vec<u8>, pipe: PathBuf, before: HashSet<u32>) -> Self {
        let page_bytes = rustix::param::page_size() as u64;
        let mut family = Self {
            leader,
            mark,
            pipe,
            page_bytes,
            members: BTreeMap::new(),
            strangers: BTreeMap::new(),
            before,
            born: Instant::now(),
        };
        // A group of this number is the leader's own as long as it has not been waited for.
        family.before.remove(&leader);
        family.members.extend(stat(leader).map(|s| (leader, s.start)));
        family
    }

    /// Finds who is new, forgets who is gone, and measures the rest. More than `processes_max` are not looked at: in
    /// the time that takes, a fork bomb makes more than were seen.
    pub(super) fn look(&mut self, processes_max: usize) -> Seen {
        let alive = self.update(processes_max);
        if alive.len() > processes_max {
            return Seen { processes: alive.len(), ..Seen::default() };
        }
        let memory = alive.keys().filter_map(|pid| own_pages(*pid)).sum::<u64>();
        Seen {
            processes: alive.len(),
            memory_bytes: memory * self.page_bytes,
            is_stopped: alive.values().any(|s| s.state == b'T'),
        }
    }

    /// The same memory with what a parent and its children share counted once. Much slower to ask for.
    pub(super) fn exact_memory_bytes(&self) -> u64 {
        self.members.keys().filter_map(|pid| proportional_kib(*pid)).sum::<u64>() * 1024
    }

    /// Ends all of them. How many could not be ended.
    pub(super) fn end(&mut self) -> usize {
        if self.born.elapsed() > PIDS_ARE_UNIQUE {
            self.before.clear();
            self.strangers.clear();
        }
        let mut left = 0;
        for sweep in 0..SWEEPS_MAX {
            self.kill_group();
            let alive = self.update(usize::MAX);
            left = alive.len();
            if left == 0 {
                break;
            }
            for (pid, s) in &alive {
                kill(*pid, s.start);
            }
            // It takes the kernel a moment to take a large process apart.
            std::thread::sleep(Duration::from_millis(1 + sweep as u64 / 10));
        }
        left
    }

    /// One call for the whole group, and nobody can be born in it meanwhile. The others are few.
    pub(super) fn kill_group(&self) {
        if self.has_group()
            && let Some(group) = raw(self.leader)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }

    /// Whether the leader's number still stands for its own group, and not for somebody's who got it later.
    fn has_group(&self) -> bool {
        let is_own =
            |(pid, start): (&u32, &u64)| stat(*pid).is_some_and(|s| s.start == *start && s.group == self.leader);
        self.members.iter().any(is_own)
    }

    /// All members that are alive now; only so many that they are seen to be too many.
    fn update(&mut self, max: usize) -> BTreeMap<u32, Stat> {
        let mut alive = BTreeMap::new();
        let mut unknown = Vec::new();
        for pid in pids().filter(|pid| !self.before.contains(pid)) {
            let Some(s) = stat(pid).filter(|s| !matches!(s.state, b'X')) else { continue };
            if self.members.get(&pid) == Some(&s.start) || s.group == self.leader {
                alive.insert(pid, s);
            } else {
                unknown.push((pid, s));
            }
            if alive.len() > max {
                return alive;
            }
        }
        self.adopt(&mut alive, unknown, max);
        self.members = alive.iter().map(|(pid, s)| (*pid, s.start)).collect();
        alive.retain(|_, s| s.state != b'Z');
        alive
    }

    /// Moves those that belong to the family into it, until no more do.
    fn adopt(&mut self, alive: &mut BTreeMap<u32, Stat>, mut unknown: Vec<(u32, Stat)>, max: usize) {
        // Also of members that have died since: a group keeps its number until its last one is gone.
        let mut groups: BTreeSet<u32> = self.members.keys().copied().collect();
        groups.insert(self.leader);
        loop {
            let before = alive.len();
            unknown.retain(|(pid, s)| {
                if alive.len() > max {
                    return true;
                }
                let is_kin = alive.contains_key(&s.parent) || groups.contains(&s.group) || groups.contains(&s.session);
                if is_kin || self.carries_sign(*pid, s) {
                    alive.insert(*pid, *s);
                    groups.insert(*pid);
                    return false;
                }
                true
            });
            if alive.len() == before {
                return;
            }
        }
    }

    /// Whether it carries the mark or prints to the check's pipe. Asked once: neither comes later.
    fn carries_sign(&mut self, pid: u32, s: &Stat) -> bool {
        if pid == std::process::id() || self.strangers.get(&pid) == Some(&s.start) {
            return false;
        }
        let has_mark = || {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|b| *b == 0).any(|entry| entry == self.mark)
        };
        let has_pipe =
            || [1, 2].iter().any(|fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).is_ok_and(|p| p == self.pipe));
        let is_ours = has_mark() || has_pipe();
        if !is_ours {
            self.strangers.insert(pid, s.start);
        }
        is_ours
    }
}

/// All processes that there are.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

/// All threads that run under the user of this process, by the kernel's own count.
pub(super) fn threads_of_this_user() -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let user = rustix::process::getuid().as_raw();
    let of_user = pids().filter(|pid| fs::metadata(format!("/proc/{pid}")).is_ok_and(|m| m.uid() == user));
    of_user.filter_map(stat).map(|s| s.threads).sum()
}

fn kill(pid: u32, start: u64) {
    let Some(fd) = raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return };
    // Looked at again with the process in hand: from here on nobody else can get its pid.
    if stat(pid).is_some_and(|s| s.start == start) {
        let _ = pidfd_send_signal(&fd, Signal::KILL);
    }
}

pub(super) fn raw(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Pages in memory that are backed by no file.
fn own_pages(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut fields = text.split_ascii_whitespace().skip(1);
    let resident: u64 = fields.next()?.parse().ok()?;
    let shared: u64 = fields.next()?.parse().ok()?;
    Some(resident.saturating_sub(shared))
}

fn proportional_kib(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = |name| text.lines().find_map(|l: &str| l.strip_prefix(name));
    let value = line("Pss_Anon:").or_else(|| line("Pss:"))?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// `/proc/<pid>/stat`. The name in it may hold spaces and brackets: the fields start after the last bracket.
fn stat(pid: u32) -> Option<Stat> {
    let mut line = [0; STAT_BYTES_MAX];
    let mut file = fs::File::open(format!("/proc/{pid}/stat")).ok()?;
    let len = file.read(&mut line).ok()?;
    let text = String::from_utf8_lossy(line.get(..len)?);
    let (_, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        start: fields.get(19)?.parse().ok()?,
    })
}
