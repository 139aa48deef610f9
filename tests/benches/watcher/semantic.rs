//! B4: merges without a conflict that break the repository's own check. The candidates say which merged trees are checked; the truth
//! is that check on every merged tree, run by a plain shell in a plain checkout. While a side is in mid-write nothing is checked.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rr_checks::{Check, Findings, Limits, Origin, Outcome, Runner, When};
use rr_core::id::ObjectId;
use rr_core::live::Rest;
use rr_core::overlap::{Answer, Index, Kind, Level, Options, Question};
use rr_git::{CheckTree, Merged};
use tokio_util::sync::CancellationToken;

use crate::projects::{Case, Project, all};
use crate::report::{Table, share};
use crate::stage::{Lies, Stage, git, leave, write_out};

#[derive(Default)]
struct Tally {
    broken: usize,
    found: usize,
    made_up: usize,
    /// Merged trees that were checked.
    checks: usize,
    /// Checks that were asked for while somebody was in the middle of a change.
    early: usize,
    cases: usize,
    wrong: Vec<String>,
}

impl Tally {
    fn add(&mut self, name: &str, told: bool, truth: bool, checks: usize) {
        self.cases += 1;
        self.checks += checks;
        self.broken += usize::from(truth);
        self.found += usize::from(told && truth);
        self.made_up += usize::from(told && !truth);
        if told != truth {
            self.wrong.push(format!("{}: {name}", if truth { "missed" } else { "made up" }));
        }
    }

    fn passes(&self) -> bool {
        self.broken > 0 && self.found == self.broken && self.made_up == 0 && self.early == 0
    }

    fn shown(&self) -> String {
        let wrong = self.wrong.first().map_or_else(String::new, |wrong| format!(" ({wrong})"));
        let Self { broken, found, made_up, checks, early, cases, .. } = self;
        format!(
            "{found} of {broken} found, {made_up} made up, {checks} of {cases} merged trees checked, {early} in mid-write{wrong}"
        )
    }
}

pub(crate) fn run(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start the runtime");
    let (mut ours, mut clean, mut conflict) = (Tally::default(), Tally::default(), Tally::default());
    let mut left_out = vec![];
    for project in all() {
        let mut bench = Bench::of(&project);
        for case in &project.cases {
            let name = format!("{} {}", project.name, case.name);
            let Some(truth) = bench.set_up(case) else {
                left_out.push(format!("{name} (does not merge, or is red alone)"));
                continue;
            };
            if !truth && !case.name.starts_with("control") {
                left_out.push(format!("{name} (its own check does not see it; counted as one that must not be told)"));
            }
            let (told, checks, early) = runtime.block_on(bench.told());
            ours.add(&name, told, truth, checks);
            ours.early += early;
            clean.add(&name, false, truth, 0);
            conflict.add(&name, true, truth, 1);
        }
    }
    ours.wrong.iter().for_each(|wrong| println!("wrong: {wrong}"));
    println!("B4 looked at {} pairs; attrition: {}", ours.cases, left_out.join("; "));
    let floor = format!("{:.0} % of merged trees checked", share(ours.checks, ours.cases) * 100.0);
    table.row("B4", "broken together", &ours.shown(), &floor, "all found, 0 made up, 0 in mid-write", ours.passes());
    table.blind("B4", "clean", &clean.shown(), clean.passes());
    table.blind("B4", "conflict", &conflict.shown(), conflict.passes());
}

struct Bench<'a> {
    project: &'a Project,
    stage: Stage,
    check: Check,
    runner: Runner,
    plain: PathBuf,
}

impl<'a> Bench<'a> {
    fn of(project: &'a Project) -> Self {
        let stage = Stage::of(&project.base);
        let runner = Runner::default().with_env("CARGO_TARGET_DIR", stage.folder().join("slot-target"));
        let (name, run, folder) = ("own".to_owned(), project.check.to_owned(), String::new());
        let check =
            Check { name, run, when: When::Edit, from: Origin::Configured, needs: vec![], folder, path: vec![] };
        let plain = stage.folder().join("plain");
        Self { project, stage, check, runner, plain }
    }

    /// Two sides as the case has them. Whether they fail together and not alone; none if they do not merge.
    fn set_up(&mut self, case: &Case) -> Option<bool> {
        self.stage.sides.clear();
        for (nr, edits) in case.sides.iter().enumerate() {
            let root = self.stage.folder().join(format!("side{nr}"));
            if root.exists() {
                git(&self.stage.clone, &["worktree", "remove", "--force", root.to_str().expect("text")]);
            }
            let root = self.stage.add_side();
            let mut side = self.project.base.clone();
            edits.iter().for_each(|edit| edit.make(&mut side));
            write_out(&root, &self.project.base, &side);
            leave(&root, Lies::of(nr + 1));
        }
        let commits = [0, 1].map(|nr| self.stage.true_commit(nr));
        let merged = self.stage.merged_tree(&commits[0], &commits[1])?;
        let alone = commits.iter().all(|commit| self.passes(commit));
        alone.then(|| !self.passes(merged.as_str()))
    }

    /// The check in a plain checkout.
    fn passes(&self, tree: &str) -> bool {
        drop(std::fs::remove_dir_all(&self.plain));
        std::fs::create_dir_all(&self.plain).expect("make a folder");
        let unpack = format!("git -C '{}' archive {tree} | tar -x", self.stage.clone.display());
        assert!(shell(&self.plain, &unpack), "unpack {tree}");
        let target = self.stage.folder().join("plain-target");
        // Cargo goes by times, which an unpacked tree has anew: nothing of the tree before may look fresh.
        drop(std::fs::remove_dir_all(&target));
        let check = format!("CARGO_TARGET_DIR='{}' {}", target.display(), self.project.check);
        shell(&self.plain, &check)
    }

    /// Whether the product tells level 3 of the two, how many merged trees it checked, and how many it would have checked while one
    /// of them was in mid-write.
    async fn told(&mut self) -> (bool, usize, usize) {
        let mut index = Index::new(Options::default());
        for (nr, rest) in [Rest::Settled, Rest::InFlux].into_iter().enumerate() {
            self.stage.see(nr, rest);
            self.stage.put(&mut index, nr);
        }
        self.stage.answer_merges(&mut index);
        let early = index.questions().len();
        self.stage.rests(1);
        self.stage.put(&mut index, 1);
        let mut checks = 0;
        for question in index.questions() {
            let answer = self.guess(&question).await;
            checks += 1;
            index.answer(&question, answer);
        }
        let broken = |f: &rr_core::overlap::Finding| f.level == Level::Broken && matches!(f.kind, Kind::Check(_));
        (index.findings().iter().any(broken), checks, early)
    }

    /// As the watcher answers it: what both together have and neither has alone.
    async fn guess(&self, question: &Question) -> Answer {
        let Question::Check { ours, theirs, .. } = question else { panic!("merges are answered: {question:?}") };
        let Merged::Clean(both) = self.stage.mirror.answer(question, None).expect("git merges") else {
            return Answer::Unanswerable("the two do not merge".to_owned());
        };
        let Some((mut left, output)) = self.red(&both).await else { return Answer::Clean };
        for alone in [ours, theirs] {
            if let Some((findings, _)) = self.red(alone).await {
                left = left.minus(&findings);
            }
        }
        let findings = left.0.iter().map(ToString::to_string).collect();
        Answer::Fails { check: self.check.name.clone(), findings, excerpt: output }
    }

    async fn red(&self, tree: &ObjectId) -> Option<(Findings, String)> {
        let standing = CheckTree::open(&self.stage.mirror, &self.stage.folder().join("slot"));
        standing.move_to(tree).expect("it moves");
        let cancel = CancellationToken::new();
        match self.runner.run(&self.check, &standing.root(), &Limits::default(), &cancel).await {
            Outcome::Green { .. } => None,
            Outcome::Red { findings, output, .. } => Some((findings, output.text)),
            Outcome::Infrastructure { why, .. } => panic!("the check says nothing: {why}"),
        }
    }
}

fn shell(folder: &Path, run: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", run]).current_dir(folder).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("sh runs").success()
}
