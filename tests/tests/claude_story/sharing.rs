//! Who may write a file, and when: held, denied, told, given on; by file tools and by the shell.

use anyhow::Result;
use rr_tests::claude::{Running, story};
use rr_tests::scripted_model::{Gate, Latch, Script};

use crate::stage::{SHARED, SHARED_TEXT, Stage, edit, read, shell, write};

const BY_A: &str = "export const one = 1;\nexport const a = 1;\n";
const BY_B: &str = "export const one = 1;\nexport const a = 1;\nexport const b = 1;\n";

/// An agent that has written the shared file and whose turn is not over until the latch is opened.
async fn holder(stage: &Stage) -> Result<(Running, Latch)> {
    let (may_end, latch) = Gate::latch("the holder may end its turn");
    let shared = stage.file(SHARED);
    let script = Script::new("a")
        .tool("Read", read(&shared))
        .tool("Write", write(&shared, BY_A))
        .wait_for(may_end)
        .text("Mine is done.");
    let agent = stage.start(script)?;
    stage.reached("a", 2).await?;
    stage.passed("a", 1)?;
    assert!(stage.is_held_by(SHARED, &agent), "{:#?}", stage.locks());
    Ok((agent, latch))
}

#[test]
fn a_write_to_a_held_file_is_denied_with_its_holder_and_passes_after_the_holders_turn() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (a, a_may_end) = holder(&stage).await?;
        let name = stage.name_of(&a)?;
        let (given_on, b_may_go_on) = Gate::latch("the file is given on");
        let (shared, other) = (stage.file(SHARED), stage.file("src/other.ts"));
        let script = Script::new("b")
            .tool("Read", read(&shared))
            .tool("Write", write(&shared, "too early\n"))
            .tool("Write", write(&other, "other work\n"))
            .wait_for(given_on)
            .tool("Read", read(&shared))
            .tool("Write", write(&shared, BY_B))
            .text("Mine too.");
        let b = stage.start(script)?;
        stage.reached("b", 3).await?;

        assert!(stage.was_told("b", &format!("{SHARED} is being edited by {name}")));
        let reason = stage.denied("b", 1)?;
        for part in [SHARED, "is being edited by", &name, "You are next in line"] {
            assert!(reason.contains(part), "{part} in {reason}");
        }
        assert_eq!(stage.text(SHARED)?, BY_A);
        stage.passed("b", 2)?;
        assert_eq!(stage.text("src/other.ts")?, "other work\n");

        a_may_end.open();
        stage.ended(a).await?;
        stage.until("the file is given on to b", || stage.is_held_by(SHARED, &b)).await?;
        b_may_go_on.open();
        let run = stage.ended(b).await?;
        assert!(stage.was_told("b", &format!("{SHARED} is free and kept for you")), "{}", run.stdout);
        stage.passed("b", 4)?;
        assert_eq!(stage.text(SHARED)?, BY_B);
        stage.until("nothing is held any more", || stage.locks().is_empty()).await
    });
}

#[test]
fn a_shell_write_to_a_held_file_is_denied_before_it_runs() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (a, a_may_end) = holder(&stage).await?;
        let name = stage.name_of(&a)?;
        let (given_on, b_may_go_on) = Gate::latch("the file is given on");
        let script = Script::new("b")
            .tool("Bash", shell("sed -i s/one/two/ src/shared.ts"))
            .tool("Bash", shell("echo 'export const b = 1;' >> src/shared.ts"))
            .tool("Bash", shell("touch ran && sh -c 'echo hidden > src/shared.ts'"))
            .tool("Bash", shell("echo 'other work' > src/other.ts"))
            .wait_for(given_on)
            .tool("Bash", shell("echo 'export const b = 1;' >> src/shared.ts"))
            .text("Mine too.");
        let b = stage.start(script)?;
        stage.reached("b", 4).await?;

        let reason = stage.denied("b", 0)?;
        assert!(reason.contains(SHARED) && reason.contains(&name), "{reason}");
        for step in [1, 2] {
            let reason = stage.denied("b", step)?;
            assert!(reason.contains(SHARED), "{reason}");
        }
        assert_eq!(stage.text(SHARED)?, BY_A);
        assert!(!stage.file("ran").exists(), "no part of a denied command runs");
        stage.passed("b", 3)?;
        assert_eq!(stage.text("src/other.ts")?, "other work\n");

        a_may_end.open();
        stage.ended(a).await?;
        stage.until("the file is given on to b", || stage.is_held_by(SHARED, &b)).await?;
        b_may_go_on.open();
        stage.ended(b).await?;
        stage.passed("b", 4)?;
        assert_eq!(stage.text(SHARED)?, BY_B);
        Ok(())
    });
}

#[test]
fn a_new_session_is_told_who_else_is_at_work_and_on_which_files() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (a, a_may_end) = holder(&stage).await?;
        let name = stage.name_of(&a)?;
        stage.play(Script::new("b").text("Understood.")).await?;
        let told = stage.model.user_texts("b");
        let start = told.iter().find(|text| text.contains("SessionStart hook additional context"));
        let start = start.map(String::as_str).unwrap_or_default();
        for part in [&name, SHARED, "Bring the shared types"] {
            assert!(start.contains(part), "{part} in {told:#?}");
        }
        a_may_end.open();
        stage.ended(a).await?;
        Ok(())
    });
}

#[test]
fn an_edit_of_what_was_changed_since_it_was_read_is_refused_until_it_is_read_again() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let shared = stage.file(SHARED);
        let (changed, b_may_go_on) = Gate::latch("the file was changed by somebody else");
        let change = edit(&shared, "one = 1", "one = 2");
        let script = Script::new("b")
            .tool("Read", read(&shared))
            .wait_for(changed)
            .tool("Edit", change.clone())
            .tool("Read", read(&shared))
            .tool("Edit", change)
            .text("Now it fits.");
        let b = stage.start(script)?;
        stage.reached("b", 1).await?;
        assert_eq!(stage.text(SHARED)?, SHARED_TEXT);
        let script = Script::new("a").tool("Read", read(&shared)).tool("Write", write(&shared, BY_A)).text("Mine.");
        stage.play(script).await?;
        stage.passed("a", 1)?;
        stage.until("nothing is held any more", || stage.locks().is_empty()).await?;
        b_may_go_on.open();
        stage.ended(b).await?;

        let reason = stage.denied("b", 1)?;
        assert!(reason.contains(SHARED) && reason.contains("read the file again"), "{reason}");
        stage.passed("b", 3)?;
        assert_eq!(stage.text(SHARED)?, BY_A.replace("one = 1", "one = 2"));
        Ok(())
    });
}
