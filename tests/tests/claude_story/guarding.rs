//! The hooks themselves: an agent cannot take them out, and if somebody else does, it is blocked and shown.

use anyhow::Context as _;
use rr_tests::claude::story;
use rr_tests::scripted_model::{Gate, Script};

use crate::stage::{Stage, read, shell, write};

const OFF: &str = "{\"disableAllHooks\":true}\n";
/// The refusal with which the product stops an agent.
const STOPPED_AFTER: usize = 8;

#[test]
fn an_agent_cannot_switch_its_hooks_off() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let settings = stage.hook_settings();
        let before = std::fs::read(&settings).context("read the settings")?;
        let commands = [
            "echo '{\"disableAllHooks\":true}' > .claude/settings.local.json",
            "cd .claude && cp /dev/null settings.local.json",
            "rm .claude/settings.local.json",
            "mv .claude .claude-away",
            "bash -c 'echo {} | tee .claude/settings.json'",
            "f=.claude/settings.local.json; rm $f",
            "echo .claude/settings.local.json | xargs rm",
            "ln -sf /dev/null .claude/settings.local.json",
            "python3 -c \"open('.claude/settings.local.json', 'w').write('{}')\"",
        ];
        // Fewer in one session than would get the agent stopped.
        for (n, commands) in commands.chunks(5).enumerate() {
            let name = format!("a{n}");
            let mut script = Script::new(&name).tool("Read", read(&settings)).tool("Write", write(&settings, OFF));
            for command in commands {
                script = script.tool("Bash", shell(command));
            }
            stage.play(script.text("Then not.")).await?;
            stage.passed(&name, 0)?;
            for step in 1..=1 + commands.len() {
                let reason = stage.denied(&name, step)?;
                assert!(reason.contains("belongs to the guard around this repository"), "step {step}: {reason}");
            }
        }
        assert_eq!(std::fs::read(&settings).context("read the settings")?, before);
        assert!(!stage.file(".claude/settings.json").exists() && !stage.file(".claude-away").exists());
        Ok(())
    });
}

#[test]
fn hooks_that_a_person_switches_off_stay_in_force_for_a_running_session_and_it_is_flagged() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (is_off, a_may_go_on) = Gate::latch("the settings were changed");
        let guarded = stage.file(".claude/settings.json");
        let script = Script::new("a")
            .tool("Write", write(&stage.file("one.txt"), "one\n"))
            .wait_for(is_off)
            .tool("Write", write(&guarded, OFF))
            .tool("Write", write(&stage.file("two.txt"), "two\n"))
            .text("Done.");
        let a = stage.start(script)?;
        stage.reached("a", 1).await?;
        std::fs::write(stage.hook_settings(), OFF).context("switch the hooks off")?;
        // The agent prints nothing of this hook: that it was asked is known from the other end alone.
        let answered = || stage.daemon_log().contains("the hooks in force were kept");
        stage.until("the agent has asked about the change", answered).await?;
        let flagged = || {
            let session = stage.session_of(&a);
            session.is_some_and(|s| s["warning"].as_str().is_some_and(|w| w.starts_with("unguarded")))
        };
        stage.until("the session is flagged", flagged).await?;
        a_may_go_on.open();
        let run = stage.ended(a).await?;
        assert_eq!(run.hook_responses("PreToolUse").len(), 3, "{}", run.stdout);
        // The hooks still ask, and the answer is no until a person has put them back.
        for step in [1, 2] {
            assert!(stage.denied("a", step)?.contains("unguarded"));
        }
        Ok(())
    });
}

#[test]
fn an_agent_that_asks_for_the_same_refused_thing_again_and_again_is_stopped() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let mut script = Script::new("a");
        for _ in 0..STOPPED_AFTER + 4 {
            script = script.tool("Bash", shell("rm .claude/settings.local.json"));
        }
        let run = stage.play(script.text("Never said.")).await?;
        assert_eq!(run.permission_denials().len(), STOPPED_AFTER, "{}", run.stdout);
        assert!(!stage.model.log().reached("a", STOPPED_AFTER), "the model was asked on");
        assert!(stage.denied("a", STOPPED_AFTER - 2)?.contains("Asking again does not change it"));
        Ok(())
    });
}
