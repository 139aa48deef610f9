//! Random histories of five sessions on shared files, with rollbacks in between, against a model that knows every line by who
//! wrote it and who took it away. A rollback gives exactly what the others' edits alone come to, or is a conflict; never is a
//! line of another lost. `RAILROAD_TEST_SEED` replays one history, `RAILROAD_TEST_SCHEDULES` sets how many there are.

#[path = "model/doc.rs"]
mod doc;
#[path = "model/world.rs"]
mod world;

use world::{Tally, World};

/// The bar.
const SCHEDULES: u64 = 10_000;

fn schedules() -> u64 {
    std::env::var("RAILROAD_TEST_SCHEDULES").ok().and_then(|n| n.parse().ok()).unwrap_or(SCHEDULES)
}

fn run(name: &str, share: u64, world: impl Fn(u64) -> World + Sync) -> Tally {
    let one: Option<u64> = std::env::var("RAILROAD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = one.map_or_else(|| (0..schedules() / share).collect(), |seed| vec![seed]);
    let mut tally = Tally::default();
    for seed in seeds {
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world(seed).play()));
        match told {
            Ok(told) => tally.add(&told),
            Err(_) => panic!("{name}: replay it with RAILROAD_TEST_SEED={seed}"),
        }
    }
    println!("{name}: {tally}");
    tally
}

#[test]
fn a_rollback_leaves_exactly_the_others_edits_or_is_a_conflict() {
    let tally = run("anything goes", 1, World::anything);
    // Half of them are clean in truth: with five sessions on four small files, many edits do meet.
    assert!(tally.rollbacks > tally.schedules && tally.clean > tally.rollbacks / 4, "{tally}");
}

#[test]
fn edits_that_lie_apart_hardly_ever_conflict() {
    let tally = run("each in lines of its own", 20, World::apart);
    assert!(tally.conflicts * 100 <= tally.rollbacks, "{tally}");
}

#[test]
fn among_equal_lines_no_wrong_copy_is_hit() {
    let tally = run("few different lines", 4, World::alike);
    // What is left: somebody puts in again, unrecorded, just what was taken out, and it is taken for the same.
    assert!(tally.clean > tally.rollbacks / 4 && tally.otherwise * 200 <= tally.clean, "{tally}");
}

#[test]
fn links_and_folders_that_take_the_places_of_files_come_back_as_they_were() {
    let tally = run("files, links and folders", 4, World::kinds);
    assert!(tally.clean > tally.rollbacks / 4 && tally.anew * 100 <= tally.clean, "{tally}");
}
