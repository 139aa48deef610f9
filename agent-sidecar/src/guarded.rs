//! What agents may not change: the settings that put the gate in front of them, and Railroad's own files and programs (H41). Decided
//! from names and paths; it is a guard rail in the open, not a sandbox (D17).

use std::io::Read as _;
use std::path::{Path, PathBuf};

use rr_core::path::RepoPath;
use rr_core::scope::Scope;
use rr_shell::{Analysis, Invocation, Target};

use crate::repos::PlaceError;

/// In every repository: the settings files of Claude Code, and Railroad's folder.
const IN_REPOSITORY: [&str; 3] = [".claude/settings.json", ".claude/settings.local.json", ".railroad"];
/// The git hooks that `rrctl install` writes, and how their second line begins.
const GIT_HOOKS: [&str; 4] = ["pre-push", "prepare-commit-msg", "commit-msg", "pre-receive"];
const GIT_HOOK_MARK: &str = "# railroad: git hook";
/// That line is within these.
const GIT_HOOK_HEAD_BYTES: u64 = 256;
/// What a person decides: an agent that could do it could let itself go on.
const PERSONS_COMMANDS: [&str; 10] =
    ["uninstall", "down", "release", "resume", "vouch", "approve", "reject", "rollback", "recover", "allow"];
const OUR_PROGRAMS: [&str; 4] = ["rrctl", "rr-hook", "rr-sidecar", "rr-coordinator"];

/// Why a call cannot be judged by its files.
pub(crate) enum Objection {
    Place(PlaceError),
    Unparsable(String),
    /// It would change the guard itself.
    Protected(String),
    /// It would publish past the git hooks.
    PastTheGate(String),
}

impl From<PlaceError> for Objection {
    fn from(e: PlaceError) -> Self {
        Self::Place(e)
    }
}

/// Places outside of repositories that are out of reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guarded {
    places: Vec<PathBuf>,
}

impl Guarded {
    /// The user's and the machine's agent settings, and these folders of ours.
    pub(crate) fn new(own: &[PathBuf]) -> Self {
        let home = std::env::var_os("HOME").map(|h| PathBuf::from(h).join(".claude"));
        let moved = std::env::var_os("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        let settings = [home, moved].into_iter().flatten().map(|d| d.join("settings.json"));
        let mut places: Vec<PathBuf> = settings.chain(own.iter().cloned()).collect();
        places.push(PathBuf::from("/etc/claude-code"));
        Self { places }
    }

    /// One file (or, `whole`, a folder with all in it) that is to be changed.
    pub(crate) fn check_path(&self, path: &Path, whole: bool) -> Result<(), Objection> {
        let inside = |g: &&PathBuf| path.starts_with(g) || (whole && g.starts_with(path));
        let named = is_settings(path) || is_git_hook(path) || (whole && holds_git_hook(path));
        match self.places.iter().find(inside) {
            None if !named => Ok(()),
            _ => Err(Objection::Protected(path.display().to_string())),
        }
    }

    pub(crate) fn check_target(&self, target: &Target) -> Result<(), Objection> {
        match target {
            Target::File(path) => self.check_path(path, false),
            Target::Tree(path) => self.check_path(path, true),
            Target::Glob { dir, .. } => self.check_path(dir, false),
            Target::Into { path, name, .. } => {
                self.check_path(path, false)?;
                self.check_path(&path.join(name), true)
            }
            Target::Unknown => Ok(()),
        }
    }

    /// What is locked must not reach a guarded file of the repository.
    pub(crate) fn check_scopes(&self, scopes: impl Iterator<Item = Scope>) -> Result<(), Objection> {
        for scope in scopes {
            if guards().iter().any(|g| g.meets(&scope)) && !is_inbox(&scope) {
                return Err(Objection::Protected(scope.to_string()));
            }
        }
        Ok(())
    }

    /// Commands that are a person's, or that end our own programs.
    pub(crate) fn check_commands(&self, analysis: &Analysis) -> Result<(), Objection> {
        if let Some(what) = crate::bypass::refused(analysis) {
            return Err(Objection::PastTheGate(what));
        }
        let own_pid = std::process::id().to_string();
        match analysis.invocations.iter().find(|i| is_ours_to_refuse(i, &own_pid)) {
            Some(i) => {
                let words: Vec<&str> = i.args.iter().map(rr_shell::Word::text).collect();
                Err(Objection::Protected(format!("`{} {}`", i.name().unwrap_or_default(), words.join(" "))))
            }
            None => Ok(()),
        }
    }
}

fn is_ours_to_refuse(call: &Invocation, own_pid: &str) -> bool {
    let words: Vec<&str> = call.args.iter().map(rr_shell::Word::text).collect();
    match call.name() {
        // What `rrctl run --` runs is a command of its own, and what `rrctl policy explain --` explains is none.
        Some("rrctl") => words.iter().take_while(|w| **w != "--").any(|w| PERSONS_COMMANDS.contains(w)),
        Some("kill" | "pkill" | "killall") => words.iter().any(|w| *w == own_pid || OUR_PROGRAMS.contains(w)),
        // It deletes what git ignores, and the settings are ignored.
        Some("git") => {
            let ignored = |w: &&str| w.starts_with('-') && !w.starts_with("--") && w.contains(['x', 'X']);
            let only_shows =
                |w: &&str| *w == "--dry-run" || w.starts_with('-') && !w.starts_with("--") && w.contains('n');
            words.contains(&"clean") && words.iter().any(ignored) && !words.iter().any(only_shows)
        }
        _ => false,
    }
}

fn guards() -> Vec<Scope> {
    IN_REPOSITORY.iter().filter_map(|p| RepoPath::parse(p.as_bytes()).ok()).map(Scope::Path).collect()
}

/// The one place of Railroad's folder that agents write to.
fn is_inbox(scope: &Scope) -> bool {
    let Scope::Path(path) = scope else { return false };
    path.key_parts().first().is_some_and(|p| p == ".railroad") && path.key_parts().get(1).is_some_and(|p| p == "inbox")
}

/// A settings file of Claude Code in any folder, by its name.
fn is_settings(path: &Path) -> bool {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().to_lowercase());
    folder.as_deref() == Some(".claude") && name.starts_with("settings") && name.ends_with(".json")
}

/// A script of ours in a folder of git hooks, wherever that is.
fn is_git_hook(path: &Path) -> bool {
    let named = path.file_name().is_some_and(|name| GIT_HOOKS.iter().any(|hook| name == *hook));
    let mut head = Vec::new();
    let mut read = || std::fs::File::open(path).and_then(|file| file.take(GIT_HOOK_HEAD_BYTES).read_to_end(&mut head));
    named
        && read().is_ok()
        && String::from_utf8_lossy(&head).lines().nth(1).is_some_and(|l| l.starts_with(GIT_HOOK_MARK))
}

/// A folder of git hooks, or a bare repository around one. Those of a work tree are out of reach as all of `.git` is.
fn holds_git_hook(folder: &Path) -> bool {
    folder.is_dir()
        && GIT_HOOKS.iter().any(|hook| is_git_hook(&folder.join(hook)) || is_git_hook(&folder.join("hooks").join(hook)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_and_own_folders_are_out_of_reach_wherever_they_are() {
        let guarded = Guarded::new(&[PathBuf::from("/var/own")]);
        for path in ["/home/x/.claude/settings.json", "/any/.claude/Settings.Local.json", "/var/own/store/log"] {
            assert!(guarded.check_path(Path::new(path), false).is_err(), "{path}");
        }
        assert!(guarded.check_path(Path::new("/var"), true).is_err(), "a folder around it");
        assert!(guarded.check_path(Path::new("/var"), false).is_ok());
        assert!(guarded.check_path(Path::new("/home/x/settings.json"), false).is_ok());
    }

    #[test]
    fn what_is_only_shown_or_run_in_line_is_no_command_of_a_person() {
        let env = rr_shell::Env { cwd: Path::new("/r"), home: None };
        let is_refused = |command: &str| Guarded::default().check_commands(&rr_shell::analyse(command, &env)).is_err();
        for command in ["rrctl approve 1", "rrctl run --slot build -- rrctl down", "git clean -fdx", "git clean -X"] {
            assert!(is_refused(command), "{command}");
        }
        for command in ["rrctl run --slot build -- npm run release", "rrctl policy explain -- down", "git clean -ndx"] {
            assert!(!is_refused(command), "{command}");
        }
    }

    #[test]
    fn git_hooks_of_ours_are_out_of_reach_and_others_are_not() {
        let dir = tempfile::tempdir().expect("temp dir");
        let (guarded, hooks) = (Guarded::default(), dir.path().join("team.git/hooks"));
        std::fs::create_dir_all(&hooks).expect("mkdir");
        std::fs::write(hooks.join("pre-receive"), "#!/bin/sh\n# railroad: git hook: checks\n").expect("write");
        std::fs::write(hooks.join("pre-push"), "#!/bin/sh\nexit 0\n").expect("write");
        assert!(guarded.check_path(&hooks.join("pre-receive"), false).is_err());
        assert!(
            guarded.check_path(&hooks, true).is_err()
                && guarded.check_path(&dir.path().join("team.git"), true).is_err()
        );
        assert!(guarded.check_path(&hooks.join("pre-push"), false).is_ok());
        assert!(guarded.check_path(&hooks, false).is_ok() && guarded.check_path(dir.path(), false).is_ok());
    }
}
