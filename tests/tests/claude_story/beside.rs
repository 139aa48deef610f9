//! What goes on besides the main agent: sub-agents and background commands are gated and hold their files under its
//! session, also when its own turn is over.

use std::path::Path;

use anyhow::Context as _;
use rr_tests::claude::{Running, story};
use rr_tests::scripted_model::{Gate, Script};
use serde_json::{Value, json};

use crate::stage::{SHARED, SHARED_TEXT, Stage, read, shell, write};

const OWN: &str = "src/sub.ts";

fn sub_agent(background: bool) -> Value {
    json!({
        "description": "write a part", "subagent_type": "general-purpose", "run_in_background": background,
        "prompt": "Write your part. script=sub",
    })
}

fn stops(agent: &Running) -> usize {
    let of_stop = |line: &Value| line["subtype"] == "hook_response" && line["hook_event"] == "Stop";
    agent.lines().map_or(0, |lines| lines.iter().filter(|line| of_stop(line)).count())
}

fn writes_own(path: &Path) -> Value {
    write(path, "export const sub = 1;\n")
}

#[test]
fn a_sub_agents_writes_are_gated_and_held_under_its_parents_session() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let shared = stage.file(SHARED);
        let (b_is_done, b_may_end) = Gate::latch("the holder may end its turn");
        let b = stage.start(
            Script::new("b").tool("Bash", shell("echo '// b' >> src/shared.ts")).wait_for(b_is_done).text("Done."),
        )?;
        stage.reached("b", 1).await?;
        let name = stage.name_of(&b)?;

        let (looked, sub_may_end) = Gate::latch("the test has looked");
        stage.model.play(
            Script::new("sub")
                .tool("Read", read(&shared))
                .tool("Write", write(&shared, "by a sub-agent\n"))
                .tool("Write", writes_own(&stage.file(OWN)))
                .wait_for(looked)
                .text("My part is written."),
        );
        let a = stage.start(Script::new("a").tool("Agent", sub_agent(false)).text("All is written."))?;
        stage.reached("sub", 3).await?;
        let reason = stage.denied("sub", 1)?;
        assert!(reason.contains(SHARED) && reason.contains(&name), "{reason}");
        assert_eq!(stage.text(SHARED)?, format!("{SHARED_TEXT}// b\n"));
        stage.passed("sub", 2)?;
        assert!(stage.is_held_by(OWN, &a), "{:#?}", stage.locks());
        assert_eq!(stage.sessions().len(), 2, "{:#?}", stage.sessions());
        sub_may_end.open();
        stage.ended(a).await?;
        b_may_end.open();
        stage.ended(b).await?;
        stage.until("nothing is held any more", || stage.locks().is_empty()).await
    });
}

#[test]
fn a_background_sub_agent_keeps_its_locks_after_the_main_agents_turn() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (looked, sub_may_end) = Gate::latch("the test has looked");
        stage.model.play(
            Script::new("sub")
                .wait_for(stage.model.log().gate("a", 1))
                .tool("Write", writes_own(&stage.file(OWN)))
                .wait_for(looked)
                .tool("Bash", shell("echo '// more' >> src/sub.ts"))
                .text("My part is written."),
        );
        let a = stage.start(Script::new("a").tool("Agent", sub_agent(true)).text("It goes on by itself."))?;
        stage.reached("sub", 1).await?;
        stage.until("the main agent's turn is over", || stops(&a) > 0).await?;
        assert!(stage.is_held_by(OWN, &a), "{:#?}\n{}", stage.locks(), stage.daemon_log());

        stage.play(Script::new("b").tool("Bash", shell("echo '// b' >> src/sub.ts")).text("Not now.")).await?;
        assert!(stage.denied("b", 0)?.contains(OWN));
        assert!(stage.is_held_by(OWN, &a));
        sub_may_end.open();
        stage.ended(a).await?;
        stage.passed("sub", 1)?;
        assert_eq!(stage.text(OWN)?, "export const sub = 1;\n// more\n");
        stage.until("nothing is held any more", || stage.locks().is_empty()).await
    });
}

#[test]
fn a_background_command_keeps_its_file_after_the_agents_turn() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let alive = stage.file("alive");
        std::fs::write(&alive, "").context("let the command run")?;
        let mut writes = shell("while [ -e alive ]; do echo more >> src/shared.ts; sleep 0.05; done");
        writes["run_in_background"] = json!(true);
        let a = stage.start(Script::new("a").tool("Bash", writes).text("It goes on by itself."))?;
        stage.until("the agent's turn is over", || stops(&a) > 0).await?;
        stage.play(Script::new("b").tool("Bash", shell("echo '// b' >> src/shared.ts")).text("Not now.")).await?;
        assert!(stage.denied("b", 0)?.contains(SHARED));
        assert!(stage.is_held_by(SHARED, &a), "{:#?}\n{}", stage.locks(), stage.daemon_log());
        std::fs::remove_file(&alive).context("end the command")?;
        stage.ended(a).await?;
        assert!(!stage.text(SHARED)?.contains("// b"));
        stage.until("nothing is held any more", || stage.locks().is_empty()).await
    });
}
