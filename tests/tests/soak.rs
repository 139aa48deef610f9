//! Many sessions, random edits by file tools and shell commands on the same files, agents and daemons killed, pauses: and no
//! update is lost, no write lands in a pause, no lock stays. Twenty seconds by default;
//! `RAILROAD_SOAK_SECS=600 RAILROAD_SOAK_SESSIONS=30` for a long run, `RAILROAD_SOAK_SEED` to choose as in an earlier one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rr_tests::agent::{Agent, Decision};
use rr_tests::daemon::{Sandbox, signal, until};
use rustix::process::Signal;
use serde_json::{Value, json};

const FILES: usize = 40;
/// Most edits go to a few files, or nobody would ever meet.
const CROWDED: usize = 10;
/// Between two blows at daemon or fleet.
const BLOW_EVERY: Duration = Duration::from_millis(2_500);
/// A refused agent asks again after this long; longer with each refusal.
const ASK_AGAIN: Duration = Duration::from_millis(15);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(300);
/// An edit refused this often is left for another.
const ASKED_MAX: u32 = 6;
/// Longest thought between reading and writing: long enough for a daemon to die and come back.
const THINK_MS_MAX: usize = 400;
/// Nothing may be refused for longer, whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);
/// A pause is kept up this long with eyes on the files.
const PAUSE: Duration = Duration::from_millis(300);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The same numbers again for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).expect("below n")
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

fn path(n: usize) -> String {
    format!("src/f{n:02}.txt")
}

/// What was done, by those who did it.
#[derive(Default)]
struct Ledger {
    /// Each must be in exactly one file exactly once.
    tokens: Vec<String>,
    /// How often each number was raised.
    raised: BTreeMap<String, u64>,
    refused: u64,
    agents_killed: u64,
    daemons_killed: u64,
    pauses: u64,
}

impl Ledger {
    /// One sentence for each token or number that is not as it should be, over all files: contents move.
    fn lost(&self, sandbox: &Sandbox) -> Vec<String> {
        let files = std::fs::read_dir(sandbox.repo.join("src")).expect("look");
        let texts = files.map(|f| std::fs::read_to_string(f.expect("a file").path()).expect("text"));
        let all: String = texts.collect::<Vec<_>>().join("\n");
        let mut times: BTreeMap<&str, u64> = BTreeMap::new();
        all.lines().for_each(|line| *times.entry(line).or_default() += 1);
        let gone = |token: &&String| times.get(token.as_str()) != Some(&1);
        let mut lost: Vec<String> = self.tokens.iter().filter(gone).map(|t| format!("{t} is not there once")).collect();
        for (name, raised) in &self.raised {
            if !times.contains_key(format!("{name} = {raised}").as_str()) {
                let found: Vec<_> = times.keys().filter(|l| l.starts_with(&format!("{name} = "))).collect();
                lost.push(format!("{name} was raised {raised} times and is {found:?}"));
            }
        }
        lost
    }
}

/// What all sessions share.
struct Ground<'a> {
    sandbox: &'a Sandbox,
    ledger: Mutex<Ledger>,
    over: AtomicBool,
    /// In place of the installed hook: one that passes everything.
    hook: Option<&'a str>,
}

impl Ground<'_> {
    fn note(&self, note: impl FnOnce(&mut Ledger)) {
        note(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn is_over(&self) -> bool {
        self.over.load(SeqCst)
    }

    fn agent(&self, name: &str) -> Agent {
        let Some(hook) = self.hook else { return Agent::start_with_own_daemon(self.sandbox, name) };
        Agent::silent(self.sandbox, name, &self.sandbox.repo, &["--hook", hook])
    }
}

/// One place in the fleet: an agent, and after its end the next.
struct Worker<'a> {
    ground: &'a Ground<'a>,
    number: usize,
    life: u32,
    tokens: u32,
    dice: Dice,
    agent: Agent,
}

/// Whether an edit was made.
#[derive(PartialEq, Eq)]
enum Made {
    Yes,
    /// Refused; nothing was changed.
    No,
    /// The agent was killed in the middle of it, before or after the change.
    Killed {
        changed: bool,
    },
}

impl<'a> Worker<'a> {
    fn new(ground: &'a Ground<'a>, number: usize, seed: u64) -> Self {
        let dice = Dice(seed ^ (number as u64 + 1).wrapping_mul(0x0fed_cba9_8765_4321));
        let agent = ground.agent(&format!("s{number}"));
        Self { ground, number, life: 0, tokens: 0, dice, agent }
    }

    fn work(mut self) {
        self.agent.prompt("edit at random");
        while !self.ground.is_over() {
            self.edit();
            if self.dice.one_in(2) {
                self.end_turn();
            }
            if self.dice.one_in(60) {
                self.die();
            }
        }
        self.agent.stop();
        self.agent.session_end();
    }

    fn token(&mut self) -> String {
        self.tokens += 1;
        format!("token {}-{}-{}", self.number, self.life, self.tokens)
    }

    fn pick(&mut self) -> String {
        let crowd = if self.dice.one_in(3) { FILES } else { CROWDED };
        path(self.dice.below(crowd))
    }

    fn edit(&mut self) {
        let file = self.pick();
        match self.dice.below(7) {
            0 => self.grow(&file),
            1 => self.raise(&file, |_, text, from, to| ("Write", json!({"content": text.replace(from, to)}))),
            2 => self.raise(&file, |_, _, from, to| ("Edit", json!({"old_string": from, "new_string": to}))),
            3 => self.raise(&file, |file, _, from, to| {
                ("Bash", json!({"command": format!("sed -i 's/^{}$/{}/' {file}", from.trim(), to.trim())}))
            }),
            4 => self.echo(&file),
            5 => self.swap(&file),
            _ => self.recreate(&file),
        }
    }

    /// The whole file again, with one more line.
    fn grow(&mut self, file: &str) {
        let token = self.token();
        let made = self.insist(|worker| {
            let text = worker.read(file)?;
            Some(("Write", json!({"file_path": file, "content": format!("{text}{token}\n")})))
        });
        self.count_token(token, &made);
    }

    /// The file's number one higher than it was read.
    fn raise(&mut self, file: &str, how: impl Fn(&str, &str, &str, &str) -> (&'static str, Value)) {
        let mut name = String::new();
        let made = self.insist(|worker| {
            let text = worker.read(file)?;
            let line = text.lines().find(|l| l.starts_with('N'))?;
            let (before, number) = line.split_once(" = ").expect("a number");
            before.clone_into(&mut name);
            let to = format!("{before} = {}\n", number.parse::<u64>().expect("a number") + 1);
            let (tool, mut input) = how(file, &text, &format!("{line}\n"), &to);
            if tool != "Bash" {
                input["file_path"] = json!(file);
            }
            Some((tool, input))
        });
        if matches!(made, Made::Yes | Made::Killed { changed: true }) {
            self.ground.note(|l| *l.raised.entry(name).or_default() += 1);
        }
    }

    fn echo(&mut self, file: &str) {
        let token = self.token();
        let made = self.insist(|_| Some(("Bash", json!({"command": format!("echo '{token}' >> {file}")}))));
        self.count_token(token, &made);
    }

    /// Two files change places.
    fn swap(&mut self, file: &str) {
        let other = self.pick();
        if other != file {
            // One of them may be gone for now: whoever removed it was ended before making it again.
            let both = format!("[ -e {file} ] && [ -e {other} ]");
            let command = format!("{both} && mv {file} {file}.away && mv {other} {file} && mv {file}.away {other}");
            self.insist(|_| Some(("Bash", json!({ "command": command }))));
        }
    }

    /// Removed and made again with one more line. Whoever has removed a file does not give up before it is back.
    fn recreate(&mut self, file: &str) {
        let mut text = String::new();
        let removed = self.insist(|worker| {
            text = worker.read(file)?;
            Some(("Bash", json!({"command": format!("rm {file}")})))
        });
        match removed {
            Made::No | Made::Killed { changed: false } => {}
            Made::Killed { changed: true } => self.put_back(file, &text),
            Made::Yes => {
                let token = self.token();
                self.put_back(file, &format!("{text}{token}\n"));
                self.count_token(token, &Made::Yes);
            }
        }
    }

    fn put_back(&mut self, file: &str, text: &str) {
        let start = Instant::now();
        let mut wait = ASK_AGAIN;
        loop {
            // Nothing is there unless somebody else has begun it anew, after our end.
            let now = self.read(file);
            if let Some(now) = now {
                let content = format!("{text}{now}");
                let said = self.agent.tool("Write", &json!({"file_path": file, "content": content}));
                if self.heed(&said) {
                    return;
                }
            }
            assert!(start.elapsed() < PATIENCE, "{file} cannot be put back");
            thread::sleep(wait);
            wait = (wait * 2).min(ASK_AGAIN_MAX);
        }
    }

    fn count_token(&self, token: String, made: &Made) {
        if matches!(made, Made::Yes | Made::Killed { changed: true }) {
            self.ground.note(|l| l.tokens.push(token));
        }
    }

    /// Tries an edit, from the reading on, until it is let through or was refused too often.
    fn insist(&mut self, mut call: impl FnMut(&mut Self) -> Option<(&'static str, Value)>) -> Made {
        let mut wait = ASK_AGAIN;
        for _ in 0..ASKED_MAX {
            if let Some((tool, input)) = call(self) {
                // A model thinks between reading and writing; others write and daemons die meanwhile.
                let think = self.dice.below(THINK_MS_MAX) as u64;
                thread::sleep(Duration::from_millis(think));
                match self.attempt(tool, &input) {
                    Made::No => {}
                    made => return made,
                }
            }
            if self.ground.is_over() {
                break;
            }
            thread::sleep(wait);
            wait = (wait * 2).min(ASK_AGAIN_MAX);
        }
        // What is in line for it goes to the next.
        self.end_turn();
        Made::No
    }

    fn attempt(&mut self, tool: &str, input: &Value) -> Made {
        let dies = self.dice.one_in(80);
        if !dies {
            let said = self.agent.tool(tool, input);
            return if self.heed(&said) { Made::Yes } else { Made::No };
        }
        let said = self.agent.pre(tool, input);
        if !self.heed(&said) {
            return Made::No;
        }
        let changed = self.dice.one_in(2) && self.agent.act(&said.id).ok == Some(true);
        self.die();
        Made::Killed { changed }
    }

    /// Whether a call went through; an agent that is stopped is asked to go on.
    fn heed(&mut self, said: &Decision) -> bool {
        if said.denied() {
            self.ground.note(|l| l.refused += 1);
        }
        if said.stop {
            self.end_turn();
        }
        said.passed() && said.ok != Some(false)
    }

    /// A file's text; empty if it is not there, `None` if even reading is refused.
    fn read(&mut self, file: &str) -> Option<String> {
        let said = self.agent.read(file);
        if said.denied() {
            self.heed(&said);
            return None;
        }
        Some(if said.ok == Some(true) { said.output } else { String::new() })
    }

    fn end_turn(&mut self) {
        self.agent.stop();
        self.agent.prompt("go on");
    }

    fn die(&mut self) {
        self.agent.kill9();
        self.ground.note(|l| l.agents_killed += 1);
        self.life += 1;
        self.agent = self.ground.agent(&format!("s{}-{}", self.number, self.life));
        self.agent.prompt("go on where another was ended");
    }
}

/// Kills daemons and pauses the fleet, in turn, until time is over.
fn strike(ground: &Ground<'_>, seed: u64, until: Instant) {
    let mut dice = Dice(seed);
    while Instant::now() + BLOW_EVERY < until {
        thread::sleep(BLOW_EVERY);
        if dice.one_in(2) {
            if let Some(pid) = ground.sandbox.daemon_pid() {
                signal(pid, Signal::KILL);
                ground.note(|l| l.daemons_killed += 1);
            }
        } else {
            pause(ground);
        }
    }
    thread::sleep(until.saturating_duration_since(Instant::now()));
}

/// A pause in which every file stays as it is.
fn pause(ground: &Ground<'_>) {
    let sandbox = ground.sandbox;
    // The last blow may have been the daemon's end: who has drained can be said only once some hook has started the next.
    until("a hook has started a daemon", || sandbox.rrctl(&["status"]).status.success());
    let paused = sandbox.rrctl(&["--json", "pause-all", "--wait", "20", "--reason", "soak"]);
    let said = format!("{} {}", String::from_utf8_lossy(&paused.stdout), String::from_utf8_lossy(&paused.stderr));
    assert!(paused.status.success(), "the fleet did not drain: {said}");
    let epoch = serde_json::from_slice::<Value>(&paused.stdout).expect("JSON")["epoch"].to_string();
    let look = || (0..FILES).map(|n| sandbox.text(&path(n))).collect::<Vec<_>>();
    let (before, start) = (look(), Instant::now());
    while start.elapsed() < PAUSE {
        assert!(look() == before, "a write landed while the fleet was paused");
    }
    let resumed = sandbox.rrctl(&["resume", "--epoch", &epoch]);
    assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
    ground.note(|l| l.pauses += 1);
}

fn ground_of(sandbox: &Sandbox) -> Ground<'_> {
    let names: Vec<(String, String)> = (0..FILES).map(|n| (path(n), format!("N{n:02} = 0\n"))).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    sandbox.commit(&files);
    Ground { sandbox, ledger: Mutex::default(), over: AtomicBool::new(false), hook: None }
}

#[test]
fn nothing_is_lost_whatever_dies() {
    let seed = setting("RAILROAD_SOAK_SEED", u64::from(std::process::id()));
    let sessions = usize::try_from(setting("RAILROAD_SOAK_SESSIONS", 8)).expect("a number");
    let secs = setting("RAILROAD_SOAK_SECS", 20);
    println!("replay with RAILROAD_SOAK_SEED={seed} RAILROAD_SOAK_SESSIONS={sessions} RAILROAD_SOAK_SECS={secs}");
    let sandbox = Sandbox::new();
    let ground = ground_of(&sandbox);
    let end = Instant::now() + Duration::from_secs(secs);
    thread::scope(|scope| {
        for number in 0..sessions {
            let ground = &ground;
            scope.spawn(move || Worker::new(ground, number, seed).work());
        }
        // A blow that fails must not leave the workers waiting for the end.
        let struck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| strike(&ground, seed, end)));
        ground.over.store(true, SeqCst);
        struck.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    let ledger = ground.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{} lines and {} numbers written, {} calls refused, {} agents and {} daemons killed, {} pauses",
        ledger.tokens.len(),
        ledger.raised.values().sum::<u64>(),
        ledger.refused,
        ledger.agents_killed,
        ledger.daemons_killed,
        ledger.pauses
    );
    assert_eq!(ledger.lost(&sandbox), Vec::<String>::new());
    assert!(!ledger.tokens.is_empty() && !ledger.raised.is_empty());
    until("no session and no lock is left", || sandbox.sessions().is_empty() && sandbox.locks().is_empty());
}

#[test]
fn the_same_work_without_the_gate_loses_updates_and_is_found_out() {
    let sandbox = Sandbox::new();
    let mut ground = ground_of(&sandbox);
    ground.hook = Some("true");
    let barrier = std::sync::Barrier::new(2);
    thread::scope(|scope| {
        for number in 0..2 {
            let (ground, barrier) = (&ground, &barrier);
            scope.spawn(move || {
                let mut worker = Worker::new(ground, number, 1);
                for _ in 0..3 {
                    let file = path(0);
                    let text = worker.read(&file).expect("read");
                    // Both have read before either writes.
                    barrier.wait();
                    let token = worker.token();
                    let said = worker.agent.write(&file, &format!("{text}{token}\n"));
                    assert!(worker.heed(&said));
                    worker.count_token(token, &Made::Yes);
                    barrier.wait();
                }
            });
        }
    });
    let ledger = ground.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(ledger.lost(&sandbox).len(), 3, "one of each pair");
}
