//! What the runner costs over a bare `sh -c true`: both sides in one run, in turns, and the processor time of watching
//! a check.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rr_checks::{Check, Limits, Origin, Outcome, Runner, When};
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 300;
const WATCHED: Duration = Duration::from_secs(4);

fn check(run: &str) -> Check {
    let (folder, path, needs) = (String::new(), Vec::new(), Vec::new());
    Check { name: "one".into(), run: run.into(), when: When::Commit, from: Origin::Configured, needs, folder, path }
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0
}

fn cpu() -> Duration {
    let t = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(t.tv_sec).unwrap_or_default(), u32::try_from(t.tv_nsec).unwrap_or_default())
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let (runner, limits, cancel) =
        (Runner::new(), Limits { free_bytes_floor: 1, ..Limits::default() }, CancellationToken::new());
    let (mut bare, mut run) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", "true"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        assert!(sh.status().expect("sh").success());
        bare.push(begin.elapsed());
        let begin = Instant::now();
        let outcome = runner.run(&check("true"), folder.path(), &limits, &cancel).await;
        assert!(matches!(outcome, Outcome::Green { .. }));
        run.push(begin.elapsed());
    }
    let (b50, b99) = (percentile(&mut bare, 50), percentile(&mut bare, 99));
    let (r50, r99) = (percentile(&mut run, 50), percentile(&mut run, 99));
    println!("sh -c true          p50 {b50:.2} ms   p99 {b99:.2} ms");
    println!("Runner::run(true)   p50 {r50:.2} ms   p99 {r99:.2} ms   (+{:.2} ms, {:.1}x)", r50 - b50, r50 / b50);
    let before = cpu();
    let sleep = format!("sleep {}", WATCHED.as_secs());
    runner.run(&check(&sleep), folder.path(), &limits, &cancel).await;
    let share = (cpu() - before).as_secs_f64() / WATCHED.as_secs_f64() * 100.0;
    let processes = std::fs::read_dir("/proc").map_or(0, Iterator::count);
    println!("watching one check  {share:.2} % of a core ({processes} entries in /proc)");
}
