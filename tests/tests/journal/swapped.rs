//! H23: a path that is a file one moment and a link out of the repository the next, ten thousand times over, while calls on it are judged
//! and what stands there is kept. Whatever the daemon saw, nothing outside is read into its store or written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

const SWAPS: usize = 10_000;
const CALLS: usize = 60;
/// Stands nowhere else, so that keeping it leaves a trace.
const OUTSIDE: &str = "what stands outside of the repository is nobody's to keep\n";

/// Puts `thing` at `place` in one step.
fn put(thing: &Path, place: &Path) {
    fs::rename(thing, place).expect("rename");
}

/// A file, then a link to a file outside, at the same name, over and over.
fn swap_file(place: &Path, outside: &Path, spare: &Path) {
    fs::write(spare, "inside\n").expect("write");
    put(spare, place);
    symlink(outside, spare).expect("link");
    put(spare, place);
}

/// A folder, then a link to a folder outside, at the same name.
fn swap_folder(place: &Path, outside: &Path, spare: &Path) {
    put(place, spare);
    symlink(outside, place).expect("link");
    fs::remove_file(place).expect("remove");
    put(spare, place);
}

/// Ends the swapping, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_path_that_is_swapped_for_a_link_all_the_time_lets_nothing_in_from_outside_and_nothing_out() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("swap/file.txt", "inside\n"), ("swap/folder/in.txt", "inside\n")]);
    let outside = sandbox.path().join("outside");
    fs::create_dir(&outside).expect("make");
    for name in ["file.txt", "in.txt"] {
        fs::write(outside.join(name), OUTSIDE).expect("write");
    }
    let kept = sandbox.git(&["hash-object", &outside.join("in.txt").display().to_string()]).trim().to_owned();
    let kept = sandbox.state.join("snapshots.git/objects").join(&kept[..2]).join(&kept[2..]);
    let _daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "first");
    let (swaps, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut calls, mut passed) = (0, 0);
    thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            let at = |name: &str| sandbox.repo.join("swap").join(name);
            while !over.load(Ordering::Relaxed) {
                swap_file(&at("file.txt"), &outside.join("file.txt"), &at("spare.txt"));
                swap_folder(&at("folder"), &outside, &at("spare"));
                swaps.fetch_add(2, Ordering::Relaxed);
            }
        });
        let _over = Over(&over);
        while !swapping.is_finished() && (calls < CALLS || swaps.load(Ordering::Relaxed) < SWAPS) {
            let file = ["swap/file.txt", "swap/folder/in.txt"][calls % 2];
            let write = json!({"file_path": file, "content": "by the agent\n"});
            let command = json!({"command": format!("rm -f {file}")});
            let said = if calls % 3 == 0 { one.pre("Bash", &command) } else { one.pre("Write", &write) };
            // The tool itself is not run: what it follows is not the daemon's. The next call says that it is over.
            passed += usize::from(said.passed());
            calls += 1;
            if calls % 10 == 0 {
                one.stop();
            }
        }
    });
    one.stop();
    for name in ["file.txt", "in.txt"] {
        assert_eq!(fs::read_to_string(outside.join(name)).expect("there"), OUTSIDE);
    }
    assert_eq!(fs::read_dir(&outside).expect("look").count(), 2, "nothing new out there");
    assert!(!kept.exists(), "what stands outside was kept");
    assert!(passed > 0, "of {calls} calls");
    drop(sandbox.rrctl(&["rollback", "--session", "first"]));
    for name in ["file.txt", "in.txt"] {
        assert_eq!(fs::read_to_string(outside.join(name)).expect("there"), OUTSIDE, "a rollback neither");
    }
}
