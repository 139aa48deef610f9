//! The kill switch, as a running agent meets it.

use anyhow::{Context as _, Result};
use rr_tests::claude::story;
use rr_tests::scripted_model::{Gate, Script};
use serde_json::Value;

use crate::stage::{Stage, read, write};

fn paused(stage: &Stage) -> Result<u64> {
    let said = stage.rrctl(&["pause-all", "--wait", "30", "--reason", "the build is red", "--json"])?;
    let said: Value = serde_json::from_str(&said).context("read the answer of pause-all")?;
    said["epoch"].as_u64().context("a pause without an epoch")
}

#[test]
fn a_pause_denies_the_next_call_and_only_its_epoch_lets_agents_go_on() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (is_paused, a_may_go_on) = Gate::latch("the fleet is paused");
        let (before, during, after) = (stage.file("before.txt"), stage.file("during.txt"), stage.file("after.txt"));
        let script = Script::new("a")
            .tool("Write", write(&before, "before\n"))
            .wait_for(is_paused)
            .tool("Write", write(&during, "during\n"))
            .tool("Read", read(&before))
            .text("So I wait.");
        let a = stage.start(script)?;
        stage.reached("a", 1).await?;
        let epoch = paused(&stage)?;
        a_may_go_on.open();
        stage.ended(a).await?;

        stage.passed("a", 0)?;
        let resume = format!("rrctl resume --epoch {epoch}");
        for step in [1, 2] {
            let reason = stage.denied("a", step)?;
            for part in [&format!("paused (epoch {epoch}"), "the build is red", &resume] {
                assert!(reason.contains(part), "{part} in {reason}");
            }
        }
        assert!(!during.exists());

        assert!(stage.rrctl(&["resume", "--epoch", &(epoch - 1).to_string()]).is_err(), "another pause was meant");
        stage.rrctl(&["resume", "--epoch", &epoch.to_string()])?;
        let script = Script::new("c").tool("Write", write(&after, "after\n")).text("It goes on.");
        stage.play(script).await?;
        stage.passed("c", 0)?;
        assert_eq!(stage.text("after.txt")?, "after\n");
        Ok(())
    });
}
