//! What it costs to move a standing check tree by one file of five thousand, against a new work tree of the same commit, in turns
//! with it. One line a figure, with its bar.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rr_core::id::ObjectId;
use rr_git::{CheckTree, Mirror, Worktree};

const FILES: usize = 5_000;
const ROUNDS: usize = 9;
/// A check tree that is no quicker to have than a new one need not stand.
const RATIO_MAX: f64 = 0.5;

fn main() {
    let base = std::env::var_os("RR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let room = tempfile::tempdir_in(base).expect("make a folder");
    let clone = room.path().join("clone");
    let commits = repository(&clone);
    let trees = commits
        .each_ref()
        .map(|commit| ObjectId::parse(&git(&clone, &["rev-parse", &format!("{commit}^{{tree}}")])).expect("a tree"));
    let tree = Worktree::discover(&clone).expect("readable").expect("a work tree");
    let mirror = Mirror::open(&room.path().join("mirror.git"), &tree).expect("open the mirror");
    mirror.borrow_from(&tree).expect("borrow");
    let slot = CheckTree::open(&mirror, &room.path().join("slot"));
    slot.move_to(&trees[0]).expect("it moves");
    let (mut moves, mut fresh) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let to = (round + 1) % 2;
        moves.push(timed(|| assert_eq!(slot.move_to(&trees[to]).expect("it moves").changed, 1)));
        let path = room.path().join(format!("fresh{round}"));
        let path = path.to_str().expect("text");
        fresh.push(timed(|| drop(git(&clone, &["worktree", "add", "-q", "--detach", path, &commits[to]]))));
        git(&clone, &["worktree", "remove", "--force", path]);
    }
    let [took, floor] = [moves, fresh].map(median);
    let ratio = took.as_secs_f64() / floor.as_secs_f64();
    let verdict = if ratio <= RATIO_MAX { "ok" } else { "MISSED" };
    println!(
        "git.check_tree_moved_us={} worktree_add_us={} ratio={ratio:.2} bar={RATIO_MAX} {verdict}",
        took.as_micros(),
        floor.as_micros()
    );
}

/// Two commits, one file apart.
fn repository(dir: &Path) -> [String; 2] {
    std::fs::create_dir(dir).expect("make a folder");
    git(dir, &["init", "-q", "-b", "main"]);
    for n in 0..FILES {
        let folder = dir.join(format!("src/{}", n / 100));
        std::fs::create_dir_all(&folder).expect("make a folder");
        let text = format!("pub const N: usize = {n};\n").repeat(40);
        std::fs::write(folder.join(format!("{n}.rs")), text).expect("write");
    }
    let commit = |text: &str| {
        git(dir, &["add", "."]);
        git(dir, &["commit", "-q", "-m", text]);
        git(dir, &["rev-parse", "HEAD"])
    };
    let first = commit("first");
    std::fs::write(dir.join("src/7/700.rs"), "pub const N: usize = 0;\n").expect("write");
    [first, commit("second")]
}

fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args(["-c", "user.name=bench", "-c", "user.email=bench@example.org"]).args(args);
    let done = command.stdin(Stdio::null()).output().expect("git runs");
    assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}

fn timed(what: impl FnOnce()) -> Duration {
    let start = Instant::now();
    what();
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
