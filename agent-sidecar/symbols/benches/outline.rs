//! What an outline costs beside reading the file: `cargo bench -p rr-symbols --bench outline`. It prints both sides and
//! fails above its bar.

use std::time::{Duration, Instant};

use rr_core::live::GitPath;
use rr_symbols::outline;

const LINES: usize = 2_000;
/// Of one outline of [`LINES`] lines.
const BAR: Duration = Duration::from_millis(20);
/// The fastest counts: the rest is what else the machine does.
const ROUNDS: usize = 51;

fn main() -> std::io::Result<()> {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/src");
    let mut source = String::new();
    while source.lines().count() < LINES {
        for file in ["walk.rs", "frame.rs", "diff.rs", "grammar.rs"] {
            source += &std::fs::read_to_string(format!("{sources}/{file}"))?;
        }
    }
    let source: String = source.split_inclusive('\n').take(LINES).collect();
    let file = std::env::temp_dir().join(format!("outline-{}.rs", std::process::id()));
    std::fs::write(&file, &source)?;
    let path = GitPath::from("bench.rs");
    let read = fastest(|| std::fs::read(&file).map_or(0, |bytes| bytes.len()));
    let outlined = fastest(|| outline(&path, source.as_bytes()).map_or(0, |outline| outline.definitions.len()));
    std::fs::remove_file(&file)?;
    println!("{LINES} lines, {} bytes: read {read:?}, outline {outlined:?}, fastest of {ROUNDS}", source.len());
    assert!(outlined < BAR, "an outline takes {outlined:?}, more than {BAR:?}");
    Ok(())
}

fn fastest(mut work: impl FnMut() -> usize) -> Duration {
    let times: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            assert!(work() > 0);
            started.elapsed()
        })
        .collect();
    times.into_iter().min().unwrap_or_default()
}
