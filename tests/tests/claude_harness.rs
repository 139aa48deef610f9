//! The harness proves itself: the real Claude Code, a scripted model and a hook that is a plain shell script.
//!
//! What holds here is what the stories with the product's own hook may rely on. No crate of the product is used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rr_tests::claude::{Claude, Run, RunOptions, Workbench, story};
use rr_tests::isolation;
use rr_tests::scripted_model::{Script, ScriptedModel, ToolResult};
use rr_tests::wait::wait_until;
use rustix::process::Signal;
use serde_json::{Value, json};

const REASON: &str = "held by agent seven until noon";
const CONTEXT: &str = "src/a.rs is held by agent seven";
/// The agent starts and makes its first call within a second or two on an idle machine.
const SOON: Duration = Duration::from_secs(60);

/// Keeps every event and refuses what touches a file named `taken`.
const HOOK: &str = r#"#!/bin/sh
event=$(cat)
printf '%s\n' "$event" >>"$1"
case "$event" in
*'"hook_event_name":"PreToolUse"'*taken*)
    printf '%s\n' '{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"deny","permissionDecisionReason":"REASON"}}' ;;
*'"hook_event_name":"SessionStart"'*)
    printf '%s\n' '{"hookSpecificOutput":{"hookEventName":"SessionStart","additionalContext":"CONTEXT"}}' ;;
esac
"#;

/// A workbench whose agents are recorded by [`HOOK`].
struct Stage {
    bench: Workbench,
    model: ScriptedModel,
    program: PathBuf,
}

impl Stage {
    async fn new(program: PathBuf) -> Result<Self> {
        let stage = Self { bench: Workbench::new().await?, model: ScriptedModel::start().await?, program };
        let hook = stage.bench.path().join("hook.sh");
        std::fs::write(&hook, HOOK.replace("REASON", REASON).replace("CONTEXT", CONTEXT)).context("write the hook")?;
        let handler = json!({"type": "command", "timeout": 10,
            "command": format!("sh {} {}", hook.display(), stage.recorded().display())});
        let events = ["SessionStart", "PreToolUse", "PostToolUse", "PostToolUseFailure", "Stop", "SessionEnd"];
        let hooks: serde_json::Map<_, _> =
            events.map(|event| (event.to_owned(), json!([{"hooks": [handler]}]))).into_iter().collect();
        std::fs::write(stage.settings(), json!({ "hooks": hooks }).to_string()).context("write the settings")?;
        Ok(stage)
    }

    fn settings(&self) -> PathBuf {
        self.bench.path().join("settings.json")
    }

    fn recorded(&self) -> PathBuf {
        self.bench.path().join("events.jsonl")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.bench.repo().join(name)
    }

    fn options(&self, script: &str) -> RunOptions {
        let mut options = RunOptions::new(&self.program, &self.bench, self.model.url(), script);
        options.settings = Some(self.settings());
        options
    }

    async fn play(&self, script: Script) -> Result<Run> {
        let options = self.options(&script.name);
        self.model.play(script);
        let run = Claude::run(&options).await?;
        ensure!(run.exit.success(), "{}\n{}\n{}", run.exit, run.stdout, run.stderr);
        ensure!(self.model.complaints().is_empty(), "{:?}", self.model.complaints());
        eprintln!("Claude Code {} ended after {:?}", run.version().unwrap_or("?"), run.took);
        Ok(run)
    }

    /// What the hook was given for `event`.
    fn events(&self, event: &str) -> Vec<Value> {
        let recorded = std::fs::read_to_string(self.recorded()).unwrap_or_default();
        let all = recorded.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        all.filter(|seen| seen["hook_event_name"] == event).collect()
    }

    fn only_result(&self, script: &str) -> Result<ToolResult> {
        let results = self.model.tool_results(script);
        ensure!(results.len() == 1, "one result is awaited: {results:?}");
        Ok(results[0].clone())
    }
}

fn write(path: &Path) -> Value {
    json!({"file_path": path, "content": "written\n"})
}

#[test]
fn a_write_runs_and_each_event_reaches_the_hook() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let free = stage.file("free.txt");
        let run = stage.play(Script::new("main").tool("Write", write(&free)).text("Written.")).await?;
        assert_eq!(std::fs::read_to_string(&free)?, "written\n");
        let result = stage.only_result("main")?;
        assert_eq!((result.tool_use_id.as_str(), result.is_error), ("toolu_main_0_0", false), "{result:?}");
        assert!(run.permission_denials().is_empty());
        assert_eq!(stage.events("SessionEnd").len(), 1, "told to the hook alone: it comes after the last line");
        for event in ["SessionStart", "PreToolUse", "PostToolUse", "Stop"] {
            assert_eq!(stage.events(event).len(), 1, "{event}");
            assert_eq!(run.hook_responses(event).len(), 1, "{event} in the output:\n{}", run.stdout);
        }
        let before = &stage.events("PreToolUse")[0];
        assert_eq!(before["tool_name"], "Write");
        assert_eq!(before["tool_input"], write(&free));
        assert_eq!(before["tool_use_id"], "toolu_main_0_0");
        assert_eq!(before["permission_mode"], "bypassPermissions");
        Ok(())
    });
}

#[test]
fn a_denied_write_does_not_happen_and_the_model_reads_why() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let taken = stage.file("taken.txt");
        let run = stage.play(Script::new("main").tool("Write", write(&taken)).text("Then not.")).await?;
        assert!(!taken.exists());
        let result = stage.only_result("main")?;
        assert!(result.is_error);
        // More may follow: the agent appends reminders of its own.
        assert!(result.text.starts_with(&format!("PreToolUse:Write hook error: {REASON}")), "{result:?}");
        assert!(!result.text.contains("hook.sh"), "the hook's command line is kept from the model: {result:?}");
        let denials = run.permission_denials();
        assert_eq!(denials.len(), 1, "{}", run.stdout);
        assert_eq!(denials[0]["tool_use_id"], "toolu_main_0_0");
        assert!(stage.events("PostToolUse").is_empty());
        Ok(())
    });
}

#[test]
fn context_given_at_the_start_of_a_session_reaches_the_model() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        stage.play(Script::new("main").text("Understood.")).await?;
        let told = stage.model.user_texts("main");
        let told_so = |text: &String| text.contains(&format!("SessionStart hook additional context: {CONTEXT}"));
        assert!(told.iter().any(told_so), "{told:#?}");
        Ok(())
    });
}

#[test]
fn a_shell_write_shows_its_whole_command_to_the_hook_and_can_be_denied() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let free = "cat > free.txt <<'END'\nline one\nEND";
        let taken = "cat > taken.txt <<'END'\nline one\nEND";
        let both = vec![("Bash".to_owned(), json!({"command": free})), ("Bash".to_owned(), json!({"command": taken}))];
        stage.play(Script::new("main").tools(both).text("So be it.")).await?;
        let asked: Vec<Value> = stage.events("PreToolUse");
        let commands: Vec<&Value> = asked.iter().map(|event| &event["tool_input"]["command"]).collect();
        assert_eq!(commands, [free, taken]);
        assert_eq!(std::fs::read_to_string(stage.file("free.txt"))?, "line one\n");
        assert!(!stage.file("taken.txt").exists());
        let errors: Vec<bool> = stage.model.tool_results("main").iter().map(|result| result.is_error).collect();
        assert_eq!(errors, [false, true]);
        Ok(())
    });
}

#[test]
fn a_killed_agent_leaves_the_models_log_whole_and_sends_no_end() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let begun = stage.file("begun");
        // The shell outlives its agent; without namespaces nothing but the loss of its file ends it.
        let waits = json!({"command": "touch begun && while [ -e begun ]; do sleep 0.1; done"});
        stage.model.play(Script::new("main").tool("Bash", waits).text("Never said."));
        let agent = Claude::spawn(&stage.options("main"))?;
        wait_until("the agent's command has begun", SOON, || begun.exists()).await?;
        agent.signal(Signal::KILL)?;
        let run = agent.finished().await?;
        assert!(!run.exit.success());
        assert!(run.result().is_none(), "{}", run.stdout);
        let log = stage.model.log();
        assert_eq!(log.exchanges().len(), 1);
        assert!(!log.reached("main", 1));
        assert!(stage.model.tool_results("main").is_empty());
        assert_eq!(stage.events("PreToolUse").len(), 1);
        assert!(stage.events("PostToolUse").is_empty() && stage.events("SessionEnd").is_empty());
        Ok(())
    });
}

#[test]
fn a_gate_orders_two_agents() {
    story(|program| async move {
        let stage = Stage::new(program).await?;
        let (first, second) = (stage.file("first.txt"), stage.file("second.txt"));
        let copy = json!({"command": "cp first.txt second.txt"});
        // The second may copy only once the first has the result of its write.
        stage.model.play(Script::new("a").tool("Write", write(&first)).text("Mine."));
        stage
            .model
            .play(Script::new("b").wait_for(stage.model.log().gate("a", 1)).tool("Bash", copy).text("After you."));
        let late = Claude::spawn(&stage.options("b"))?;
        let log = stage.model.log();
        wait_until("the late agent has asked", SOON, || log.reached("b", 0)).await?;
        assert!(!second.exists());
        let early = Claude::run(&stage.options("a")).await?;
        let late = late.finished().await?;
        assert!(early.exit.success() && late.exit.success(), "{early:?}\n{late:?}");
        assert_eq!(std::fs::read_to_string(second)?, "written\n");
        assert_eq!(stage.model.complaints(), Vec::<String>::new());
        Ok(())
    });
}

#[test]
fn nothing_but_loopback_can_be_reached_from_a_story() {
    story(|_program| async move {
        if !isolation::walled() {
            return Ok(()); // Namespaces are refused here, and `story` has said so.
        }
        let interfaces = std::fs::read_to_string("/proc/net/dev")?;
        let names: Vec<&str> =
            interfaces.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()).collect();
        assert_eq!(names, ["lo"]);
        // The agent inherits default signal actions: an ignored SIGINT would falsify tests of interruption.
        let status = std::fs::read_to_string("/proc/self/status")?;
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).context("read SigIgn")?;
        let ignored = u64::from_str_radix(ignored.trim(), 16)?;
        assert_eq!(ignored & (1 << (2 - 1)), 0, "SIGINT is ignored");
        Ok(())
    });
}
