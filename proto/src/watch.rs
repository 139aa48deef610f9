//! Findings, work trees and incidents as the wire has them (`railroad/v1/watch.proto`): from the rules' own values, and
//! the words for their states. Who works in a work tree, and where, is its caller's to add. Next: the coordinator sends
//! them, `rrctl` shows them.

use rr_core::culprit::{Build, Culprit, How, Nature, Run, Verdict};
use rr_core::incident::{Incident, Line, Place, State, Suspect};
use rr_core::live::{ChangeSet, FileChange, GitPath, Lines, Onto, Rest, SymbolChange, SymbolEdit, TreeKey};
use rr_core::overlap::{Because, Finding, Kind, SymbolClash};

use crate::v1;

/// Paths of one finding or one stale work tree that are sent: more are a sweep, which nobody reads through.
pub const PATHS_MAX: usize = 200;

impl From<&TreeKey> for v1::TreeName {
    fn from(key: &TreeKey) -> Self {
        Self { host: key.host.to_string(), tree: key.tree.clone() }
    }
}

impl From<&Finding> for v1::Finding {
    fn from(finding: &Finding) -> Self {
        let (kind, about, how) = match &finding.kind {
            Kind::Files => ("files", String::new(), ""),
            Kind::Merge => ("merge", String::new(), ""),
            Kind::Package(key) => ("package", key.clone(), ""),
            Kind::Symbol { name, how } => ("symbol", name.clone(), clash_word(*how)),
            Kind::Check(name) => ("check", name.clone(), ""),
            Kind::Edits { check, whose, .. } => ("edits", check.clone(), whose.word()),
            Kind::Reverted { check, commit, .. } => ("reverted", format!("{} ({check})", commit.short()), ""),
        };
        let sessions = match &finding.kind {
            Kind::Edits { whose, .. } => whose.sessions(),
            _ => &[],
        };
        let yields = finding.yields.and_then(|(side, because)| {
            Some(v1::Yields { side: u32::try_from(side).ok()?, because: because_word(because).to_owned() })
        });
        Self {
            id: finding.id.to_string(),
            repo: finding.repo.to_string(),
            level: u8::from(finding.level).into(),
            kind: kind.to_owned(),
            about,
            how: how.to_owned(),
            sides: finding.sides.iter().map(Into::into).collect(),
            paths: paths(&finding.paths),
            excerpt: finding.excerpt.clone(),
            yields,
            sessions: sessions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// A work tree, with nobody in it yet.
#[must_use]
pub fn live_tree(key: &TreeKey, seen: &ChangeSet) -> v1::LiveTree {
    let (onto, stale) = match &seen.onto {
        Onto::Clean(_) => ("clean", Vec::new()),
        Onto::Stale(at) => ("stale", paths(at)),
        Onto::Alone => ("alone", Vec::new()),
    };
    let target = seen.target.as_ref();
    v1::LiveTree {
        host: key.host.to_string(),
        tree: key.tree.clone(),
        host_name: String::new(),
        repo: seen.repo.to_string(),
        root: seen.root.clone(),
        branch: seen.branch.clone(),
        head: seen.head.as_ref().map(ToString::to_string).unwrap_or_default(),
        target_branch: target.map(|target| target.branch.clone()).unwrap_or_default(),
        target_commit: target.map(|target| target.commit.to_string()).unwrap_or_default(),
        onto: onto.to_owned(),
        stale,
        settled: seen.rest == Rest::Settled,
        writers: Vec::new(),
        files: count(seen.files.len().saturating_add(seen.left_out)),
    }
}

impl From<&FileChange> for v1::FileEdit {
    fn from(change: &FileChange) -> Self {
        let what = match (&change.from, &change.to) {
            _ if change.renamed_from.is_some() => "renamed",
            (None, _) => "new",
            (Some(_), None) => "gone",
            (Some(from), Some(to)) if from.id == to.id => "mode",
            (Some(_), Some(_)) => "changed",
        };
        Self {
            path: change.path.to_string(),
            what: what.to_owned(),
            renamed_from: change.renamed_from.as_ref().map(ToString::to_string).unwrap_or_default(),
            binary: change.binary,
            lines: change.ranges.iter().map(Into::into).collect(),
            symbols: change.symbols.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Lines> for v1::EditedLines {
    fn from(lines: &Lines) -> Self {
        Self { start: lines.start.saturating_add(1), count: lines.count }
    }
}

impl From<&SymbolChange> for v1::EditedSymbol {
    fn from(symbol: &SymbolChange) -> Self {
        let name = match symbol.container.as_str() {
            "" => symbol.name.clone(),
            container => format!("{container}::{}", symbol.name),
        };
        let change = match symbol.change {
            SymbolEdit::Added => "added",
            SymbolEdit::Removed => "removed",
            SymbolEdit::Signature => "signature",
            SymbolEdit::Body => "body",
        };
        Self { name, kind: symbol.kind.clone(), change: change.to_owned() }
    }
}

impl From<&Line> for v1::Line {
    fn from(line: &Line) -> Self {
        let (host, root, url) = match &line.place {
            Place::Clone { host, root } => (host.to_string(), root.clone(), String::new()),
            Place::Remote { url } => (String::new(), String::new(), url.clone()),
        };
        Self { repo: line.repo.to_string(), branch: line.branch.clone(), host, root, url }
    }
}

impl From<&Incident> for v1::Incident {
    fn from(incident: &Incident) -> Self {
        let (nature, flake) = match incident.nature {
            Nature::Compile => ("compile", 0.0),
            Nature::Test { flake } => ("test", flake),
        };
        let culprit = |at: &usize| incident.suspects.get(*at).map(|suspect| suspect.commit.to_string());
        Self {
            suspects: incident.suspects.iter().map(Into::into).collect(),
            builds: incident.runs.iter().map(Into::into).collect(),
            output: incident.output.clone(),
            notes: incident.notes.iter().map(note).collect(),
            id: incident.id.to_string(),
            line: Some((&incident.line).into()),
            state: state_word(incident.state).to_owned(),
            check: incident.check.clone(),
            command: incident.command.clone(),
            nature: nature.to_owned(),
            flake,
            green: incident.green.to_string(),
            red: incident.red.to_string(),
            reds: count(incident.reds()),
            pause: incident.pause.as_ref().map(|p| v1::IncidentPause { epoch: p.epoch.0, hold: p.hold.clone() }),
            culprits: incident.culprits.iter().map(|at| count(*at)).collect(),
            revert: incident.revert.as_ref().map(revert),
            kept: incident.kept.clone().unwrap_or_default(),
            escalated: incident.escalated.clone().unwrap_or_default(),
            opened_unix_ms: incident.opened_unix_ms,
            suspects_count: count(incident.suspects.len()),
            builds_count: count(incident.runs.len()),
            culprit_commits: incident.culprits.iter().filter_map(culprit).collect(),
            ordered: String::new(),
            repairing: String::new(),
            proof: incident.proven.as_ref().map(Into::into),
        }
    }
}

impl v1::Incident {
    /// As a list has it: without what only a look at this one is for.
    #[must_use]
    pub fn in_short(self) -> Self {
        Self { suspects: vec![], builds: vec![], output: String::new(), notes: vec![], ..self }
    }
}

fn revert(revert: &rr_core::incident::Revert) -> v1::Revert {
    v1::Revert {
        tip: revert.tip.to_string(),
        tree: revert.tree.to_string(),
        green: revert.green,
        commit: revert.commit.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn note(note: &rr_core::incident::Note) -> v1::IncidentNote {
    v1::IncidentNote { at_unix_ms: note.at_unix_ms, text: note.text.clone() }
}

impl From<&Suspect> for v1::Suspect {
    fn from(suspect: &Suspect) -> Self {
        Self {
            commit: suspect.commit.to_string(),
            session: suspect.session.as_ref().map(ToString::to_string).unwrap_or_default(),
            author: suspect.author.clone(),
            subject: suspect.subject.clone(),
            at_unix_s: suspect.at_unix_s,
            weight: suspect.weight,
        }
    }
}

impl From<&Run> for v1::Build {
    fn from(run: &Run) -> Self {
        let (what, of) = match &run.build {
            Build::Prefix(n) => ("prefix", vec![count(*n)]),
            Build::Alone(n) => ("alone", vec![count(*n)]),
            Build::Set(these) => ("set", these.iter().map(|n| count(*n)).collect()),
        };
        Self { what: what.to_owned(), of, verdict: verdict_word(run.verdict).to_owned() }
    }
}

impl From<&Culprit> for v1::CulpritProof {
    fn from(culprit: &Culprit) -> Self {
        let how = match culprit.how {
            How::ByItself => "by_itself",
            How::Together => "together",
            How::Each => "each",
            How::WithOthers => "with_others",
            How::NotAsked => "not_asked",
        };
        let (red, green) = (count(culprit.proof.with + 1), count(culprit.proof.without + 1));
        Self { red, green, how: how.to_owned() }
    }
}

/// `Incident.state`.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Seen => "seen",
        State::Confirmed => "confirmed",
        State::Paused => "paused",
        State::Searching => "searching",
        State::Reverting => "reverting",
        State::Verifying => "verifying",
        State::Resumed => "resumed",
        State::Escalated => "escalated",
    }
}

/// `Build.verdict`.
#[must_use]
pub const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Green => "green",
        Verdict::Red => "red",
        Verdict::Unresolved => "unresolved",
    }
}

const fn clash_word(clash: SymbolClash) -> &'static str {
    match clash {
        SymbolClash::GoneOrOther => "gone_or_other",
        SymbolClash::BothAdded => "both_added",
        SymbolClash::BothChanged => "both_changed",
        SymbolClash::CallerChanged => "caller_changed",
    }
}

const fn because_word(because: Because) -> &'static str {
    match because {
        Because::Uncommitted => "uncommitted",
        Because::Smaller => "smaller",
        Because::Dependent => "dependent",
        Because::Later => "later",
    }
}

fn paths(paths: &[GitPath]) -> Vec<String> {
    paths.iter().take(PATHS_MAX).map(ToString::to_string).collect()
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use rr_core::id::{CommitId, HostId, ObjectId, RepoId};
    use rr_core::live::{Entry, Target};
    use rr_core::overlap::{FindingId, Level};

    use super::*;

    fn key(n: u8) -> TreeKey {
        TreeKey { host: HostId::from_random([n; 16]), tree: format!("t{n}") }
    }

    #[test]
    fn a_finding_says_what_it_is_about_and_who_yields() {
        let finding = Finding {
            id: FindingId::parse("0123456789abcdef").expect("legal"),
            repo: RepoId::parse("0123456789abcdef").expect("legal"),
            level: Level::Symbol,
            kind: Kind::Symbol { name: "parse".into(), how: SymbolClash::GoneOrOther },
            sides: [key(1), key(2)],
            paths: vec![GitPath::new(b"a\x1b[2J".to_vec())],
            places: vec![],
            excerpt: "x".into(),
            yields: Some((1, Because::Dependent)),
        };
        let sent = v1::Finding::from(&finding);
        assert_eq!(
            (sent.level, sent.kind.as_str(), sent.about.as_str(), sent.how.as_str()),
            (1, "symbol", "parse", "gone_or_other")
        );
        assert_eq!(sent.paths, ["a%1B[2J"]);
        assert_eq!(sent.yields, Some(v1::Yields { side: 1, because: "dependent".into() }));
        assert_eq!((sent.sides[1].host.as_str(), sent.sides[1].tree.as_str()), (key(2).host.as_str(), "t2"));
    }

    #[test]
    fn a_work_tree_says_how_it_goes_together_with_its_target() {
        let object = || ObjectId::parse(&"a".repeat(40)).expect("legal");
        let seen = ChangeSet {
            repo: RepoId::parse("0123456789abcdef").expect("legal"),
            root: "/w".into(),
            branch: "topic".into(),
            head: None,
            target: Some(Target { branch: "main".into(), commit: CommitId::parse(&"b".repeat(40)).expect("legal") }),
            tree: object(),
            onto: Onto::Stale((0..300).map(|n| GitPath::from(format!("f{n}"))).collect()),
            rest: Rest::InFlux,
            writers: vec![],
            remote: None,
            files: vec![],
            left_out: 7,
            committed: false,
        };
        let sent = live_tree(&key(1), &seen);
        assert_eq!((sent.onto.as_str(), sent.stale.len(), sent.settled, sent.files), ("stale", PATHS_MAX, false, 7));
        assert_eq!((sent.target_branch.as_str(), sent.head.as_str()), ("main", ""));
    }

    #[test]
    fn what_happened_to_a_file_is_one_word_and_lines_count_from_one() {
        let entry = |id: &str, mode| Entry { mode, id: ObjectId::parse(&id.repeat(40)).expect("legal") };
        let change = |from, to| FileChange {
            path: "f".into(),
            from,
            to,
            ranges: vec![Lines { start: 0, count: 2 }],
            binary: false,
            renamed_from: None,
            layout_only: false,
            symbols: vec![],
            uses: vec![],
            packages: vec![],
            by: vec![],
        };
        let what = |change: &FileChange| v1::FileEdit::from(change).what;
        let (a, b, exec) = (entry("a", 0o100_644), entry("b", 0o100_644), entry("a", 0o100_755));
        assert_eq!(what(&change(None, Some(a.clone()))), "new");
        assert_eq!(what(&change(Some(a.clone()), None)), "gone");
        assert_eq!(what(&change(Some(a.clone()), Some(exec))), "mode");
        let edited = change(Some(a), Some(b));
        assert_eq!(what(&edited), "changed");
        assert_eq!(v1::FileEdit::from(&edited).lines, [v1::EditedLines { start: 1, count: 2 }]);
        assert_eq!(what(&FileChange { renamed_from: Some("g".into()), ..edited }), "renamed");
    }
}
