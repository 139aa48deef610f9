//! What the gate does not take: input that it cannot read, places and commands that it cannot judge, its own files and hooks.

use super::{ERROR_CHARS_MAX, cut, quote};

pub(crate) fn misread(why: &str) -> String {
    format!(
        "Railroad could not read this call, so it was not let through: {}. `rrctl doctor` checks the hook.",
        quote(why)
    )
}

pub(crate) fn too_large() -> String {
    "Railroad takes at most 16 MiB of arguments for one call; this one has more and was not let through. Write the file in parts.".to_owned()
}

pub(crate) fn past_the_gate(what: &str) -> String {
    format!(
        "{what} goes past the git hooks by which this fleet checks what is published. Agents commit and push with the hooks; a \
         person can do without."
    )
}

pub(crate) fn protected(what: &str) -> String {
    format!(
        "{what} belongs to the guard around this repository (agent hook settings or Railroad's own files). Agents may not change it; a person can."
    )
}

pub(crate) fn unguarded(warning: &str) -> String {
    format!(
        "This session is {warning}. Nothing more is changed until a person has put the hooks back (`rrctl install`)."
    )
}

pub(crate) fn refused_place(why: &str) -> String {
    format!("Not let through: {why}. Name a path inside the repository that is one file under one name.")
}

pub(crate) fn unparsable(why: &str) -> String {
    format!(
        "This command could not be understood, so what it changes is unknown and it was not let through: {}. Split it into simpler commands, or use the file tools.",
        quote(why)
    )
}

pub(crate) fn settings_kept() -> String {
    "This change would switch off Railroad's hooks for this project, so the hooks in force were kept. `rrctl uninstall` removes them.".to_owned()
}

/// `kept`: an earlier version was good and goes on.
pub(crate) fn config_broken(why: &str, kept: bool) -> String {
    let in_force = if kept { "the last good version is" } else { "the defaults are" };
    let first = why.lines().next().unwrap_or_default();
    format!("railroad.yaml has an error; {in_force} in force: {}", cut(first, ERROR_CHARS_MAX))
}
