//! The map of hazards is true: each has a row, and every test that a row names exists where it says. And what no fault can show:
//! that nothing which decides reads the wall clock.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

const HAZARDS: std::ops::RangeInclusive<u32> = 1..=42;

/// The rows: number, and the tests they name.
fn rows(map: &str) -> Vec<(u32, Vec<String>)> {
    let rows = map.lines().filter_map(|line| line.strip_prefix("| H")?.split_once(" |"));
    rows.map(|(number, rest)| {
        let tests = rest.split('`').skip(1).step_by(2).filter(|name| name.contains("::"));
        (number.parse().expect("a number"), tests.map(str::to_owned).collect())
    })
    .collect()
}

#[test]
fn every_hazard_has_a_test_and_every_test_that_is_named_exists() {
    let map = fs::read_to_string(root().join("docs/hazards.md")).expect("the map");
    let rows = rows(&map);
    for number in HAZARDS {
        assert!(rows.iter().any(|(row, tests)| *row == number && !tests.is_empty()), "H{number} has no test");
    }
    for (number, test) in rows.iter().flat_map(|(number, tests)| tests.iter().map(move |test| (number, test))) {
        let (file, name) = test.split_once("::").expect("file::test");
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("H{number}: {file}: {e}"));
        assert!(text.contains(&format!("fn {name}(")), "H{number}: {test} does not exist");
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("look").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Rules, store and protocol get their time from a clock since boot; the wall clock's is for display (H6).
#[test]
fn the_wall_clock_is_not_read_where_anything_is_decided() {
    let mut files = Vec::new();
    ["core/src", "store/src", "fleet/src", "watcher/src"].iter().for_each(|f| sources(&root().join(f), &mut files));
    assert!(files.len() > 50, "they were looked at");
    for file in files {
        let text = fs::read_to_string(&file).expect("text");
        for reading in ["SystemTime", "UNIX_EPOCH", "ClockId::Realtime"] {
            assert!(!text.contains(reading), "{} reads the wall clock ({reading})", file.display());
        }
    }
}
