//! The systemd units: each starts a program of this workspace, has only keys that systemd knows, and keeps what the programs
//! count on. Where systemd's own checker is installed it is asked as well.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rr_tests::programs::program;

const PROGRAMS: [&str; 3] = ["rr-coordinator", "rr-sidecar", "rr-watcher"];
/// Every key that the units use. A misspelt one is ignored by systemd, with a line in a log that nobody reads.
const KNOWN: [&str; 38] = [
    "After",
    "CapabilityBoundingSet",
    "Description",
    "Documentation",
    "Environment",
    "ExecStart",
    "LimitNOFILE",
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "NoNewPrivileges",
    "PrivateDevices",
    "PrivateTmp",
    "ProtectControlGroups",
    "ProtectHome",
    "ProtectKernelModules",
    "ProtectKernelTunables",
    "ProtectSystem",
    "Requires",
    "Restart",
    "RestartPreventExitStatus",
    "RestartSec",
    "RestrictAddressFamilies",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RuntimeDirectory",
    "RuntimeDirectoryMode",
    "RuntimeDirectoryPreserve",
    "StateDirectory",
    "StateDirectoryMode",
    "SystemCallArchitectures",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "Type",
    "UMask",
    "User",
    "WantedBy",
    "Wants",
    "WorkingDirectory",
];

fn units(variant: &str) -> Vec<(PathBuf, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker/systemd").join(variant);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.map(|file| (file.clone(), fs::read_to_string(&file).expect("text"))).collect()
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|l| !l.starts_with(['#', '[']) && !l.is_empty());
    lines.map(|line| line.split_once('=').unwrap_or_else(|| panic!("{line:?} is no setting")))
}

fn started(text: &str) -> &str {
    let (_, command) = pairs(text).find(|(key, _)| *key == "ExecStart").expect("it starts something");
    command.rsplit('/').next().expect("a program")
}

#[test]
fn each_program_has_a_unit_in_both_variants_with_known_keys_only() {
    for variant in ["user", "system"] {
        let units = units(variant);
        let programs: BTreeSet<&str> = units.iter().map(|(_, text)| started(text)).collect();
        assert_eq!(programs, PROGRAMS.into(), "{variant}");
        for (file, text) in &units {
            let stem = file.file_stem().and_then(|s| s.to_str()).expect("a name");
            assert_eq!(stem.trim_end_matches('@'), started(text), "{}", file.display());
            assert!(program(started(text)).is_file());
            let value = |wanted: &str| pairs(text).find(|(key, _)| *key == wanted).map(|(_, value)| value);
            let kept = [value("Type"), value("Restart"), value("NoNewPrivileges"), value("TimeoutStartSec")];
            assert_eq!(kept, [Some("notify"), Some("always"), Some("yes"), Some("infinity")], "{}", file.display());
            let unknown: Vec<&str> = pairs(text).map(|(key, _)| key).filter(|key| !KNOWN.contains(key)).collect();
            assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
        }
    }
}

/// systemd's checker needs the programs to be where the unit says: it is given copies that name those of this build.
#[test]
fn systemd_itself_has_nothing_to_say_against_the_units_where_it_is_installed() {
    let known = Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status();
    if known.is_err() {
        // The test above has looked at every key.
        return;
    }
    let temp = tempfile::tempdir().expect("a folder");
    // The user's manager differs in what it offers to a unit, not in how it reads one.
    for (file, text) in units("system").into_iter().chain(units("user")) {
        let copy = temp.path().join(file.file_name().expect("a name"));
        let (before, command) = text.split_once("ExecStart=").expect("it starts something");
        let (_, after) = command.split_once('\n').expect("more lines");
        let program = program(started(&text));
        fs::write(&copy, format!("{before}ExecStart={}\n{after}", program.display())).expect("write a copy");
        let checked =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().expect("it runs");
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        let name = copy.file_name().and_then(|n| n.to_str()).expect("a name").trim_end_matches(".service");
        let about_it: Vec<&str> = said.lines().filter(|line| line.contains(name.trim_end_matches('@'))).collect();
        assert!(about_it.is_empty(), "{}: {said}", file.display());
    }
}
