//! What the watcher has found about an agent's work and that of others.

use rr_core::overlap::{Because, Finding, Kind, Level, SymbolClash, Whose};

use super::{Who, cut, quote};

/// Something that the watcher found about the reader's work tree.
pub(crate) fn overlap(finding: &Finding, side: usize, others: &[Who]) -> String {
    let paths: Vec<String> = finding.paths.iter().take(8).map(|p| quote(&p.to_string())).collect();
    let paths = paths.join(", ");
    let other = match others {
        [] => "another work tree".to_owned(),
        some => some.iter().map(Who::named).collect::<Vec<_>>().join(" and "),
    };
    let what = match &finding.kind {
        Kind::Files => format!("{other} works on the same files: {paths}."),
        Kind::Merge => format!("Your work and that of {other} cannot be merged: both changed {paths}."),
        Kind::Package(key) => format!("You and {other} set {key} to different versions, in {paths}."),
        Kind::Symbol { name, how } => format!("{} `{}`: you and {other}, in {paths}.", clash(*how), quote(name)),
        Kind::Reverted { check, commit, kept, .. } => format!(
            "Your commit {} was taken out of the branch again: `{}` fails with it and passes without it, both shown by builds. Nothing of \
             it is lost: it is on branch {}. Mend it there, and land it again.",
            commit.short(),
            quote(check),
            quote(kept)
        ),
        Kind::Edits { check, .. } => format!("`{}` fails on what stands in {other}, not committed.", quote(check)),
        Kind::Check(check) if finding.is_own() => {
            format!("`{}` fails on what you committed.", quote(check))
        }
        Kind::Check(check) => {
            format!("Merged with the work of {other}, `{}` fails, though each passes alone: {paths}.", quote(check))
        }
    };
    let way = match finding.yields {
        Some((who, why)) if finding.level >= Level::Conflict => format!(" {}", giving_way(who == side, why)),
        _ => String::new(),
    };
    let hunks = if finding.excerpt.is_empty() { String::new() } else { format!("\n{}", finding.excerpt) };
    format!("{what}{way} `rrctl conflicts explain {}` shows both sides.{hunks}", finding.id)
}

/// Of a check's command: enough to type it again.
const COMMAND_CHARS_MAX: usize = 1_024;

/// Whom a text about broken edits is for.
pub(crate) struct Reader<'a> {
    /// Its own edits are among them.
    pub took_part: bool,
    /// The other sessions whose edits they are.
    pub others: &'a [Who],
}

/// What stands in the reader's work tree, not committed, fails a check.
pub(crate) fn broken_edits(
    finding: &Finding,
    (check, command): (&str, &str),
    whose: &Whose,
    reader: &Reader<'_>,
) -> String {
    let mut paths: Vec<String> = finding.paths.iter().take(8).map(|p| quote(&p.to_string())).collect();
    if finding.paths.len() > paths.len() {
        paths.push(format!("{} more", finding.paths.len() - paths.len()));
    }
    let (paths, check) = (paths.join(", "), quote(check));
    let others = reader.others.iter().map(Who::named).collect::<Vec<_>>().join(" and ");
    let shown = "shown by builds: it fails with them and passes without them";
    let what = match (whose, reader.took_part) {
        (Whose::Sessions(_), true) if others.is_empty() => {
            format!(
                "`{check}` fails in this work tree, and it is yours: your uncommitted edits in {paths} break it ({shown})."
            )
        }
        (Whose::Sessions(_), true) => {
            format!(
                "`{check}` fails in this work tree, and it is yours and that of {others}: uncommitted edits of you both in {paths} break it ({shown})."
            )
        }
        (Whose::Together(_), true) if others.is_empty() => format!(
            "`{check}` fails in this work tree, and it is yours: your uncommitted edits in {paths} break it together with edits of no session \
             there ({shown})."
        ),
        (Whose::Together(_), true) => format!(
            "`{check}` fails in this work tree, and it is yours and that of {others}: your uncommitted edits in {paths} break it only together \
             ({shown}). Each passes alone: settle with each other who changes what."
        ),
        (Whose::Sessions(_) | Whose::Together(_), false) => format!(
            "`{check}` fails in this work tree, and it is not yours: the unfinished edits of {others} in {paths} break it ({shown}). Do not mend \
             it and do not build on it: wait, or do what does not need it. They are told, and so are you when it passes."
        ),
        (Whose::Nobodys, _) => format!(
            "`{check}` fails in this work tree, by edits in {paths} that no session here is known to have made: it passes without them. Look \
             before you mend it: somebody may be in the middle of them."
        ),
        (Whose::Anybodys, _) => format!(
            "`{check}` fails on what is not committed in this work tree ({paths}); it passes on the last commit."
        ),
    };
    let output = if finding.excerpt.is_empty() { String::new() } else { format!("\n{}", finding.excerpt) };
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{what} It ran: {}{output}", cut(&command, COMMAND_CHARS_MAX))
}

fn clash(how: SymbolClash) -> &'static str {
    match how {
        SymbolClash::GoneOrOther => "One changed or removed what the other uses,",
        SymbolClash::BothAdded => "Both added",
        SymbolClash::BothChanged => "Both changed",
        SymbolClash::CallerChanged => "One changed what the other's code calls,",
    }
}

fn giving_way(is_reader: bool, why: Because) -> String {
    let why = match why {
        Because::Uncommitted => "is not committed yet",
        Because::Smaller => "is the smaller one",
        Because::Dependent => "depends on the other",
        Because::Later => "lands later",
    };
    let (whose, what) =
        if is_reader { ("Yours", "take theirs in first") } else { ("Theirs", "they are told to take yours in first") };
    format!("{whose} {why}: {what}.")
}

pub(crate) fn overlap_cleared(finding: &Finding) -> String {
    if let Kind::Edits { check, .. } = &finding.kind {
        return format!(
            "`{}` no longer fails on what stands in this work tree (finding {}).",
            quote(check),
            finding.id
        );
    }
    if let (Kind::Check(check), true) = (&finding.kind, finding.is_own()) {
        return format!("`{}` no longer fails on what you committed (finding {}).", quote(check), finding.id);
    }
    let paths: Vec<String> = finding.paths.iter().take(8).map(|p| quote(&p.to_string())).collect();
    format!("No longer in the way: {} (finding {}).", paths.join(", "), finding.id)
}
