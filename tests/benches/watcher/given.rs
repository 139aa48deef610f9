//! B1 and B2 on a repository that is given: the parents of its merge commits become two agents' dirty work trees over their merge
//! base, its branches a fleet over theirs. It is only read: everything happens in a clone that borrows its objects. What is
//! left out is counted, with the reason. Without a repository, the same is done to a made-up history.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rr_core::id::CommitId;
use rr_core::overlap::{Index, Options, SWEEP_PATHS};

use crate::fleets;
use crate::history;
use crate::report::Table;
use crate::stage::{Lies, Stage, bench_folder, git, git_output, key, leave, pairs};
use crate::textual::{self, Judged, Pairs, Times, told};

const HEADS_MAX: usize = 16;
/// What did not change is said now and then: a run of hundreds takes minutes.
const SAID_EVERY: usize = 50;

/// At most so many of its merge commits, the newest first, if B1 is wanted; its branches if B2 is.
pub(crate) fn run(repo: &Path, merges_max: usize, wants: impl Fn(&str) -> bool, table: &mut Table) {
    if wants("B1") {
        merges(repo, merges_max, table);
    }
    if wants("B2") {
        heads(repo, table);
    }
}

/// The merge commits of a made-up history.
pub(crate) fn made(merges_max: usize, table: &mut Table) {
    let room = bench_folder();
    merges(&history::made(room.path(), merges_max), merges_max, table);
}

fn cloned(repo: &Path) -> (tempfile::TempDir, std::path::PathBuf) {
    let room = bench_folder();
    let clone = room.path().join("clone");
    let (from, to) = (repo.to_str().expect("text"), clone.to_str().expect("text"));
    git(room.path(), &["clone", "-q", "--shared", "--no-checkout", from, to]);
    (room, clone)
}

fn merges(repo: &Path, merges_max: usize, table: &mut Table) {
    let (room, clone) = cloned(repo);
    let listed = git(&clone, &["rev-list", "--all", "--merges", "--parents"]);
    let all: Vec<Vec<&str>> = listed.lines().map(|line| line.split(' ').collect()).collect();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut judged, mut times, mut stage, mut room) = (Judged::default(), Times::default(), None, Some(room));
    let mut replayed = 0;
    for parents in &all {
        if replayed == merges_max {
            *left_out.entry("older than the newest that are replayed").or_default() += 1;
            continue;
        }
        // What git can say of two commits is asked before work trees are made of them.
        let base = match base_of(&clone, &parents[1..]).and_then(|base| not_a_sweep(&clone, base, &parents[1..])) {
            Ok(base) => base,
            Err(why) => {
                *left_out.entry(why).or_default() += 1;
                continue;
            }
        };
        let stage = stage.get_or_insert_with(|| {
            git(&clone, &["checkout", "-q", "--detach", &base]);
            let mut stage = Stage::at(room.take().expect("once"), clone.clone(), &base);
            drop([stage.add_side(), stage.add_side()]);
            stage
        });
        stage.target.commit = CommitId::parse(&base).expect("a commit");
        for (nr, parent) in parents[1..].iter().enumerate() {
            let lies = Lies::of(replayed + nr * 2);
            stage.sides[nr].key = key(nr);
            become_dirty(&stage.sides[nr].tree.root, &base, parent, lies);
        }
        let (before, mut index) = (stage.merges, Index::new(Options::default()));
        times.see_all(stage, &mut index);
        let name = &parents[0][..10];
        match verdict(stage, &index) {
            Ok((told, truth)) => {
                replayed += 1;
                if replayed % SAID_EVERY == 0 {
                    println!("B1 has replayed {replayed} merge commits, {} conflicts", judged.ours.truths);
                }
                judged.add(name, &told, &truth, &[(0, 1)].into(), stage.merges - before);
            }
            Err(why) => *left_out.entry(why).or_default() += 1,
        }
    }
    println!("B1 looked at {replayed} of {} merge commits of {}; left out: {left_out:?}", all.len(), repo.display());
    if replayed == 0 {
        println!("B1 says nothing of a repository without a merge commit that can be replayed");
        return;
    }
    let name = format!("conflicts in {replayed} merge commits");
    if judged.ours.truths == 0 {
        table.row("B1", &name, &judged.ours.shown(), "none is there", "none made up", judged.ours.told == 0);
    } else {
        textual::report(table, &name, &judged);
    }
    times.report(table);
}

/// The base that two agents would have worked from.
fn base_of(clone: &Path, parents: &[&str]) -> Result<String, &'static str> {
    let [a, b] = parents else { return Err("more than two parents") };
    let done = git_output(clone, &["merge-base", "--all", a, b], &[], b"");
    let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    match text.lines().collect::<Vec<_>>().as_slice() {
        [] => Err("no merge base"),
        [base] if base == a || base == b => Err("one parent is the base of the other"),
        [base] => Ok((*base).to_owned()),
        _ => Err("several merge bases"),
    }
}

/// The same base, unless one of them has changed too much since to be told to anybody.
fn not_a_sweep(clone: &Path, base: String, parents: &[&str]) -> Result<String, &'static str> {
    let paths = |parent: &&str| {
        let named = git(clone, &["diff-tree", "-r", "--no-renames", "--name-only", "-z", &base, parent]);
        named.split('\0').filter(|path| !path.is_empty()).count()
    };
    if parents.iter().any(|parent| paths(parent) > SWEEP_PATHS) {
        return Err("a side changes more than 50 paths");
    }
    Ok(base)
}

/// Makes a work tree of the base that has another commit's contents in it.
fn become_dirty(root: &Path, base: &str, commit: &str, lies: Lies) {
    git(root, &["checkout", "-q", "-f", "--detach", base]);
    git(root, &["clean", "-q", "-ffdx"]);
    git(root, &["read-tree", "-u", "--reset", commit]);
    match lies {
        Lies::Committed => leave(root, Lies::Committed),
        Lies::Staged => {}
        Lies::Untracked => drop(git(root, &["read-tree", base])),
    }
}

type Both = (Pairs, Pairs);

/// What is told and what is true of the pairs that are judged by lines.
fn verdict(stage: &Stage, index: &Index) -> Result<Both, &'static str> {
    let sweeps = stage.sides.iter().filter_map(|side| side.set.as_ref()).any(rr_core::overlap::is_sweep);
    if sweeps {
        return Err("a side is a sweep (nothing but layout)");
    }
    let truth = stage.truth();
    let by_key: BTreeSet<String> = manifests(stage);
    if truth.values().any(|paths| paths.iter().all(|path| by_key.contains(path))) {
        return Err("conflicts in manifests and lock files only, which are compared by key");
    }
    Ok((told(stage, index), truth.into_keys().collect()))
}

/// Paths that the index never compares by line.
fn manifests(stage: &Stage) -> BTreeSet<String> {
    let files = stage.sides.iter().filter_map(|side| side.set.as_ref()).flat_map(|set| &set.files);
    let by_key = files.filter(|file| !file.packages.is_empty() || rr_symbols::is_lock_file(&file.path));
    by_key.map(|file| file.path.to_string()).collect()
}

fn heads(repo: &Path, table: &mut Table) {
    let (room, clone) = cloned(repo);
    let refs = git(&clone, &["for-each-ref", "--format=%(objectname)", "--sort=-committerdate", "refs/remotes"]);
    let tips: BTreeSet<&str> = refs.lines().collect();
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    let contains = |young: &str, old: &str| {
        git_output(&clone, &["merge-base", "--is-ancestor", old, young], &[], b"").status.success()
    };
    let mut fleet: Vec<&str> = vec![];
    for tip in &tips {
        if tips.iter().any(|other| other != tip && contains(other, tip)) {
            *left_out.entry("a head that another contains").or_default() += 1;
        } else if fleet.len() == HEADS_MAX {
            *left_out.entry("more than 16 heads").or_default() += 1;
        } else {
            fleet.push(tip);
        }
    }
    let args: Vec<&str> = ["merge-base", "--octopus"].into_iter().chain(fleet.iter().copied()).collect();
    let base = String::from_utf8_lossy(&git_output(&clone, &args, &[], b"").stdout).trim().to_owned();
    if fleet.len() < 2 || base.is_empty() {
        println!("B2 says nothing of {} concurrent heads of {}; left out: {left_out:?}", fleet.len(), repo.display());
        return;
    }
    git(&clone, &["checkout", "-q", "--detach", &base]);
    let mut stage = Stage::at(room, clone.clone(), &base);
    for (nr, head) in fleet.iter().enumerate() {
        let root = stage.add_side();
        become_dirty(&root, &base, head, Lies::of(nr));
    }
    let (found, _) = fleets::watched(&mut stage);
    let sweeps: BTreeSet<usize> =
        (0..fleet.len()).filter(|nr| stage.sides[*nr].set.as_ref().is_some_and(rr_core::overlap::is_sweep)).collect();
    let asked: Pairs =
        pairs(fleet.len()).into_iter().filter(|(a, b)| !sweeps.contains(a) && !sweeps.contains(b)).collect();
    let by_key = manifests(&stage);
    let lines = |paths: &BTreeSet<String>| paths.iter().any(|path| !by_key.contains(path));
    let truth: Pairs = stage
        .truth()
        .into_iter()
        .filter(|(pair, paths)| asked.contains(pair) && lines(paths))
        .map(|(p, _)| p)
        .collect();
    let mut judged = Judged::default();
    judged.add("heads", &found, &truth, &asked, stage.merges);
    println!(
        "B2 looked at {} heads of {} over {}; left out: {left_out:?}, {} sweeps",
        fleet.len(),
        repo.display(),
        &base[..10],
        sweeps.len()
    );
    if truth.is_empty() {
        println!(
            "B2 these heads do not conflict: {} told, {} merges of {} pairs",
            found.len(),
            stage.merges,
            asked.len()
        );
        return;
    }
    fleets::report(table, fleet.len() - sweeps.len(), &judged, 1);
}
