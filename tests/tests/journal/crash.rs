//! The daemon is killed at every step of a call's way through the journal, twenty times at each. Where a kill has fallen is read
//! from the disk afterwards and counted, and kills go on until each step has had its number. Nothing that was let through may be
//! missing then, and all of it can be taken back to the byte.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::{Value, json};

use super::log;

const EACH: usize = 20;
const WRITERS: usize = 3;
/// Calls that a writer makes until the kill at most.
const CALLS_MAX: usize = 6;
/// Only a machine on which one step is never met reaches it.
const TIME_MAX: Duration = Duration::from_secs(150);

/// How far a call had come when the daemon died, by what is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fell {
    /// It was asked for, and there is nothing of it.
    AtIntent,
    /// What stood before is kept, and the journal does not know the call.
    AtSnapped,
    /// The journal has it as started, and its tool has not run.
    AtStarted,
    /// Its tool has run, and the journal has no end of it.
    BeforeDone,
}

const ALL: [Fell; 4] = [Fell::AtIntent, Fell::AtSnapped, Fell::AtStarted, Fell::BeforeDone];

/// One call as its agent saw it.
struct Call {
    file: String,
    id: String,
    passed: bool,
    acted: bool,
}

/// The bytes that stand in a file before its call; nobody else's, so that keeping them leaves a trace.
fn before(file: &str) -> String {
    format!("before the call on {file}\n")
}

/// Where the snapshot store keeps bytes, by git's name for them.
fn kept_at(sandbox: &Sandbox, name: &str) -> PathBuf {
    sandbox.state.join("snapshots.git/objects").join(&name[..2]).join(&name[2..])
}

/// What a kill waits for, and what keeps a writer at the step that is wanted.
struct Watch<'a> {
    sandbox: &'a Sandbox,
    wanted: Fell,
    /// How many calls each writer has begun.
    begun: [AtomicUsize; WRITERS],
    /// One writer stands at the step that is wanted.
    reached: AtomicBool,
    over: AtomicBool,
}

#[test]
fn killed_at_each_step_of_the_journal_nothing_let_through_is_missing_and_all_can_be_taken_back() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut writers: Vec<Agent> = (0..WRITERS).map(|n| Agent::start(&sandbox, &format!("writer-{n}"))).collect();
    let mut counts: BTreeMap<Fell, usize> = BTreeMap::new();
    let mut calls: Vec<Call> = Vec::new();
    let start = Instant::now();
    for round in 0.. {
        let wanted = *ALL.iter().min_by_key(|fell| counts.get(*fell).copied().unwrap_or(0)).expect("one");
        if counts.get(&wanted).copied().unwrap_or(0) >= EACH {
            break;
        }
        assert!(start.elapsed() < TIME_MAX, "not each step was met in {TIME_MAX:?}: {counts:?}");
        let names = put_files(&sandbox, round);
        let made = stream_until_killed(&sandbox, &mut daemon, &mut writers, &names, (round, wanted));
        let entries = log(&sandbox, &["--since", "5m"]);
        for call in &made {
            if let Some(fell) = classify(&sandbox, call, &names, &entries) {
                *counts.entry(fell).or_default() += 1;
            }
        }
        calls.extend(made);
        daemon.restart();
    }
    eprintln!("kills fell: {counts:?}, {} calls in all, {:?}", calls.len(), start.elapsed());
    end_all(&sandbox, &mut writers);
    let entries = log(&sandbox, &[]);
    for call in calls.iter().filter(|call| call.passed) {
        let of: Vec<&Value> = entries.iter().filter(|entry| entry["call"] == *call.id).collect();
        let has = |kind: &str| of.iter().any(|entry| entry["kind"] == kind);
        assert!(has("intent") && has("snapped") && has("started") && has("done"), "{}: {of:?}", call.file);
    }
    for writer in &writers {
        let output = sandbox.rrctl(&["rollback", "--session", writer.name()]);
        assert!(output.status.success(), "{output:?}");
    }
    for call in &calls {
        assert_eq!(sandbox.text(&call.file), before(&call.file), "byte for byte as it was");
    }
}

/// The files of one round, each with bytes that nothing else has; their names in the snapshot store.
fn put_files(sandbox: &Sandbox, round: usize) -> BTreeMap<String, String> {
    let mut files = Vec::new();
    for writer in 0..WRITERS {
        for n in 0..CALLS_MAX {
            let file = name(round, writer, n);
            sandbox.put(&file, &before(&file));
            files.push(file);
        }
    }
    let words: Vec<&str> = ["hash-object"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let names = sandbox.git(&words);
    files.iter().cloned().zip(names.lines().map(str::to_owned)).collect()
}

/// Lets all writers call one after the other, and kills the daemon when the step that is wanted shows.
fn stream_until_killed(
    sandbox: &Sandbox,
    daemon: &mut Daemon<'_>,
    writers: &mut [Agent],
    names: &BTreeMap<String, String>,
    (round, wanted): (usize, Fell),
) -> Vec<Call> {
    let begun = [const { AtomicUsize::new(0) }; WRITERS];
    let watch = Watch { sandbox, wanted, begun, reached: AtomicBool::new(false), over: AtomicBool::new(false) };
    thread::scope(|scope| {
        let start = |(n, writer)| {
            let watch = &watch;
            scope.spawn(move || stream(watch, writer, round, n))
        };
        let streams: Vec<_> = writers.iter_mut().enumerate().map(start).collect();
        watch.wait(names, round);
        watch.over.store(true, Ordering::Release);
        daemon.kill9();
        streams.into_iter().flat_map(|stream| stream.join().expect("a writer")).collect()
    })
}

fn stream(watch: &Watch<'_>, writer: &mut Agent, round: usize, n: usize) -> Vec<Call> {
    let mut made = Vec::new();
    for at in 0..CALLS_MAX {
        if watch.over.load(Ordering::Acquire) {
            break;
        }
        let file = name(round, n, at);
        writer.read(&file);
        if watch.over.load(Ordering::Acquire) {
            break;
        }
        watch.begun[n].store(at + 1, Ordering::Release);
        let asked = writer.pre("Write", &json!({"file_path": file, "content": format!("after {file}\n")}));
        let mut call = Call { file, id: asked.id.clone(), passed: asked.passed(), acted: false };
        let may_act = call.passed && !watch.holds(Fell::AtStarted, at);
        if may_act {
            call.acted = writer.act(&call.id).ok == Some(true);
            if !watch.holds(Fell::BeforeDone, at) {
                writer.post(&call.id);
            }
        }
        made.push(call);
    }
    made
}

fn name(round: usize, writer: usize, at: usize) -> String {
    format!("r{round}/w{writer}-{at}.txt")
}

impl Watch<'_> {
    /// Keeps a writer at this step until the daemon is about to die, if it is the one that is wanted; not at its first call, so
    /// that some are whole. Whether it was kept.
    fn holds(&self, step: Fell, at: usize) -> bool {
        if self.wanted != step || at == 0 {
            return self.over.load(Ordering::Acquire);
        }
        self.reached.store(true, Ordering::Release);
        until("the daemon is killed", || self.over.load(Ordering::Acquire));
        true
    }

    /// Returns when the daemon is to be killed. A moment that nobody can be kept at is looked for without a rest: it takes less
    /// than any sleep.
    fn wait(&self, names: &BTreeMap<String, String>, round: usize) {
        match self.wanted {
            Fell::AtIntent => {
                until("a call has begun", || self.begun[round % WRITERS].load(Ordering::Acquire) > 1);
                thread::sleep(Duration::from_micros(300 * (round as u64 % 7)));
            }
            Fell::AtSnapped => self.until_kept(names, round),
            Fell::AtStarted | Fell::BeforeDone => until("a step", || self.reached.load(Ordering::Acquire)),
        }
    }

    /// Until what stood before some call is kept that has just begun.
    fn until_kept(&self, names: &BTreeMap<String, String>, round: usize) {
        let start = Instant::now();
        let mut seen = [1; WRITERS];
        let mut looked: [Option<PathBuf>; WRITERS] = [const { None }; WRITERS];
        loop {
            assert!(start.elapsed() < TIME_MAX, "no call came");
            let all_over = seen.iter().all(|begun| *begun == CALLS_MAX);
            for n in 0..WRITERS {
                let begun = self.begun[n].load(Ordering::Acquire);
                if begun > seen[n] {
                    seen[n] = begun;
                    looked[n] = Some(kept_at(self.sandbox, &names[&name(round, n, begun - 1)]));
                }
                if all_over || looked[n].as_ref().is_some_and(|path| path.exists()) {
                    return;
                }
            }
        }
    }
}

/// Where the kill has fallen into this call, if it has.
fn classify(sandbox: &Sandbox, call: &Call, names: &BTreeMap<String, String>, entries: &[Value]) -> Option<Fell> {
    let has = |kind: &str| entries.iter().any(|entry| entry["call"] == *call.id && entry["kind"] == kind);
    let kept = kept_at(sandbox, &names[&call.file]).exists();
    if call.passed {
        assert!(has("started"), "{} was let through and is not in the journal", call.file);
        assert!(kept, "{} was let through and what stood there is not kept", call.file);
    }
    if call.acted {
        return (!has("done")).then_some(Fell::BeforeDone);
    }
    assert_eq!(sandbox.text(&call.file), before(&call.file), "not let through, not written");
    Some(match (has("started"), kept) {
        (true, _) => Fell::AtStarted,
        (false, true) => Fell::AtSnapped,
        (false, false) => Fell::AtIntent,
    })
}

/// Lets every session make one more call, so that what it left open is over.
fn end_all(sandbox: &Sandbox, writers: &mut [Agent]) {
    for writer in writers {
        let file = format!("last/{}.txt", writer.name());
        until("it goes on", || {
            writer.prompt("go on");
            writer.write(&file, "x\n").passed()
        });
        writer.stop();
    }
    until("all is written down", || sandbox.locks().is_empty());
}
