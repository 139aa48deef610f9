//! An agent that follows a script: its steps in order, but around what is held by others. Owns how denials are obeyed: other
//! work first, then a fresh look at the file, then the write again; nothing is ever written on a stale copy. Each thing
//! done is one line of JSON on standard output. Next: `play` listens to these lines.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::agent::Agent;

/// A step that is refused for longer than this is given up: something is broken.
const PATIENCE: Duration = Duration::from_secs(90);
/// A refused agent with nothing else to do looks again after this long, then after twice as long, up to the longest.
const LOOK_AGAIN: Duration = Duration::from_millis(60);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(300);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    pub(crate) prompt: String,
    /// Before each step, in place of the model's thinking.
    #[serde(default)]
    pub(crate) think_ms: Vec<u64>,
    pub(crate) steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Step {
    Read {
        path: String,
    },
    /// Writes the file as it was read, with one more line, and the number behind `count` one higher.
    Append {
        path: String,
        line: String,
        #[serde(default)]
        count: String,
    },
    /// Writes the number behind `name` one higher than it was read.
    Increment {
        path: String,
        name: String,
    },
    /// Replaces a text that is there once, with the edit tool.
    Replace {
        path: String,
        old: String,
        new: String,
    },
    Write {
        path: String,
        content: String,
    },
    Shell {
        command: String,
        /// What it writes, for the account of it.
        #[serde(default)]
        path: String,
        #[serde(default)]
        line: String,
    },
    Delete {
        path: String,
    },
    /// Tries a command that the policy refuses, and leaves it.
    Refused {
        command: String,
    },
    /// A command that a person has to approve: other work until it passes, then tried once more and left.
    Approved {
        command: String,
    },
    Commit {
        message: String,
        paths: Vec<String>,
    },
    StopTurn,
    SleepMs(u64),
    HoldUntilKilled,
}

impl Step {
    /// The files it is about; none for steps before which everything else must be done.
    fn paths(&self) -> Vec<&str> {
        match self {
            Self::Read { path }
            | Self::Append { path, .. }
            | Self::Increment { path, .. }
            | Self::Replace { path, .. }
            | Self::Write { path, .. }
            | Self::Delete { path } => vec![path],
            Self::Commit { paths, .. } => paths.iter().map(String::as_str).collect(),
            Self::Shell { path, .. } if !path.is_empty() => vec![path],
            // About no file: others' work can go on around it.
            Self::Refused { command } | Self::Approved { command } => vec![command],
            Self::Shell { .. } | Self::StopTurn | Self::SleepMs(_) | Self::HoldUntilKilled => vec![],
        }
    }

    /// The number that it raises.
    fn count(&self) -> &str {
        match self {
            Self::Append { count, .. } => count,
            Self::Increment { name, .. } => name,
            _ => "",
        }
    }

    /// What can be found in the file afterwards.
    fn line(&self) -> &str {
        match self {
            Self::Append { line, .. } | Self::Shell { line, .. } => line,
            Self::Replace { new, .. } => new,
            Self::Write { content, .. } => content,
            _ => "",
        }
    }
}

/// Reads a script: from a file of that name, else it is the script.
pub(crate) fn load(file_or_json: &str) -> Result<Script, String> {
    let text = if file_or_json.trim_start().starts_with('{') {
        file_or_json.to_owned()
    } else {
        std::fs::read_to_string(Path::new(file_or_json)).map_err(|e| format!("read {file_or_json}: {e}"))?
    };
    serde_json::from_str(&text).map_err(|e| e.to_string())
}

/// How a step went.
enum Went {
    Done,
    Refused,
    /// Not even reading is let through: the whole fleet stands still, or nobody answers.
    Standstill,
    /// The agent is to stop: its turn is over.
    Stopped,
}

/// What stands behind a denial that is about the command itself, as its words say.
enum Said {
    Rule(String),
    Person(String),
}

impl Said {
    fn of(reason: String) -> Option<Self> {
        if reason.starts_with("Refused in every session by the rule") {
            Some(Self::Rule(reason))
        } else if reason.starts_with("A person has to approve this first") {
            Some(Self::Person(reason))
        } else {
            None
        }
    }
}

pub(crate) struct Player {
    agent: Agent,
    name: String,
    prompt: String,
    think: Vec<Duration>,
    steps_done: usize,
    /// What is being waited for and was told: waiting is told once.
    told: BTreeSet<String>,
}

impl Player {
    pub(crate) fn new(agent: Agent, name: String) -> Self {
        Self { agent, name, prompt: String::new(), think: vec![], steps_done: 0, told: BTreeSet::new() }
    }

    /// The whole life of the agent: one session, one prompt, all steps.
    pub(crate) fn play(mut self, script: Script) -> io::Result<()> {
        self.think = script.think_ms.iter().copied().map(Duration::from_millis).collect();
        self.prompt = script.prompt;
        self.agent.event("SessionStart", &json!({"source": "startup"}))?;
        self.prompted()?;
        self.tell(&json!({"what": "started", "pid": std::process::id(), "prompt": self.prompt}))?;
        let mut steps: VecDeque<Step> = script.steps.into();
        while !steps.is_empty() {
            self.next(&mut steps)?;
        }
        self.agent.event("Stop", &json!({"stop_hook_active": false, "background_tasks": []}))?;
        self.agent.event("SessionEnd", &json!({"reason": "other"}))?;
        self.tell(&json!({"what": "finished"}))
    }

    /// Does one step that can be done. The first is tried until it can; while it cannot, later ones that are about other
    /// files are done.
    fn next(&mut self, steps: &mut VecDeque<Step>) -> io::Result<()> {
        let start = Instant::now();
        let mut pause = LOOK_AGAIN;
        loop {
            self.think();
            let Some(first) = steps.front().cloned() else { return Ok(()) };
            match self.step(&first)? {
                Went::Done => {
                    steps.pop_front();
                    return Ok(());
                }
                Went::Stopped => self.begin_again(&mut pause)?,
                Went::Refused if self.other_work(steps)? => {
                    pause = LOOK_AGAIN;
                    continue;
                }
                Went::Refused | Went::Standstill => {}
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("refused for {} s: {first:?}", PATIENCE.as_secs())));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    /// While the first step has to wait: the next one about another file, if it comes before anything that needs all done.
    fn other_work(&mut self, steps: &mut VecDeque<Step>) -> io::Result<bool> {
        let Some((n, step)) = apart(steps) else { return Ok(false) };
        self.think();
        let done = matches!(self.step(&step)?, Went::Done);
        if done {
            steps.remove(n);
        }
        Ok(done)
    }

    fn step(&mut self, step: &Step) -> io::Result<Went> {
        match step {
            Step::Read { path } => Ok(self.read(path)?.map_or_else(|went| went, |_| Went::Done)),
            Step::Append { path, line, count } => self.rewrite(step, path, |text| {
                let text = if count.is_empty() { text.to_owned() } else { incremented(text, count) };
                format!("{text}{line}\n")
            }),
            Step::Increment { path, name } => self.rewrite(step, path, |text| incremented(text, name)),
            Step::Replace { path, old, new } => {
                if let Err(went) = self.read(path)? {
                    return Ok(went);
                }
                self.think();
                self.tool(step, "Edit", json!({"file_path": path, "old_string": old, "new_string": new}))
            }
            Step::Write { path, content } => self.tool(step, "Write", json!({"file_path": path, "content": content})),
            Step::Shell { command, .. } => self.tool(step, "Bash", json!({"command": command})),
            Step::Delete { path } => self.tool(step, "Bash", json!({"command": format!("rm {path}")})),
            Step::Refused { command } | Step::Approved { command } => self.judged(step, command),
            Step::Commit { message, paths } => {
                let paths = paths.join(" ");
                let message = message.replace('\'', "'\\''");
                let command = format!("git add {paths} && git commit -q -m '{message}' -- {paths}");
                self.tool(step, "Bash", json!({"command": command}))
            }
            Step::StopTurn => {
                self.agent.event("Stop", &json!({"stop_hook_active": false, "background_tasks": []}))?;
                self.tell(&json!({"what": "turn_over"}))?;
                self.prompted().map(|()| Went::Done)
            }
            Step::SleepMs(ms) => {
                std::thread::sleep(Duration::from_millis(*ms));
                Ok(Went::Done)
            }
            Step::HoldUntilKilled => {
                self.tell(&json!({"what": "holding"}))?;
                loop {
                    std::thread::park();
                }
            }
        }
    }

    /// Read, think, write the whole: the way in which the work of another is lost when nobody watches.
    fn rewrite(&mut self, step: &Step, path: &str, change: impl Fn(&str) -> String) -> io::Result<Went> {
        let text = match self.read(path)? {
            Ok(text) => text,
            Err(went) => return Ok(went),
        };
        self.think();
        self.tool(step, "Write", json!({"file_path": path, "content": change(&text)}))
    }

    /// A file's text; one that is not there is empty.
    fn read(&mut self, path: &str) -> io::Result<Result<String, Went>> {
        let call = self.agent.call("Read", json!({"file_path": path}));
        let said = self.agent.before(&call)?;
        if let Some(reason) = said.denied {
            let refused = if said.stop { Went::Stopped } else { Went::Standstill };
            return self.waits("standstill", "", &json!({"reason": reason})).map(|()| Err(refused));
        }
        self.told.remove("standstill");
        let done = self.agent.act(&call);
        self.agent.after(&call, &done)?;
        Ok(Ok(done.result.unwrap_or_default()))
    }

    fn tool(&mut self, step: &Step, tool: &str, input: Value) -> io::Result<Went> {
        let call = self.agent.call(tool, input);
        let path = step.paths().join(" ");
        let said = self.agent.before(&call)?;
        if let Some(reason) = said.denied {
            let refused = if said.stop { Went::Stopped } else { Went::Refused };
            let why = json!({"tool": tool, "path": path, "reason": reason});
            return self.waits("refused", &path, &why).map(|()| refused);
        }
        self.told.remove(&path);
        let done = self.agent.act(&call);
        let (at, ok) = (unix_ms(), done.result.is_ok());
        self.agent.after(&call, &done)?;
        let what = match (step, ok) {
            (_, false) => "failed",
            (Step::Commit { .. }, true) => "committed",
            (_, true) => "wrote",
        };
        let output = done.result.err().map(|e| e.to_string());
        self.tell(&json!({"what": what, "tool": tool, "path": path, "line": step.line(), "count": step.count(),
                    "wrote_at": at, "error": output}))?;
        Ok(if ok { Went::Done } else { Went::Refused })
    }

    /// A command that the policy has an opinion on.
    fn judged(&mut self, step: &Step, command: &str) -> io::Result<Went> {
        let (went, said) = self.ask(command)?;
        match (step, said) {
            (_, Some(Said::Rule(reason))) => {
                self.tell(&json!({"what": "blocked", "command": command, "reason": reason}))?;
                Ok(Went::Done)
            }
            (_, Some(Said::Person(reason))) => {
                self.waits("asked", command, &json!({"command": command, "reason": reason}))?;
                Ok(Went::Refused)
            }
            (Step::Approved { .. }, None) if matches!(went, Went::Done) => {
                self.tell(&json!({"what": "passed", "command": command}))?;
                let again = matches!(self.ask(command)?.1, Some(Said::Person(_)));
                self.tell(&json!({"what": if again { "asked_anew" } else { "not_asked" }, "command": command}))?;
                Ok(Went::Done)
            }
            (_, None) => Ok(went),
        }
    }

    /// Makes a shell call that may be refused; if so, by what.
    fn ask(&mut self, command: &str) -> io::Result<(Went, Option<Said>)> {
        let call = self.agent.call("Bash", json!({"command": command}));
        let said = self.agent.before(&call)?;
        let Some(reason) = said.denied else {
            let done = self.agent.act(&call);
            self.agent.after(&call, &done)?;
            return Ok((Went::Done, None));
        };
        let went = if said.stop { Went::Stopped } else { Went::Refused };
        Ok((went, Said::of(reason)))
    }

    /// Told once for each file that is waited for, and once for a standstill.
    fn waits(&mut self, what: &str, path: &str, why: &Value) -> io::Result<()> {
        if !self.told.insert(if path.is_empty() { what } else { path }.to_owned()) {
            return Ok(());
        }
        let mut told = json!({ "what": what });
        if let (Some(told), Some(why)) = (told.as_object_mut(), why.as_object()) {
            told.extend(why.clone());
        }
        self.tell(&told)
    }

    /// An agent that was stopped goes on when its person says so.
    fn begin_again(&mut self, pause: &mut Duration) -> io::Result<()> {
        self.tell(&json!({"what": "stopped"}))?;
        self.agent.event("Stop", &json!({"stop_hook_active": false, "background_tasks": []}))?;
        *pause = LOOK_AGAIN_MAX;
        self.prompted()
    }

    fn prompted(&self) -> io::Result<()> {
        self.agent.event("UserPromptSubmit", &json!({"prompt": self.prompt})).map(drop)
    }

    fn think(&mut self) {
        if !self.think.is_empty() {
            std::thread::sleep(self.think[self.steps_done % self.think.len()]);
            self.steps_done += 1;
        }
    }

    fn tell(&self, what: &Value) -> io::Result<()> {
        let mut line = json!({"agent": self.name, "at": unix_ms()});
        if let (Some(line), Some(what)) = (line.as_object_mut(), what.as_object()) {
            line.extend(what.clone());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }
}

fn unix_ms() -> u64 {
    rr_runtime::clock::unix_ms()
}

/// The first step about files that no earlier one is about, before anything that needs all done.
fn apart(steps: &VecDeque<Step>) -> Option<(usize, Step)> {
    let mut waiting = steps.front().map(Step::paths).filter(|paths| !paths.is_empty())?;
    for (n, step) in steps.iter().enumerate().skip(1) {
        let paths = step.paths();
        if paths.is_empty() {
            return None;
        }
        if paths.iter().all(|path| !waiting.contains(path)) {
            return Some((n, step.clone()));
        }
        waiting.extend(paths);
    }
    None
}

/// The text with the number behind `name` raised by one; a name that is not there begins at one.
pub(crate) fn incremented(text: &str, name: &str) -> String {
    let raise = |line: &str| {
        let (before, number) = line.split_at(line.find(name)? + name.len());
        let digits = number.trim_start_matches([' ', '=', ':']);
        let gap = &number[..number.len() - digits.len()];
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        let value: u64 = digits[..end].parse().ok()?;
        Some(format!("{before}{gap}{}{}", value + 1, &digits[end..]))
    };
    let mut found = false;
    let lines = text.lines().map(|line| match raise(line).filter(|_| !found) {
        Some(raised) => {
            found = true;
            raised
        }
        None => line.to_owned(),
    });
    let mut out = lines.collect::<Vec<_>>().join("\n");
    out.push('\n');
    if !found {
        out.push_str(&format!("{name} = 1\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn append(path: &str) -> Step {
        Step::Append { path: path.into(), line: "x".into(), count: String::new() }
    }

    fn commit(path: &str) -> Step {
        Step::Commit { message: "m".into(), paths: vec![path.into()] }
    }

    #[test]
    fn while_a_file_is_held_work_on_others_goes_on_in_its_order() {
        let next = |steps: &[Step]| apart(&steps.iter().cloned().collect()).map(|(n, _)| n);
        assert_eq!(next(&[append("a"), commit("a"), append("b")]), Some(2));
        assert_eq!(next(&[append("a"), append("a"), commit("b")]), Some(2));
        assert_eq!(next(&[append("a"), Step::StopTurn, append("b")]), None);
        assert_eq!(next(&[Step::StopTurn, append("b")]), None);
        assert_eq!(next(&[append("a")]), None);
    }

    #[test]
    fn a_script_is_read_from_its_text_and_unknown_words_are_refused() {
        let text = r#"{"prompt":"p","steps":[{"append":{"path":"a","line":"x"}},"stop_turn",{"sleep_ms":5},
            {"shell":{"command":"true"}},{"commit":{"message":"m","paths":["a"]}},"hold_until_killed"]}"#;
        let script = load(text).expect("understood");
        assert_eq!(script.steps[0], append("a"));
        assert_eq!(script.steps.len(), 6);
        assert!(load(r#"{"prompt":"p","steps":["dance"]}"#).is_err());
        assert!(load("/no/such/file").is_err());
    }

    #[test]
    fn a_counter_is_raised_where_it_stands() {
        assert_eq!(incremented("a\nexport const changes = 7;\nb\n", "changes"), "a\nexport const changes = 8;\nb\n");
        assert_eq!(incremented("a\n", "n"), "a\nn = 1\n");
    }
}
