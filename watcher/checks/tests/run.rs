//! The runner over real processes: programs that hang, multiply, run away, print, ask, die. What is left over is looked
//! up in `/proc` by marks of the test's own. No network, no toolchain; those are in `tools.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rr_checks::{Check, Limits, Origin, Outcome, Runner, When, Why};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(60);
/// Long enough for a shell to start and print on a busy machine.
const HANGS_FOR: Duration = Duration::from_secs(2);

fn check(run: &str) -> Check {
    let (folder, path) = (String::new(), Vec::new());
    Check {
        name: "one".into(),
        run: run.into(),
        when: When::Commit,
        from: Origin::Configured,
        needs: Vec::new(),
        folder,
        path,
    }
}

fn limits() -> Limits {
    Limits { wall_clock: Duration::from_secs(60), free_bytes_floor: 1, ..Limits::default() }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

async fn run_in(folder: &Path, run: &str, limits: &Limits) -> Outcome {
    Runner::new().run(&check(run), folder, limits, &CancellationToken::new()).await
}

async fn run(text: &str, limits: &Limits) -> Outcome {
    run_in(folder().path(), text, limits).await
}

fn why(outcome: &Outcome) -> &Why {
    match outcome {
        Outcome::Infrastructure { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

fn text(outcome: &Outcome) -> &str {
    outcome.output().map_or("", |o| o.text.as_str())
}

/// Processes whose command line has this word.
fn running(word: &str) -> Vec<u32> {
    let pids = fs::read_dir("/proc").expect("proc").flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let has_word = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && !state.contains(") Z ") && *pid != std::process::id()
    };
    pids.filter(has_word).collect()
}

/// A number of seconds to sleep that no other process sleeps for.
fn own_number(test: u32) -> String {
    format!("3{}{:07}", test, std::process::id())
}

#[tokio::test]
async fn success_is_green_and_an_exit_code_alone_is_a_doubtful_red() {
    assert!(matches!(run("true", &limits()).await, Outcome::Green { .. }));
    let Outcome::Red { findings, nature, output, .. } = run("exit 3", &limits()).await else { panic!("not red") };
    assert_eq!((findings.0.len(), nature, output.printed_bytes), (1, rr_checks::Nature::Test, 0));
}

#[tokio::test]
async fn both_streams_are_kept_in_the_order_they_came() {
    let outcome = run("echo one; echo two >&2; echo three; exit 1", &limits()).await;
    assert_eq!(text(&outcome), "one\ntwo\nthree\n");
}

#[tokio::test]
async fn a_check_that_hangs_is_ended_in_time_and_not_blamed() {
    let number = own_number(1);
    let begin = Instant::now();
    let short = Limits { wall_clock: HANGS_FOR, ..limits() };
    let outcome = run(&format!("echo begun; sleep {number} & sleep {number}"), &short).await;
    assert_eq!((why(&outcome), text(&outcome)), (&Why::TimedOut, "begun\n"));
    assert!(begin.elapsed() < SOON && outcome.took_ms() >= 2_000);
    assert!(running(&number).is_empty());
}

#[tokio::test]
async fn a_check_that_hangs_at_its_tools_lock_waited_for_a_lock() {
    let short = Limits { wall_clock: HANGS_FOR, ..limits() };
    let outcome = run("echo '    Blocking waiting for file lock on build directory'; exec sleep 1000", &short).await;
    assert_eq!(why(&outcome), &Why::LockTimeout);
}

#[tokio::test]
async fn a_check_that_multiplies_is_ended_at_its_limit() {
    // A bounded one: a true bomb would end the machine of whoever runs this as root, whom no limit of the kernel's
    // binds.
    let few = Limits { processes: 40, ..limits() };
    let name = own_number(9);
    let begin = Instant::now();
    let outcome = run(&format!("for i in $(seq 120); do sleep {name} & done; wait"), &few).await;
    assert_eq!(why(&outcome), &Why::TooManyProcesses);
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    assert!(running(&name).is_empty());
}

#[tokio::test]
async fn what_left_the_group_the_session_and_its_parents_is_ended_all_the_same() {
    let number = own_number(2);
    let outcome =
        run(&format!("setsid sh -c 'sleep {number} >/dev/null 2>&1 &' & wait; echo parent gone"), &limits()).await;
    assert!(matches!(outcome, Outcome::Green { .. }), "{outcome:?}");
    assert!(running(&number).is_empty());
}

#[tokio::test]
async fn what_threw_its_environment_away_is_known_by_the_pipe_it_prints_to() {
    let number = own_number(3);
    let outcome = run(&format!("env -i setsid sh -c 'sleep {number} &' & wait"), &limits()).await;
    assert!(matches!(outcome, Outcome::Green { .. }), "{outcome:?}");
    assert!(running(&number).is_empty());
}

#[tokio::test]
async fn processes_of_others_are_left_alone() {
    let number = own_number(4);
    let mut other = std::process::Command::new("sleep").arg(&number).spawn().expect("sleep");
    let mut later = None;
    let limits = limits();
    let running_check = run("sleep 0.3; exit 1", &limits);
    let start_later = async { later = std::process::Command::new("sleep").arg(&number).spawn().ok() };
    let (outcome, ()) = tokio::join!(running_check, start_later);
    assert!(matches!(outcome, Outcome::Red { .. }));
    assert_eq!(running(&number).len(), 2);
    for child in [Some(&mut other), later.as_mut()].into_iter().flatten() {
        child.kill().expect("kill");
        child.wait().expect("wait");
    }
}

#[tokio::test]
async fn a_gigabyte_of_output_costs_neither_memory_nor_disk() {
    let folder = folder();
    let limits = Limits { output_bytes: 64 * 1024, ..limits() };
    let before = peak_kib();
    let outcome = run_in(folder.path(), "echo first; yes | head -c 1G; echo last; exit 1", &limits).await;
    let output = outcome.output().expect("red");
    assert!(output.printed_bytes > 1 << 30 && output.text.len() < 70 * 1024, "{}", output.text.len());
    assert!(output.text.starts_with("first\n") && output.text.ends_with("last\n"));
    assert_eq!(output.printed_bytes - output.left_out_bytes, 64 * 1024);
    let grown = peak_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 0);
}

/// The most memory that this process ever had.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("VmHWM");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}

#[tokio::test]
async fn a_file_that_grows_past_its_limit_is_no_space_and_nobodys_fault() {
    let small = Limits { file_bytes: 1 << 20, ..limits() };
    let folder = folder();
    for fill in ["head -c 2M /dev/zero >big", "exec head -c 2M /dev/zero >big", "cat /dev/zero >big; exit 1"] {
        let outcome = run_in(folder.path(), fill, &small).await;
        assert_eq!(why(&outcome), &Why::NoSpace, "{fill}");
        assert_eq!(fs::metadata(folder.path().join("big")).expect("big").len(), 1 << 20);
    }
}

#[tokio::test]
async fn a_check_that_fills_the_disk_is_ended_before_it_is_full() {
    let folder = folder();
    let disk = rustix::fs::statvfs(folder.path()).expect("statvfs");
    let free = disk.f_bavail * disk.f_frsize;
    let floor = Limits { free_bytes_floor: free - (64 << 20), ..limits() };
    let outcome = run_in(folder.path(), "while :; do head -c 8M /dev/zero >>big; sleep 0.01; done", &floor).await;
    assert_eq!(why(&outcome), &Why::NoSpace);
    let full = Limits { free_bytes_floor: u64::MAX, ..limits() };
    let outcome = run_in(folder.path(), "echo it ran", &full).await;
    assert_eq!((why(&outcome), text(&outcome)), (&Why::NoSpace, ""), "not even started");
}

#[tokio::test]
async fn a_check_that_takes_too_much_memory_is_ended() {
    let small = Limits { memory_bytes: 100 << 20, ..limits() };
    let eat = "import time\na = []\nwhile True:\n    a.append(bytearray(4 << 20)); time.sleep(0.002)\n";
    let outcome = run(&format!("python3 -c '{eat}'"), &small).await;
    assert_eq!(why(&outcome), &Why::OutOfMemory);
    let enough = Limits { memory_bytes: 400 << 20, ..limits() };
    let outcome = run("python3 -c 'a = bytearray(100 << 20); import time; time.sleep(0.2)'", &enough).await;
    assert!(matches!(outcome, Outcome::Green { .. }), "{outcome:?}");
}

#[tokio::test]
async fn memory_that_parent_and_child_share_is_counted_once() {
    let limits = Limits { memory_bytes: 150 << 20, ..limits() };
    let share = "import os, time\na = bytearray(80 << 20)\nfor _ in range(3):\n    if os.fork() == 0: time.sleep(0.4); os._exit(0)\n\
                 for _ in range(3): os.wait()\n";
    let outcome = run(&format!("python3 -c '{share}'"), &limits).await;
    assert!(matches!(outcome, Outcome::Green { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_check_that_asks_gets_no_answer_and_ends() {
    let begin = Instant::now();
    for asks in ["printf 'Proceed? '; read answer", "python3 -c 'input(\"name: \")'"] {
        let outcome = run(asks, &limits()).await;
        assert_eq!(why(&outcome), &Why::NeedsInput, "{outcome:?}");
    }
    assert!(begin.elapsed() < SOON);
}

#[tokio::test]
async fn a_check_that_is_stopped_as_by_a_terminal_does_not_wait_for_its_time_limit() {
    let begin = Instant::now();
    let outcome = run("kill -TTIN $$; echo went on", &limits()).await;
    assert_eq!((why(&outcome), text(&outcome)), (&Why::NeedsInput, ""));
    assert!(begin.elapsed() < SOON);
}

#[tokio::test]
async fn a_missing_tool_is_named_before_the_run_or_after() {
    let missing = Why::MissingTool("no-such-tool".to_owned());
    assert_eq!(why(&run("no-such-tool --check", &limits()).await), &missing);
    let mut needs = check("touch ran; true");
    needs.needs = vec!["sh".into(), "no-such-tool".into()];
    let folder = folder();
    let outcome = Runner::new().run(&needs, folder.path(), &limits(), &CancellationToken::new()).await;
    assert_eq!(why(&outcome), &missing);
    assert!(!folder.path().join("ran").exists());
}

#[tokio::test]
async fn a_program_in_the_checks_own_path_is_found() {
    let folder = folder();
    let bin = folder.path().join("web/node_modules/.bin");
    fs::create_dir_all(&bin).expect("bin");
    fs::write(bin.join("own-tool"), "#!/bin/sh\npwd\nexit 1\n").expect("tool");
    fs::set_permissions(bin.join("own-tool"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("mode");
    let mut check = check("own-tool");
    check.folder = "web".into();
    check.path = vec!["node_modules/.bin".into()];
    check.needs = vec!["own-tool".into()];
    let outcome = Runner::new().run(&check, folder.path(), &limits(), &CancellationToken::new()).await;
    assert!(text(&outcome).ends_with("/web\n"), "{outcome:?}");
}

#[tokio::test]
async fn killed_from_outside_is_not_red_and_a_crash_is() {
    assert_eq!(why(&run("kill -KILL $$", &limits()).await), &Why::Killed);
    assert_eq!(why(&run("sh -c 'kill -KILL $$'; exit $?", &limits()).await), &Why::Killed);
    assert!(matches!(run("kill -SEGV $$", &limits()).await, Outcome::Red { .. }));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_no_red() {
    let outcome = run_in(Path::new("/no/such/folder"), "true", &limits()).await;
    assert!(matches!(why(&outcome), Why::CouldNotStart(_)));
}

#[tokio::test]
async fn cancelled_is_over_at_once_and_nothing_is_left() {
    let number = own_number(5);
    let folder = folder();
    let cancel = CancellationToken::new();
    let check = check(&format!("touch begun; setsid sleep {number} & sleep {number}"));
    let runner = Runner::new();
    let limits = limits();
    let running_check = runner.run(&check, folder.path(), &limits, &cancel);
    let cancelling = async {
        while running(&number).len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(running_check, cancelling);
    assert_eq!(why(&outcome), &Why::Cancelled);
    assert!(running(&number).is_empty());
}

#[tokio::test]
async fn a_run_that_is_dropped_half_way_leaves_nothing_either() {
    let number = own_number(6);
    let folder = folder();
    let check = check(&format!("setsid sleep {number} & sleep {number}"));
    let (runner, limits, cancel) = (Runner::new(), limits(), CancellationToken::new());
    let dropped = async {
        while running(&number).len() < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = runner.run(&check, folder.path(), &limits, &cancel) => panic!("{outcome:?}"),
        () = dropped => {}
    }
    let begin = Instant::now();
    while !running(&number).is_empty() {
        assert!(begin.elapsed() < SOON, "still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_environment_is_what_was_handed_in_and_a_short_list() {
    let runner = Runner::new().with_env("CARGO_TARGET_DIR", "/slots/1/target");
    let print = check("env; umask; ulimit -c; readlink /proc/self/fd/0; exit 1");
    let outcome = runner.run(&print, folder().path(), &limits(), &CancellationToken::new()).await;
    let text = text(&outcome);
    for line in ["CARGO_TARGET_DIR=/slots/1/target", "CI=1", "NO_COLOR=1", "0022", "0", "/dev/null"] {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }
    assert!(text.contains("RAILROAD_CHECK=") && !text.contains("CARGO_MANIFEST_DIR="), "{text}");
}
