//! Every bar of the watcher in one run: `cargo xtask bench watcher [--repo PATH] [--only B1,B4]`. Each part is measured against
//! its floor, says what was left out and why, and puts two detectors that look at nothing (always "clean", always "conflict")
//! before the same judge: they must fail. Ends with a table, and with an error if a bar is missed.
//! Worlds are made in `world` (shared with the index's own tests) or taken from a repository in `given`; `stage` has the
//! work trees; `textual`, `fleets`, `noise`, `semantic`, `halves` are B1, B2, B3, B4, B7; `others` runs B5, B6, B8.

#[path = "../../../core/tests/overlap/dice.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod dice;
mod fleets;
mod given;
mod halves;
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

struct Asked {
    repo: Option<PathBuf>,
    /// Empty: all.
    only: Vec<String>,
}

impl Asked {
    fn read() -> Result<Self, String> {
        let (mut asked, mut words) = (Self { repo: None, only: vec![] }, std::env::args().skip(1));
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo's own, and what the whole run of all benches is given.
                "--bench" | "--strict" => {}
                "--repo" => asked.repo = Some(words.next().ok_or("--repo: which one?")?.into()),
                "--only" => {
                    let parts = words.next().ok_or("--only: which parts?")?;
                    asked.only = parts.split(',').map(str::to_owned).collect();
                }
                other => return Err(format!("{other:?}: known are --repo PATH and --only B1,B4")),
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
    let parts: [(&str, Part); 6] = [
        ("B1", textual::run),
        ("B2", fleets::run),
        ("B3", noise::run),
        ("B4", semantic::run),
        ("B7", halves::run),
        ("B5", others::run),
    ];
    if let Some(repo) = &asked.repo {
        given::run(repo, &mut table);
    }
    // A repository that is given takes the place of the made-up ones where it can.
    for (part, run) in parts.into_iter().filter(|(part, _)| asked.wants(part)) {
        if asked.repo.is_some() && ["B1", "B2"].contains(&part) {
            continue;
        }
        let start = Instant::now();
        run(&mut table);
        println!("{part} took {:.1} s", start.elapsed().as_secs_f64());
    }
    table.print();
    if table.missed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
