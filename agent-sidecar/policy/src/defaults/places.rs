//! Files that are not a session's to change: outside of its repository, and those by which it is itself kept in bounds.

use std::path::{Path, PathBuf};

use super::{Builtin, Look, Scene};
use crate::paths::is_outside;
use crate::seen::Seen;

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/own-files",
        programs: &[],
        because: "it changes the rules or the hooks that this very session is held to",
        instead: "propose the change in words; a person edits these files",
        look: Look::Paths(|scene| {
            written(scene, |path| is_own(path, scene.call.root) || is_state(path, scene.call.home))
        }),
    },
    Builtin {
        name: "default/git-by-hand",
        programs: &[],
        because: "it changes git's own files past git, for every session of this clone",
        instead: "use git commands; a lock file that was left behind is for a person to judge",
        look: Look::Paths(|scene| written(scene, |path| is_in_git(path, scene.call.root))),
    },
    Builtin {
        name: "default/own-commands",
        programs: &["rrctl", "rm", "mv"],
        because: "it decides what a person is to decide about this very session, or takes Railroad away",
        instead: "ask the person to type it; `rrctl approvals` and `rrctl status` show how it stands",
        look: Look::Command(decides),
    },
    Builtin {
        name: "default/outside-repository",
        programs: &[],
        because: "it changes files outside of this repository, which no lock and no snapshot covers",
        instead: "write inside the repository or to the temporary folder, or ask the person",
        look: Look::Paths(|scene| written(scene, |path| is_outside(path, scene.call) && !is_work_tree(path, scene))),
    },
];

fn written(scene: &Scene<'_>, wrong: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    // Where they land, not how they are called: that is for callers to have looked up.
    scene.call.writes.iter().filter(|path| wrong(path)).cloned().collect()
}

/// `git worktree add ../shop-fix`: git makes the folder or refuses, what is in it is locked and kept like the rest, and it removes
/// none with work in it.
fn is_work_tree(path: &Path, scene: &Scene<'_>) -> bool {
    let beside = scene.call.root.and_then(Path::parent);
    let below = beside.and_then(|beside| path.strip_prefix(beside).ok());
    let shown = |below: &Path| !below.iter().any(|part| part.to_string_lossy().starts_with('.'));
    let adds = |seen: &Seen<'_>| {
        super::git::verb(seen) == "worktree"
            && seen.any(&["add", "remove"])
            && !seen.has('f', "force")
            && seen.texts().any(|text| seen.path(text).as_deref() == Some(path))
    };
    below.is_some_and(|below| below.iter().count() > 0 && shown(below)) && scene.seen.iter().any(adds)
}

/// What only people do: answer for an agent, end a pause, let hosts in, take it all away.
fn decides(seen: &Seen<'_>, _: &Scene<'_>) -> bool {
    const VERBS: &[&str] = &[
        "approve",
        "reject",
        "allow",
        "deny",
        "resume",
        "release",
        "rollback",
        "recover",
        "vouch",
        "down",
        "uninstall",
        "ca",
        "join-token",
        "post-restore",
    ];
    if seen.name != "rrctl" {
        let is_socket = |text: &str| text.contains("XDG_RUNTIME_DIR") && text.contains("railroad");
        return seen.texts().any(is_socket);
    }
    let verb = seen.each_verb(&["--repo", "--color", "--socket"]).next().unwrap_or_default();
    VERBS.contains(&verb) && !seen.any(&["--help", "-h"])
}

/// What git keeps for itself in the repository, but for the texts it asks for.
fn is_in_git(path: &Path, root: Option<&Path>) -> bool {
    let inside = root.and_then(|root| path.strip_prefix(root.join(".git")).ok());
    let part = inside.and_then(|rest| rest.components().next()).map(|part| part.as_os_str().to_string_lossy());
    part.is_some_and(|part| {
        matches!(&*part, "HEAD" | "index" | "packed-refs" | "refs" | "objects" | "logs" | "worktrees" | "modules")
    })
}

/// Where Railroad keeps what it knows and how it is set up on this machine.
fn is_state(path: &Path, home: Option<&Path>) -> bool {
    let below = home.and_then(|home| path.strip_prefix(home).ok());
    below.is_some_and(|below| [".local/state/railroad", ".config/railroad"].iter().any(|own| below.starts_with(own)))
}

/// The policy, Railroad's folder, and the settings by which agents call it.
fn is_own(path: &Path, root: Option<&Path>) -> bool {
    let lower =
        |part: Option<&std::ffi::OsStr>| part.map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = lower(path.file_name());
    let folder = lower(path.parent().and_then(Path::file_name));
    let settings = match folder.as_str() {
        ".claude" => name.starts_with("settings") && name.ends_with(".json"),
        ".codex" => matches!(name.as_str(), "config.toml" | "hooks.json"),
        ".gemini" | ".cursor" => matches!(name.as_str(), "settings.json" | "hooks.json"),
        _ => false,
    };
    let inside = root.and_then(|root| path.strip_prefix(root).ok());
    let ours = inside.is_some_and(|rest| {
        let mut parts = rest.components().map(|part| part.as_os_str().to_string_lossy().to_lowercase());
        match (parts.next().as_deref(), parts.next().as_deref()) {
            (Some("railroad.yaml"), None) => true,
            (Some(".railroad"), below) => below != Some("inbox"),
            (Some(".git"), Some("hooks" | "config" | "info")) => true,
            _ => false,
        }
    });
    // With the folder, the settings in it go.
    let folder_itself = matches!(name.as_str(), ".claude" | ".codex");
    let runtime = path.starts_with("/run/user") && path.iter().any(|part| part == "railroad");
    settings || folder_itself || ours || runtime || path.starts_with("/etc/claude-code")
}
