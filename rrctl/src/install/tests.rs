//! Claims about installing and uninstalling, over real folders: what stood there before comes back byte for byte.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use serde_json::Value;

use super::*;

struct Home {
    dir: tempfile::TempDir,
    site: Site,
}

impl Home {
    fn new() -> Home {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let site = Site { repo_root: at("repo"), user_dir: at("home/.claude"), git_common_dir: Some(at("repo/.git")) };
        fs::create_dir_all(at("repo/.git/info")).unwrap();
        fs::create_dir_all(at("home")).unwrap();
        Home { dir, site }
    }

    fn with_settings(text: &str) -> Home {
        let home = Home::new();
        fs::create_dir_all(home.local().parent().unwrap()).unwrap();
        fs::write(home.local(), text).unwrap();
        home
    }

    fn local(&self) -> PathBuf {
        self.site.settings(Scope::ProjectLocal)
    }

    fn options(&self, scope: Scope) -> Options {
        Options {
            hook_path: self.dir.path().join("it's here/rr-hook"),
            daemon_path: "/opt/rail road/rrctl".into(),
            allow_when_unavailable: false,
            scope,
        }
    }

    fn install(&self) -> Result<Report, InstallError> {
        install(&self.site, &self.options(Scope::ProjectLocal))
    }

    fn uninstall(&self) -> Result<Report, InstallError> {
        uninstall(&self.site, Scope::ProjectLocal)
    }

    /// Every file with its bytes and mode.
    fn files(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.dir.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let mode = fs::metadata(&path).unwrap().permissions().mode();
                    found.insert(path.clone(), (fs::read(&path).unwrap(), mode));
                }
            }
        }
        found
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&fs::read(self.local()).unwrap()).unwrap()
    }
}

/// Settings as people have them: shapes, indentations, line ends, foreign hooks, no final newline, odd spacing.
const EXISTING: [&str; 16] = [
    "",
    "\n",
    "{}",
    "{}\n",
    "{\"hooks\":{}}",
    "{\"hooks\": {\"PreToolUse\": []}, \"z\": 1, \"a\": 2}",
    "{\n  \"permissions\": {\n    \"allow\": [\"Bash(ls:*)\"],\n    \"deny\": []\n  }\n}\n",
    "{\n    \"model\": \"opus\",\n    \"env\": {\"A\": \"1\"}\n}",
    "{\n\t\"z\": null,\n\t\"a\": [1, 2.5, -3, true],\n\t\"m\": {\"y\": 1, \"b\": 2}\n}\n",
    "{\r\n  \"model\": \"opus\",\r\n  \"x\": \"a\\r\\nb\"\r\n}\r\n",
    "{\"hooks\":{\"PreToolUse\":[{\"matcher\":\"Bash\",\"hooks\":[{\"type\":\"command\",\"command\":\"guard.sh\"}]}]}}",
    "{\n  \"hooks\": {\n    \"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"say done\"}]}],\n    \"Other\": []\n  },\n  \"last\": 0\n}\n",
    "{\"disableAllHooks\": false, \"unknown\": {\"deep\": [[[{}]]]}}\n\n",
    "{\"text\": \"rr-hook \\u00e9 \\\\ \\\" 1e5 é\", \"big\": 9007199254740993}",
    "  {\n \"a\" : 1 ,\n \"hooks\" : { \"SessionStart\" : [ ] }\n }  \n",
    "{\"a\": 1, \"a\": 2, \"hooks\": {\"Notification\": [{\"hooks\": []}]}}",
];

#[test]
fn uninstall_gives_back_every_byte_of_every_file() {
    for text in EXISTING {
        let home = Home::with_settings(text);
        fs::set_permissions(home.local(), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(home.site.git_common_dir.as_ref().unwrap().join("info/exclude"), "# mine").unwrap();
        let before = home.files();
        home.install().unwrap();
        assert_ne!(home.files(), before, "{text:?}");
        assert_eq!(fs::metadata(home.local()).unwrap().permissions().mode() & 0o777, 0o600);
        home.uninstall().unwrap();
        assert_eq!(home.files(), before, "{text:?}");
    }
}

#[test]
fn uninstall_removes_what_install_created() {
    let home = Home::new();
    home.install().unwrap();
    assert!(home.local().exists());
    home.uninstall().unwrap();
    assert_eq!(home.files(), BTreeMap::new());
    assert!(!home.site.repo_root.join(".claude").exists());
    assert_eq!(home.uninstall().unwrap(), []);
}

#[test]
fn installing_again_changes_nothing() {
    for text in EXISTING {
        let home = Home::with_settings(text);
        home.install().unwrap();
        let after = home.files();
        assert_eq!(home.install().unwrap(), [], "{text:?}");
        assert_eq!(home.files(), after);
    }
}

#[test]
fn foreign_keys_hooks_and_their_order_stay() {
    for text in EXISTING.iter().filter(|text| text.len() > 2) {
        let home = Home::with_settings(text);
        home.install().unwrap();
        let first: Value = serde_json::from_str(text).unwrap();
        let now = home.json();
        let keys = |value: &Value| value.as_object().unwrap().keys().filter(|key| *key != "hooks").cloned().collect();
        let (old, new): (Vec<String>, Vec<String>) = (keys(&first), keys(&now));
        assert_eq!(old, new, "{text:?}");
        assert!(old.iter().all(|key| first[key] == now[key]), "{text:?}");
        for (event, groups) in first["hooks"].as_object().into_iter().flatten() {
            let groups = groups.as_array().unwrap();
            let kept = now["hooks"][event].as_array();
            assert!(groups.is_empty() || kept.unwrap().starts_with(groups), "{text:?}");
        }
    }
}

#[test]
fn every_event_gets_its_handler_in_the_documented_form() {
    let home = Home::new();
    home.install().unwrap();
    let hooks = &home.json()["hooks"];
    let hook = home.dir.path().join("it's here/rr-hook").display().to_string().replace('\'', r"'\''");
    let command = format!("'{hook}' --agent claude --daemon '/opt/rail road/rrctl'");
    let names: Vec<&String> = hooks.as_object().unwrap().keys().collect();
    let order = "SessionStart UserPromptSubmit PreToolUse PostToolUse PostToolUseFailure PostToolBatch SubagentStart \
                 SubagentStop Stop ConfigChange CwdChanged SessionEnd";
    assert_eq!(names, order.split_whitespace().collect::<Vec<_>>());
    let pre = serde_json::json!([{ "matcher": "*", "hooks": [
        { "type": "command", "command": command, "timeout": 10, "onFailure": "block" }] }]);
    assert_eq!(hooks["PreToolUse"], pre);
    let end = serde_json::json!([{ "hooks": [{ "type": "command", "command": command, "timeout": 5 }] }]);
    assert_eq!(hooks["SessionEnd"], end);
    assert_eq!(hooks["PostToolUseFailure"][0]["matcher"], "*");
    assert_eq!(hooks["Stop"][0].get("matcher"), None);
    assert_eq!(fs::read_to_string(home.local()).unwrap().matches("onFailure").count(), 1);
}

#[test]
fn the_installed_command_line_reaches_the_hook_as_it_is_meant() {
    let home = Home::new();
    home.install().unwrap();
    let command = home.json()["hooks"]["Stop"][0]["hooks"][0]["command"].as_str().unwrap().to_owned();
    let shell = std::process::Command::new("/bin/sh").args(["-c", &format!("printf '%s\\n' {command}")]).output();
    let hook = home.dir.path().join("it's here/rr-hook");
    let want = format!("{}\n--agent\nclaude\n--daemon\n/opt/rail road/rrctl\n", hook.display());
    assert_eq!(String::from_utf8(shell.unwrap().stdout).unwrap(), want);
    assert_eq!(settings::hook_of(&command).as_deref(), hook.to_str());
}

#[test]
fn a_new_hook_path_replaces_the_old_handlers_and_the_first_backup_stays() {
    let home = Home::with_settings("{\"model\":\"opus\"}");
    home.install().unwrap();
    let moved =
        Options { hook_path: "/new/rr-hook".into(), allow_when_unavailable: true, ..home.options(Scope::ProjectLocal) };
    install(&home.site, &moved).unwrap();
    let text = fs::read_to_string(home.local()).unwrap();
    assert_eq!(text.matches("'/new/rr-hook' --agent claude").count(), 12);
    assert_eq!(text.matches("--on-unavailable allow").count(), 12);
    assert!(!text.contains("it's here") && !text.contains("it'"));
    let backup = home.site.repo_root.join(".claude/settings.local.json.before-railroad");
    assert_eq!(fs::read_to_string(backup).unwrap(), "{\"model\":\"opus\"}");
}

#[test]
fn what_changed_since_the_installation_stays_when_only_our_handlers_go() {
    let home = Home::with_settings("{\n    \"model\": \"opus\"\n}\n");
    home.install().unwrap();
    let mut now = home.json();
    now["model"] = "sonnet".into();
    let theirs = serde_json::json!({ "type": "command", "command": "theirs" });
    now["hooks"]["PreToolUse"][0]["hooks"].as_array_mut().unwrap().push(theirs);
    fs::write(home.local(), serde_json::to_string_pretty(&now).unwrap()).unwrap();
    home.uninstall().unwrap();
    let left = serde_json::json!({ "model": "sonnet", "hooks": { "PreToolUse": [
        { "matcher": "*", "hooks": [{ "type": "command", "command": "theirs" }] }] } });
    assert_eq!(home.json(), left);
}

#[test]
fn what_is_not_understood_is_an_error_and_nothing_is_written() {
    let cases = [
        ("{\"a\": 1,\n  oops}", "line 2, column 3"),
        ("// comment\n{}", "line 1"),
        ("[]", "top level is not an object"),
        ("{\"hooks\": []}", "\"hooks\" is not an object"),
        ("{\"hooks\": {\"Stop\": {}}}", "\"hooks.Stop\" is not a list"),
        ("{\"n\": 1e5}", "the number 1e5"),
        ("{\"n\": [12345678901234567890123]}", "the number 12345678901234567890123"),
    ];
    for (text, says) in cases {
        let home = Home::with_settings(text);
        let before = home.files();
        let error = home.install().unwrap_err().to_string();
        assert!(error.contains(says) && error.contains("settings.local.json"), "{error}");
        assert_eq!(home.files(), before);
    }
}

#[test]
fn links_are_refused_and_nothing_is_written() {
    let home = Home::new();
    let elsewhere = home.dir.path().join("home/elsewhere.json");
    fs::write(&elsewhere, "{}").unwrap();
    fs::create_dir_all(home.site.repo_root.join(".claude")).unwrap();
    symlink(&elsewhere, home.local()).unwrap();
    assert!(matches!(home.install(), Err(InstallError::Link { .. })));
    fs::remove_dir_all(home.site.repo_root.join(".claude")).unwrap();
    symlink(home.dir.path().join("home"), home.site.repo_root.join(".claude")).unwrap();
    assert!(matches!(home.install(), Err(InstallError::Link { .. })));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "{}");
}

#[test]
fn a_folder_that_cannot_be_made_is_a_clear_error() {
    let home = Home::new();
    fs::write(home.site.repo_root.join(".claude"), "a file").unwrap();
    let error = home.install().unwrap_err();
    assert!(error.to_string().contains(".claude"), "{error}");
    assert_eq!(fs::read_to_string(home.site.repo_root.join(".claude")).unwrap(), "a file");
}

#[test]
fn paths_that_cannot_stand_in_a_command_are_refused() {
    let home = Home::new();
    for hook in ["rr-hook", "/a\nb/rr-hook", "/bin/other"] {
        let options = Options { hook_path: hook.into(), ..home.options(Scope::User) };
        assert!(install(&home.site, &options).is_err(), "{hook:?}");
    }
}

#[test]
fn the_user_scope_writes_the_users_settings_and_only_the_state_folder_is_excluded() {
    let home = Home::new();
    install(&home.site, &home.options(Scope::User)).unwrap();
    assert!(home.site.user_dir.join("settings.json").exists() && !home.local().exists());
    let exclude = fs::read_to_string(home.site.repo_root.join(".git/info/exclude")).unwrap();
    assert!(exclude.contains("\n/.railroad/\n") && !exclude.contains("settings"));
    uninstall(&home.site, Scope::User).unwrap();
    assert_eq!(home.files(), BTreeMap::new());
}

fn kinds(home: &Home) -> Vec<FindingKind> {
    inspect(&home.site).into_iter().map(|finding| finding.kind).collect()
}

#[test]
fn inspect_finds_each_way_of_being_unguarded() {
    let home = Home::new();
    assert_eq!(kinds(&home), [FindingKind::NotInstalled]);
    home.install().unwrap();
    assert_eq!(kinds(&home), [FindingKind::ProjectOnly, FindingKind::HookNotRunnable]);
    let hook = crate::hookbin::place(&home.dir.path().join("it's here")).unwrap();
    install(&home.site, &home.options(Scope::User)).unwrap();
    assert_eq!(kinds(&home), []);
    fs::write(&hook, "other").unwrap();
    assert_eq!(kinds(&home), [FindingKind::HookNotCurrent]);
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(kinds(&home), [FindingKind::HookNotRunnable]);
    crate::hookbin::place(&home.dir.path().join("it's here")).unwrap();
    fs::write(home.site.repo_root.join(".claude/settings.json"), "{\"disableAllHooks\": true}").unwrap();
    assert_eq!(kinds(&home), [FindingKind::HooksDisabled]);
    fs::write(home.site.repo_root.join(".claude/settings.json"), "{,}").unwrap();
    assert_eq!(kinds(&home), [FindingKind::Unreadable]);
}

#[test]
fn inspect_names_events_without_a_handler_that_does_its_work() {
    let home = Home::new();
    home.install().unwrap();
    let mut now = home.json();
    now["hooks"].as_object_mut().unwrap().remove("Stop");
    now["hooks"]["PreToolUse"][0]["hooks"][0].as_object_mut().unwrap().remove("onFailure");
    now["hooks"]["PostToolUse"][0]["matcher"] = "Write".into();
    fs::write(home.local(), now.to_string()).unwrap();
    let found = inspect(&home.site);
    assert_eq!(found[0].kind, FindingKind::Incomplete);
    assert_eq!(found[0].detail, "PreToolUse, PostToolUse, Stop");
}
