//! Subcommands that move the whole work tree or write in places of their own: merges, rebases, worktrees, clones,
//! submodules, patches as files.

use super::GitCall;
use crate::field::{Bit, Field};
use crate::findings::Findings;
use crate::model::GitResource::{Head, Index, Refs, Worktrees};
use crate::model::{How, Target, TreeUse};

pub(super) fn effect(git: &GitCall<'_>, out: &mut Findings) -> bool {
    match git.command.as_str() {
        "merge" | "rebase" | "pull" | "cherry-pick" | "revert" | "am" => history(git, out),
        "bisect" => bisect(git, out),
        "worktree" => worktree(git, out),
        "clone" => clone(git, out),
        "init" => init(git, out),
        "submodule" => submodule(git, out),
        "sparse-checkout" => {
            if git.args.first().and_then(Field::known) != Some("list") {
                git.uses(&[Index], TreeUse::Moves, Vec::new(), false, out);
            }
        }
        "read-tree" => {
            let parsed = git.parsed("", &["--prefix", "--exclude-per-directory"], out);
            let moves = parsed.has(&["-u", "--reset"]);
            let tree = if moves { TreeUse::Moves } else { TreeUse::Untouched };
            git.uses(&[Index], tree, Vec::new(), false, out);
        }
        "checkout-index" => git.uses(&[Index], TreeUse::Moves, Vec::new(), false, out),
        "filter-branch" | "filter-repo" => {
            git.uses(&[Head, Index, Refs], TreeUse::Moves, Vec::new(), true, out);
            git.unforeseen("rewrites history and runs filters", out);
        }
        "format-patch" => format_patch(git, out),
        "archive" => output_file(git, &["-o", "--output"], out),
        "bundle" => bundle(git, out),
        _ => return false,
    }
    true
}

fn history(git: &GitCall<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--message",
        "--strategy",
        "--strategy-option",
        "--into-name",
        "--onto",
        "--exec",
        "--mainline",
        "--cleanup",
        "--file",
        "--upload-pack",
        "--depth",
        "--server-option",
        "--patch-format",
        "--directory",
    ];
    let short = match git.command.as_str() {
        "cherry-pick" | "revert" => "m:s:X:S?",
        "am" => "p:C:S?",
        "rebase" => "s:X:x:C:S?",
        _ => "m:s:X:F:S?",
    };
    let parsed = git.parsed(short, LONG, out);
    if git.command == "rebase" && parsed.has(&["-x", "--exec"]) {
        git.unforeseen("runs commands after each commit", out);
    }
    if parsed.has(&["--upload-pack"]) {
        git.unforeseen("runs another program", out);
    }
    if git.command == "am" && parsed.has(&["--show-current-patch"]) {
        return;
    }
    git.uses(&[Head, Index, Refs], TreeUse::Moves, Vec::new(), true, out);
}

fn bisect(git: &GitCall<'_>, out: &mut Findings) {
    match git.args.first().and_then(Field::known) {
        Some("log" | "view" | "visualize" | "terms" | "help") => return,
        Some("run") => git.unforeseen("runs a command on each step", out),
        _ => {}
    }
    git.uses(&[Head, Index, Refs], TreeUse::Moves, Vec::new(), true, out);
}

fn worktree(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("b:B:", &["--reason", "--expire", "--orphan"], out);
    let operands = parsed.operands.get(1..).unwrap_or_default();
    let verb = parsed.operands.first().and_then(Field::known);
    let (how, count): (How, usize) = match verb {
        Some("list") | None => return,
        Some("add") => (How::Create, 1),
        Some("remove") => (How::Delete, 1),
        Some("move") => (How::Rename, 2),
        _ => (How::Write, 0),
    };
    let targets: Vec<Target> = operands.iter().take(count).map(|field| field.tree(git.cwd())).collect();
    for target in &targets {
        git.write(target.clone(), how, out);
    }
    let tree = if targets.is_empty() { TreeUse::Untouched } else { TreeUse::Paths };
    git.uses(&[Refs, Worktrees], tree, targets, true, out);
}

const CLONE_LONG: &[&str] = &[
    "--branch",
    "--depth",
    "--origin",
    "--reference",
    "--template",
    "--config",
    "--upload-pack",
    "--separate-git-dir",
    "--jobs",
    "--filter",
    "--shallow-since",
    "--shallow-exclude",
    "--server-option",
    "--bundle-uri",
    "--reference-if-able",
];

fn clone(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("b:o:u:c:j:", CLONE_LONG, out);
    if parsed.has(&["-u", "--upload-pack", "-c", "--config", "--template"]) {
        git.unforeseen("with these options may run other programs", out);
    }
    if let Some(folder) = parsed.value(&["--separate-git-dir"]) {
        git.write(folder.tree(git.cwd()), How::Create, out);
    }
    let (Some(source), folder) = (parsed.operands.first(), parsed.operands.get(1)) else {
        return;
    };
    let target = match (folder, source.known()) {
        (Some(folder), _) => folder.tree(git.cwd()),
        (None, Some(source)) => {
            let source = source.trim_end_matches('/').trim_end_matches("/.git");
            let name = source.rsplit(['/', ':']).next().unwrap_or(source);
            let bare = parsed.has(&["--bare", "--mirror"]);
            let name = name.trim_end_matches(".git");
            let name = if bare { format!("{name}.git") } else { name.to_owned() };
            Field::literal(name).tree(git.cwd())
        }
        (None, None) => Target::Unknown,
    };
    git.write(target, How::Create, out);
}

fn init(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("b:", &["--initial-branch", "--template", "--separate-git-dir", "--object-format"], out);
    let mut folder = parsed.operands.first().cloned().unwrap_or_else(|| Field::literal("."));
    if !parsed.has(&["--bare"]) {
        folder.push_text("/.git");
    }
    for field in parsed.values(&["--separate-git-dir"]) {
        git.write(field.tree(git.cwd()), How::Create, out);
    }
    git.write(folder.tree(git.cwd()), How::Create, out);
}

fn submodule(git: &GitCall<'_>, out: &mut Findings) {
    let verb = git.args.iter().filter_map(Field::known).find(|text| !text.starts_with('-'));
    match verb {
        Some("status" | "summary") | None => {}
        Some("foreach") => git.unforeseen("runs a command in each submodule", out),
        Some(_) => {
            git.uses(&[Index, Refs], TreeUse::Moves, Vec::new(), true, out);
            git.unforeseen("changes submodules", out);
        }
    }
}

fn format_patch(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed(
        "o:n:v:",
        &["--output-directory", "--output", "--subject-prefix", "--start-number", "--suffix", "--base"],
        out,
    );
    if parsed.has(&["--stdout"]) {
        return;
    }
    let mut folder = parsed.value(&["-o", "--output-directory"]).cloned().unwrap_or_else(|| Field::literal("."));
    folder.push_text("/");
    folder.push(Bit::Pattern("*".to_owned()));
    if parsed.has(&["--suffix", "--numbered-files"]) || parsed.options.iter().any(|(name, _)| name == "--output") {
        git.unforeseen("writes files of other names", out);
    } else {
        folder.push_text(".patch");
    }
    git.write(folder.target(git.cwd()), How::Create, out);
}

fn output_file(git: &GitCall<'_>, names: &[&str], out: &mut Findings) {
    let parsed = git.parsed("o:", &["--output", "--format", "--prefix", "--remote", "--exec"], out);
    if parsed.has(&["--remote", "--exec"]) {
        git.unforeseen("runs another program", out);
    }
    for file in parsed.values(names) {
        git.write(file.target(git.cwd()), How::Write, out);
    }
}

fn bundle(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("", &[], out);
    match parsed.operands.first().and_then(Field::known) {
        Some("create") => {
            let target = parsed.operands.get(1).map_or(Target::Unknown, |file| file.target(git.cwd()));
            git.write(target, How::Write, out);
        }
        Some("unbundle") => git.keeps_tree(&[Refs], false, out),
        _ => {}
    }
}
