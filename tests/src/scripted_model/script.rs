//! A script: what the model does, step after step, and what it waits for in between.
//!
//! Plain data. Knows no wire format and keeps no position: the conversation itself says how far it is,
//! so that an agent may retry, resume or run sub-agents in parallel.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

/// Agents in one test meet within seconds; below the time limit of a whole run.
const GATE_LIMIT: Duration = Duration::from_secs(60);

/// Chosen by `script=<name>` in a prompt. Letters, digits, `-` and `_` in the name.
#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub enum Step {
    /// One tool call.
    Tool { name: String, input: Value },
    /// Several tool calls in one answer.
    Tools(Vec<(String, Value)>),
    /// Words alone: ends the agent's turn.
    Text(String),
    /// No answer of its own: holds back the next one.
    WaitFor(Gate),
}

/// One answer, with the gates in front of it.
pub(super) struct Turn {
    pub(super) gates: Vec<Gate>,
    pub(super) answer: Answer,
}

pub(super) enum Answer {
    Calls(Vec<(String, Value)>),
    Words(String),
}

impl Script {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), steps: Vec::new() }
    }

    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    #[must_use]
    pub fn tool(self, name: impl Into<String>, input: Value) -> Self {
        self.step(Step::Tool { name: name.into(), input })
    }

    #[must_use]
    pub fn tools(self, calls: Vec<(String, Value)>) -> Self {
        self.step(Step::Tools(calls))
    }

    #[must_use]
    pub fn text(self, words: impl Into<String>) -> Self {
        self.step(Step::Text(words.into()))
    }

    #[must_use]
    pub fn wait_for(self, gate: Gate) -> Self {
        self.step(Step::WaitFor(gate))
    }

    /// The answer number `index`, counted from 0 without the gates; closing words after the last.
    pub(super) fn turn(&self, index: usize) -> Turn {
        let mut gates = Vec::new();
        let mut position = 0;
        for step in &self.steps {
            let answer = match step {
                Step::WaitFor(gate) => {
                    gates.push(gate.clone());
                    continue;
                }
                Step::Tool { name, input } => Answer::Calls(vec![(name.clone(), input.clone())]),
                Step::Tools(calls) => Answer::Calls(calls.clone()),
                Step::Text(words) => Answer::Words(words.clone()),
            };
            if position == index {
                return Turn { gates, answer };
            }
            gates.clear();
            position += 1;
        }
        Turn { gates, answer: Answer::Words("Done.".to_owned()) }
    }
}

/// Holds an answer back until something is so: this is how a test orders two agents.
#[derive(Clone)]
pub struct Gate {
    pub(super) what: String,
    pub(super) limit: Duration,
    pub(super) open: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Gate {
    /// Open once `open` says so; `what` is told when it never does.
    pub fn when(what: impl Into<String>, open: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { what: what.into(), limit: GATE_LIMIT, open: Arc::new(open) }
    }

    /// Open once `path` exists.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::when(format!("{} exists", path.display()), move || path.exists())
    }

    /// Open once the test opens it.
    pub fn latch(what: impl Into<String>) -> (Self, Latch) {
        let latch = Latch(Arc::default());
        let seen = Arc::clone(&latch.0);
        (Self::when(what, move || seen.load(Ordering::Acquire)), latch)
    }

    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate").field("what", &self.what).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The test's end of [`Gate::latch`].
#[derive(Clone, Debug)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_holds_only_the_answer_behind_it() {
        let (gate, latch) = Gate::latch("the test says so");
        let script = Script::new("s").text("one").wait_for(gate).text("two");
        assert!(script.turn(0).gates.is_empty());
        let second = script.turn(1);
        assert_eq!(second.gates.len(), 1);
        assert!(!(second.gates[0].open)());
        latch.open();
        assert!((second.gates[0].open)());
        assert!(script.turn(2).gates.is_empty());
    }

    #[test]
    fn a_script_that_is_over_closes_with_words() {
        assert!(matches!(Script::new("s").turn(7).answer, Answer::Words(_)));
    }
}
