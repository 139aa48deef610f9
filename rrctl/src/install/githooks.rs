//! Git's own hooks: small scripts that call this `rrctl` for commits and pushes. Owns their text, that a hook which stood there is
//! kept beside ours and runs first, and that removal gives back what was. Refuses to know what the calls do; that is
//! `cmd/git_hook.rs`. Next: `../install.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rr_git::SESSION_TRAILER;

use super::{Edit, InstallError, Report, backup_of, io_error, read, replace_with_mode, sync};

/// How a script is known as ours, whatever version wrote it. The sidecar's guard knows this line too.
const MARK: &str = "# railroad: git hook";
/// How a script remembers that the folder was made for it.
const MADE_FOLDER: &str = "# railroad: made this folder";
/// Git runs a hook only if it may be executed.
const HOOK_MODE: u32 = 0o755;

/// What a hook is handed besides its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gets {
    /// A list of refs on standard input.
    Refs,
    /// A file with a commit's message.
    Message,
}

/// Hooks of a repository that people and agents work in.
pub(crate) const IN_CLONE: [&str; 3] = ["prepare-commit-msg", "commit-msg", "pre-push"];
/// Hooks of a bare repository that receives what is published.
pub(crate) const IN_BARE: [&str; 1] = ["pre-receive"];

fn gets(hook: &str) -> Gets {
    if matches!(hook, "pre-push" | "pre-receive") { Gets::Refs } else { Gets::Message }
}

/// Puts our hooks into a folder. What stood there is kept under another name.
pub(crate) fn install(folder: &Path, hooks: &[&str], rrctl: &Path) -> Result<Report, InstallError> {
    let made = made_before(folder, hooks)? || !folder.exists();
    let scripts: Vec<(PathBuf, String)> =
        hooks.iter().map(|hook| Ok((folder.join(hook), script(hook, rrctl, made)?))).collect::<Result<_, _>>()?;
    let mut report = Report::new();
    for (path, text) in scripts {
        let before = read_hook(&path)?;
        if before.as_deref() == Some(text.as_bytes()) {
            continue;
        }
        if path.symlink_metadata().is_ok() && !before.as_deref().is_some_and(is_ours) {
            report.push(keep(&path, before.as_deref())?);
        }
        replace_with_mode(&path, text.as_bytes(), Some(HOOK_MODE))?;
        report.push(Edit { path, before, after: Some(text.into_bytes()) });
    }
    Ok(report)
}

/// Takes our hooks out of a folder and puts back what stood there.
pub(crate) fn uninstall(folder: &Path, hooks: &[&str]) -> Result<Report, InstallError> {
    let made = made_before(folder, hooks)?;
    let mut report = Report::new();
    for hook in hooks {
        let path = folder.join(hook);
        let Some(before) = read_hook(&path)?.filter(|text| is_ours(text)) else { continue };
        let kept = backup_of(&path);
        let after = read_hook(&kept)?;
        if kept.symlink_metadata().is_ok() {
            fs::rename(&kept, &path).map_err(io_error("put back", &path))?;
            report.push(Edit { path: kept, before: after.clone(), after: None });
        } else {
            fs::remove_file(&path).map_err(io_error("remove", &path))?;
        }
        report.push(Edit { path, before: Some(before), after });
    }
    if !report.is_empty() {
        sync(folder)?;
    }
    if made {
        // Succeeds only on an empty folder.
        drop(fs::remove_dir(folder));
    }
    Ok(report)
}

/// Which of these hooks are not ours, or cannot run.
pub(crate) fn missing<'a>(folder: &Path, hooks: &[&'a str]) -> Vec<&'a str> {
    let runs = |hook: &&&str| {
        let path = folder.join(hook);
        let text = read_hook(&path).ok().flatten();
        text.is_some_and(|text| is_ours(&text) && named_rrctl(&text).is_some_and(|p| p.is_file()))
            && is_executable(&path)
    };
    hooks.iter().filter(|hook| !runs(hook)).copied().collect()
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o111 != 0)
}

/// The program that a script of ours calls.
fn named_rrctl(text: &[u8]) -> Option<PathBuf> {
    let text = String::from_utf8_lossy(text);
    let quoted = text.lines().find_map(|l| l.strip_prefix("rrctl='"))?.strip_suffix('\'')?;
    Some(PathBuf::from(quoted.replace(r"'\''", "'")))
}

/// A link is kept as it is: it is moved, not read.
fn keep(path: &Path, text: Option<&[u8]>) -> Result<Edit, InstallError> {
    let kept = backup_of(path);
    if kept.symlink_metadata().is_ok() {
        let what = format!("is in the way: it is where {} would be kept", path.display());
        return Err(InstallError::Shape { path: kept, what });
    }
    fs::rename(path, &kept).map_err(io_error("keep", path))?;
    Ok(Edit { path: kept, before: None, after: text.map(<[u8]>::to_vec) })
}

/// A hook's text. A link that leads nowhere has none, and neither has a folder.
fn read_hook(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    match read(path) {
        Err(InstallError::Io { source, .. }) if source.kind() == io::ErrorKind::IsADirectory => Ok(None),
        other => other,
    }
}

fn is_ours(text: &[u8]) -> bool {
    String::from_utf8_lossy(text).lines().nth(1).is_some_and(|line| line.starts_with(MARK))
}

fn made_before(folder: &Path, hooks: &[&str]) -> Result<bool, InstallError> {
    for hook in hooks {
        let text = read_hook(&folder.join(hook))?.filter(|text| is_ours(text));
        if text.is_some_and(|text| String::from_utf8_lossy(&text).lines().any(|l| l == MADE_FOLDER)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn script(hook: &str, rrctl: &Path, made_folder: bool) -> Result<String, InstallError> {
    let program = super::settings::quoted(rrctl)?;
    let made = if made_folder { format!("{MADE_FOLDER}\n") } else { String::new() };
    let head = format!(
        "#!/bin/sh\n\
         {MARK}: names agents' commits and checks what is committed and published. `rrctl uninstall` takes it out.\n\
         # A hook of your own that stood here is beside it as {hook}.before-railroad, and runs first.\n\
         {made}\
         kept=$0.before-railroad\n\
         rrctl={program}\n"
    );
    Ok(head + &tail(hook))
}

fn tail(hook: &str) -> String {
    let gone = "  echo \"railroad: $rrctl is gone, so this cannot be checked. Repair with: rrctl install\" >&2\n";
    let agent = "[ -n \"$RAILROAD_SESSION$CLAUDE_CODE_SESSION_ID\" ]";
    // A person is told of a break that the branch has, and commits all the same, also without this program.
    let or_else = match hook {
        "prepare-commit-msg" => "{ [ ! -x \"$rrctl\" ] || \"$rrctl\" git-hook prepare-commit-msg \"$@\"; exit 0; }",
        _ => "exit 0",
    };
    match gets(hook) {
        Gets::Message => format!(
            "if [ -x \"$kept\" ]; then \"$kept\" \"$@\" || exit $?; fi\n\
             # What an agent commits is named, and what a person makes of it.\n\
             {agent} || grep -qs '^{SESSION_TRAILER}: ' \"$1\" || {or_else}\n\
             if [ ! -x \"$rrctl\" ]; then\n{gone}  {agent} && exit 1\n  exit 0\nfi\n\
             exec \"$rrctl\" git-hook {hook} \"$@\"\n"
        ),
        Gets::Refs => format!(
            "# Both hooks read all of it, to the last byte.\n\
             refs=$(cat; echo .)\n\
             refs=${{refs%.}}\n\
             if [ -x \"$kept\" ]; then printf %s \"$refs\" | \"$kept\" \"$@\" || exit $?; fi\n\
             if [ ! -x \"$rrctl\" ]; then\n{gone}  {agent} && exit 1\n  exit 0\nfi\n\
             printf %s \"$refs\" | \"$rrctl\" git-hook {hook} \"$@\"\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::process::{Command, Stdio};

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("temp dir"))
        }

        fn hooks(&self) -> PathBuf {
            self.0.path().join("hooks")
        }

        fn put(&self, name: &str, text: &str, mode: u32) -> PathBuf {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("mkdir");
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
            path
        }

        /// An `rrctl` that says what it was called with.
        fn rrctl(&self) -> PathBuf {
            self.put("it's here/rrctl", "#!/bin/sh\necho \"rrctl $*\"\ncat\nexit 7\n", 0o755)
        }

        fn all(&self) -> Vec<(PathBuf, Vec<u8>, u32)> {
            let mut found: Vec<_> = fs::read_dir(self.hooks())
                .into_iter()
                .flatten()
                .map(|e| e.expect("entry").path())
                .map(|p| {
                    let meta = p.symlink_metadata().expect("meta");
                    let text = if meta.is_symlink() { vec![] } else { fs::read(&p).expect("read") };
                    (p, text, meta.permissions().mode())
                })
                .collect();
            found.sort();
            found
        }

        fn run(&self, hook: &str, input: &str, session: Option<&str>) -> (Option<i32>, String) {
            let mut command = Command::new(self.hooks().join(hook));
            command.args(["origin", "url"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.env_remove("RAILROAD_SESSION").env_remove("CLAUDE_CODE_SESSION_ID");
            command.envs(session.map(|s| ("RAILROAD_SESSION", s)));
            let mut child = command.spawn().expect("the hook runs");
            // A hook that refuses at once reads nothing.
            drop(io::Write::write_all(&mut child.stdin.take().expect("pipe"), input.as_bytes()));
            let said = child.wait_with_output().expect("ends");
            (said.status.code(), String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned())
        }
    }

    #[test]
    fn installing_and_taking_out_leaves_every_hook_as_it_was() {
        let folder = Folder::new();
        folder.put("hooks/pre-push", "#!/bin/sh\nexit 0\n", 0o754);
        folder.put("hooks/commit-msg", "not even\0executable", 0o640);
        folder.put("hooks/pre-push.sample", "sample", 0o644);
        symlink("../elsewhere", folder.hooks().join("prepare-commit-msg")).expect("link");
        let before = folder.all();
        let rrctl = folder.rrctl();
        let report = install(&folder.hooks(), &IN_CLONE, &rrctl).expect("installed");
        assert_eq!(report.len(), 6, "three kept, three written");
        assert!(missing(&folder.hooks(), &IN_CLONE).is_empty());
        assert_eq!(install(&folder.hooks(), &IN_CLONE, &rrctl).expect("again"), []);
        install(&folder.hooks(), &IN_CLONE, Path::new("/moved/rrctl")).expect("brought up to date");
        assert_eq!(missing(&folder.hooks(), &IN_CLONE), IN_CLONE, "the program they name is not there");
        uninstall(&folder.hooks(), &IN_CLONE).expect("taken out");
        assert_eq!(folder.all(), before);
        assert_eq!(uninstall(&folder.hooks(), &IN_CLONE).expect("again"), []);
    }

    #[test]
    fn a_folder_that_was_made_goes_again() {
        let folder = Folder::new();
        install(&folder.hooks(), &IN_CLONE, &folder.rrctl()).expect("installed");
        install(&folder.hooks(), &IN_CLONE, Path::new("/moved/rrctl")).expect("brought up to date");
        uninstall(&folder.hooks(), &IN_CLONE).expect("taken out");
        assert!(!folder.hooks().exists());
        fs::create_dir(folder.hooks()).expect("mkdir");
        install(&folder.hooks(), &IN_BARE, &folder.rrctl()).expect("installed");
        uninstall(&folder.hooks(), &IN_BARE).expect("taken out");
        assert!(folder.hooks().exists(), "it was there before");
    }

    #[test]
    fn a_hook_of_the_user_runs_first_with_the_same_input_and_its_refusal_stands() {
        let folder = Folder::new();
        folder.put("hooks/pre-push", "#!/bin/sh\necho \"own $*\"\ncat\nexit ${OWN:-0}\n", 0o755);
        install(&folder.hooks(), &IN_CLONE, &folder.rrctl()).expect("installed");
        let refs = "refs/heads/a 1 refs/heads/a 0\n%s \\n\n";
        let (code, said) = folder.run("pre-push", refs, None);
        assert_eq!(said, format!("own origin url\n{refs}rrctl git-hook pre-push origin url\n{refs}"));
        assert_eq!(code, Some(7), "ours decides after it");
        folder.put("hooks/pre-push.before-railroad", "#!/bin/sh\nexit 3\n", 0o755);
        assert_eq!(folder.run("pre-push", refs, None), (Some(3), String::new()));
        folder.put("hooks/pre-push.before-railroad", "#!/bin/sh\nexit 3\n", 0o644);
        assert_eq!(folder.run("pre-push", "", None).0, Some(7), "git would not have run it either");
    }

    #[test]
    fn without_rrctl_an_agent_is_refused_and_a_person_passes_with_a_note() {
        let folder = Folder::new();
        install(&folder.hooks(), &IN_CLONE, Path::new("/not/there/rrctl")).expect("installed");
        for hook in IN_CLONE {
            let (code, said) = folder.run(hook, "x\n", Some("s"));
            assert!(code == Some(1) && said.contains("rrctl install"), "{hook}: {said}");
        }
        let (code, said) = folder.run("pre-push", "x\n", None);
        assert!(code == Some(0) && said.contains("rrctl install"), "{said}");
        assert_eq!(folder.run("commit-msg", "", None), (Some(0), String::new()));
    }

    #[test]
    fn a_persons_commit_passes_whatever_is_said_to_it() {
        let folder = Folder::new();
        install(&folder.hooks(), &IN_CLONE, &folder.rrctl()).expect("installed");
        let said = "rrctl git-hook prepare-commit-msg origin url\n".to_owned();
        assert_eq!(folder.run("prepare-commit-msg", "", None), (Some(0), said.clone()));
        assert_eq!(folder.run("prepare-commit-msg", "", Some("s")), (Some(7), said));
        assert_eq!(folder.run("commit-msg", "", None), (Some(0), String::new()), "once is enough");
        install(&folder.hooks(), &IN_CLONE, Path::new("/not/there/rrctl")).expect("brought up to date");
        assert_eq!(folder.run("prepare-commit-msg", "", None), (Some(0), String::new()));
    }

    #[test]
    fn what_is_in_the_way_is_left_alone() {
        let folder = Folder::new();
        folder.put("hooks/pre-push", "own", 0o755);
        folder.put("hooks/pre-push.before-railroad", "somebody's", 0o755);
        let before = folder.all();
        let error = install(&folder.hooks(), &["pre-push"], &folder.rrctl()).expect_err("in the way");
        assert!(error.to_string().contains("in the way"), "{error}");
        assert_eq!(folder.all(), before);
    }
}
