//! A repository, a home and a policy to judge commands in.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::path::Path;

use rr_core::policy::{Entry, PolicySource, Words};
use rr_policy::{Call, Foreseen, Judgement, Policy};
use rr_shell::{Env, analyse};

pub(crate) const ROOT: &str = "/home/dev/shop";
pub(crate) const HOME: &str = "/home/dev";

/// The default set's judgement of a command typed in the repository.
pub(crate) fn judge(command: &str) -> Judgement {
    judge_by(&Policy::compile(&PolicySource::default()).policy, command)
}

pub(crate) fn judge_by(policy: &Policy, command: &str) -> Judgement {
    let env = Env { cwd: Path::new(ROOT), home: Some(Path::new(HOME)) };
    let analysis = analyse(command, &env);
    let foreseen = Foreseen::of(&analysis);
    let call = Call {
        agent: "claude",
        tool: "Bash",
        command: Some(command),
        analysis: Some(&analysis),
        reads: &foreseen.reads,
        writes: &foreseen.writes,
        root: Some(Path::new(ROOT)),
        home: Some(Path::new(HOME)),
        temporary: &[],
    };
    policy.judge(&call)
}

pub(crate) fn entry(line: u32, words: &str) -> Entry {
    Entry { line, words: Some(Words::parse(words).expect(words)), ..Entry::default() }
}

pub(crate) struct Line {
    pub(crate) number: usize,
    pub(crate) category: String,
    pub(crate) command: String,
}

pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut category = String::new();
    let mut out = Vec::new();
    for (at, line) in text.lines().enumerate() {
        match line.strip_prefix("== ") {
            Some(name) => category = name.split(':').next().unwrap_or_default().to_owned(),
            None if line.is_empty()
                || line.starts_with("# Commands")
                || line.starts_with("# One")
                || line.starts_with("# Everyday") => {}
            None => {
                let command = line.replace('\u{2424}', "\n");
                out.push(Line { number: at + 1, category: category.clone(), command });
            }
        }
    }
    out
}
