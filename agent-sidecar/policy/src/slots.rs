//! Counted slots: which of them a command needs before it may run. Matched on the parsed command, as the entries of the policy
//! are. It knows no line and no host: who has a slot is its callers' business.

use rr_core::policy::SlotSource;
use rr_shell::{Invocation, SLOT_WRAPPER};

use crate::call::Call;
use crate::compile::Policy;
use crate::contradictions::{self, Contradiction};
use crate::lists::List;
use crate::paths::touched;
use crate::seen::Seen;

/// The slots of one repository, made ready.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    slots: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    name: String,
    of: usize,
    commands: List,
}

/// A slot that a call needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededSlot {
    pub name: String,
    /// How many there are.
    pub of: usize,
    /// The command that needs it.
    pub what: String,
}

impl Slots {
    #[must_use]
    pub fn compile(source: &[SlotSource]) -> Self {
        let slot = |s: &SlotSource| Slot { name: s.name.clone(), of: s.of, commands: List::new(&s.commands) };
        Self { slots: source.iter().map(slot).collect() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The slots a call needs, by name: everybody asks for several in one order. What `rrctl run` runs in a slot has that one.
    #[must_use]
    pub fn needed(&self, call: &Call<'_>) -> Vec<NeededSlot> {
        let invocations = call.analysis.map(|analysis| analysis.invocations.as_slice()).unwrap_or_default();
        if self.slots.is_empty() || invocations.is_empty() {
            return Vec::new();
        }
        let seen: Vec<Seen<'_>> = invocations.iter().enumerate().map(|(at, call)| Seen::new(at, call)).collect();
        let paths = touched(call);
        let needs = |slot: &Slot| {
            let matched = slot.commands.matches(call, &seen, &paths);
            let is_met = |at: Option<usize>| at.is_some_and(|at| is_run_in(&invocations[at], &slot.name));
            let first = matched.into_iter().find(|found| !is_met(found.at))?;
            Some(NeededSlot { name: slot.name.clone(), of: slot.of, what: first.what })
        };
        self.slots.iter().filter_map(needs).collect()
    }

    /// Entries that the blocklist refuses, or that stand in a slot twice.
    #[must_use]
    pub fn contradictions(&self, policy: &Policy) -> Vec<Contradiction> {
        self.slots.iter().flat_map(|slot| contradictions::in_slot(&slot.commands, policy)).collect()
    }
}

/// Whether `rrctl run` has taken this slot for it.
fn is_run_in(call: &Invocation, slot: &str) -> bool {
    call.wrappers.iter().any(|wrapper| wrapper.strip_prefix(SLOT_WRAPPER) == Some(slot))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rr_core::policy::{Entry, PolicySource, Words};
    use rr_shell::{Env, analyse};

    use super::*;

    fn entry(line: u32, words: &str) -> Entry {
        Entry { line, words: Some(Words::command(words).expect("legal")), ..Entry::default() }
    }

    fn slots() -> Slots {
        let slot = |name: &str, of, commands: &[&str]| SlotSource {
            line: 1,
            name: name.to_owned(),
            of,
            commands: commands.iter().map(|words| entry(2, words)).collect(),
        };
        Slots::compile(&[slot("build", 1, &["cargo build", "cargo test", "npm test"]), slot("db", 2, &["psql"])])
    }

    fn needed(command: &str) -> Vec<String> {
        let analysis = analyse(command, &Env { cwd: Path::new("/w"), home: None });
        let call = Call {
            agent: "claude",
            tool: "Bash",
            command: Some(command),
            analysis: Some(&analysis),
            reads: &[],
            writes: &[],
            root: None,
            home: None,
            temporary: &[],
        };
        slots().needed(&call).into_iter().map(|slot| slot.name).collect()
    }

    #[test]
    fn a_command_needs_its_slot_however_it_is_spelt_and_prose_needs_none() {
        for command in [
            "cargo test",
            "cd x && RUST_LOG=1 cargo test --workspace | tail",
            "bash -c 'cargo build --release'",
            "timeout 60 cargo test &",
            "npm test -- --watch",
        ] {
            assert_eq!(needed(command), ["build"], "{command}");
        }
        for command in ["echo cargo test", "cargo fmt", "git commit -m 'cargo test passes'", "ls"] {
            assert!(needed(command).is_empty(), "{command}");
        }
        assert_eq!(needed("psql -c 'select 1' && cargo build"), ["build", "db"]);
    }

    #[test]
    fn what_rrctl_runs_in_a_slot_is_not_counted_twice_and_another_slot_is_no_excuse() {
        assert!(needed("rrctl run --slot build -- cargo test").is_empty());
        assert!(needed("rrctl --json run --slot=build --wait 5m -- bash -c 'cargo test && cargo build'").is_empty());
        for command in [
            "rrctl run --slot other -- cargo test",
            "rrctl run --slot \"$SLOT\" -- cargo test",
            "rrctl run --slot build -- cargo test; cargo build",
        ] {
            assert_eq!(needed(command), ["build"], "{command}");
        }
    }

    #[test]
    fn an_entry_that_the_blocklist_refuses_or_that_stands_twice_is_told() {
        let source = PolicySource { blocklist: vec![entry(1, "cargo build")], ..PolicySource::default() };
        let policy = Policy::compile(&source).policy;
        let commands = vec![entry(4, "cargo build --release"), entry(5, "npm test"), entry(6, "npm test")];
        let slots = Slots::compile(&[SlotSource { line: 3, name: "build".into(), of: 1, commands }]);
        let told: Vec<String> = slots.contradictions(&policy).iter().map(ToString::to_string).collect();
        assert!(told[0].starts_with("line 6: `npm test` stands on line 5 already"), "{told:?}");
        assert!(told[1].starts_with("line 4: `cargo build --release` ") && told.len() == 2, "{told:?}");
    }
}
