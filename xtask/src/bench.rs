//! The benchmarks: each prints both sides of its ratio and says `ok` or `MISSED` beside its target. What is measured is
//! theirs; here they are started, and their misses counted. On a busy machine a miss is news, not a failure: only
//! `--strict` makes it one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::step::{Failed, Outcome, cargo, root, shown};

const MISSED: &str = "MISSED";

/// Runs all benchmarks, or the one of that name with what is said after it; any other name is passed on to each as a filter.
pub(crate) fn run(args: &[String]) -> Outcome {
    let strict = args.iter().any(|a| a == "--strict");
    let mut words = args.iter().map(String::as_str).filter(|a| *a != "--strict");
    let mut command = match words.next() {
        None => vec!["bench", "--workspace", "--bench", "*"],
        Some(name) if is_a_bench(&root(), name) => vec!["bench", "--workspace", "--bench", name, "--"],
        Some(filter) => vec!["bench", "--workspace", "--bench", "*", "--", filter],
    };
    // What a bench takes of its own: `watcher --repo PATH`.
    let words: Vec<String> = words.map(from_here).collect();
    command.extend(words.iter().map(String::as_str));
    let missed = run_and_count(&command)?;
    match (missed, strict) {
        (0, _) => Ok(()),
        (missed, true) => Err(Failed(format!("{missed} lines say {MISSED}"))),
        (missed, false) => {
            println!("{missed} lines say {MISSED} (with --strict this would fail)");
            Ok(())
        }
    }
}

/// A bench runs elsewhere: a folder that is named from here is named whole.
fn from_here(word: &str) -> String {
    let whole = Path::new(word).canonicalize().ok().filter(|path| path.is_dir());
    whole.map_or_else(|| word.to_owned(), |path| path.display().to_string())
}

fn is_a_bench(root: &Path, name: &str) -> bool {
    // The sidecar's own crates lie in its folder.
    let folders = [root.to_owned(), root.join("agent-sidecar")];
    let mut crates = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let files = [format!("benches/{name}.rs"), format!("benches/{name}/main.rs")];
    crates.any(|entry| files.iter().any(|file| entry.path().join(file).is_file()))
}

fn run_and_count(args: &[&str]) -> Result<usize, Failed> {
    let mut command = cargo(args);
    let shown = shown(&command);
    let failed = |error: std::io::Error| Failed(format!("`{shown}` cannot be run: {error}"));
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(failed)?;
    let mut missed = 0;
    // Taken just after it was asked for.
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
        let line = line.map_err(failed)?;
        missed += usize::from(says_missed(&line));
        println!("{line}");
    }
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(missed) } else { Err(Failed(format!("`{shown}` ended with {status}"))) }
}

fn says_missed(line: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric()).any(|word| word == MISSED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_itself_is_a_miss() {
        assert!(says_missed("p50 ratio=1.31 bar=1.2 MISSED"));
        assert!(says_missed("[MISSED]"));
        assert!(!says_missed("p50 ratio=1.10 bar=1.2 ok"));
        assert!(!says_missed("UNMISSED, missed"));
    }

    #[test]
    fn a_bench_is_known_by_its_file() {
        assert!(
            is_a_bench(&root(), "watcher")
                && is_a_bench(&root(), "courier")
                && is_a_bench(&root(), "fleet")
                && is_a_bench(&root(), "policy")
        );
        assert!(!is_a_bench(&root(), "no-such-bench"));
    }
}
