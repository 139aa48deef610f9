//! The known bugs that need a cluster, a kernel or a program of its own to be found; the others are in rr-fleet's `bugs`, and
//! B14 is in rr-journal's `crash`. And that no release build can have any of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Every source file of the workspace.
fn sources() -> Vec<PathBuf> {
    let (mut open, mut found) = (vec![root().to_owned()], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).expect("look").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && name != ".git" {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn text_of(files: &[PathBuf], keep: impl Fn(&str) -> bool) -> String {
    let kept = files.iter().filter(|file| keep(file.strip_prefix(root()).expect("below").to_str().expect("text")));
    kept.map(|file| fs::read_to_string(file).expect("text")).collect()
}

#[test]
fn each_known_bug_has_its_place_and_a_test_that_finds_it() {
    let files = sources();
    let is_test = |file: &str| file.contains("tests/");
    let places = text_of(&files, |file| !is_test(file) && file != "core/src/bugs.rs");
    let tests = text_of(&files, is_test);
    for bug in 1..=16 {
        let (switch, hook) = (format!("is_on(Bug::B{bug})"), format!("bug(\"B{bug}\")"));
        assert!(places.contains(&switch) || places.contains(&hook), "B{bug} is nowhere put in");
        assert!(tests.contains(&format!("fn b{bug}_")), "no test is named for B{bug}");
    }
}

/// A program as a release build has it, without cargo.
fn released(name: &str, source: &Path, into: &Path) -> PathBuf {
    let program = into.join(name);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "-O", "-C", "debug-assertions=off", "-A", "warnings"]);
    command.args(["-C", "strip=symbols", "-o"]).arg(&program).arg(source);
    let done = command.stdin(Stdio::null()).output().expect("rustc runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    program
}

fn with_bug(program: &Path, bug: &str) -> Output {
    let mut command = Command::new(program);
    command.env("RAILROAD_TEST_BUG", bug).env("RAILROAD_TEST_FAULT", "1").stdin(Stdio::null());
    command.output().expect("it runs")
}

#[test]
fn a_release_build_has_no_bug_to_switch_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = folder.path().join("main.rs");
    let bugs = root().join("core/src/bugs.rs").canonicalize().expect("there");
    // Only what is constant can be the length of an array.
    let main = "fn main() { let off: [u8; bugs::is_on(bugs::Bug::B1) as usize] = []; print!(\"{}\", off.len()); }";
    fs::write(&source, format!("#[path = {bugs:?}]\nmod bugs;\n{main}\n")).expect("write");
    let program = released("bugs", &source, folder.path());
    assert_eq!(with_bug(&program, "B1").stdout, b"0");
    let hook = released("hook", &root().join("hook/src/main.rs"), folder.path());
    assert_eq!(with_bug(&hook, "B13").status.code(), Some(0));
    for program in [program, hook] {
        let bytes = fs::read(&program).expect("read");
        let reads = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
        assert!(!reads(b"RAILROAD_TEST_BUG") && !reads(b"RAILROAD_TEST_FAULT"), "{}", program.display());
    }
}

#[cfg(debug_assertions)]
mod found {
    use std::time::Duration;

    use futures::StreamExt as _;
    use rr_core::bugs::{Bug, plant};
    use rr_core::time::Clock as _;
    use rr_fleet::{Hold, HoldKind};
    use rr_history::{Rule, Violation, Watched, check};
    use rr_runtime::clock::BootClock;
    use rr_store::{Keys, Op, Store as _, StoreError, Txn};
    use rr_tests::crowd::{Crowd, connect};
    use rr_tests::etcd::{EtcdCluster, EtcdSetup};

    use super::{Command, Output, Stdio};

    /// A write to a member that has lost the others: refused at once and known not to be applied, unless nobody asked it for a
    /// leader.
    async fn write_without_a_leader() -> StoreError {
        let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
        let alone = cluster.follower();
        let store = connect(vec![cluster.endpoint(alone)]).await;
        let write = |n: u8| Txn::default().then(vec![Op::put("a", vec![n])]);
        store.txn(write(1)).await.expect("written");
        (0..3).filter(|member| *member != alone).for_each(|member| cluster.stop(member));
        while cluster.metric(alone, "etcd_server_has_leader") != Some(0.0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        store.txn(write(2)).await.expect_err("nobody leads")
    }

    #[tokio::test]
    async fn b6_a_member_without_a_leader_that_is_asked_all_the_same_is_found() {
        let refused = write_without_a_leader().await;
        assert!(refused.is_retryable(), "{refused}");
        let planted = plant(Bug::B6);
        let refused = write_without_a_leader().await;
        drop(planted);
        assert!(refused.is_unknown(), "it was not found: {refused}");
    }

    /// A watch whose member was gone while the others wrote and forgot.
    async fn watch_overtaken() -> Result<(), Vec<Violation>> {
        let mut cluster = EtcdCluster::start(3, EtcdSetup::default());
        let crowd = Crowd::gather(cluster.endpoints().split_off(1), 1).await;
        let client = crowd.client().await;
        let keys = client.fleet.keyspace().fleet();
        let from = client.read_permit().await.expect("read").revision + 1;
        let alone = connect(vec![cluster.endpoint(0)]).await;
        let mut watch = alone.watch(Keys::prefix(keys.clone()), from).await.expect("watched");
        cluster.kill(0);
        for _ in 0..3 {
            let (who, reason) = ("test".to_owned(), "a test".to_owned());
            let hold = Hold {
                id: String::new(),
                kind: HoldKind::Person,
                who,
                reason,
                hard: false,
                affected: None,
                since_unix_ms: 0,
            };
            while client.pause(&hold).await.is_err() {}
        }
        let last = client.read_permit().await.expect("read").revision;
        while crowd.recorder.followed() < last {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        crowd.store.compact(last).await.expect("forgotten");
        cluster.restart(0);
        let next = tokio::time::timeout(Duration::from_secs(60), watch.next()).await.unwrap_or_else(|_| {
            let [watchers, revision] = ["watcher_total", "current_revision"]
                .map(|name| cluster.metric(0, &format!("etcd_debugging_mvcc_{name}")));
            panic!("it neither goes on nor ends: from {from}, by {last}; its member has {watchers:?} at {revision:?}")
        });
        let told = next.expect("it says why it ends").into_iter().collect();
        crowd.recorder.watched(Watched { keys: Keys::prefix(keys), from, told });
        check(&crowd.end(2).await).map(drop)
    }

    #[tokio::test]
    async fn b7_a_watch_of_etcd_that_skips_what_was_compacted_is_found() {
        watch_overtaken().await.expect("the story breaks nothing by itself");
        let planted = plant(Bug::B7);
        let broken = watch_overtaken().await.expect_err("it was not found");
        drop(planted);
        assert!(broken.iter().any(|violation| violation.rule == Rule::WatchTellsAll), "{broken:?}");
    }

    const CHILD: &str = "RAILROAD_TEST_CHILD";
    /// A day that the clock of a namespace has on the clock that stands still during sleep.
    const SLEPT: &str = "86400";

    /// What the program's clock says, as a process of its own.
    #[test]
    fn child_tells_the_time() {
        if std::env::var_os(CHILD).is_some() {
            println!("told: {}", BootClock.now().as_millis() / 1_000);
        }
    }

    fn told(way_in: &[&str], bug: &str) -> Option<u64> {
        let own = std::env::current_exe().expect("a path");
        let words: Vec<&str> = way_in.iter().copied().chain([own.to_str().expect("text")]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(["--exact", "found::child_tells_the_time", "--nocapture"]);
        command.env(CHILD, "1").env("RAILROAD_TEST_BUG", bug).stdin(Stdio::null());
        let Output { stdout, .. } = command.output().ok()?;
        let text = String::from_utf8_lossy(&stdout).into_owned();
        text.split("told: ").nth(1)?.split_whitespace().next()?.parse().ok()
    }

    /// The kernel as if the machine had slept for a day: the program's clock has counted it. What follows if it had not is
    /// in rr-fleet's test of the same bug.
    #[test]
    fn b4_a_clock_that_has_not_counted_the_sleep_is_found() {
        let asleep = ["unshare", "--user", "--map-root-user", "--time", "--boottime", SLEPT];
        let slept: u64 = SLEPT.parse().expect("a number");
        let here = told(&[], "").expect("it tells the time");
        let Some(there) = told(&asleep, "") else {
            eprintln!("NO TIME NAMESPACE: refused here; the choice of the clock is shown by rr-fleet's test alone");
            return;
        };
        let counted = |told: u64| (slept..slept + 3_600).contains(&told.saturating_sub(here));
        assert!(counted(there), "{here} s here, {there} s on a machine that slept {slept} s more");
        let there = told(&asleep, "B4").expect("it tells the time");
        assert!(!counted(there), "it was not found");
    }
}
