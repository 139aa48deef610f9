//! `git`: which repository-wide things a subcommand uses, whether it moves or sweeps the whole work tree, and the paths
//! it names. Here: global options, the read-only subcommands, and who handles the rest.
//! It knows nothing of the repository, so a word that may be a branch or a path counts as both.

mod changes;
mod paths;
mod refs;

use std::path::PathBuf;

use crate::calls::Call;
use crate::field::{Field, resolve};
use crate::findings::Findings;
use crate::model::{GitResource, GitUse, How, Target, TreeUse};
use crate::options::{Parsed, Spec};
use crate::shell::Flow;

/// Subcommands that change nothing that is shared, whatever their options; `status` may refresh the index.
const READ_ONLY: &[&str] = &[
    "status",
    "blame",
    "annotate",
    "rev-parse",
    "rev-list",
    "ls-files",
    "ls-tree",
    "cat-file",
    "describe",
    "merge-base",
    "name-rev",
    "for-each-ref",
    "show-ref",
    "show-branch",
    "count-objects",
    "fsck",
    "var",
    "version",
    "check-ignore",
    "check-attr",
    "check-mailmap",
    "check-ref-format",
    "cherry",
    "range-diff",
    "merge-tree",
    "verify-commit",
    "verify-tag",
    "verify-pack",
    "hash-object",
    "write-tree",
    "commit-tree",
    "mktree",
    "mktag",
    "stripspace",
    "column",
    "patch-id",
    "help",
    "request-pull",
    "get-tar-commit-id",
    "unpack-file",
    "diff-pairs",
    "last-modified",
    "fmt-merge-msg",
    "show-index",
];

/// Read-only ones that can write a file with `--output`.
const WITH_OUTPUT: &[&str] =
    &["log", "diff", "show", "shortlog", "whatchanged", "diff-tree", "diff-index", "diff-files"];

/// One git command with its global options taken off.
pub(crate) struct GitCall<'c> {
    pub(crate) call: &'c Call<'c>,
    pub(crate) command: String,
    pub(crate) args: Vec<Field>,
    dir: Option<PathBuf>,
    git_dir: Option<PathBuf>,
    work_tree: Option<PathBuf>,
}

impl GitCall<'_> {
    pub(crate) fn cwd(&self) -> Option<&std::path::Path> {
        self.dir.as_deref()
    }

    /// Options and operands; unforeseen when a word could be an option.
    pub(crate) fn parsed(&self, short: &str, long: &[&str], out: &mut Findings) -> Parsed {
        let parsed = Parsed::new(&self.args, Spec::new(short, long));
        if parsed.loose {
            self.dynamic(out);
        }
        parsed
    }

    pub(crate) fn dynamic(&self, out: &mut Findings) {
        out.unforeseen(format!("a word of `git {}` is known only when it runs", self.command));
    }

    pub(crate) fn unforeseen(&self, why: &str, out: &mut Findings) {
        out.unforeseen(format!("`git {}` {why}", self.command));
    }

    pub(crate) fn write(&self, target: Target, how: How, out: &mut Findings) {
        out.write(target, how, "git");
    }

    /// Notes a use of the repository.
    pub(crate) fn uses(
        &self,
        resources: &[GitResource],
        tree: TreeUse,
        paths: Vec<Target>,
        hooks: bool,
        out: &mut Findings,
    ) {
        out.git(GitUse {
            command: self.command.clone(),
            dir: self.dir.clone(),
            git_dir: self.git_dir.clone(),
            work_tree: self.work_tree.clone(),
            resources: resources.to_vec(),
            tree,
            paths,
            hooks,
        });
    }

    /// A use that leaves the work tree alone.
    pub(crate) fn keeps_tree(&self, resources: &[GitResource], hooks: bool, out: &mut Findings) {
        self.uses(resources, TreeUse::Untouched, Vec::new(), hooks, out);
    }
}

pub(crate) fn effect(call: &Call<'_>, out: &mut Findings) {
    let Some(git) = global(call, out) else {
        return;
    };
    let name = git.command.as_str();
    if READ_ONLY.contains(&name) {
        return;
    }
    if WITH_OUTPUT.contains(&name) {
        return with_output(&git, out);
    }
    let known = paths::effect(&git, out) || changes::effect(&git, out) || refs::effect(&git, out);
    if !known {
        git.unforeseen("is an alias or a subcommand whose effects are not known", out);
    }
}

/// Names that `git ls-files` prints, below the folder it runs in.
pub(crate) fn output(call: &Call<'_>) -> Flow {
    match call.args {
        [verb] if verb.known() == Some("ls-files") => {
            let mut below = Field::literal("./");
            below.push(crate::field::Bit::Pattern("**".to_owned()));
            Flow::Paths(vec![below])
        }
        _ => Flow::Unknown,
    }
}

const GLOBAL_LONG: &[&str] =
    &["--git-dir", "--work-tree", "--namespace", "--super-prefix", "--config-env", "--attr-source"];

fn global<'c>(call: &'c Call<'c>, out: &mut Findings) -> Option<GitCall<'c>> {
    let parsed = Parsed::new(call.args, Spec::in_order("C:c:", GLOBAL_LONG));
    let (command, args) = parsed.operands.split_first()?;
    let mut dir = call.cwd.map(std::path::Path::to_path_buf);
    for (name, value) in &parsed.options {
        let known = value.as_ref().and_then(Field::known);
        match name.as_str() {
            "-C" => dir = known.and_then(|text| resolve(dir.as_deref(), text)),
            "-c" | "--config-env" if !known.is_some_and(is_harmless_setting) => {
                out.unforeseen("`git -c` sets something that may run a program");
            }
            "--exec-path" if value.is_some() => {
                out.unforeseen("`git --exec-path` runs other programs");
            }
            _ => {}
        }
    }
    let variable = |name: &str| {
        let (_, value) = call.assignments.iter().find(|(given, _)| given == name)?;
        resolve(dir.as_deref(), value.known()?)
    };
    let option = |name: &str| {
        let value = parsed.value(&[name])?.known()?;
        resolve(dir.as_deref(), value)
    };
    let git_dir = option("--git-dir").or_else(|| variable("GIT_DIR"));
    let work_tree = option("--work-tree").or_else(|| variable("GIT_WORK_TREE"));
    let Some(name) = command.known() else {
        call.dynamic(out);
        return None;
    };
    let name = name.to_owned();
    Some(GitCall {
        call,
        command: name,
        args: args.to_vec(),
        // Outside of the work tree, git names paths from its top.
        dir: match (&work_tree, dir) {
            (Some(tree), Some(dir)) if dir.starts_with(tree) => Some(dir),
            (Some(tree), _) => Some(tree.clone()),
            (None, dir) => dir,
        },
        git_dir,
        work_tree,
    })
}

/// Settings given with `-c` that run nothing.
fn is_harmless_setting(setting: &str) -> bool {
    let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
    let key = key.to_ascii_lowercase();
    let prefixes = [
        "user.",
        "author.",
        "committer.",
        "color.",
        "advice.",
        "i18n.",
        "log.",
        "status.",
        "column.",
        "format.",
        "grep.",
    ];
    let keys = [
        "core.quotepath",
        "core.autocrlf",
        "core.safecrlf",
        "core.filemode",
        "core.ignorecase",
        "core.longpaths",
        "core.precomposeunicode",
        "commit.gpgsign",
        "tag.gpgsign",
        "init.defaultbranch",
        "merge.conflictstyle",
        "merge.renames",
        "diff.renames",
        "diff.algorithm",
        "diff.noprefix",
        "diff.mnemonicprefix",
        "pull.rebase",
        "pull.ff",
        "push.default",
        "rebase.autosquash",
        "rerere.enabled",
        "safe.directory",
        "protocol.version",
        "gc.auto",
        "maintenance.auto",
        "fetch.prune",
        "fetch.parallel",
        "index.version",
        "core.commentchar",
        "http.postbuffer",
        "http.sslverify",
        "submodule.recurse",
        "core.abbrev",
        "core.preloadindex",
    ];
    let quiet_pager = matches!(key.as_str(), "core.pager" | "core.editor" | "sequence.editor")
        && matches!(value, "cat" | "" | "less" | "true" | ":");
    let hooks_off = key == "core.hookspath" && value == "/dev/null";
    prefixes.iter().any(|prefix| key.starts_with(prefix)) || keys.contains(&key.as_str()) || quiet_pager || hooks_off
}

/// `log`, `diff`, `show` and their kin: only `--output` writes.
fn with_output(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("n:S:G:L:O:l:", &["--output", "--format", "--author", "--since", "--until", "--grep"], out);
    for (name, value) in &parsed.options {
        match name.as_str() {
            "--output" => {
                let target = value.as_ref().map_or(Target::Unknown, |file| file.target(git.cwd()));
                git.write(target, How::Write, out);
            }
            "--ext-diff" => git.unforeseen("runs another program", out),
            _ => {}
        }
    }
}
