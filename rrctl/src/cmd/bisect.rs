//! `rrctl bisect`: who broke a command, for a person and without a fleet. The search is `crate::bisect`'s; here it is
//! told.

use rr_core::culprit::{Nature, Verdict, Why};
use rr_core::id::CommitId;
use rr_git::{History, QueuedCommit, Worktree};
use rr_proto::{v1, verdict_word};
use serde_json::{Value, json};

use crate::bisect::ground::Ground;
use crate::bisect::{Found, Made, Search};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::out;
use crate::table::plain;
use crate::watch::health::took;
use crate::watch::{CELL_CHARS_MAX, commit, count, cut, indented, proof};

/// Lines of the last failing output that are shown.
const OUTPUT_LINES_MAX: usize = 30;

/// Find the commit that broke a command, proven both ways: red with it, green without it
///
/// Builds the commits between GREEN and RED (by first parents) in a work tree of its own, so nothing here is touched,
/// and no daemon is needed. The command ends with 0 on a good commit, with 125 where it cannot say, with anything else
/// up to 124 on a bad one. It runs in the root of that work tree, which is no git repository.
///
/// Ends with 0 if a commit is proven, 2 if the command fails by chance alone, 3 if nothing can be proven.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A commit on which the command passed
    green: String,
    /// A later one on which it fails
    red: String,
    /// How often the command fails by chance, in percent; 0 for a compiler
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    flake: f64,
    /// The command and its arguments
    #[arg(required = true, last = true)]
    command: Vec<String>,
}

fn percent(typed: &str) -> Result<f64, String> {
    match typed.parse::<f64>() {
        Ok(percent) if (0.0..=50.0).contains(&percent) => Ok(percent),
        _ => Err("a number from 0 to 50".to_owned()),
    }
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
    let tree = Worktree::discover(&here).map_err(|e| Failure::at("look for a repository", &e))?;
    let tree = tree.ok_or_else(|| {
        Failure::new(Kind::NotFound, "this folder is in no work tree").hint("go to the one that is meant")
    })?;
    let (green, red) = (revision(&tree, &args.green)?, revision(&tree, &args.red)?);
    let ground = Ground::prepare(&hand.dirs.state.join("bisect"), &tree, (green, &red), &args.command)?;
    let commits = ground.commits.len();
    if !hand.wants_json() {
        let about = count(proof::expected(commits), "build");
        out::text(&format!("{} to search, about {about}\n", count(commits, "commit")))?;
    }
    let nature = if args.flake > 0.0 { Nature::Test { flake: args.flake / 100.0 } } else { Nature::Compile };
    let mut output = String::new();
    let suspects: Vec<v1::Suspect> = ground.commits.iter().map(suspect).collect();
    let (found, made) = Search { commits, nature }.run(&ground, |n, made| {
        if made.run.verdict == Verdict::Red {
            output = ground.last_output();
        }
        if hand.wants_json() { Ok(()) } else { out::text(&line(n, made, &suspects)) }
    })?;
    hand.answer(&as_json(&found, &made, &suspects, &output), || as_text(&found, &suspects, &output))?;
    outcome(&found)
}

fn revision(tree: &Worktree, typed: &str) -> Result<CommitId, Failure> {
    let not_found = |cause: String| {
        Failure::new(Kind::NotFound, format!("{} is no commit here", plain(typed))).because(cause).hint("git log")
    };
    if typed.starts_with('-') {
        return Err(not_found("a commit's name does not begin with a dash".to_owned()));
    }
    let found = History::at(&tree.root).named(&[format!("{typed}^{{commit}}")]);
    let ids = found.map_err(|e| not_found(plain(&crate::exit::chain(&e))))?;
    match ids.as_slice() {
        [one] => CommitId::parse(one).map_err(|e| not_found(e.to_string())),
        _ => Err(not_found(format!("it names {}", count(ids.len(), "commit")))),
    }
}

fn suspect(commit: &QueuedCommit) -> v1::Suspect {
    v1::Suspect {
        commit: commit.id.to_string(),
        session: commit.session.as_ref().map(ToString::to_string).unwrap_or_default(),
        author: commit.author.clone(),
        subject: commit.subject.clone(),
        at_unix_s: commit.at_unix_s,
        weight: 0.0,
    }
}

fn line(n: usize, made: &Made, suspects: &[v1::Suspect]) -> String {
    let what = proof::words(&(&made.run).into(), suspects);
    format!("build {n:<3} {:<10} {:<8} {what}\n", verdict_word(made.run.verdict), took(made.took_ms))
}

fn as_text(found: &Found, suspects: &[v1::Suspect], output: &str) -> String {
    let of = |at: &usize| suspects.get(*at).map(named).unwrap_or_default();
    match found {
        Found::Flake => "\nNobody: the command passes on RED too, or fails there only by chance. Is RED the commit on which it fails?\n".to_owned(),
        Found::NotProven { why, most_likely } => {
            let mut text = format!("\nNot proven: {}.\n", why_not(*why));
            for at in most_likely.iter().take(3) {
                text.push_str(&format!("Likely    {}\n", of(at)));
            }
            text
        }
        Found::Culprit(culprit) => {
            let mut text = "\n".to_owned();
            for at in &culprit.suspects {
                text.push_str(&format!("Culprit   {}\n", of(at)));
            }
            text.push_str(&format!("          {}\n", proof::how(&v1::CulpritProof::from(culprit).how)));
            let (with, without) = (culprit.proof.with + 1, culprit.proof.without + 1);
            text.push_str(&format!("Proof     red with it (build {with}), green without it (build {without})\n"));
            if !output.trim().is_empty() {
                let lines = output.lines().count();
                let end: Vec<&str> = output.lines().skip(lines.saturating_sub(OUTPUT_LINES_MAX)).collect();
                text.push_str(&format!(
                    "\nThe end of what it said when it failed last:\n{}",
                    indented(&end.join("\n"), OUTPUT_LINES_MAX)
                ));
            }
            let first = culprit.suspects.first().and_then(|at| suspects.get(*at));
            let first = first.map(|s| commit(&s.commit)).unwrap_or_default();
            text + &format!("\nWhat to type next: git show {first}, or git revert {first}\n")
        }
    }
}

fn named(suspect: &v1::Suspect) -> String {
    let (author, subject) = (cut(&suspect.author, CELL_CHARS_MAX), cut(&suspect.subject, CELL_CHARS_MAX));
    format!("{} by {author}: {subject}", commit(&suspect.commit))
}

const fn why_not(why: Why) -> &'static str {
    match why {
        Why::BaseIsRed => "it fails on GREEN too",
        Why::LimitReached => "more builds would not end it",
        Why::Unresolved => "what would decide it cannot be built",
        Why::NothingFits => "no commit, and no two, explain what was seen",
        Why::NoSuspect => "none of these commits can have done it",
    }
}

fn as_json(found: &Found, made: &[Made], suspects: &[v1::Suspect], output: &str) -> Value {
    let build = |made: &Made| {
        let v1::Build { what, of, verdict } = (&made.run).into();
        json!({ "what": what, "of": of, "verdict": verdict, "took_ms": made.took_ms })
    };
    let commits = |these: &[usize]| -> Vec<Value> {
        let of = |s: &v1::Suspect| json!({ "commit": s.commit, "author": s.author, "subject": s.subject });
        these.iter().filter_map(|at| suspects.get(*at)).map(of).collect()
    };
    let (outcome, culprits, likely) = match found {
        Found::Culprit(culprit) => ("found", commits(&culprit.suspects), vec![]),
        Found::Flake => ("flake", vec![], vec![]),
        Found::NotProven { most_likely, .. } => ("not_proven", vec![], commits(most_likely)),
    };
    let mut value = json!({
        "outcome": outcome, "commits": suspects.len(), "builds": made.iter().map(build).collect::<Vec<_>>(),
        "culprits": culprits, "most_likely": likely, "how": null, "proof": null, "why": null, "output": output,
    });
    match found {
        Found::Culprit(culprit) => {
            value["how"] = json!(culprit.how);
            value["proof"] = json!({ "red": culprit.proof.with + 1, "green": culprit.proof.without + 1 });
        }
        Found::NotProven { why, .. } => value["why"] = json!(why),
        Found::Flake => {}
    }
    value
}

/// The exit codes that this command's help names, for scripts that go on from here.
fn outcome(found: &Found) -> Result<(), Failure> {
    let told = |kind| Err(Failure::new(kind, "nobody is proven").told());
    match found {
        Found::Culprit(_) => Ok(()),
        Found::Flake => told(Kind::Usage),
        Found::NotProven { .. } => told(Kind::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_has_the_exit_code_that_the_help_names() {
        let code = |found| outcome(&found).map_or_else(|f| f.kind.code(), |()| 0);
        assert_eq!(code(Found::Flake), 2);
        assert_eq!(code(Found::NotProven { why: Why::BaseIsRed, most_likely: vec![] }), 3);
    }

    #[test]
    fn chance_is_a_share_and_never_more_than_half() {
        assert_eq!(percent("2.5"), Ok(2.5));
        for typed in ["-1", "51", "x", "NaN", "inf"] {
            assert!(percent(typed).is_err(), "{typed}");
        }
    }
}
