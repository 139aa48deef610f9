//! `rrctl policy`: what the rules of `railroad.yaml` and the built-in ones say, without running anything. What the three
//! share is here: finding the file and judging a command as an agent in this folder would be judged.

mod check;
mod explain;
mod list;

use std::path::{Path, PathBuf};

use rr_policy::{Call, Foreseen, Hit, Judgement, Origin, Policy};
use rr_runtime::config::{FILE_BYTES_MAX, REPO_FILE, RepoConfig};
use rr_shell::{Analysis, Env};
use serde_json::{Value, json};

use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Check the policy in railroad.yaml, explain what it says to a command, or hold it to a list of your own
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Check(check::Args),
    Explain(explain::Args),
    Test(list::Args),
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    match &args.what {
        What::Check(args) => check::run(args, hand),
        What::Explain(args) => explain::run(args, hand),
        What::Test(args) => list::run(args, hand),
    }
}

/// Where the person stands.
struct Place {
    here: PathBuf,
    root: Option<PathBuf>,
    home: Option<PathBuf>,
}

impl Place {
    fn find() -> Result<Self, Failure> {
        let here = std::env::current_dir().map_err(|e| Failure::at("find the present folder", &e))?;
        let worktree = rr_git::Worktree::discover(&here).map_err(|e| Failure::at("look for a repository", &e))?;
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Ok(Self { root: worktree.map(|w| w.root), home, here })
    }

    /// The file that was named, or the repository's own.
    fn file(&self, named: Option<&Path>) -> PathBuf {
        named.map_or_else(|| self.root.as_deref().unwrap_or(&self.here).join(REPO_FILE), Path::to_path_buf)
    }

    fn analyse(&self, command: &str) -> Analysis {
        rr_shell::analyse(command, &Env { cwd: &self.here, home: self.home.as_deref() })
    }

    fn judge(&self, policy: &Policy, command: &str, analysis: &Analysis) -> Judgement {
        let Foreseen { reads, writes } = Foreseen::of(analysis);
        let temporary = [std::env::temp_dir()];
        policy.judge(&Call {
            agent: "",
            tool: "Bash",
            command: Some(command),
            analysis: Some(analysis),
            reads: &reads,
            writes: &writes,
            root: self.root.as_deref(),
            home: self.home.as_deref(),
            temporary: &temporary,
        })
    }
}

/// The file's configuration; one that was named must be there, and no file is all defaults.
fn read(file: &Path, named: bool) -> Result<RepoConfig, Failure> {
    let what = || format!("read {}", file.display());
    let found = std::fs::metadata(file);
    let text = match found {
        Ok(found) if !found.is_file() => {
            return Err(Failure::new(Kind::Usage, what()).because("not a regular file"));
        }
        Ok(found) if found.len() > FILE_BYTES_MAX => {
            return Err(Failure::new(Kind::Usage, what()).because(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => String::new(),
        _ => std::fs::read_to_string(file).map_err(|e| Failure::at(what(), &e).of_kind(Kind::NotFound))?,
    };
    RepoConfig::parse(&text, file).map_err(|e| {
        Failure::new(Kind::Usage, "the policy cannot be used")
            .because(e)
            .hint("until it is mended, the last good version holds")
    })
}

fn policy_of(named: Option<&Path>, place: &Place) -> Result<Policy, Failure> {
    let config = read(&place.file(named), named.is_some())?;
    Ok(Policy::compile(&config.policy()).policy)
}

/// The word for a judgement, as `rrctl policy test` lists have it.
const fn word(judgement: &Judgement) -> &'static str {
    match judgement {
        Judgement::Pass => "pass",
        Judgement::Shadowed(_) => "shadow",
        Judgement::Approve(_) => "ask",
        Judgement::Deny(_) => "refuse",
    }
}

fn hits(judgement: &Judgement) -> Vec<&Hit> {
    match judgement {
        Judgement::Pass => Vec::new(),
        Judgement::Shadowed(hits) => hits.iter().collect(),
        Judgement::Approve(hit) | Judgement::Deny(hit) => vec![hit],
    }
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::DefaultSet => "built in".to_owned(),
        Origin::Line(line) => format!("{REPO_FILE}:{line}"),
    }
}

fn hit_json(hit: &Hit) -> Value {
    json!({
        "rule": hit.rule, "origin": origin(hit.origin), "matched": hit.what, "because": hit.because, "instead": hit.instead,
    })
}
