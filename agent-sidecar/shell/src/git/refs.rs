//! Subcommands that change references, settings or the index and leave the work tree alone: `branch`, `tag`, `fetch`,
//! `push`, `config`, `gc`, ... Their listing forms change nothing.

use super::GitCall;
use crate::field::Field;
use crate::findings::Findings;
use crate::model::GitResource::{Config, Head, Index, Refs};
use crate::model::How;

pub(super) fn effect(git: &GitCall<'_>, out: &mut Findings) -> bool {
    match git.command.as_str() {
        "branch" => branch(git, out),
        "tag" => tag(git, out),
        "fetch" | "push" | "ls-remote" | "send-pack" | "fetch-pack" => transfer(git, out),
        "remote" => {
            let parsed = git.parsed("t:m:", &[], out);
            match verb(&parsed.operands) {
                Some("show" | "get-url") | None => {}
                _ => git.keeps_tree(&[Refs, Config], false, out),
            }
        }
        "config" => config(git, out),
        "reflog" => {
            if let Some("expire" | "delete" | "drop" | "write") = verb(&git.args) {
                git.keeps_tree(&[Refs], false, out);
            }
        }
        "notes" => match verb(&git.args) {
            Some("list" | "show" | "get-ref") | None => {}
            _ => git.keeps_tree(&[Refs], false, out),
        },
        "gc" | "prune" | "repack" | "pack-refs" | "maintenance" | "commit-graph" | "multi-pack-index"
        | "pack-objects" | "update-server-info" | "replace" | "unpack-objects" | "index-pack" => {
            git.keeps_tree(&[Refs], false, out);
        }
        "update-ref" => git.keeps_tree(&[Head, Refs], false, out),
        "symbolic-ref" => {
            let parsed = git.parsed("m:", &[], out);
            if parsed.operands.len() > 1 || parsed.has(&["-d", "--delete"]) {
                git.keeps_tree(&[Head, Refs], false, out);
            }
        }
        "update-index" => git.keeps_tree(&[Index], false, out),
        "grep" => {
            let parsed = git.parsed("e:f:m:A:B:C:O?", &["--max-depth", "--threads"], out);
            if parsed.has(&["-O", "--open-files-in-pager"]) {
                git.unforeseen("runs another program", out);
            }
        }
        "interpret-trailers" => {
            let parsed = git.parsed("", &["--trailer", "--where", "--if-exists", "--if-missing"], out);
            for file in parsed.operands.iter().filter(|_| parsed.has(&["--in-place"])) {
                git.write(file.target(git.cwd()), How::Write, out);
            }
        }
        "lfs" => match verb(&git.args) {
            Some("ls-files" | "status" | "env" | "version" | "logs") => {}
            _ => git.unforeseen("may change files of the work tree", out),
        },
        _ => return false,
    }
    true
}

fn verb(args: &[Field]) -> Option<&str> {
    args.iter().filter_map(Field::known).find(|text| !text.starts_with('-'))
}

fn branch(git: &GitCall<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--contains",
        "--no-contains",
        "--merged",
        "--no-merged",
        "--points-at",
        "--sort",
        "--format",
        "--set-upstream-to",
    ];
    let parsed = git.parsed("u:", LONG, out);
    let changing = [
        "-d",
        "-D",
        "--delete",
        "-m",
        "-M",
        "--move",
        "-c",
        "-C",
        "--copy",
        "-f",
        "--force",
        "-u",
        "--set-upstream-to",
        "--unset-upstream",
        "--edit-description",
        "-t",
    ];
    let listing = [
        "-l",
        "--list",
        "-a",
        "--all",
        "-r",
        "--remotes",
        "-v",
        "-vv",
        "--verbose",
        "--contains",
        "--no-contains",
        "--merged",
        "--no-merged",
        "--points-at",
        "--show-current",
        "--format",
        "--sort",
    ];
    let given = |names: &[&str]| parsed.options.iter().any(|(option, _)| names.contains(&option.as_str()));
    if !given(&changing) && (given(&listing) || parsed.operands.is_empty()) {
        return;
    }
    if given(&["-m", "-M", "--move"]) {
        git.keeps_tree(&[Head, Refs], false, out);
    } else {
        git.keeps_tree(&[Refs], false, out);
    }
}

fn tag(git: &GitCall<'_>, out: &mut Findings) {
    const LONG: &[&str] = &[
        "--message",
        "--file",
        "--local-user",
        "--contains",
        "--no-contains",
        "--merged",
        "--no-merged",
        "--points-at",
        "--sort",
        "--format",
        "--cleanup",
        "--trailer",
    ];
    let parsed = git.parsed("m:F:u:n?", LONG, out);
    let listing = ["-l", "--list", "-n", "-v", "--verify", "--contains", "--merged", "--points-at", "--sort"];
    let given = parsed.options.iter().any(|(option, _)| listing.contains(&option.as_str()));
    if parsed.operands.is_empty() || given {
        return;
    }
    git.keeps_tree(&[Refs], false, out);
}

fn transfer(git: &GitCall<'_>, out: &mut Findings) {
    let parsed =
        git.parsed("o:j:", &["--upload-pack", "--receive-pack", "--exec", "--depth", "--push-option", "--filter"], out);
    if parsed.has(&["--upload-pack", "--receive-pack", "--exec"]) {
        git.unforeseen("runs another program", out);
    }
    if git.command != "ls-remote" && !parsed.has(&["-n", "--dry-run"]) {
        let hooks = git.command == "push" && !parsed.has(&["--no-verify"]);
        git.keeps_tree(&[Refs], hooks, out);
    }
}

fn config(git: &GitCall<'_>, out: &mut Findings) {
    let parsed = git.parsed("f:", &["--file", "--blob", "--type", "--default", "--value", "--comment"], out);
    let asks =
        ["--get", "--get-all", "--get-regexp", "--get-urlmatch", "--list", "-l", "--get-color", "--get-colorbool"];
    let given = parsed.options.iter().any(|(option, _)| asks.contains(&option.as_str()));
    let changes = parsed.has(&[
        "--unset",
        "--unset-all",
        "--replace-all",
        "--add",
        "--edit",
        "-e",
        "--rename-section",
        "--remove-section",
    ]);
    let first = verb(&parsed.operands);
    let asking = given
        || matches!(first, Some("get" | "list"))
        || parsed.operands.len() < 2 && !changes && first != Some("edit");
    if asking {
        return;
    }
    for file in parsed.values(&["-f", "--file"]) {
        git.write(file.target(git.cwd()), How::Write, out);
    }
    git.keeps_tree(&[Config], false, out);
}
