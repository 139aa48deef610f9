//! What keeping a call costs, against what the disk asks for one write: 4 KiB in place and synced, in the same folder, in
//! turns with it. What 50 writers get through against one. How long a query by path takes over a million entries, and what
//! a call weighs at rest. One line per figure, with its bar; it judges by ratios where it can. `speed` stops before the million.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rr_core::content::{BlobId, Content};
use rr_core::id::SessionId;
use rr_core::path::RepoPath;
use rr_journal::{
    Does, Entry, Event, FileChange, Filter, Journal, Kept, LockStep, Options, Order, Reader, RealDisk, Spot, Verdict,
};

const ROUNDS: usize = 2_000;
const WARM_UP: usize = 100;
const FLOOR_BYTES: usize = 4 << 10;
const FLOOR_BLOCKS: u64 = 256;
const RATIO_MAX: f64 = 1.3;
const WRITERS: usize = 50;
const GAIN_MIN: f64 = 8.0;
const RUN: Duration = Duration::from_secs(2);
/// Calls that a writer makes again and again, made before the clock runs.
const CALLS: usize = 200;
/// What a call's entries weigh in the log.
const RAW_BYTES: usize = 500;
const ENTRIES: usize = 1_000_000;
const QUERY_MAX: Duration = Duration::from_millis(50);
const QUERIES: usize = 25;
const REST_BYTES_MAX: f64 = 400.0;
/// A repository of this many files and this many agents.
const PATHS: u64 = 3_000;
const SESSIONS: u64 = 50;

fn main() {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(base).expect("make a folder");
    let floor = Floor::new(dir.path());
    let journal = open(&dir.path().join("speed"));
    latency(&journal, &floor);
    throughput(&journal, dir.path());
    drop(journal);
    if std::env::args().any(|word| word == "speed") {
        return;
    }
    at_rest(&dir.path().join("rest"));
}

fn open(dir: &Path) -> Journal {
    let options = Options { keep_bytes: u64::MAX, ..Options::default() };
    Journal::open(dir, &options, Arc::new(RealDisk)).expect("open the journal").0
}

/// One block of a file that has all its blocks, written and synced.
struct Floor {
    file: File,
    block: Vec<u8>,
}

impl Floor {
    fn new(dir: &Path) -> Self {
        let file = File::create(dir.join("floor")).expect("create the floor file");
        let block = vec![0x5a; FLOOR_BYTES];
        for at in 0..FLOOR_BLOCKS {
            file.write_all_at(&block, at * FLOOR_BYTES as u64).expect("fill the floor file");
        }
        file.sync_all().expect("sync the floor file");
        Self { file, block }
    }

    fn run(&self, round: usize) -> Duration {
        let at = (round as u64 % FLOOR_BLOCKS) * FLOOR_BYTES as u64;
        let start = Instant::now();
        self.file.write_all_at(&self.block, at).expect("write");
        self.file.sync_data().expect("sync");
        start.elapsed()
    }
}

/// A plain generator, so that each run writes the same.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn letters(&mut self, count: usize) -> String {
        const LETTERS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..count).map(|_| char::from(LETTERS[usize::try_from(self.throw(62)).expect("small")])).collect()
    }

    fn blob(&mut self) -> Content {
        let bytes = std::array::from_fn(|_| self.throw(256).to_le_bytes()[0]);
        Content::File { blob: BlobId(bytes), mode: 0o644 }
    }
}

/// What a day of many agents looks like.
struct Day {
    dice: Dice,
    at_unix_ms: u64,
    revision: u64,
    /// What stands at each path.
    files: Vec<Content>,
}

/// One call: what must be durable before it runs, and what is noted after it.
#[derive(Clone)]
struct Call {
    before: Vec<Entry>,
    after: Vec<Entry>,
}

impl Day {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let files = (0..PATHS).map(|_| dice.blob()).collect();
        Self { dice, at_unix_ms: 1_700_000_000_000, revision: 1_000, files }
    }

    fn path(n: u64) -> RepoPath {
        let folder = ["src/server", "src/client/api", "tests/unit", "docs", "crates/core/src"][(n % 5) as usize];
        RepoPath::parse(format!("{folder}/module_{}/file_{n}.rs", n / 40).as_bytes()).expect("legal")
    }

    /// Half of them edit, a third run commands, the rest read.
    fn call(&mut self) -> Call {
        self.at_unix_ms += self.dice.throw(400);
        self.revision += self.dice.throw(3);
        let session = self.dice.throw(SESSIONS);
        let name = format!("toolu_01{}", self.dice.letters(22));
        match self.dice.throw(100) {
            0..50 => self.edit(session, &name),
            50..80 => self.shell(session, &name),
            _ => self.read(session, &name),
        }
    }

    fn changing(&mut self) -> Call {
        let name = format!("toolu_01{}", self.dice.letters(22));
        self.edit(1, &name)
    }

    /// An agent works in a corner of the repository.
    fn near(&mut self, session: u64) -> u64 {
        (session * PATHS / SESSIONS + self.dice.throw(PATHS / 20)) % PATHS
    }

    fn edit(&mut self, session: u64, name: &str) -> Call {
        let n = self.near(session);
        let (path, changes, files) = self.change(n);
        let does = Does::Write(vec![spot(path.clone())]);
        let scope = path.to_string();
        let mut before = vec![self.intent(session, name, "Edit", does), self.passed(session, name)];
        if self.dice.throw(4) == 0 {
            let event = Event::Lock { scope, token: self.revision, how: LockStep::Granted };
            before.push(self.entry(session, name, event));
        }
        before.push(self.entry(session, name, Event::Snapped { files }));
        before.push(self.entry(session, name, Event::Started));
        let after = vec![self.entry(session, name, Event::Done { ok: true, changes })];
        Call { before, after }
    }

    fn change(&mut self, n: u64) -> (RepoPath, Vec<FileChange>, Vec<Kept>) {
        let (path, slot) = (Self::path(n), usize::try_from(n).expect("small"));
        let (before, after) = (self.files[slot], self.dice.blob());
        self.files[slot] = after;
        let change = FileChange { root: root(), path: path.clone(), before, after, foreseen: true };
        (path.clone(), vec![change], vec![Kept { root: root(), path, content: before }])
    }

    fn shell(&mut self, session: u64, name: &str) -> Call {
        let n = self.near(session);
        let path = Self::path(n);
        let what = self.dice.throw(1_000);
        let command = match what % 5 {
            0 => format!("cd /home/dev/code/product && cargo nextest run -p core case_{what} 2>&1 | tail -40"),
            1 => format!("git add {path} && git commit -m 'module {what}: handle the empty case'"),
            2 => format!("rg -n 'fn handle_{what}' src | head -20"),
            3 => format!("sed -i 's/old_{what}/new_{what}/g' {path}"),
            _ => format!("python3 - <<'EOF'\nimport json\nprint(json.load(open('{path}'))['key_{what}'])\nEOF"),
        };
        let mut before = vec![
            self.intent(session, name, "Bash", Does::Shell(command.into())),
            self.passed(session, name),
            self.entry(session, name, Event::Snapped { files: vec![] }),
            self.entry(session, name, Event::Started),
        ];
        let changes = if what % 5 == 3 { self.change(n).1 } else { vec![] };
        if let Event::Snapped { files } = &mut before[2].event {
            files.extend(changes.iter().map(|c| Kept { root: root(), path: c.path.clone(), content: c.before }));
        }
        let after = vec![self.entry(session, name, Event::Done { ok: !what.is_multiple_of(7), changes })];
        Call { before, after }
    }

    fn read(&mut self, session: u64, name: &str) -> Call {
        let path = Self::path(self.near(session));
        let does = Does::Read(vec![spot(path)]);
        let after = vec![self.intent(session, name, "Read", does), self.passed(session, name)];
        Call { before: vec![], after }
    }

    fn intent(&self, session: u64, name: &str, tool: &str, does: Does) -> Entry {
        self.entry(session, name, Event::Intent { tool: tool.into(), does, cwd: root() })
    }

    fn passed(&self, session: u64, name: &str) -> Entry {
        self.entry(session, name, Event::Verdict { verdict: Verdict::Passed, reason: "".into(), rule: None })
    }

    fn entry(&self, session: u64, name: &str, event: Event) -> Entry {
        let mut bits = [0x5b; 16];
        bits[..8].copy_from_slice(&session.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
        Entry {
            at_unix_ms: self.at_unix_ms,
            session: Some(SessionId::from_random(bits)),
            agent_id: None,
            call: Some(name.to_owned()),
            revision: self.revision,
            event,
        }
    }
}

fn root() -> std::path::PathBuf {
    "/home/dev/code/product".into()
}

fn spot(path: RepoPath) -> Spot {
    Spot { root: root(), path }
}

fn latency(journal: &Journal, floor: &Floor) {
    let mut day = Day::new(1);
    let (mut appends, mut floors) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let call = day.changing();
        let start = Instant::now();
        journal.append_blocking(call.before).expect("append");
        let append = start.elapsed();
        call.after.into_iter().for_each(|entry| journal.note(entry));
        let raw = floor.run(round);
        if round >= WARM_UP {
            appends.push(append);
            floors.push(raw);
        }
    }
    report("p50", percentile(&mut appends, 50), percentile(&mut floors, 50));
    report("p99", percentile(&mut appends, 99), percentile(&mut floors, 99));
}

fn report(name: &str, append: Duration, floor: Duration) {
    let ratio = append.as_secs_f64() / floor.as_secs_f64();
    let (append, floor) = (append.as_micros(), floor.as_micros());
    // The bar is on the median; the tail belongs to the disk.
    let verdict = match name {
        "p50" => format!(" bar={RATIO_MAX} {}", if ratio <= RATIO_MAX { "ok" } else { "MISSED" }),
        _ => String::new(),
    };
    println!("journal.call_{name}_us={append} floor_us={floor} ratio={ratio:.2}{verdict}");
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Writers as a sidecar has them: tasks of one runtime, each waiting for its last call. What the same tasks get through that
/// only hand bytes to a thread which writes and syncs them together says what the machine has to give.
fn throughput(journal: &Journal, dir: &Path) {
    let one = rate(1, &|| Keeping { journal: journal.clone() });
    let syncs = journal.syncs();
    let many = rate(WRITERS, &|| Keeping { journal: journal.clone() });
    let syncs = journal.syncs() - syncs;
    let group = Group::begin(dir);
    let (raw_one, raw_many) = (rate(1, &|| group.clone()), rate(WRITERS, &|| group.clone()));
    let gain = many / one;
    let verdict = if gain >= GAIN_MIN { "ok" } else { "MISSED" };
    println!(
        "journal.calls_per_s_{WRITERS}_writers={many:.0} one_writer={one:.0} ratio={gain:.1} bar={GAIN_MIN} {verdict} per_sync={:.1} raw_{WRITERS}={raw_many:.0} raw_one={raw_one:.0} raw_ratio={:.1} of_raw={:.2}",
        many * RUN.as_secs_f64() / syncs as f64,
        raw_many / raw_one,
        many / raw_many
    );
}

/// One way to make a call durable.
trait Durable: Send + 'static {
    fn call(&self, call: Call) -> impl Future<Output = ()> + Send;
}

struct Keeping {
    journal: Journal,
}

impl Durable for Keeping {
    async fn call(&self, call: Call) {
        self.journal.append(call.before).await.expect("append");
        call.after.into_iter().for_each(|entry| self.journal.note(entry));
    }
}

type Handed = (Vec<u8>, tokio::sync::oneshot::Sender<()>);

/// The least that is a group commit: whoever waits shares one write and one sync.
#[derive(Clone)]
struct Group(Arc<(Mutex<Vec<Handed>>, Condvar)>);

impl Group {
    fn begin(dir: &Path) -> Self {
        let (group, floor) = (Self(Arc::default()), Floor::new(dir));
        let own = group.clone();
        // Ends with the program.
        std::thread::spawn(move || own.write(&floor));
        group
    }

    fn write(&self, floor: &Floor) {
        for round in 0_u64.. {
            let mut waiting = self.0.0.lock().expect("whole");
            while waiting.is_empty() {
                waiting = self.0.1.wait(waiting).expect("whole");
            }
            let taken = std::mem::take(&mut *waiting);
            drop(waiting);
            let bytes: Vec<u8> = taken.iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
            let room = FLOOR_BLOCKS * FLOOR_BYTES as u64 - bytes.len() as u64;
            floor.file.write_all_at(&bytes, (round * 8 * FLOOR_BYTES as u64) % room).expect("write");
            floor.file.sync_data().expect("sync");
            // A writer that has gone needs no answer.
            for (_, reply) in taken {
                let _ = reply.send(());
            }
        }
    }
}

impl Durable for Group {
    async fn call(&self, _: Call) {
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.0.0.lock().expect("whole").push((vec![0x5a; RAW_BYTES], reply));
        self.0.1.notify_one();
        answer.await.expect("answered");
    }
}

/// Calls a second by so many writers.
fn rate<D: Durable>(writers: usize, durable: &dyn Fn() -> D) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().expect("runtime");
    let days: Vec<_> = (0..writers)
        .map(|writer| {
            let mut day = Day::new(writer as u64);
            let calls: Vec<Call> = (0..CALLS).map(|_| day.changing()).collect();
            (calls, durable())
        })
        .collect();
    let start = Instant::now();
    let tasks: Vec<_> = days
        .into_iter()
        .map(|(calls, durable)| {
            runtime.spawn(async move {
                let mut done = 0;
                while start.elapsed() < RUN {
                    durable.call(calls[done % CALLS].clone()).await;
                    done += 1;
                }
                done
            })
        })
        .collect();
    let done: usize = tasks.into_iter().map(|task| runtime.block_on(task).expect("writer")).sum();
    done as f64 / start.elapsed().as_secs_f64()
}

fn at_rest(dir: &Path) {
    let journal = open(dir);
    let (mut day, mut calls, mut entries) = (Day::new(7), 0_u32, 0);
    while entries < ENTRIES {
        let mut batch = Vec::new();
        while batch.len() < 1_000 {
            let call = day.call();
            calls += 1;
            batch.extend(call.before);
            batch.extend(call.after);
        }
        entries += batch.len();
        journal.append_blocking(batch).expect("append");
    }
    // Closing waits for what is being sealed.
    drop(journal);
    drop(open(dir));
    let size = |end: &str| -> u64 {
        let files = std::fs::read_dir(dir).expect("look").flatten();
        let these = files.filter(|file| file.path().extension().is_some_and(|found| found == end));
        these.map(|file| file.metadata().map_or(0, |seen| seen.len())).sum()
    };
    // The log in use is no rest: what it holds is counted as if it weighed as much as the others.
    let (sealed, log) = (size("sealed"), size("log"));
    let share = f64::from(calls) * (1.0 - log as f64 / (log as f64 + sealed as f64 * 5.0));
    let weight = sealed as f64 / share;
    let verdict = if weight <= REST_BYTES_MAX { "ok" } else { "MISSED" };
    println!(
        "journal.rest_bytes_a_call={weight:.0} calls={calls} sealed_bytes={sealed} log_bytes={log} bar={REST_BYTES_MAX} {verdict}"
    );
    queries(dir);
}

/// What this thread has computed so far: on a busy machine less than what passes.
fn work() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap_or_default()
}

fn queries(dir: &Path) {
    let reader = Reader::open(dir);
    let start = Instant::now();
    let all = reader.query(&Filter::default()).filter(Result::is_ok).count();
    let whole = start.elapsed();
    let (mut times, mut works) = (Vec::new(), Vec::new());
    let mut found = 0;
    for n in 0..QUERIES {
        let path = Day::path((n as u64 * 397) % PATHS);
        let (start, worked) = (Instant::now(), work());
        let filter = Filter { path: Some(path), order: Order::NewestFirst, ..Filter::default() };
        found += reader.query(&filter).filter(Result::is_ok).count();
        times.push(start.elapsed());
        works.push(work() - worked);
    }
    let worst = percentile(&mut times, 100);
    let median = percentile(&mut times, 50);
    let verdict = if worst <= QUERY_MAX { "ok" } else { "MISSED" };
    println!(
        "journal.query_by_path_ms={:.1} worst_ms={:.1} of_it_cpu_ms={:.1} found={} of={all} reading_all_ms={} bar_ms={} {verdict}",
        median.as_secs_f64() * 1e3,
        worst.as_secs_f64() * 1e3,
        percentile(&mut works, 50).as_secs_f64() * 1e3,
        found / QUERIES,
        whole.as_millis(),
        QUERY_MAX.as_millis()
    );
}
