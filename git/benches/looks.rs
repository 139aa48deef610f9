//! What a look at a work tree costs, against one `git status` of the same work tree, in turns with it: unchanged, with one change, and
//! with its change set. One line per figure, with its bar. Processor time is what all processes started for it took.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rr_git::{Look, Looked, Mirror, Worktree};

const FILES: usize = 5_000;
const ROUNDS: usize = 60;
const WARM_UP: usize = 5;
/// The same pass, and reading what it says.
const SAME_RATIO_MAX: f64 = 1.5;
const LOOK_P95_MAX: Duration = Duration::from_millis(300);
/// Of one core, for sixteen work trees looked at every thirty seconds.
const IDLE_PERCENT_MAX: f64 = 1.0;

fn main() {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let room = tempfile::tempdir_in(base).expect("make a folder");
    let dir = room.path().join("clone");
    let tree = repository(&dir);
    let mirror = Mirror::open(&room.path().join("mirror.git"), &tree).expect("open the mirror");
    mirror.borrow_from(&tree).expect("borrow");
    let first = changed(mirror.look(&tree, None).expect("look"));
    same(&mirror, &tree, &first);
    one_change(&mirror, &tree);
    blind(&mirror, &tree);
}

/// Who looks at nothing costs nothing, and is worth nothing: it must be wrong of one of two trees that our look is right about.
fn blind(mirror: &Mirror, tree: &Worktree) {
    let last = changed(mirror.look(tree, None).expect("look"));
    let same = mirror.look(tree, Some(&last)).expect("look") == Looked::Same;
    std::fs::write(tree.root.join("crate7/src/part7/file7.rs"), "another\n").expect("write");
    let other = mirror.look(tree, Some(&last)).expect("look") != Looked::Same;
    let is_right = |says_same: [bool; 2]| says_same == [same, !other];
    println!("git.look_tells_apart={} bar=true {}", same && other, if same && other { "ok" } else { "MISSED" });
    println!("blind B8 clean passes={} calls a change the same", is_right([true, true]));
    println!("blind B8 conflict passes={} calls the same a change", is_right([false, false]));
}

fn git(dir: &Path, args: &[&str]) {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=bench", "-c", "user.email=bench@example.org"]).args(args);
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("git runs");
    assert!(status.success(), "git {args:?}");
}

fn repository(dir: &Path) -> Worktree {
    std::fs::create_dir(dir).expect("make a folder");
    git(dir, &["init", "-q", "-b", "main"]);
    for n in 0..FILES {
        let folder = dir.join(format!("crate{}/src/part{}", n % 20, n % 200));
        std::fs::create_dir_all(&folder).expect("make a folder");
        let text: String = (0..40).map(|line| format!("line {line} of file {n}\n")).collect();
        std::fs::write(folder.join(format!("file{n}.rs")), text).expect("write");
    }
    git(dir, &["add", "."]);
    git(dir, &["commit", "-q", "-m", "first"]);
    Worktree::discover(dir).expect("readable").expect("a work tree")
}

fn status(tree: &Worktree) -> Duration {
    timed(|| git(&tree.root, &["--no-optional-locks", "status", "--porcelain", "--untracked-files=all"])).1
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = what();
    (done, start.elapsed())
}

fn changed(looked: Looked) -> Look {
    match looked {
        Looked::Changed(look) => look,
        other => panic!("{other:?}"),
    }
}

fn same(mirror: &Mirror, tree: &Worktree, first: &Look) {
    let objects = own_objects(mirror);
    let (mut looks, mut floors) = (Vec::new(), Vec::new());
    let mut processor = Duration::ZERO;
    for round in 0..WARM_UP + ROUNDS {
        let before = children();
        let (looked, time) = timed(|| mirror.look(tree, Some(first)).expect("look"));
        let took = children().saturating_sub(before);
        assert_eq!(looked, Looked::Same);
        let floor = status(tree);
        if round >= WARM_UP {
            looks.push(time);
            floors.push(floor);
            processor += took;
        }
    }
    ratio("look_same_p50", percentile(&mut looks, 50), percentile(&mut floors, 50), Some(SAME_RATIO_MAX));
    below("look_same_p95", percentile(&mut looks, 95), LOOK_P95_MAX);
    let each = processor / u32::try_from(ROUNDS).expect("few");
    let percent = each.as_secs_f64() * 16.0 / 30.0 * 100.0;
    let verdict = if percent < IDLE_PERCENT_MAX { "ok" } else { "MISSED" };
    println!(
        "git.look_same_processor_us={} idle_percent_of_16_trees={percent:.2} bar={IDLE_PERCENT_MAX} {verdict}",
        each.as_micros()
    );
    let new = own_objects(mirror) - objects;
    println!("git.look_same_new_objects={new} bar=0 {}", if new == 0 { "ok" } else { "MISSED" });
}

fn one_change(mirror: &Mirror, tree: &Worktree) {
    let path = tree.root.join("crate7/src/part7/file7.rs");
    let text = std::fs::read_to_string(&path).expect("read");
    let target = mirror.target(tree, None).expect("ask").map(|(target, _)| target);
    let (mut looks, mut sets, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        std::fs::write(&path, text.replace("line 20", &format!("round {round}"))).expect("write");
        let (look, time) = timed(|| changed(mirror.look(tree, None).expect("look")));
        let (changes, told) = timed(|| mirror.changes(&look, target.as_ref()).expect("told"));
        assert_eq!((changes.files.len(), changes.files[0].ranges.len()), (1, 1));
        let floor = status(tree);
        if round >= WARM_UP {
            looks.push(time);
            sets.push(told);
            floors.push(floor);
        }
    }
    ratio("look_one_change_p50", percentile(&mut looks, 50), percentile(&mut floors, 50), None);
    below("look_one_change_p95", percentile(&mut looks, 95), LOOK_P95_MAX);
    ratio("change_set_p50", percentile(&mut sets, 50), percentile(&mut floors, 50), None);
}

fn ratio(name: &str, time: Duration, floor: Duration, bar: Option<f64>) {
    let ratio = time.as_secs_f64() / floor.as_secs_f64();
    let verdict =
        bar.map_or_else(String::new, |bar| format!(" bar={bar} {}", if ratio <= bar { "ok" } else { "MISSED" }));
    println!("git.{name}_us={} status_us={} ratio={ratio:.2}{verdict}", time.as_micros(), floor.as_micros());
}

fn below(name: &str, time: Duration, bar: Duration) {
    let verdict = if time <= bar { "ok" } else { "MISSED" };
    println!("git.{name}_us={} bar={} {verdict}", time.as_micros(), bar.as_micros());
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

/// Files below the mirror's objects.
fn own_objects(mirror: &Mirror) -> usize {
    let (mut open, mut count) = (vec![mirror.dir().join("objects")], 0);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).expect("list").flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                count += 1;
            }
        }
    }
    count
}

/// Processor time of all children that have ended; nothing where the system does not say.
fn children() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |n: usize| fields.get(n).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // Hundredths of a second on every Linux that there is: the 16th and 17th field, counted from the third.
    Duration::from_millis((ticks(13) + ticks(14)) * 10)
}
