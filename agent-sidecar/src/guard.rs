//! Is the gate still in front of the agent? Looks into Claude Code's settings files for the hooks, and for the switches that turn
//! hooks off (H41). It only reads; what to do about it is `service` and `keeper`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// The program that must stand in a PreToolUse hook.
const HOOK: &str = "rr-hook";

/// What the settings files of a project and its user say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// A PreToolUse hook of ours is in force.
    On,
    /// No file names our hook: it came another way (`--settings`, managed settings), or it was taken out.
    NotFound,
    /// Hooks are switched off altogether.
    Off,
}

pub(crate) fn gate(project: &Path) -> Gate {
    let files = settings_files(project);
    let values: Vec<Value> = files.iter().filter_map(|f| read(f)).collect();
    if values.iter().any(switched_off) {
        Gate::Off
    } else if values.iter().any(has_our_hook) {
        Gate::On
    } else {
        Gate::NotFound
    }
}

/// Whether the settings as they stand after a change have lost the hooks that a project had. The changed file must be one of
/// the agent's settings: other changes are nobody's business.
pub(crate) fn drops_the_hooks(changed: Option<&Path>, project: Option<&Path>) -> bool {
    let Some(file) = changed else { return false };
    match read(file) {
        Some(value) if switched_off(&value) => true,
        Some(value) => !has_our_hook(&value) && project.is_some_and(|p| gate(p) != Gate::On) && had_backup(file),
        // Unreadable or gone: the hooks that stood there are no longer in force.
        None => project.is_some_and(|p| gate(p) != Gate::On),
    }
}

/// Our install leaves a copy of what stood there before: proof that the hooks were in this file.
fn had_backup(file: &Path) -> bool {
    let Some((folder, name)) = file.parent().zip(file.file_name()) else { return false };
    let name = name.to_string_lossy().into_owned();
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .any(|n| n.starts_with(&name) && n.contains("railroad"))
}

fn settings_files(project: &Path) -> Vec<PathBuf> {
    let user = std::env::var_os("CLAUDE_CONFIG_DIR")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|h| Path::new(&h).join(".claude")));
    let mut files = vec![project.join(".claude/settings.local.json"), project.join(".claude/settings.json")];
    files.extend(user.map(|u| u.join("settings.json")));
    files.push(PathBuf::from("/etc/claude-code/managed-settings.json"));
    files
}

fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

fn switched_off(value: &Value) -> bool {
    value.get("disableAllHooks").and_then(Value::as_bool) == Some(true)
}

fn has_our_hook(value: &Value) -> bool {
    let groups = value.pointer("/hooks/PreToolUse").and_then(Value::as_array);
    let handlers = groups.into_iter().flatten().filter_map(|g| g.get("hooks")?.as_array()).flatten();
    handlers.filter_map(|h| h.get("command")?.as_str()).any(|c| c.contains(HOOK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_that_is_on_off_or_missing_is_told_apart() {
        let dir = tempfile::tempdir().expect("temp dir");
        let local = dir.path().join(".claude/settings.local.json");
        std::fs::create_dir(dir.path().join(".claude")).expect("mkdir");
        let ours = r#"{"hooks":{"PreToolUse":[{"matcher":"*","hooks":[{"type":"command","command":"/x/rr-hook --agent claude"}]}]}}"#;
        std::fs::write(&local, ours).expect("write");
        assert_eq!(gate(dir.path()), Gate::On);
        assert!(!drops_the_hooks(Some(&local), Some(dir.path())));
        std::fs::write(dir.path().join(".claude/settings.json"), r#"{"disableAllHooks":true}"#).expect("write");
        assert_eq!(gate(dir.path()), Gate::Off);
        assert!(drops_the_hooks(Some(&dir.path().join(".claude/settings.json")), Some(dir.path())));
        std::fs::remove_file(dir.path().join(".claude/settings.json")).expect("remove");
        std::fs::write(&local, "{}").expect("write");
        std::fs::write(dir.path().join(".claude/settings.local.json.before-railroad"), "{}").expect("write");
        assert!(drops_the_hooks(Some(&local), Some(dir.path())), "emptied");
        std::fs::remove_file(&local).expect("remove");
        assert!(drops_the_hooks(Some(&local), Some(dir.path())), "deleted");
    }
}
