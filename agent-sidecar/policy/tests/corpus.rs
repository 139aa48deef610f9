//! The default set against two lists written from what agents and attackers type: what must be refused, with evasions, and
//! what must pass. Both rates are printed; a miss is named with its line.

mod common;

use common::{judge, lines};
use rr_policy::Judgement;

/// Of the commands that must be refused, in per mille.
const REFUSED_MIN: usize = 990;
const EACH_MIN: usize = 400;

#[test]
fn dangerous_commands_are_refused() {
    let all = lines(include_str!("corpus/refused.txt"));
    let missed: Vec<String> = all
        .iter()
        .filter(|line| !matches!(judge(&line.command), Judgement::Deny(_)))
        .map(|line| format!("  {}: {}: {:?}", line.number, line.category, line.command))
        .collect();
    let refused = all.len() - missed.len();
    println!("policy.refused={refused}/{} ({:.2} %)", all.len(), 100.0 * refused as f64 / all.len() as f64);
    println!("{}", missed.join("\n"));
    assert!(all.len() >= EACH_MIN, "{} commands", all.len());
    assert!(refused * 1000 >= all.len() * REFUSED_MIN, "not refused:\n{}", missed.join("\n"));
}

#[test]
fn everyday_commands_pass() {
    let all = lines(include_str!("corpus/allowed.txt"));
    let refused: Vec<String> = all
        .iter()
        .filter_map(|line| match judge(&line.command) {
            Judgement::Pass => None,
            Judgement::Deny(hit) | Judgement::Approve(hit) => {
                Some(format!("  {}: {:?}: {} ({})", line.number, line.command, hit.rule, hit.what))
            }
            Judgement::Shadowed(_) => Some(format!("  {}: shadowed", line.number)),
        })
        .collect();
    println!("policy.false_refusals={}/{}", refused.len(), all.len());
    assert!(all.len() >= EACH_MIN, "{} commands", all.len());
    assert!(refused.is_empty(), "refused:\n{}", refused.join("\n"));
}

#[test]
fn no_command_is_in_both_lists() {
    let refused = lines(include_str!("corpus/refused.txt"));
    let both: Vec<String> = lines(include_str!("corpus/allowed.txt"))
        .into_iter()
        .map(|line| line.command)
        .filter(|command| refused.iter().any(|line| line.command == *command))
        .collect();
    assert!(both.is_empty(), "{both:?}");
}

#[test]
fn what_is_refused_is_refused_for_what_it_does() {
    let unreadable: Vec<String> = lines(include_str!("corpus/refused.txt"))
        .into_iter()
        .filter(|line| matches!(judge(&line.command), Judgement::Deny(hit) if hit.rule == "default/unreadable"))
        .map(|line| format!("  {}: {:?}", line.number, line.command))
        .collect();
    assert!(unreadable.is_empty(), "refused only because they were not read:\n{}", unreadable.join("\n"));
}

#[test]
fn each_family_is_refused_by_its_own_rules() {
    let wrong: Vec<String> = lines(include_str!("corpus/refused.txt"))
        .into_iter()
        .filter_map(|line| match judge(&line.command) {
            Judgement::Deny(hit) if hit.rule == "default/outside-repository" && line.category != "outside" => {
                Some(format!("  {}: {}: {:?}: {}", line.number, line.category, line.command, hit.what))
            }
            _ => None,
        })
        .collect();
    assert!(wrong.is_empty(), "refused only for where they write:\n{}", wrong.join("\n"));
}
