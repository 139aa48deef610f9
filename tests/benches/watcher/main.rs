//! Every bar of the watcher in one run: `cargo xtask bench watcher [--repo PATH [--merges N]] [--only B1,B4]`. Each part is measured against
//! its floor, says what was left out and why, and puts two detectors that look at nothing (always "clean", always "conflict")
//! before the same judge: they must fail. Ends with a table, and with an error if a bar is missed.
//! Worlds are made in `world` (shared with the index's own tests) or taken from a repository in `given`; `stage` has the
//! work trees; `textual`, `fleets`, `noise`, `semantic`, `halves` are B1, B2, B3, B4, B7; `others` runs B5, B6, B8.

mod clashes;
#[path = "../../../core/tests/overlap/dice.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod dice;
mod fleets;
mod given;
mod halves;
mod history;
mod noise;
mod others;
mod projects;
mod report;
mod semantic;
mod stage;
mod textual;
#[path = "../../../core/tests/overlap/world.rs"]
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use report::Table;

/// Of a repository that is given, unless `--merges` says otherwise.
const MERGES: usize = 100;

struct Asked {
    repo: Option<PathBuf>,
    merges: usize,
    /// Empty: all.
    only: Vec<String>,
}

impl Asked {
    fn read() -> Result<Self, String> {
        let (mut asked, mut words) = (Self { repo: None, merges: MERGES, only: vec![] }, std::env::args().skip(1));
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo's own, and what the whole run of all benches is given.
                "--bench" | "--strict" => {}
                "--repo" => asked.repo = Some(words.next().ok_or("--repo: which one?")?.into()),
                "--merges" => {
                    let count = words.next().and_then(|word| word.parse().ok());
                    asked.merges = count.ok_or("--merges: how many?")?;
                }
                "--only" => {
                    let parts = words.next().ok_or("--only: which parts?")?;
                    asked.only = parts.split(',').map(str::to_owned).collect();
                }
                // Meant for another bench, or the name of a part.
                word if !word.starts_with('-') => asked.only.push(word.to_owned()),
                other => return Err(format!("{other:?}: known are --repo PATH, --merges N and --only B1,B4")),
            }
        }
        Ok(asked)
    }

    fn wants(&self, part: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == part)
    }
}

/// Looks at one bar or more, and says what came of it.
type Part = fn(&mut Table);

fn main() -> ExitCode {
    let asked = match Asked::read() {
        Ok(asked) => asked,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    let mut table = Table::default();
    if let Some(repo) = &asked.repo {
        let given = |table: &mut Table| given::run(repo, asked.merges, |part| asked.wants(part), table);
        to_its_end("the repository", given, &mut table);
    }
    let parts: [(&[&str], Part); 7] = [
        (&["B1"], textual::run),
        (&["B2"], fleets::run),
        (&["B3"], noise::run),
        (&["B4"], semantic::run),
        (&["B7"], halves::run),
        (&["B5", "B6"], others::culprit),
        (&["B8"], others::cost),
    ];
    for (names, run) in parts {
        // A repository that is given takes the place of the made-up ones where it can.
        let replaced = asked.repo.is_some() && ["B1", "B2"].contains(&names[0]);
        if !replaced && names.iter().any(|name| asked.wants(name)) {
            to_its_end(&names.join(", "), run, &mut table);
        }
    }
    table.print();
    if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One part. What breaks in it is a miss of it alone: the others' results are worth having as well.
fn to_its_end(name: &str, run: impl FnOnce(&mut Table), table: &mut Table) {
    let start = Instant::now();
    let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(table)));
    println!("{name} took {:.1} s", start.elapsed().as_secs_f64());
    if ended.is_err() {
        table.row(name, "the part", "broke off", "-", "comes to its end", false);
    }
}
