//! The map of promises is true: every test that `promises.md` names exists, and every file it names as a whole.

use std::fs;
use std::path::Path;

fn tests_folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

/// The names in backquotes of the map's last column.
fn named(map: &str) -> Vec<String> {
    let rows = map.lines().filter(|l| l.starts_with('|'));
    let cells = rows.filter_map(|row| row.trim_end_matches(['|', ' ']).rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted.map(str::to_owned).collect()
}

#[test]
fn every_test_that_the_map_of_promises_names_exists() {
    let map = fs::read_to_string(tests_folder().join("../promises.md")).expect("the map");
    let names = named(&map);
    assert!(names.len() > 30, "the map has been read");
    for name in names {
        if let Some((file, test)) = name.split_once("::").filter(|(_, t)| *t != "tests" && !t.starts_with("tests::")) {
            let text = fs::read_to_string(tests_folder().join(format!("{file}.rs")));
            let text = text.unwrap_or_else(|e| panic!("{name}: tests/tests/{file}.rs: {e}"));
            assert!(text.contains(&format!("fn {test}(")), "{name} is named in promises.md and does not exist");
        }
    }
}
