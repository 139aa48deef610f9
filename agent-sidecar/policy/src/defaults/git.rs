//! Git where several work in one clone and share a remote: what rewrites or drops the work of others. Everyday git passes;
//! the locks on a repository's resources are not here.

use super::{Builtin, Look, Scene};
use crate::seen::Seen;

/// Options of git itself that take a value in the next word.
const VALUED: &[&str] =
    &["-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env", "--super-prefix"];
const GIT: &[&str] = &["git"];

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/git-push-force",
        programs: GIT,
        because: "it replaces what others pushed to the remote",
        instead: "fetch and rebase, then push without force; if the branch is yours alone, `git push --force-with-lease`",
        look: Look::Command(|seen, _| {
            matches!(verb(seen), "push" | "send-pack")
                && !dry(seen)
                && (forced(seen)
                    || rest(seen).iter().any(|word| word.starts_with('+') && word.len() > 1)
                    || seen.exact("--mirror"))
        }),
    },
    Builtin {
        name: "default/git-push-delete",
        programs: GIT,
        because: "it deletes a branch or tag that others may use",
        instead: "leave remote branches to the merge queue, or ask the person",
        look: Look::Command(|seen, _| {
            verb(seen) == "push"
                && !dry(seen)
                && (seen.has('d', "delete")
                    || seen.exact("--prune")
                    || rest(seen).iter().any(|w| w.starts_with(':') && w.len() > 1))
        }),
    },
    Builtin {
        name: "default/git-discard",
        programs: GIT,
        because: "it throws away uncommitted work, also that of other sessions in this tree",
        instead: "name your own files: `git restore path/to/file`, or keep all in a commit on a branch first",
        look: Look::Command(discards),
    },
    Builtin {
        name: "default/git-clean",
        programs: GIT,
        because: "it deletes files that are in no commit, also those of other sessions",
        instead: "look first with `git clean -n`, then remove your own files by name",
        look: Look::Command(|seen, _| {
            verb(seen) == "clean"
                && (seen.has('f', "force") || seen.texts().any(|t| t.starts_with("clean.requireForce=")))
                && !dry(seen)
                && !seen.has('i', "interactive")
                && (seen.letter('d') || seen.letter('x') || seen.letter('X') || rest(seen).is_empty())
        }),
    },
    Builtin {
        name: "default/git-branch-delete",
        programs: GIT,
        because: "it drops a branch whose commits are merged nowhere",
        instead: "`git branch -d` refuses what is not merged; rename it if it is in the way (`git branch -m`)",
        look: Look::Command(|seen, _| {
            verb(seen) == "branch" && (seen.letter('D') || (seen.has('d', "delete") && seen.has('f', "force")))
        }),
    },
    Builtin {
        name: "default/git-rewrite",
        programs: &["git", "git-filter-repo", "git-filter-branch", "bfg", "bfg-repo-cleaner"],
        because: "it rewrites the history that all work trees share",
        instead: "make a new commit that reverts, or ask the person",
        look: Look::Command(|seen, _| {
            seen.name != "git" && !seen.any(&["--help", "--version", "--analyze"])
                || matches!(verb(seen), "filter-branch" | "filter-repo" | "replace")
                || verb(seen) == "fast-import" && forced(seen)
        }),
    },
    Builtin {
        name: "default/git-drop-objects",
        programs: GIT,
        because: "it drops the commits by which lost work is found again",
        instead: "leave it: `git gc` alone keeps what is younger than two weeks",
        look: Look::Command(drops_objects),
    },
    Builtin {
        name: "default/git-shared-settings",
        programs: GIT,
        because: "it changes what git runs or whom it trusts, for every session of this clone",
        instead: "give it for one command (`git -c name=value ...`), or ask the person",
        look: Look::Command(shared_settings),
    },
    Builtin {
        name: "default/git-stash-clear",
        programs: GIT,
        because: "the stash is one list for all work trees, and this drops what others put there",
        instead: "`git stash drop stash@{n}` with the one that is yours (`git stash list`)",
        look: Look::Command(|seen, _| seen.is(VALUED, &["stash", "clear"])),
    },
    Builtin {
        name: "default/git-worktree-force",
        programs: GIT,
        because: "it removes the work tree of a session with what it has not committed",
        instead: "`git worktree remove` without force, which refuses while there is something to lose",
        look: Look::Command(|seen, _| seen.is(VALUED, &["worktree", "remove"]) && seen.has('f', "force")),
    },
    Builtin {
        name: "default/git-rm-all",
        programs: GIT,
        because: "it removes every tracked file from the tree",
        instead: "name the files: `git rm path/to/file`",
        look: Look::Command(|seen, scene| {
            verb(seen) == "rm"
                && !dry(seen)
                && !seen.exact("--cached")
                && seen
                    .operands()
                    .iter()
                    .skip(1)
                    .any(|word| super::files::is_everything(seen, word, scene) || whole_tree(word.text()))
        }),
    },
    Builtin {
        name: "default/git-refs",
        programs: GIT,
        because: "it drops or moves names of commits by hand, past what branches are protected by",
        instead: "use `git branch` or `git tag`, which keep a log",
        look: Look::Command(|seen, _| {
            let shared = || rest(seen).first().is_some_and(|name| name.starts_with("refs/") || *name == "HEAD");
            verb(seen) == "update-ref" && (seen.letter('d') || seen.exact("--stdin") || shared())
                || verb(seen) == "symbolic-ref" && (seen.has('d', "delete") || rest(seen).len() > 1)
        }),
    },
    Builtin {
        name: "default/repository-delete",
        programs: &["gh", "glab", "hub"],
        because: "it deletes or hides a repository, release or secret that the whole team uses",
        instead: "ask the person: this is done once, by hand",
        look: Look::Command(|seen, _| {
            let verbs = seen.verbs(&["-R", "--repo", "--hostname"]);
            let api = verbs.first() == Some(&"api")
                && seen
                    .value(&["-X", "--method"])
                    .or_else(|| seen.texts().find_map(|t| t.strip_prefix("-X")))
                    .is_some_and(|m| m.eq_ignore_ascii_case("delete"))
                && !seen.texts().any(is_mark_of_issue);
            matches!(
                verbs.as_slice(),
                ["repo" | "project", "delete" | "archive", ..]
                    | ["release" | "secret" | "variable" | "ssh-key" | "gpg-key" | "run", "delete" | "remove", ..]
                    | ["workflow", "disable", ..]
                    | ["delete", ..]
            ) || api
                || matches!(verbs.as_slice(), ["repo", "edit", ..]) && seen.exact("--visibility")
                || matches!(verbs.as_slice(), ["pr" | "mr", "merge", ..]) && seen.exact("--admin")
        }),
    },
];

/// `repos/o/r/issues/4/labels/bug`: what is set with a hand's turn again.
fn is_mark_of_issue(text: &str) -> bool {
    let below = text.split_once("/issues/").or_else(|| text.split_once("/pulls/")).map(|(_, below)| below);
    let part = below.and_then(|below| below.split('/').nth(1));
    matches!(part, Some("labels" | "assignees" | "reactions" | "requested_reviewers"))
}

/// The subcommand.
pub(super) fn verb<'a>(seen: &Seen<'a>) -> &'a str {
    if seen.name != "git" {
        return "";
    }
    let find = || seen.places_of_verbs(VALUED).next().map(|(at, _)| at);
    seen.git_verb_at.get_or_init(find).and_then(|at| seen.texts().nth(at)).unwrap_or_default()
}

/// What the subcommand is given, without flags.
fn rest<'a>(seen: &Seen<'a>) -> Vec<&'a str> {
    seen.verbs(VALUED).into_iter().skip(1).collect()
}

fn dry(seen: &Seen<'_>) -> bool {
    seen.has('n', "dry-run")
}

/// `-f`, `--force`, and not `--force-with-lease`.
fn forced(seen: &Seen<'_>) -> bool {
    seen.letter('f') || seen.texts().any(|text| text.len() > 4 && "--force".starts_with(text))
}

/// Whether it names every file there is, or every file that changed.
pub(super) fn lists_all(seen: &Seen<'_>) -> bool {
    matches!(verb(seen), "ls-files" | "status") && rest(seen).is_empty()
}

fn whole_tree(text: &str) -> bool {
    matches!(text, "." | "./" | ":/" | ":" | "*" | ":/." | "./*" | ":(top)" | "--all" | ":/*" | "**" | ":(top)." | ":^")
}

fn discards(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let all = || rest(seen).iter().any(|text| whole_tree(text));
    match verb(seen) {
        "reset" => seen.texts().any(|text| {
            matches!(text, "--hard" | "--merge" | "--keep") || text.len() > 4 && "--hard".starts_with(text)
        }),
        "checkout" => all() || seen.has('f', "force"),
        "restore" => all() && (seen.has('W', "worktree") || !seen.has('S', "staged")),
        "switch" => seen.has('f', "force") || seen.exact("--discard-changes"),
        "checkout-index" => seen.has('f', "force") && seen.has('a', "all"),
        "read-tree" => seen.exact("--reset") && seen.letter('u'),
        "submodule" => rest(seen).first() == Some(&"deinit") && seen.has('f', "force"),
        _ => false,
    }
}

fn drops_objects(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    let soon = |option: &str| {
        seen.texts().any(|t| t.strip_prefix(option).is_some_and(|v| matches!(v, "=now" | "=all" | "=0")))
            || seen.value(&[option]).is_some_and(|v| matches!(v, "now" | "all" | "0"))
    };
    match verb(seen) {
        "reflog" => matches!(rest(seen).first(), Some(&"expire" | &"delete")) && !dry(seen),
        "gc" => soon("--prune") || seen.texts().any(|t| t.starts_with("gc.") && t.ends_with("=now")),
        "prune" => !dry(seen),
        "repack" => seen.letter('a') && seen.letter('d') && soon("--unpack-unreachable"),
        _ => false,
    }
}

/// Settings through which git runs programs, or that hold for everybody.
fn shared_settings(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    const DANGEROUS: &[&str] = &[
        "core.hookspath",
        "core.sshcommand",
        "core.fsmonitor",
        "core.editor",
        "core.pager",
        "core.gitproxy",
        "core.askpass",
        "core.worktree",
        "credential.helper",
        "http.sslverify",
        "safe.directory",
        "receive.denynonfastforwards",
        "receive.denydeletes",
        "uploadpack.packobjectshook",
        "gpg.program",
        "diff.external",
        "sequence.editor",
        "http.proxy",
    ];
    let dangerous = |name: &str| {
        let name = name.to_lowercase();
        DANGEROUS.contains(&name.as_str())
            || name.ends_with(".insteadof")
            || name.ends_with(".pushinsteadof")
            || name.starts_with("filter.")
    };
    if seen.texts().any(|text| {
        text.split_once('=').is_some_and(|(name, _)| matches!(name.to_lowercase().as_str(), "core.hookspath"))
    }) {
        return true;
    }
    let by_variable =
        seen.call.assignments.iter().any(|(name, value)| {
            name.starts_with("GIT_CONFIG") && value.text().to_lowercase().contains("core.hookspath")
        });
    let by_option = || seen.texts().any(|text| text.to_lowercase().starts_with("--config-env=core.hookspath="));
    if by_variable || by_option() {
        return true;
    }
    if verb(seen) == "remote" {
        return matches!(rest(seen).as_slice(), ["remove" | "rm", "origin", ..]);
    }
    if verb(seen) != "config" {
        return false;
    }
    let asks = seen.any(&["--get", "--get-all", "--list", "-l", "--get-regexp", "list", "get"]);
    let words = rest(seen);
    let words = words.strip_prefix(&["set"]).or_else(|| words.strip_prefix(&["unset"])).unwrap_or(&words);
    let sets = words.len() >= 2 || seen.any(&["--unset", "--unset-all", "--add", "--replace-all", "set", "unset"]);
    let alias = words.first().is_some_and(|name| name.to_lowercase().starts_with("alias."))
        && words.get(1).is_some_and(|v| v.starts_with('!'));
    let removes = seen.any(&["--remove-section"]) || seen.any(&["--edit", "-e"]);
    !asks && (sets && (words.first().is_some_and(|name| dangerous(name)) || alias) || removes)
        || !asks && sets && seen.any(&["--system"])
}
