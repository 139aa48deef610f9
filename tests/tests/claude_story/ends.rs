//! Agents and daemons that end without a word: whose locks are freed, whose stay, and who starts the daemon again.

use anyhow::Context as _;
use rr_tests::claude::story;
use rr_tests::scripted_model::{Gate, Script};
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::{SHARED, SHARED_TEXT, Stage, read, shell, write};

#[test]
fn the_lock_of_a_killed_agent_is_freed_without_a_person() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let shared = stage.file(SHARED);
        let (never, _latch) = Gate::latch("never: the agent is killed before");
        let script = Script::new("a")
            .tool("Read", read(&shared))
            .tool("Write", write(&shared, "half\n"))
            .wait_for(never)
            .text("Never said.");
        let a = stage.start(script)?;
        stage.reached("a", 2).await?;
        assert!(stage.is_held_by(SHARED, &a), "{:#?}", stage.locks());
        a.signal(Signal::KILL)?;
        let run = a.finished().await?;
        assert!(!run.exit.success() && run.result().is_none(), "{}", run.stdout);
        stage.until("the lock is free", || stage.lock_on(SHARED).is_none()).await?;

        let script =
            Script::new("b").tool("Read", read(&shared)).tool("Write", write(&shared, "whole\n")).text("Mine.");
        stage.play(script).await?;
        stage.passed("b", 1)?;
        assert_eq!(stage.text(SHARED)?, "whole\n");
        assert!(stage.was_told("b", "ended without giving it back"), "{:#?}", stage.model.tool_results("b"));
        Ok(())
    });
}

#[test]
fn the_lock_of_a_killed_agent_stays_while_a_command_of_its_still_writes() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let alive = stage.file("alive");
        std::fs::write(&alive, "").context("let the command run")?;
        let writes = "while [ -e alive ]; do echo more >> src/shared.ts; sleep 0.05; done";
        let a = stage.start(Script::new("a").tool("Bash", shell(writes)).text("Never said."))?;
        let grown = || stage.text(SHARED).is_ok_and(|text| text.len() > SHARED_TEXT.len());
        stage.until("the command writes", grown).await?;
        a.signal(Signal::KILL)?;
        let agent = a.pid();
        let session = || {
            let of_a = |s: &serde_json::Value| s["pid"] == agent.as_raw_nonzero().get();
            stage.sessions().into_iter().find(of_a)
        };
        let warns = || session().is_some_and(|s| s["warning"].as_str().is_some_and(|w| w.contains("still running")));
        stage.until("the sessions tell of what the dead agent left", warns).await?;
        assert!(!a.finished().await?.exit.success());

        let (given_on, b_may_go_on) = Gate::latch("the file is given on");
        let script = Script::new("b")
            .tool("Bash", shell("echo mine >> src/shared.ts"))
            .wait_for(given_on)
            .tool("Bash", shell("echo mine >> src/shared.ts"))
            .text("Mine.");
        let b = stage.start(script)?;
        stage.reached("b", 1).await?;
        assert!(stage.denied("b", 0)?.contains(SHARED));
        assert!(session().is_some() && stage.lock_on(SHARED).is_some(), "{}", stage.daemon_log());
        assert!(!stage.text(SHARED)?.contains("mine"));

        std::fs::remove_file(&alive).context("end the command")?;
        stage.until("the file is given on to b", || stage.is_held_by(SHARED, &b)).await?;
        assert!(session().is_none());
        b_may_go_on.open();
        stage.ended(b).await?;
        stage.passed("b", 1)?;
        assert!(stage.text(SHARED)?.ends_with("more\nmine\n"), "nobody wrote after the lock was given on");
        Ok(())
    });
}

#[test]
fn without_a_daemon_that_can_be_started_changes_are_denied_with_the_repair_and_reading_passes() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let settings = std::fs::read_to_string(stage.hook_settings()).context("read the settings")?;
        let broken = settings.replace("/rrctl'", "/rrctl-gone'");
        assert_ne!(settings, broken);
        std::fs::write(stage.hook_settings(), broken).context("break the path of the daemon")?;
        let new = stage.file("new.txt");
        let script = Script::new("a")
            .tool("Read", read(&stage.file(SHARED)))
            .tool("Write", write(&new, "new\n"))
            .tool("Bash", shell("echo new > new.txt"))
            .text("Then a person has to help.");
        stage.play(script).await?;
        assert_eq!(stage.daemon(), None, "{}", stage.daemon_log());
        stage.passed("a", 0)?;
        for step in [1, 2] {
            let reason = stage.denied("a", step)?;
            assert!(reason.contains("`rrctl up`") && reason.contains("rrctl-gone"), "{reason}");
        }
        assert!(!new.exists());
        Ok(())
    });
}

#[test]
fn a_killed_daemon_is_started_by_the_next_hook_and_the_sessions_locks_are_still_its_own() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (killed, a_may_go_on) = Gate::latch("the daemon was killed");
        let (looked, a_may_end) = Gate::latch("the test has looked");
        let script = Script::new("a")
            .tool("Write", write(&stage.file("one.txt"), "one\n"))
            .wait_for(killed)
            .tool("Write", write(&stage.file("two.txt"), "two\n"))
            // Its reading is forgotten with the daemon: it is asked to look again.
            .tool("Bash", shell("cat one.txt"))
            .tool("Bash", shell("echo more >> one.txt"))
            .wait_for(looked)
            .text("Nothing happened?");
        let a = stage.start(script)?;
        stage.reached("a", 1).await?;
        let one = stage.lock_on("one.txt").context("the first file is held")?;
        let first = stage.daemon().context("the first hook has started a daemon")?;
        kill_process(Pid::from_raw(first).context("a pid")?, Signal::KILL)?;
        stage.until("the daemon is gone", || stage.rrctl(&["status"]).is_err()).await?;
        a_may_go_on.open();
        stage.reached("a", 4).await?;

        for step in 1..=3 {
            stage.passed("a", step)?;
        }
        assert_ne!(stage.daemon(), Some(first));
        let still = stage.lock_on("one.txt").context("the first file is still held")?;
        let two = stage.lock_on("two.txt").context("the second file is held")?;
        assert_eq!((&still["session"], &still["token"]), (&one["session"], &one["token"]));
        assert_eq!(two["session"], one["session"]);
        assert_eq!(stage.text("one.txt")?, "one\nmore\n");
        a_may_end.open();
        stage.ended(a).await?;
        stage.until("nothing is held any more", || stage.locks().is_empty()).await
    });
}
