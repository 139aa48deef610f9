//! The last line: exactly one complete answer leaves this process, in time, whatever happens. Owns the time budget, the
//! right to print, the watchdog thread and the panic path; refuses to know the conversation. Next: `fallback.rs`.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::args::OnUnavailable;
use crate::fallback::{self, Answer};
use crate::trouble::Trouble;

/// T_HOOK of the lock protocol, far below the agent's own limit (10 s), after which most agents run the tool.
const HOOK_TIME_MAX: Duration = Duration::from_millis(2000);

/// Kept back for deciding and printing after the last wait.
const PRINT_RESERVE: Duration = Duration::from_millis(100);

/// Where the watchdog strikes: after the ordinary waits, which know more, have ended.
const WATCHDOG_RESERVE: Duration = Duration::from_millis(50);

/// The watchdog builds one short text; the default stack of 2 MiB would only cost page tables.
const WATCHDOG_STACK_LEN: usize = 64 * 1024;

/// The exit code every agent with command hooks takes as "blocked".
const BLOCK: i32 = 2;

/// Set by whoever prints. A second answer behind the first would make both invalid.
static PRINTING: AtomicBool = AtomicBool::new(false);

/// The time this process may take, on the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    started: Instant,
}

impl Budget {
    pub(crate) fn start() -> Budget {
        Budget { started: Instant::now() }
    }

    /// What is left for waiting; never zero, because a zero timeout means "for ever" to a socket.
    pub(crate) fn left(self) -> Duration {
        self.left_keeping(PRINT_RESERVE).max(Duration::from_millis(1))
    }

    pub(crate) fn is_spent(self) -> bool {
        self.left_keeping(PRINT_RESERVE).is_zero()
    }

    pub(crate) fn left_keeping(self, reserve: Duration) -> Duration {
        (HOOK_TIME_MAX - reserve).saturating_sub(self.started.elapsed())
    }
}

/// Starts, at most once, the thread that refuses when the main one is stuck in a call without a timeout. It is not
/// started on the common path: a thread costs a third of the whole process there.
#[derive(Debug)]
pub(crate) struct Watchdog {
    pub(crate) budget: Budget,
    pub(crate) policy: OnUnavailable,
    running: bool,
}

impl Watchdog {
    pub(crate) fn new(budget: Budget, policy: OnUnavailable) -> Watchdog {
        Watchdog { budget, policy, running: false }
    }

    /// `stuck` is what to say if the main thread does not come back.
    pub(crate) fn start(&mut self, stuck: Trouble) -> Result<(), Trouble> {
        if self.running {
            return Ok(());
        }
        let (budget, policy) = (self.budget, self.policy);
        let strike = move || {
            thread::sleep(budget.left_keeping(WATCHDOG_RESERVE));
            // The main thread owns the input, so this one answers as for an unknown call.
            let answer = fallback::answer(&[], &stuck, policy);
            std::process::exit(emit(&answer));
        };
        let spawned = thread::Builder::new().stack_size(WATCHDOG_STACK_LEN).spawn(strike);
        self.running = spawned.is_ok();
        spawned.map(drop).map_err(|error| Trouble::Io { step: "start the watchdog", error })
    }
}

/// A panic would end in exit code 101, which agents take as "go on". It ends in a refusal instead. No unwinding is
/// needed for that, so it holds whether panics unwind or abort.
pub(crate) fn refuse_on_panic() {
    std::panic::set_hook(Box::new(|_| {
        if PRINTING.load(Ordering::SeqCst) {
            // Half an answer may be out already: only the exit code still counts.
            std::process::exit(block("Railroad's hook failed on a bug of its own; the call is blocked."));
        }
        let answer = fallback::answer(&[], &Trouble::Panic, OnUnavailable::Deny);
        std::process::exit(emit(&answer));
    }));
}

/// Prints `answer` and returns the exit code. Whoever comes second waits: the first ends the process.
pub(crate) fn emit(answer: &Answer) -> i32 {
    if PRINTING.swap(true, Ordering::SeqCst) {
        loop {
            thread::park();
        }
    }
    let mut stdout = std::io::stdout().lock();
    let printed = stdout.write_all(&answer.stdout).and_then(|()| stdout.flush());
    if printed.is_err() {
        return block("Railroad's hook could not print its answer; the call is blocked.");
    }
    if !answer.stderr.is_empty() {
        // The exit code carries the decision; a closed stderr only loses the text.
        drop(std::io::stderr().write_all(&answer.stderr));
    }
    i32::from(answer.code)
}

fn block(text: &str) -> i32 {
    // Two agents ignore a blocking exit code without text, so some is always tried.
    drop(writeln!(std::io::stderr(), "{text}"));
    BLOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Output, Stdio};

    /// Runs one of the `child_*` tests below as a process of its own, because it ends the process.
    fn child(name: &str) -> Output {
        let program = std::env::current_exe().unwrap();
        let name = format!("guard::tests::{name}");
        let mut command = Command::new(program);
        command.args(["--exact", &name, "--nocapture", "--test-threads=1"]).env("RR_HOOK_CHILD", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
    }

    fn is_child() -> bool {
        std::env::var_os("RR_HOOK_CHILD").is_some()
    }

    #[test]
    fn child_panics() {
        if is_child() {
            refuse_on_panic();
            let nothing: Vec<u8> = Vec::new();
            drop(std::hint::black_box(&nothing)[7..].to_vec());
        }
    }

    #[test]
    fn child_panics_in_a_thread_while_printing() {
        if is_child() {
            refuse_on_panic();
            PRINTING.store(true, Ordering::SeqCst);
            drop(thread::spawn(|| panic!("boom")).join());
        }
    }

    #[test]
    fn child_hangs() {
        if is_child() {
            let budget = Budget::start();
            Watchdog::new(budget, OnUnavailable::Deny).start(Trouble::InputUnfinished).unwrap();
            loop {
                thread::park();
            }
        }
    }

    #[test]
    fn a_panic_ends_in_a_refusal_and_never_in_exit_code_101() {
        let out = child("child_panics");
        let text = String::from_utf8(out.stdout).unwrap();
        assert_eq!(out.status.code(), Some(0), "{text}");
        assert!(text.contains(r#""permissionDecision":"deny""#), "{text}");
        assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"));
    }

    #[test]
    fn a_panic_after_printing_began_blocks_by_exit_code() {
        let out = child("child_panics_in_a_thread_while_printing");
        assert_eq!(out.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&out.stderr).contains("blocked"));
    }

    #[test]
    fn a_stuck_main_thread_is_answered_for() {
        let out = child("child_hangs");
        assert_eq!(out.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&out.stdout).contains("did not finish its message"));
    }

    #[test]
    fn a_spent_budget_still_gives_a_timeout_that_ends() {
        let budget = Budget { started: Instant::now().checked_sub(HOOK_TIME_MAX).unwrap() };
        assert!(budget.is_spent());
        assert_eq!(budget.left(), Duration::from_millis(1));
    }
}
