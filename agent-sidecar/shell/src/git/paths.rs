//! Subcommands that may be held to named paths: `add`, `commit`, `rm`, `mv`, `restore`, `checkout`, `reset`, `stash`,
//! `clean`, `apply`. Without paths they take or move the whole work tree.

use super::GitCall;
use crate::calls::placed;
use crate::field::{Field, resolve};
use crate::findings::Findings;
use crate::model::GitResource::{Head, Index, Refs, Stash};
use crate::model::{How, Target, TreeUse};
use crate::options::Parsed;
use crate::programs::diff_targets;
use crate::shell::Flow;

pub(super) fn effect(git: &GitCall<'_>, out: &mut Findings) -> bool {
    match git.command.as_str() {
        "add" | "stage" => add(git, out),
        "commit" => commit(git, out),
        "rm" => remove(git, out),
        "mv" => rename(git, out),
        "restore" => restore(git, out),
        "checkout" => checkout(git, out),
        "switch" => switch(git, out),
        "reset" => reset(git, out),
        "stash" => stash(git, out),
        "clean" => clean(git, out),
        "apply" => apply(git, out),
        _ => return false,
    }
    true
}

/// Path arguments, as git reads them.
struct Paths {
    targets: Vec<Target>,
    /// One of them is the folder it runs in, the top, or a pattern over all of it.
    whole: bool,
}

fn pathspecs(git: &GitCall<'_>, fields: &[Field], out: &mut Findings) -> Paths {
    let mut paths = Paths { targets: Vec::new(), whole: false };
    for field in fields {
        let text = field.known();
        let magic = text.is_some_and(|text| text.starts_with(':'));
        let target = match text {
            // An own pattern of git: everything below its literal folder.
            Some(text) if !magic && text.contains(['*', '?', '[']) => {
                let literal = text.find(['*', '?', '[']).unwrap_or(0);
                let folder = text[..literal].rfind('/').map_or("", |slash| &text[..slash]);
                Field::literal(if folder.is_empty() { "." } else { folder }).tree(git.cwd())
            }
            _ => field.tree(git.cwd()),
        };
        let above = match &target {
            Target::Tree(path) => git.cwd().is_some_and(|cwd| cwd.starts_with(path)),
            Target::Glob { dir, pattern } => git.cwd() == Some(dir.as_path()) && matches!(pattern.as_str(), "*" | "**"),
            _ => false,
        };
        if matches!(target, Target::Unknown) && !magic {
            git.dynamic(out);
        }
        paths.whole |= magic || above || matches!(target, Target::Unknown);
        if !magic {
            paths.targets.push(target);
        }
    }
    paths
}

fn tree_use(paths: &Paths, whole: TreeUse) -> TreeUse {
    if paths.whole { whole } else { TreeUse::Paths }
}

/// Writes each target, where the work tree's files change.
fn write_all(git: &GitCall<'_>, paths: &Paths, how: How, out: &mut Findings) {
    for target in &paths.targets {
        if !matches!(target, Target::Unknown) {
            git.write(target.clone(), how, out);
        }
    }
}

fn from_file(parsed: &Parsed) -> bool {
    parsed.has(&["--pathspec-from-file"])
}

fn add(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("", &["--chmod", "--pathspec-from-file"], out);
    if parsed.has(&["-n", "--dry-run"]) {
        return;
    }
    let paths = pathspecs(git, &parsed.operands, out);
    let sweeping = [
        "-A",
        "--all",
        "-u",
        "--update",
        "--no-ignore-removal",
        "-p",
        "--patch",
        "-i",
        "--interactive",
        "-e",
        "--edit",
        "--renormalize",
    ];
    let all = parsed.operands.is_empty() && parsed.has(&sweeping) || from_file(&parsed);
    if parsed.operands.is_empty() && !all {
        return;
    }
    let tree = if all { TreeUse::Sweeps } else { tree_use(&paths, TreeUse::Sweeps) };
    git.uses(&[Index], tree, paths.targets, false, out);
}

fn commit(git: &GitCall<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--message",
        "--file",
        "--reuse-message",
        "--reedit-message",
        "--template",
        "--author",
        "--date",
        "--fixup",
        "--squash",
        "--cleanup",
        "--trailer",
        "--pathspec-from-file",
    ];
    let parsed = git.parsed("m:F:C:c:t:S?u?", LONG, out);
    for file in parsed.values(&["-F", "--file"]) {
        out.read(file, git.cwd());
    }
    if parsed.has(&["--dry-run", "--short", "--porcelain"]) {
        return;
    }
    let hooks = !parsed.has(&["-n", "--no-verify"]);
    let all = parsed.has(&["-a", "--all", "-p", "--patch", "--interactive"]) || from_file(&parsed);
    let paths = pathspecs(git, &parsed.operands, out);
    let tree = match (all, parsed.operands.is_empty()) {
        (true, _) => TreeUse::Sweeps,
        (false, true) => TreeUse::Untouched,
        (false, false) => tree_use(&paths, TreeUse::Sweeps),
    };
    git.uses(&[Head, Index, Refs], tree, paths.targets, hooks, out);
}

fn remove(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("", &["--pathspec-from-file"], out);
    if parsed.has(&["-n", "--dry-run"]) {
        return;
    }
    let paths = pathspecs(git, &parsed.operands, out);
    let cached = parsed.has(&["--cached"]);
    if !cached {
        write_all(git, &paths, How::Delete, out);
    }
    let whole = paths.whole || from_file(&parsed);
    let tree = match (whole, cached) {
        (true, true) => TreeUse::Sweeps,
        (true, false) => TreeUse::Moves,
        (false, _) => TreeUse::Paths,
    };
    git.uses(&[Index], tree, paths.targets, false, out);
}

fn rename(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("", &[], out);
    if parsed.has(&["-n", "--dry-run"]) {
        return;
    }
    let Some((dest, sources)) = parsed.operands.split_last() else {
        return;
    };
    let mut targets = Vec::new();
    for source in sources {
        targets.push(source.tree(git.cwd()));
        targets.push(placed(source, dest, git.cwd(), sources.len() > 1, true));
    }
    for target in &targets {
        git.write(target.clone(), How::Rename, out);
    }
    git.uses(&[Index], TreeUse::Paths, targets, false, out);
}

fn restore(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("s:U:", &["--source", "--conflict", "--pathspec-from-file"], out);
    let paths = pathspecs(git, &parsed.operands, out);
    let staged = parsed.has(&["-S", "--staged"]);
    let worktree = !staged || parsed.has(&["-W", "--worktree"]);
    let whole = paths.whole || from_file(&parsed) || (parsed.operands.is_empty() && parsed.has(&["-p", "--patch"]));
    if worktree {
        write_all(git, &paths, How::Write, out);
    }
    let tree = match (whole, worktree) {
        (true, true) => TreeUse::Moves,
        (true, false) => TreeUse::Untouched,
        (false, _) => TreeUse::Paths,
    };
    git.uses(&[Index], tree, paths.targets, false, out);
}

fn checkout(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("b:B:", &["--orphan", "--conflict", "--pathspec-from-file"], out);
    if let Some(dashes) = parsed.before_dashes {
        let from = dashes.min(parsed.operands.len());
        if parsed.operands.len() > from {
            return checkout_paths(git, &parsed.operands[from..], out);
        }
    }
    if parsed.has(&["-b", "-B", "--orphan"]) {
        let stays = parsed.operands.is_empty() || parsed.operands[0].known() == Some("HEAD");
        let tree = if stays { TreeUse::Untouched } else { TreeUse::Moves };
        return git.uses(&[Head, Index, Refs], tree, Vec::new(), true, out);
    }
    match parsed.operands.as_slice() {
        [] if parsed.has(&["-p", "--patch", "-f", "--force", "--detach", "--pathspec-from-file"]) => {
            git.uses(&[Head, Index], TreeUse::Moves, Vec::new(), true, out);
        }
        [] => {}
        [one] => {
            let paths = pathspecs(git, std::slice::from_ref(one), out);
            git.uses(&[Head, Index], TreeUse::Moves, paths.targets, true, out);
        }
        [first, rest @ ..] if is_revision(first) => checkout_paths(git, rest, out),
        // The first may be a branch or a path.
        operands => checkout_paths(git, operands, out),
    }
}

fn checkout_paths(git: &GitCall<'_>, fields: &[Field], out: &mut Findings) {
    let paths = pathspecs(git, fields, out);
    write_all(git, &paths, How::Write, out);
    let tree = tree_use(&paths, TreeUse::Moves);
    git.uses(&[Index], tree, paths.targets, true, out);
}

/// Whether a word can only be a revision.
fn is_revision(field: &Field) -> bool {
    field.known().is_some_and(|text| {
        text == "HEAD"
            || text == "-"
            || text.contains(['~', '^'])
            || text.contains("@{")
            || text.len() >= 7 && text.chars().all(|c| c.is_ascii_hexdigit())
    })
}

fn switch(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("c:C:", &["--create", "--force-create", "--orphan", "--conflict"], out);
    let creates = parsed.has(&["-c", "-C", "--create", "--force-create"]);
    let stays = creates && (parsed.operands.is_empty() || parsed.operands[0].known() == Some("HEAD"));
    if creates || parsed.has(&["--orphan"]) {
        let tree = if stays { TreeUse::Untouched } else { TreeUse::Moves };
        git.uses(&[Head, Index, Refs], tree, Vec::new(), true, out);
    } else {
        git.uses(&[Head, Index], TreeUse::Moves, Vec::new(), true, out);
    }
}

fn reset(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("", &["--pathspec-from-file"], out);
    if parsed.has(&["--hard", "--merge", "--keep"]) {
        return git.uses(&[Head, Index, Refs], TreeUse::Moves, Vec::new(), false, out);
    }
    if parsed.has(&["--soft"]) {
        return git.keeps_tree(&[Head, Refs], false, out);
    }
    let after = parsed.before_dashes.unwrap_or(0);
    let fields = match parsed.operands.as_slice() {
        operands if parsed.before_dashes.is_some() => &operands[after.min(operands.len())..],
        [first, rest @ ..] if is_revision(first) => rest,
        [_] | [] => &[],
        operands => operands,
    };
    if !fields.is_empty() {
        let paths = pathspecs(git, fields, out);
        return git.uses(&[Index], TreeUse::Paths, paths.targets, false, out);
    }
    let moves_head = match parsed.operands.first() {
        Some(field) => field.known() != Some("HEAD"),
        None => false,
    };
    if moves_head {
        git.keeps_tree(&[Head, Index, Refs], false, out);
    } else {
        git.keeps_tree(&[Index], false, out);
    }
}

fn stash(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("m:", &["--message", "--pathspec-from-file"], out);
    let verb = parsed.operands.first().and_then(Field::known);
    let whole = |out: &mut Findings| {
        git.uses(&[Index, Stash], TreeUse::SweepsAndMoves, Vec::new(), false, out);
    };
    match verb {
        Some("list" | "show") => {}
        Some("drop" | "clear" | "store" | "create") => git.keeps_tree(&[Stash], false, out),
        Some("pop" | "apply") => git.uses(&[Index, Stash], TreeUse::Moves, Vec::new(), false, out),
        Some("branch") => {
            git.uses(&[Head, Index, Refs, Stash], TreeUse::Moves, Vec::new(), true, out);
        }
        Some("push") if parsed.operands.len() > 1 && !from_file(&parsed) => {
            stash_paths(git, &parsed.operands[1..], out);
        }
        None if parsed.before_dashes.is_some() && !parsed.operands.is_empty() => {
            stash_paths(git, &parsed.operands, out);
        }
        Some("push" | "save") | None => whole(out),
        Some(_) if parsed.before_dashes == Some(0) => stash_paths(git, &parsed.operands, out),
        Some(_) => whole(out),
    }
}

fn stash_paths(git: &GitCall<'_>, fields: &[Field], out: &mut Findings) {
    let paths = pathspecs(git, fields, out);
    write_all(git, &paths, How::Write, out);
    let tree = tree_use(&paths, TreeUse::SweepsAndMoves);
    git.uses(&[Index, Stash], tree, paths.targets, false, out);
}

fn clean(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("e:", &["--exclude"], out);
    if parsed.has(&["-n", "--dry-run"]) {
        return;
    }
    let paths = pathspecs(git, &parsed.operands, out);
    write_all(git, &paths, How::Delete, out);
    let tree = if parsed.operands.is_empty() { TreeUse::Moves } else { tree_use(&paths, TreeUse::Moves) };
    git.uses(&[], tree, paths.targets, false, out);
}

fn apply(git: &GitCall<'_>, out: &mut Findings) {
    let parsed =
        git.parsed("p:C:", &["--directory", "--exclude", "--include", "--whitespace", "--build-fake-ancestor"], out);
    let only_asks = parsed.has(&["--check", "--stat", "--numstat", "--summary"]) && !parsed.has(&["--apply"]);
    if only_asks {
        return;
    }
    for file in &parsed.operands {
        out.read(file, git.cwd());
    }
    let strip = match parsed.value(&["-p"]) {
        Some(field) => field.known().and_then(|text| text.parse().ok()),
        None => Some(1),
    };
    let from_stdin = parsed.operands.iter().all(|field| field.known() == Some("-"));
    let plain = !parsed.has(&["--directory", "-R", "--reverse", "--reject", "--build-fake-ancestor"]);
    let mut targets = Vec::new();
    match (git.call.stdin, strip) {
        (Flow::Text(text), Some(strip)) if from_stdin && plain => {
            for (path, how) in diff_targets(text, strip) {
                let target = resolve(git.cwd(), &path).map_or(Target::Unknown, Target::File);
                if !parsed.has(&["--cached"]) {
                    git.write(target.clone(), how, out);
                }
                targets.push(target);
            }
        }
        _ => git.unforeseen("changes the files that its patch names", out),
    }
    let resources: &[_] = if parsed.has(&["--cached", "--index", "-3", "--3way"]) { &[Index] } else { &[] };
    git.uses(resources, TreeUse::Paths, targets, false, out);
}
