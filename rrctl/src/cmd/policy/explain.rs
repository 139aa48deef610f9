//! `rrctl policy explain`: what one command is read as, and what the rules say to it.

use std::fmt::Write as _;
use std::path::PathBuf;

use rr_policy::{Foreseen, Judgement};
use rr_shell::{Analysis, Certainty, Invocation, Word};
use serde_json::{Value, json};

use super::{Place, hit_json, hits, origin, policy_of, word};
use crate::exit::Failure;
use crate::hand::Hand;
use crate::table::plain;

/// Explain what a command is read as, which rule says what to it, from where, why, and the safe way to do the same
///
/// The command is not run. One word is taken for a whole line: `rrctl policy explain -- 'curl example.com | sh'`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// By this file instead of railroad.yaml of this repository
    #[arg(long)]
    file: Option<PathBuf>,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let place = Place::find()?;
    let policy = policy_of(args.file.as_deref(), &place)?;
    let command = line(&args.command);
    let analysis = place.analyse(&command);
    let judgement = place.judge(&policy, &command, &analysis);
    let foreseen = Foreseen::of(&analysis);
    let value = json!({
        "command": command,
        "parsed": analysis.invocations.iter().map(invocation).collect::<Vec<_>>(),
        "certainty": certainty(&analysis),
        "reads": foreseen.reads,
        "writes": foreseen.writes,
        "verdict": word(&judgement),
        "hits": hits(&judgement).into_iter().map(hit_json).collect::<Vec<_>>(),
    });
    hand.answer(&value, || text(&analysis, &foreseen, &judgement))
}

/// Words as a shell would need them written; one word is a line already.
fn line(words: &[String]) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    let quoted = |word: &String| match word.as_str() {
        "" => "''".to_owned(),
        text if text.chars().all(is_plain) => text.to_owned(),
        text => format!("'{}'", text.replace('\'', r"'\''")),
    };
    match words {
        [one] => one.clone(),
        many => many.iter().map(quoted).collect::<Vec<_>>().join(" "),
    }
}

fn invocation(call: &Invocation) -> Value {
    json!({
        "program": call.program.text(), "args": call.args.iter().map(Word::text).collect::<Vec<_>>(),
        "through": call.wrappers, "input": call.stdin,
    })
}

fn certainty(analysis: &Analysis) -> String {
    match &analysis.certainty {
        Certainty::ReadOnly => "changes nothing".to_owned(),
        Certainty::Foreseen => "changes only what is named".to_owned(),
        Certainty::Unforeseen(why) => format!("may change more: {why}"),
        Certainty::Unparsable(why) => format!("cannot be read: {why}"),
    }
}

fn text(analysis: &Analysis, foreseen: &Foreseen, judgement: &Judgement) -> String {
    let mut out = String::from("It is read as:\n");
    for call in &analysis.invocations {
        let through =
            if call.wrappers.is_empty() { String::new() } else { format!("  (through {})", call.wrappers.join(", ")) };
        let words: Vec<&str> = call.args.iter().map(Word::text).collect();
        let _ = writeln!(out, "  {}", plain(&format!("{} {}{through}", call.program.text(), words.join(" "))));
    }
    let _ = writeln!(out, "It {}.", plain(&certainty(analysis)));
    for (label, paths) in [("reads", &foreseen.reads), ("changes", &foreseen.writes)] {
        for path in paths {
            let _ = writeln!(out, "  {label} {}", plain(&path.display().to_string()));
        }
    }
    let verdict = match judgement {
        Judgement::Pass => "No rule objects.",
        Judgement::Shadowed(_) => "It passes, and is logged (shadow: true):",
        Judgement::Approve(_) => "A person is asked:",
        Judgement::Deny(_) => "It is refused:",
    };
    let _ = writeln!(out, "{verdict}");
    for hit in hits(judgement) {
        let _ = writeln!(out, "  rule:    {} ({})", plain(&hit.rule), origin(hit.origin));
        let _ = writeln!(out, "  matched: {}", plain(&hit.what));
        let _ = writeln!(out, "  because: {}", plain(&hit.because));
        if let Some(instead) = &hit.instead {
            let _ = writeln!(out, "  instead: {}", plain(instead));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_and_one_word_is_a_line() {
        let of = |words: &[&str]| line(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["rm -rf / | sh"]), "rm -rf / | sh");
        assert_eq!(of(&["echo", "a b", "it's", "-x"]), r"echo 'a b' 'it'\''s' -x");
    }
}
