//! What is known already of (tree, command, versions of its tools): a pass is final, a fail is kept with its findings
//! and how often it was seen, and a tree that was both is counted against its check. One file of JSON lines, written
//! anew as a whole; bounded, the longest unused goes first. Infrastructure is no verdict and is not kept.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::read::{Finding, Findings};

/// A few days of a busy fleet; a few megabytes.
pub const VERDICTS_MAX: usize = 4_096;
/// Checks of a repository are a handful; old commands leave their counts behind.
const CHECKS_MAX: usize = 256;
/// Kept of one red: enough to tell what two changes break together.
const FINDINGS_MAX: usize = 200;
/// That many findings take the place of one more verdict.
const FINDINGS_A_PLACE: usize = 20;
/// With every verdict at its largest the file is smaller.
const FILE_BYTES_MAX: u64 = 128 * 1024 * 1024;
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    pub tree: String,
    /// The check's text and folder.
    pub command: String,
    pub tools: String,
}

impl Key {
    #[must_use]
    pub fn new(tree: &str, check: &crate::find::Check, tools: &str) -> Self {
        let command =
            if check.folder.is_empty() { check.run.clone() } else { format!("{}: {}", check.folder, check.run) };
        Self { tree: tree.to_owned(), command, tools: tools.to_owned() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Known {
    Pass,
    /// `findings` of the last red run; `is_cut` if there were more than are kept.
    Fail {
        runs: u32,
        passes_after_red: u32,
        findings: Findings,
        is_cut: bool,
    },
}

/// How often a check contradicted itself on one tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flakes {
    /// Trees that it found red.
    pub red_trees: u64,
    /// Of those, trees that it also found green.
    pub both_ways: u64,
}

/// How the file was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    New,
    Read {
        verdicts: usize,
    },
    /// Set aside under the name given; all is asked anew.
    Damaged {
        why: String,
        kept_as: PathBuf,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum VerdictsError {
    #[error("read verdicts from {path}")]
    Read { path: PathBuf, source: io::Error },
    #[error("write verdicts to {path}")]
    Write { path: PathBuf, source: io::Error },
}

#[derive(Debug)]
pub struct Verdicts {
    path: PathBuf,
    max: usize,
    kept: HashMap<Key, Entry>,
    checks: BTreeMap<String, Flakes>,
    clock: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    known: Known,
    /// A pass that was seen red later counts once.
    is_both_ways: bool,
    used: u64,
}

impl Entry {
    /// In the bound, findings count too: the file is written as a whole.
    fn weight(&self) -> usize {
        match &self.known {
            Known::Pass => 1,
            Known::Fail { findings, .. } => 1 + findings.0.len() / FINDINGS_A_PLACE,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    railroad_verdicts: u32,
    lines: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Check { command: String, flakes: Flakes },
    Verdict { key: Key, known: Known, is_both_ways: bool },
}

impl Verdicts {
    /// Knows nothing yet, whatever its file says.
    #[must_use]
    pub fn new(path: &Path, max: usize) -> Self {
        Self { path: path.into(), max: max.max(1), kept: HashMap::new(), checks: BTreeMap::new(), clock: 0 }
    }

    /// Reads what is known. A damaged file is set aside and all begins anew: every verdict can be asked for again.
    ///
    /// # Errors
    /// If the file is there and cannot be read, or cannot be set aside.
    pub fn open(path: &Path, max: usize) -> Result<(Self, Opened), VerdictsError> {
        let mut all = Self::new(path, max);
        let failed = |source| VerdictsError::Read { path: path.into(), source };
        let len = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok((all, Opened::New)),
            Err(e) => return Err(failed(e)),
        };
        let lines = if len > FILE_BYTES_MAX {
            Err("it is larger than any that is written".to_owned())
        } else {
            parse(&fs::read(path).map_err(failed)?)
        };
        match lines {
            Ok(lines) => {
                lines.into_iter().for_each(|line| all.take(line));
                let verdicts = all.kept.len();
                Ok((all, Opened::Read { verdicts }))
            }
            Err(why) => {
                let kept_as = path.with_extension("damaged");
                fs::rename(path, &kept_as).map_err(failed)?;
                Ok((all, Opened::Damaged { why, kept_as }))
            }
        }
    }

    /// What is known; to be asked before a check is run.
    pub fn get(&mut self, key: &Key) -> Option<&Known> {
        self.clock += 1;
        let entry = self.kept.get_mut(key)?;
        entry.used = self.clock;
        Some(&entry.known)
    }

    /// Keeps the outcome of a run. `None` for infrastructure, which says nothing.
    ///
    /// # Errors
    /// If the file cannot be written; the verdict is known to this process all the same.
    pub fn note(&mut self, key: &Key, outcome: &Outcome) -> Result<Option<&Known>, VerdictsError> {
        self.clock += 1;
        match outcome {
            Outcome::Green { .. } => self.passed(key),
            Outcome::Red { findings, .. } => self.failed(key, findings),
            Outcome::Infrastructure { .. } => return Ok(None),
        }
        self.make_room();
        self.write().map_err(|source| VerdictsError::Write { path: self.path.clone(), source })?;
        Ok(self.kept.get(key).map(|e| &e.known))
    }

    /// How far a command's reds are to be believed.
    #[must_use]
    pub fn flakes(&self, key: &Key) -> Flakes {
        self.checks.get(&key.command).copied().unwrap_or_default()
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn passed(&mut self, key: &Key) {
        let fresh = Entry { known: Known::Pass, is_both_ways: false, used: 0 };
        let entry = self.kept.entry(key.clone()).or_insert(fresh);
        entry.used = self.clock;
        if let Known::Fail { runs, passes_after_red, .. } = &mut entry.known {
            *runs = runs.saturating_add(1);
            *passes_after_red = passes_after_red.saturating_add(1);
            if !std::mem::replace(&mut entry.is_both_ways, true) {
                self.checks.entry(key.command.clone()).or_default().both_ways += 1;
            }
        }
    }

    fn failed(&mut self, key: &Key, seen: &Findings) {
        let is_cut = seen.0.len() > FINDINGS_MAX;
        let seen: Findings =
            Findings(seen.0.iter().take(FINDINGS_MAX).cloned().collect::<std::collections::BTreeSet<Finding>>());
        let flakes = self.checks.entry(key.command.clone()).or_default();
        let Some(entry) = self.kept.get_mut(key) else {
            flakes.red_trees += 1;
            let known = Known::Fail { runs: 1, passes_after_red: 0, findings: seen, is_cut };
            self.kept.insert(key.clone(), Entry { known, is_both_ways: false, used: self.clock });
            return;
        };
        entry.used = self.clock;
        match &mut entry.known {
            // A pass stands, but it is known now how this check is.
            Known::Pass if !std::mem::replace(&mut entry.is_both_ways, true) => {
                flakes.red_trees += 1;
                flakes.both_ways += 1;
            }
            Known::Pass => {}
            Known::Fail { runs, findings, is_cut: was_cut, .. } => {
                *runs = runs.saturating_add(1);
                (*findings, *was_cut) = (seen, is_cut);
            }
        }
    }

    /// An eighth at a time, so that not every new verdict looks through all.
    fn make_room(&mut self) {
        if self.kept.values().map(Entry::weight).sum::<usize>() > self.max {
            let mut by_use: Vec<(u64, usize)> = self.kept.values().map(|e| (e.used, e.weight())).collect();
            by_use.sort_unstable_by(|a, b| b.cmp(a));
            let stay = self.max - self.max / 8;
            let within = by_use.iter().scan(0, |sum, (used, weight)| {
                *sum += weight;
                (*sum <= stay).then_some(*used)
            });
            let oldest = within.last().unwrap_or(self.clock);
            self.kept.retain(|_, e| e.used >= oldest);
        }
        if self.checks.len() > CHECKS_MAX {
            let in_use: std::collections::BTreeSet<&String> = self.kept.keys().map(|k| &k.command).collect();
            self.checks.retain(|command, _| in_use.contains(command));
        }
    }

    fn take(&mut self, line: Line) {
        self.clock += 1;
        match line {
            Line::Check { command, flakes } => drop(self.checks.insert(command, flakes)),
            Line::Verdict { key, known, is_both_ways } => {
                self.kept.insert(key, Entry { known, is_both_ways, used: self.clock });
            }
        }
    }

    /// Old or new, never half: a new file takes the old one's name when it is whole on the disk.
    fn write(&self) -> io::Result<()> {
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".verdicts").tempfile_in(folder)?;
        file.write_all(&self.text()?)?;
        file.as_file().sync_data()?;
        file.persist(&self.path).map_err(|e| e.error)?;
        fs::File::open(folder)?.sync_all()
    }

    fn text(&self) -> io::Result<Vec<u8>> {
        let header = Header { railroad_verdicts: FORMAT, lines: self.kept.len() + self.checks.len() };
        let mut text = serde_json::to_vec(&header)?;
        let mut push = |line: &Line| -> io::Result<()> {
            text.push(b'\n');
            serde_json::to_writer(&mut text, line).map_err(io::Error::from)
        };
        for (command, flakes) in &self.checks {
            push(&Line::Check { command: command.clone(), flakes: *flakes })?;
        }
        // The order in the file is the order of use.
        let mut kept: Vec<(&Key, &Entry)> = self.kept.iter().collect();
        kept.sort_by_key(|(_, e)| e.used);
        for (key, e) in kept {
            push(&Line::Verdict { key: key.clone(), known: e.known.clone(), is_both_ways: e.is_both_ways })?;
        }
        text.push(b'\n');
        Ok(text)
    }
}

/// All lines or none: the count in the header shows an end that is missing.
fn parse(bytes: &[u8]) -> Result<Vec<Line>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text".to_owned())?;
    let mut lines = text.lines();
    let header: Header =
        serde_json::from_str(lines.next().unwrap_or_default()).map_err(|_| "its first line is not ours".to_owned())?;
    if header.railroad_verdicts != FORMAT {
        return Err(format!("it has format {}, not {FORMAT}", header.railroad_verdicts));
    }
    let read = |(at, line)| serde_json::from_str(line).map_err(|e| format!("line {}: {e}", at + 2));
    let lines = lines.enumerate().map(read).collect::<Result<Vec<Line>, _>>()?;
    let is_whole = lines.len() == header.lines && text.ends_with('\n');
    if is_whole { Ok(lines) } else { Err(format!("it has {} lines of {}", lines.len(), header.lines)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find::{Check, Origin, When};
    use crate::outcome::{Output, Why};
    use crate::read::Nature;

    const GREEN: Outcome = Outcome::Green { took_ms: 1 };

    fn red(message: &str) -> Outcome {
        let one = |n: usize| {
            let message = format!("{message}{n}");
            Finding { file: None, code: "E1".to_owned(), message, nature: Nature::Compile }
        };
        let findings = Findings((0..3).map(one).collect());
        Outcome::Red { findings, nature: Nature::Compile, output: Output::default(), took_ms: 1 }
    }

    fn key(tree: &str) -> Key {
        Key::new(tree, &Check::new("types", "cargo check", When::Commit, Origin::Configured), "cargo 1")
    }

    fn open(path: &Path) -> (Verdicts, Opened) {
        Verdicts::open(path, 16).expect("opens")
    }

    #[test]
    fn a_pass_is_final_and_a_fail_keeps_its_counts_over_a_restart() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("verdicts");
        let (mut verdicts, opened) = open(&path);
        assert_eq!((opened, verdicts.get(&key("a"))), (Opened::New, None));
        assert_eq!(verdicts.note(&key("a"), &GREEN).expect("written"), Some(&Known::Pass));
        assert_eq!(verdicts.note(&key("a"), &red("x")).expect("written"), Some(&Known::Pass), "a pass is final");
        for outcome in [red("x"), red("y"), GREEN] {
            verdicts.note(&key("b"), &outcome).expect("written");
        }
        let (mut again, opened) = open(&path);
        assert_eq!(opened, Opened::Read { verdicts: 2 });
        assert_eq!(again.get(&key("a")), Some(&Known::Pass));
        let Some(Known::Fail { runs: 3, passes_after_red: 1, findings, is_cut: false }) = again.get(&key("b")) else {
            panic!("{:?}", again.get(&key("b")))
        };
        assert!(findings.0.iter().all(|f| f.message.starts_with('y')), "those of the last red");
        assert_eq!(again.flakes(&key("c")), Flakes { red_trees: 2, both_ways: 2 }, "of the command, whatever the tree");
    }

    #[test]
    fn infrastructure_is_no_verdict_and_other_tools_are_another_question() {
        let folder = tempfile::tempdir().expect("folder");
        let (mut verdicts, _) = open(&folder.path().join("verdicts"));
        let hangs = Outcome::Infrastructure { why: Why::TimedOut, output: Output::default(), retry: true, took_ms: 1 };
        assert_eq!(verdicts.note(&key("a"), &hangs).expect("nothing written"), None);
        assert!(verdicts.is_empty());
        verdicts.note(&key("a"), &GREEN).expect("written");
        assert_eq!(verdicts.get(&Key { tools: "cargo 2".to_owned(), ..key("a") }), None);
    }

    #[test]
    fn the_longest_unused_go_first_and_the_bound_holds() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("verdicts");
        let (mut verdicts, _) = open(&path);
        for n in 0..100 {
            verdicts.note(&key(&n.to_string()), &GREEN).expect("written");
            verdicts.get(&key("0"));
            assert!(verdicts.len() <= 16);
        }
        assert!(verdicts.get(&key("0")).is_some() && verdicts.get(&key("99")).is_some());
        assert!(verdicts.get(&key("1")).is_none());
        assert_eq!(open(&path).1, Opened::Read { verdicts: verdicts.len() });
    }

    #[test]
    fn a_damaged_file_is_set_aside_wherever_it_is_damaged() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("verdicts");
        let (mut verdicts, _) = open(&path);
        for n in 0..4 {
            verdicts.note(&key(&n.to_string()), &red("x")).expect("written");
        }
        let whole = fs::read(&path).expect("read");
        let after_lines = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1);
        let cuts =
            (0..whole.len()).step_by(7).chain(after_lines.filter(|at| *at < whole.len())).chain([whole.len() - 1]);
        for cut in cuts {
            fs::write(&path, &whole[..cut]).expect("write");
            let (verdicts, opened) = open(&path);
            assert!(verdicts.is_empty() && matches!(opened, Opened::Damaged { .. }), "cut at {cut}: {opened:?}");
            assert!(!path.exists() && path.with_extension("damaged").exists());
        }
        fs::write(&path, &whole).expect("write");
        assert_eq!(open(&path).1, Opened::Read { verdicts: 4 });
    }
}
