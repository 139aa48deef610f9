//! Twenty times kill -9 while agents write: what they hold stays held, nobody's change is written over, and no session has to
//! begin anew. The moments are drawn from a seed that is printed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, until};
use serde_json::json;

const KILLS: usize = 20;
const WRITERS: usize = 3;
/// Between two kills at most: some fall into calls, some between them, some into the start.
const APART_MS_MAX: u64 = 250;
const COUNTER: &str = "counter.txt";

/// Replays a run: `RAILROAD_TEST_SEED=<seed>`.
fn seed() -> u64 {
    let given = std::env::var("RAILROAD_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("seed: RAILROAD_TEST_SEED={seed}");
    seed
}

/// Xorshift: moments need no better dice.
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn by_name(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let text = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    sandbox.sessions().iter().map(|row| (text(row, "agent_session"), text(row, "session"))).collect()
}

#[test]
fn twenty_kills_while_agents_write_lose_no_lock_no_update_and_no_session() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[(COUNTER, "0\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut keeper = Agent::start(&sandbox, "keeper");
    keeper.write("kept.txt", "keeper\n").must_pass();
    let mut writers: Vec<Agent> = (0..WRITERS).map(|n| Agent::start(&sandbox, &format!("w{n}"))).collect();
    let before = by_name(&sandbox);
    assert_eq!(before.len(), WRITERS + 1);
    let (over, counted) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut dice = seed() | 1;
    thread::scope(|scope| {
        for writer in &mut writers {
            let (sandbox, over, counted) = (&sandbox, &over, &counted);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    counted.fetch_add(u64::from(count_up(sandbox, writer)), Ordering::Relaxed);
                }
            });
        }
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(next(&mut dice) % APART_MS_MAX));
            daemon.kill9();
            daemon.restart();
            assert_eq!(sandbox.holder("kept.txt").as_deref(), Some("keeper"), "held through the kill");
        }
        // With the last kill behind them every one of them counts again.
        let start = counted.load(Ordering::Relaxed);
        until("they go on counting", || counted.load(Ordering::Relaxed) > start + 3);
        over.store(true, Ordering::Relaxed);
    });
    let written: u64 = sandbox.text(COUNTER).trim().parse().expect("a number");
    assert_eq!(written, counted.load(Ordering::Relaxed), "every update that was made is in the file");
    assert!(written > 3, "{written} updates in all");
    assert_eq!(sandbox.text("kept.txt"), "keeper\n");
    assert_eq!(by_name(&sandbox), before, "every session is still the same one");
    keeper.read("kept.txt").must_pass();
    keeper.edit("kept.txt", "keeper", "still").must_pass();
}

/// One more, read and written as an agent does; whether it was made.
fn count_up(sandbox: &Sandbox, writer: &mut Agent) -> bool {
    writer.prompt("count");
    writer.read(COUNTER);
    // Another may be writing it just now.
    let Ok(seen) = sandbox.text(COUNTER).trim().parse::<u64>() else { return false };
    let asked = writer.pre("Write", &json!({"file_path": COUNTER, "content": format!("{}\n", seen + 1)}));
    let made = asked.passed() && writer.act(&asked.id).ok == Some(true);
    if made {
        // Between a write and its report the daemon may be gone as well.
        writer.post(&asked.id);
    }
    writer.stop();
    made
}

/// Read before a kill, written by somebody else, written after it: the second write knows nothing of the first.
#[test]
fn what_was_read_before_a_kill_is_not_written_over_after_it() {
    let sandbox = Sandbox::new();
    sandbox.commit(&[("shared.txt", "0\n")]);
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    let mut two = Agent::start(&sandbox, "two");
    one.read("shared.txt").must_pass();
    daemon.kill9();
    daemon.restart();
    until("the other one writes", || {
        two.prompt("write");
        two.read("shared.txt");
        two.write("shared.txt", "theirs\n").passed()
    });
    two.stop();
    until("it is free", || sandbox.holder("shared.txt").is_none());
    one.prompt("write");
    one.write("shared.txt", "mine, from 0\n").must_be_denied(&["shared.txt", "Read the file again"]);
    assert_eq!(sandbox.text("shared.txt"), "theirs\n");
}

/// A lease that was nearly used up when the daemon died begins anew with the next one: an agent has its full time.
#[test]
fn a_lease_goes_on_at_full_length_after_a_kill() {
    let sandbox = Sandbox::new();
    // The shortest that is safe: a lease that did not begin anew would be over before the test is.
    sandbox.machine_config(
        "timing: { lease: 11s, keep_alive: 300ms, cut_off: 1s, permit_poll: 500ms, permit_fresh: 3s }\n",
    );
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("held.txt", "1\n").must_pass();
    let session = by_name(&sandbox);
    for _ in 0..2 {
        daemon.kill9();
        // Half of the lease passes with nobody there; both halves together are more than one lease.
        thread::sleep(Duration::from_millis(5_600));
        daemon.restart();
        assert_eq!(sandbox.holder("held.txt").as_deref(), Some("one"));
    }
    assert_eq!(by_name(&sandbox), session, "the same session all the time");
    until("it goes on", || {
        one.prompt("go on");
        one.read("held.txt");
        one.edit("held.txt", "1", "2").passed()
    });
}
