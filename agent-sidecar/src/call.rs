//! One event of an agent, whatever program it came from: what every adapter in `hosts` decodes into, and what `gate` judges.

use std::path::PathBuf;

/// What an agent's hook told us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The agent's own name for its session.
    pub session: String,
    /// The sub-agent inside that session, if it is one.
    pub agent_id: Option<String>,
    pub cwd: PathBuf,
    pub kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    SessionStart {
        resumed: bool,
    },
    Prompt {
        text: String,
    },
    Before(ToolCall),
    After {
        call: ToolCall,
        ok: bool,
    },
    /// All calls of one answer are over; these were their ids.
    BatchOver {
        ids: Vec<String>,
    },
    /// The agent has stopped working on its prompt. `busy`: something it started in the background still works.
    TurnOver {
        busy: bool,
    },
    SubagentOver,
    SessionOver,
    /// A settings file of the agent changed.
    SettingsChanged {
        file: Option<PathBuf>,
    },
    /// Nothing we act on.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ToolCall {
    /// Pairs a call's `Before` with its `After`.
    pub id: String,
    pub tool: String,
    pub action: Action,
    /// Its arguments as the agent gave them, where a person may be asked about it: an approval is for exactly these.
    pub input: serde_json::Map<String, serde_json::Value>,
}

/// What a call does, as far as its arguments say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Read(Vec<PathBuf>),
    /// Changes exactly these files. `whole`: replaces them rather than editing what stands there.
    Write {
        paths: Vec<PathBuf>,
        whole: bool,
    },
    Shell {
        command: String,
    },
    /// Changes nothing in a work tree.
    Harmless,
    /// A tool we do not know: it may change these, and others.
    Unknown {
        paths: Vec<PathBuf>,
    },
}

impl Action {
    /// Whether the call may change anything.
    pub(crate) fn may_change(&self) -> bool {
        !matches!(self, Self::Read(_) | Self::Harmless)
    }
}

/// What the gate says to one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub verdict: Verdict,
    /// Facts for the agent, most important first.
    pub context: Vec<String>,
    /// The policy's rule behind a denial.
    pub rule: Option<String>,
    /// Not denied for good: a person has been asked.
    pub asked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No objection. Never "allow": the user's own permission prompt stays (D14).
    #[default]
    Pass,
    Deny(String),
    /// Denied, and the agent is to stop altogether: it kept asking for the same thing (X8).
    DenyAndStop(String),
}

impl Answer {
    pub(crate) fn deny(reason: String) -> Self {
        Self { verdict: Verdict::Deny(reason), ..Self::default() }
    }

    pub(crate) fn with(context: Vec<String>) -> Self {
        Self { context, ..Self::default() }
    }
}
