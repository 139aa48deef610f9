//! Files that are not a session's to change: outside of its repository, and those by which it is itself kept in bounds.

use std::path::{Path, PathBuf};

use super::{Builtin, Look, Scene};
use crate::paths::is_outside;

pub(super) const RULES: &[Builtin] = &[
    Builtin {
        name: "default/own-files",
        programs: &[],
        because: "it changes the rules or the hooks that this very session is held to",
        instead: "propose the change in words; a person edits these files",
        look: Look::Paths(|scene| written(scene, |path| is_own(path, scene.call.root))),
    },
    Builtin {
        name: "default/outside-repository",
        programs: &[],
        because: "it changes files outside of this repository, which no lock and no snapshot covers",
        instead: "write inside the repository or to the temporary folder, or ask the person",
        look: Look::Paths(|scene| written(scene, |path| is_outside(path, scene.call))),
    },
];

fn written(scene: &Scene<'_>, wrong: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    // Where they land, not how they are called: that is for callers to have looked up.
    scene.call.writes.iter().filter(|path| wrong(path)).cloned().collect()
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
    settings || ours || path.starts_with("/etc/claude-code")
}
