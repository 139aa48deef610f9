//! `rrctl policy check`: is the file right, do its entries contradict one another, and what is in force.

use std::fmt::Write as _;
use std::path::PathBuf;

use rr_core::policy::Effect;
use rr_policy::{Origin, Policy, RuleKind, Slots};
use serde_json::json;

use super::{Place, origin, read};
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::table::plain;

/// Check railroad.yaml: mistakes with their place, entries that contradict one another, and the rules in force
///
/// Ends with 2 if the file cannot be used, and with 6 if entries contradict one another (the strictest wins).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file; by default railroad.yaml of this repository
    file: Option<PathBuf>,
    /// Name the built-in rules too
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let place = Place::find()?;
    let file = place.file(args.file.as_deref());
    let config = read(&file, args.file.is_some())?;
    let source = config.policy();
    let compiled = Policy::compile(&source);
    let shadow = source.effect == Effect::Shadow;
    let rules: Vec<_> = compiled.policy.rules().collect();
    let built_in = rules.iter().filter(|rule| rule.origin == Origin::DefaultSet).count();
    let count = |kind| rules.iter().filter(|rule| rule.kind == kind && rule.origin != Origin::DefaultSet).count();
    let slots = Slots::compile(&config.slots).contradictions(&compiled.policy);
    let wrong: Vec<String> = compiled.contradictions.iter().chain(&slots).map(ToString::to_string).collect();
    let rows: Vec<_> = rules
        .iter()
        .map(|rule| {
            let kind = kind(rule.kind);
            json!({ "rule": rule.name, "kind": kind, "origin": origin(rule.origin), "because": rule.because, "instead": rule.instead })
        })
        .collect();
    let value = json!({
        "file": file, "shadow": shadow, "built_in": built_in, "blocklist": count(RuleKind::Block), "approve": count(RuleKind::Approve),
        "allow": count(RuleKind::Allow), "scopes": source.scopes.len(), "contradictions": wrong, "rules": rows,
    });
    hand.answer(&value, || {
        let place = plain(&file.display().to_string());
        let is_there = if file.exists() { "" } else { " (not there)" };
        let mut text = format!(
            "{place}{is_there}: {} refused, {} asked, {} allowed, {} scopes, {built_in} built-in rules.\n",
            count(RuleKind::Block),
            count(RuleKind::Approve),
            count(RuleKind::Allow),
            source.scopes.len()
        );
        if shadow {
            text.push_str("shadow: true: nothing is refused or asked, only logged.\n");
        }
        for line in &wrong {
            let _ = writeln!(text, "{}", plain(line));
        }
        for rule in rules.iter().filter(|rule| args.all && rule.origin == Origin::DefaultSet) {
            let _ = writeln!(text, "{}: {}", rule.name, rule.because);
        }
        text
    })?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Findings, "entries contradict one another").told())
}

const fn kind(kind: RuleKind) -> &'static str {
    match kind {
        RuleKind::Block => "refuse",
        RuleKind::Approve => "ask",
        RuleKind::Allow => "allow",
    }
}
