//! Every text that an agent reads: what happened, who, since when, what to do next. Facts, not orders: an agent's guard
//! against injected instructions must have no reason to doubt them.

use rr_core::id::{FleetName, IncidentId, SessionId};
use rr_core::incident::State;
use rr_core::overlap::{Because, Finding, Kind, Level, SymbolClash, Whose};
use rr_core::scope::Scope;
use rr_core::time::Span;
use rr_fleet::{Denial, SlotHolder};
use rr_policy::{Hit, NeededSlot, Origin, Why};
use rr_runtime::clock::unix_ms;

/// Longest piece of somebody else's prompt or path that is repeated.
const QUOTE_CHARS_MAX: usize = 120;
/// Longest error of a configuration file that is repeated: file, place, what, what was meant.
const ERROR_CHARS_MAX: usize = 400;

/// Who stands in the way, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// First digits of the session.
    pub session: String,
    pub agent: String,
    /// The user whose saves it stands for, if it is no agent.
    pub person: Option<String>,
    pub host: String,
    pub pid: u32,
    pub task: String,
    pub since: Option<Span>,
}

impl Who {
    /// For those who see it beside what it does.
    pub(crate) fn in_short(&self) -> String {
        format!("session {} ({}, pid {} on {})", self.session, self.agent, self.pid, self.host)
    }

    fn named(&self) -> String {
        let task = if self.task.is_empty() { String::new() } else { format!(", at work on \"{}\"", quote(&self.task)) };
        let since = self.since.map_or_else(String::new, |s| format!(", since {}", span(s)));
        if let Some(user) = &self.person {
            return format!("{user} in an editor (a person on {}, session {}){since}", self.host, self.session);
        }
        format!("session {} ({}, pid {} on {}{task}){since}", self.session, self.agent, self.pid, self.host)
    }
}

/// What a lock is on, in words.
pub(crate) fn scope(scope: &Scope) -> String {
    let Scope::Named(name) = scope else {
        let text = scope.to_string();
        return text.strip_suffix("/**").map_or(text.clone(), str::to_owned);
    };
    let words = match name.as_str().split('.').next() {
        Some("tree") => "the whole work tree",
        Some("head") => "the HEAD of this work tree",
        Some("index") => "git's index (what is staged) of this work tree",
        Some("stash") => "git's stash",
        Some("refs") => "git's refs (branches, tags)",
        Some("config") => "git's configuration",
        _ => return scope.to_string(),
    };
    words.to_owned()
}

pub(crate) fn span(span: Span) -> String {
    match span.as_secs() {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3_600),
    }
}

fn quote(text: &str) -> String {
    cut(&text.split_whitespace().collect::<Vec<_>>().join(" "), QUOTE_CHARS_MAX)
}

pub(crate) fn cut(line: &str, chars_max: usize) -> String {
    let cut: String = line.chars().take(chars_max).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

pub(crate) fn misread(why: &str) -> String {
    format!(
        "Railroad could not read this call, so it was not let through: {}. `rrctl doctor` checks the hook.",
        quote(why)
    )
}

pub(crate) fn too_large() -> String {
    "Railroad takes at most 16 MiB of arguments for one call; this one has more and was not let through. Write the file in parts.".to_owned()
}

/// Nothing stops a person: who holds the file learns that it is another one now (X14).
pub(crate) fn saved_by_person(file: &str, who: &Who) -> String {
    format!("{file}, which you hold, was edited by {}. Read it again before writing.", who.named())
}

/// A denial because of a lock (R3).
pub(crate) fn held(what: &str, who: &Who, place: usize, window: Span) -> String {
    let place = match place {
        0 => "You are next in line".to_owned(),
        n => format!("{n} other session(s) are ahead of you in line"),
    };
    format!(
        "{what} is being edited by {}. {place}: when it is free it is kept for you for {}, and you are told. \
         Other files are free to work on meanwhile; writing this one by another tool is refused as well.",
        who.named(),
        span(window)
    )
}

pub(crate) fn still_waiting(what: &str, who: Option<&Who>, waited: Span) -> String {
    let by = who.map_or_else(String::new, |w| format!(" It is held by {}.", w.named()));
    format!(
        "{what} is still not free; you have been in line for {}.{by} Other files are free to work on meanwhile.",
        span(waited)
    )
}

pub(crate) fn spinning(what: &str, times: u32) -> String {
    format!(
        "{what} was refused {times} times in a row for the same reason. Asking again does not change it: this part of the work has to wait; other work can go on."
    )
}

pub(crate) fn stopped(what: &str, times: u32) -> String {
    format!(
        "Stopped: {what} was asked for {times} times in a row and refused each time. `rrctl locks` shows who holds what."
    )
}

pub(crate) fn granted_later(what: &str, window: Span) -> String {
    format!("{what} is free and kept for you for {}. It may have changed: read it again before writing.", span(window))
}

pub(crate) fn wait_over(what: &str) -> String {
    format!("Your place in line for {what} is over: it did not become free in time. The next write asks again.")
}

pub(crate) fn ring(what: &str) -> String {
    format!(
        "Your place in line for {what} was given up: sessions were waiting for one another in a ring and yours joined last. Your own locks are given on when your turn ends."
    )
}

pub(crate) fn claim_lapsed(what: &str) -> String {
    format!("{what} was kept for you and not used; it is free for others again.")
}

pub(crate) fn slot(name: &str) -> String {
    format!("the slot `{name}`")
}

/// A command has to wait for others of its kind (G9).
pub(crate) fn slot_is_busy(
    slot: &NeededSlot,
    holders: &[&SlotHolder],
    me: &SessionId,
    ahead: usize,
    waited: Span,
    window: Span,
) -> String {
    let has = |holder: &&SlotHolder| {
        let since = span(Span::from_millis(unix_ms().saturating_sub(holder.since_unix_ms)));
        match &holder.session {
            Some(session) if session == me => {
                format!("an earlier command of yours, which still runs, has it ({})", quote(&holder.who))
            }
            _ => format!("{} has it, asked for {since} ago", quote(&holder.who)),
        }
    };
    let by: Vec<String> = holders.iter().map(has).collect();
    let by = if by.is_empty() { "it is being handed over".to_owned() } else { by.join("; ") };
    let so_many = if slot.of == 1 { "one runs".to_owned() } else { format!("{} run", slot.of) };
    let place = match ahead {
        0 => "You are next in line".to_owned(),
        n => format!("{n} other(s) are ahead of you in line"),
    };
    let waited = if waited > Span::from_secs(1) { format!(" (for {} now)", span(waited)) } else { String::new() };
    format!(
        "`{}` needs {} of this machine, where only {so_many} at a time: {by}. {place}{waited}. Do other work; you will be told when it is          your turn, and the slot is kept for you for {} then: run the command again.",
        quote(&slot.what),
        self::slot(&slot.name),
        span(window)
    )
}

pub(crate) fn slot_granted_later(name: &str, what: &str, window: Span) -> String {
    format!("It is your turn: {} is kept for you for {}. Run `{}` now.", slot(name), span(window), quote(what))
}

pub(crate) fn slot_lapsed(name: &str) -> String {
    format!("{} was kept for you and not used; it is free for others again.", slot(name))
}

pub(crate) fn slot_wait_over(name: &str) -> String {
    format!("Your place in line for {} is over: it was not your turn in time. The next command asks again.", slot(name))
}

/// A manifest is not changed under somebody's build (G2).
pub(crate) fn build_runs(what: &str, name: &str, by: &SlotHolder) -> String {
    let since = span(Span::from_millis(unix_ms().saturating_sub(by.since_unix_ms)));
    format!(
        "{what} is about dependencies, and {} is at work in this work tree with {} (asked for {since} ago): a build must not have its          dependencies changed under it. Other files are free; try again when it is over (`rrctl slots`).",
        quote(&by.who),
        slot(name)
    )
}

pub(crate) fn stale(what: &str, by: Option<&Who>) -> String {
    let by = by.map_or_else(|| "by somebody outside of all sessions".to_owned(), |w| format!("by {}", w.named()));
    format!(
        "{what} was changed {by} since you read it. Your change is based on an older version: read the file again, then make the change."
    )
}

pub(crate) fn unread(what: &str) -> String {
    format!("It is not known which version of {what} this session has read. Read the file again, then make the change.")
}

pub(crate) fn read_under_edit(what: &str, who: &Who) -> String {
    format!(
        "{what} is being edited by {}. Reading is fine; its contents may change, and you will be told when they have.",
        who.named()
    )
}

pub(crate) fn changed_since_read(what: &str, who: &Who) -> String {
    format!("{what}, which you have read, has been changed by {}. What you know of it may be out of date.", who.named())
}

pub(crate) fn lock_lost(what: &str) -> String {
    format!(
        "Your lock on {what} was lost (taken away, or its lease ran out). Somebody else may have changed it: read it again before writing."
    )
}

pub(crate) fn commit_overtaken(commit: &str, paths: &str) -> String {
    format!(
        "Commit {commit} changes what was not yours when it was made: {paths}. It will not be published as it is. Write those \
         files once more with a tool (that asks for their locks), look at what others changed in them, then amend or redo the \
         commit; or a person vouches for it (`rrctl publish vouch {commit}`)."
    )
}

pub(crate) fn past_the_gate(what: &str) -> String {
    format!(
        "{what} goes past the git hooks by which this fleet checks what is published. Agents commit and push with the hooks; a \
         person can do without."
    )
}

pub(crate) fn session_lost(locks: &str) -> String {
    format!(
        "This session's lease ran out and it was registered anew. These locks were lost with it: {locks}. Read those files again before writing."
    )
}

pub(crate) fn cooling(what: &str, left: Span) -> String {
    format!(
        "{what} is kept for you, but its last holder ended without giving it back and may still be writing. It can be used in {}. \
         Read it first: it may be half-finished.",
        span(left.max(Span::from_secs(1)))
    )
}

pub(crate) fn unclean(what: &str, session: &str) -> String {
    format!(
        "The last holder of {what} (session {session}) ended without giving it back. It may be half-finished: look at it before building on it."
    )
}

pub(crate) fn paused(epoch: u64, reasons: &str) -> String {
    format!(
        "The fleet is paused (epoch {epoch}{reasons}). No tool may run in any session until a person resumes it with `rrctl resume --epoch {epoch}`. Nothing of yours is lost; your locks stay yours."
    )
}

/// What is added to [`paused`] where not everything is stopped.
pub(crate) fn affected(folders: &str) -> String {
    format!(
        "It concerns {}. Reading goes on, and so does what certainly changes only other files: the file tools, and commands whose changes \
         are known beforehand. What is committed or staged in this repository waits.",
        cut(folders, ERROR_CHARS_MAX)
    )
}

/// What is added to [`paused`] where the watcher alone holds the fleet.
pub(crate) fn may_be_claimed(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "If the watcher leaves the repair to others, one session may take it up and go on working: it types `rrctl incident claim {id}`, \
         that command alone."
    )
}

pub(crate) fn under_repair(incident: &IncidentId, who: &Who) -> String {
    format!("Incident {} is being repaired by {}; it alone goes on.", incident.short(), who.named())
}

pub(crate) fn repair_claimed(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "The repair of incident {id} is yours: your calls pass although the watcher has paused the fleet. Mend the branch and commit; when its \
         check passes, the fleet goes on by itself. A person's pause stops you too. If you cannot mend it: rrctl incident give-back {id}"
    )
}

pub(crate) fn repair_taken(incident: &IncidentId, by: &Who) -> String {
    format!(
        "Incident {} is being repaired already, by {}. Wait: the fleet goes on when the branch passes its check again.",
        incident.short(),
        by.named()
    )
}

pub(crate) fn repair_not_yet(incident: &IncidentId, state: State) -> String {
    let doing = match state {
        State::Seen | State::Confirmed => "it is looking whether the branch is broken at all",
        State::Paused | State::Searching => "it is looking for the commit that did it",
        State::Reverting | State::Verifying => "it is taking out the commit that did it",
        State::Resumed => "it is over",
        State::Escalated => "a person has just asked it to go on",
    };
    format!("Incident {} is not to be repaired by others yet: the watcher is at it, {doing}. Wait.", incident.short())
}

pub(crate) fn repair_given_back(incident: &IncidentId) -> String {
    let id = incident.short();
    format!(
        "The repair of incident {id} is anybody's again, and you stand still as all others do while the fleet is paused."
    )
}

pub(crate) fn repair_not_held(incident: &IncidentId) -> String {
    format!("You do not have the repair of incident {}: nothing was given back.", incident.short())
}

pub(crate) fn repair_unclear() -> String {
    "The store did not say clearly what came of it: nothing passes on the strength of this. Type it again.".to_owned()
}

pub(crate) fn repair_without_session() -> String {
    "This session is no longer valid in the store, so it cannot have a repair: its next call registers it anew. Then type it again.".to_owned()
}

pub(crate) fn no_such_incident(id: &str) -> String {
    format!("No incident {} is open: the branch may be whole again.", quote(id))
}

pub(crate) fn incident_over(incident: &IncidentId) -> String {
    format!("Incident {} is over: there is nothing to repair.", incident.short())
}

pub(crate) fn several_incidents(ids: &[&str]) -> String {
    format!("Several incidents begin so: {}. Type more of its id.", ids.join(", "))
}

pub(crate) fn no_such_session() -> String {
    "the sidecar of this machine knows no such session here".to_owned()
}

pub(crate) fn shut_out(denial: &Denial) -> String {
    format!(
        "This host was shut out of the fleet by {}: {}. Its locks are gone and no tool may run here until an admin lets it in again with `rrctl allow`. Stop and tell the person you work for.",
        quote(&denial.who),
        quote(&denial.reason)
    )
}

/// A person has stopped this one session (G25).
pub(crate) fn stopped_by_person(who: &str, reason: &str, session: &str) -> String {
    format!(
        "This session was stopped by {} ({}). No tool may run in it until a person lets it go on (`rrctl recover --resume {session}`). \
         Nothing of its work is lost. Stop here and wait.",
        quote(who),
        quote(reason)
    )
}

pub(crate) fn goes_on(who: &str) -> String {
    format!("{} has let this session go on. Files may have changed meanwhile: read them again.", quote(who))
}

pub(crate) fn stop_file(path: &str) -> String {
    format!("Stopped by {path}: while that file exists no tool may run here. A person removes it to go on.")
}

pub(crate) fn other_fleet(named: &FleetName, ours: &FleetName) -> String {
    format!(
        "railroad.yaml of this repository names the fleet `{named}`, and the sidecar of this machine serves `{ours}`: agents of \
         `{named}` would not see a lock taken here, so no change is let through. A person sets `fleet: {named}` in this \
         machine's config.yaml, or corrects railroad.yaml. Reading is possible."
    )
}

pub(crate) fn not_connected(why: &str) -> String {
    format!(
        "Railroad cannot vouch for this call, so it was not let through: {why}. It is tried again at your next call; `rrctl status` shows the state."
    )
}

pub(crate) fn store_went_back() -> String {
    "The store of this fleet was put back to an earlier state, so nobody can say who holds what. No tool may run until a person has looked \
     and typed `rrctl post-restore --reason ...`."
        .to_owned()
}

pub(crate) fn foreign_session(pid: u32) -> String {
    format!(
        "This session id belongs to another running process (pid {pid}); a call under a foreign name is not let through."
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

pub(crate) fn tree_in_use(who: &Who, what: &str) -> String {
    format!(
        "This command touches the whole work tree, and {} is working in it ({what}). It would move or take along that work. \
         Name only your own paths (`git add PATH`, `git commit PATH`, `git stash push -- PATH`), or use a work tree of your own (`git worktree add`).",
        who.named()
    )
}

pub(crate) fn would_sweep(command: &str, files: &str) -> String {
    format!(
        "{command} would move or take along uncommitted work of other sessions: {files}. Name only your own paths (`git add PATH`, `git commit PATH`, `git stash push -- PATH`)."
    )
}

pub(crate) fn unforeseen(files: &str) -> String {
    format!(
        "That command also changed {files}, which it did not name. These changes are counted as yours, and the files are locked for you where they were free."
    )
}

pub(crate) fn hit_others(file: &str, who: &Who) -> String {
    format!(
        "That command changed {file} while it was held by {}. They have been told. Look at the file together before going on.",
        who.named()
    )
}

pub(crate) fn hit_by(file: &str, who: &Who) -> String {
    format!("{file}, which you hold, was changed by a command of {}. Read it again before writing.", who.named())
}

pub(crate) fn not_compared() -> String {
    "The work tree could not be looked at after this command: what it changed is not known.".to_owned()
}

pub(crate) fn not_written_down(why: &str) -> String {
    format!(
        "Railroad's journal cannot be written ({}), so no change is let through: nobody could say later what was done, or take it \
         back. Reading is possible, and it is tried again at your next call. A person looks with `rrctl doctor`.",
        cut(why, ERROR_CHARS_MAX)
    )
}

pub(crate) fn read_not_written_down() -> String {
    "Railroad's journal cannot be written now. This command only reads, so it was let through; one that changes anything will not be."
        .to_owned()
}

pub(crate) fn not_kept(why: &str) -> String {
    format!(
        "Railroad could not keep what stands there now ({}), so no change is let through: it could not be taken back. It is tried again \
         at your next call; a person looks with `rrctl doctor`.",
        cut(why, ERROR_CHARS_MAX)
    )
}

/// A call was under way when the sidecar died, and its agent never said how it ended (H31).
pub(crate) fn end_unknown(call: &str) -> String {
    format!(
        "Railroad's sidecar ended while call {} was under way: whether that came to its end is not known. What the files it named hold \
         now is written down as its work, and `rrctl rollback` can take it back.",
        quote(call)
    )
}

/// What a call of an earlier life left in a file, and what another session has changed there since.
pub(crate) fn mixed_with(path: &str, session: &str) -> String {
    format!(
        "Session {session} has changed {path} since that call, and what the call itself left there is not known: it is counted as \
         nobody's, and a rollback leaves it. What stood there before is in `rrctl log --path`."
    )
}

/// A rule of the policy refuses it (R12).
pub(crate) fn blocked(hit: &Hit) -> String {
    let from = match hit.origin {
        Origin::DefaultSet => "a built-in rule".to_owned(),
        Origin::Line(line) => format!("railroad.yaml, line {line}"),
    };
    let instead = hit.instead.as_ref().map_or_else(String::new, |way| format!(" Instead: {way}."));
    format!(
        "Refused in every session by the rule `{}` ({from}): {}. It matched {}.{instead}",
        quote(&hit.rule),
        hit.because.trim_end_matches('.'),
        quote(&hit.what)
    )
}

pub(crate) fn approval_waits(rule: &str, because: &str, id: &str, ahead: usize) -> String {
    let because = if because.is_empty() { String::new() } else { format!(" ({})", because.trim_end_matches('.')) };
    let place = match ahead {
        0 => String::new(),
        1 => " One other request is before it.".to_owned(),
        _ => format!(" {ahead} other requests are before it."),
    };
    format!(
        "A person has to approve this first: rule `{}`{because}. They have been asked (request {id}, `rrctl approvals`).{place} Go on \
         with other work; you are told the answer, and then the same call passes once. No answer in time means no.",
        quote(rule)
    )
}

pub(crate) fn approval_granted(id: &str, by: &str) -> String {
    format!("Request {id} was approved by {}: make the same call again, it passes once.", quote(by))
}

pub(crate) fn approval_refused(id: &str, by: &str, reason: &str) -> String {
    format!("Request {id} was rejected by {}: {}. That call will not pass; go on without it.", quote(by), quote(reason))
}

pub(crate) fn approval_rejected(what: &str, by: &str, reason: &str) -> String {
    format!(
        "`{}` was rejected by {}: {}. It will not pass in this session; go on without it.",
        quote(what),
        quote(by),
        quote(reason)
    )
}

pub(crate) fn approval_expired(what: &str) -> String {
    format!(
        "Nobody answered in time whether `{}` may run, which means no. Go on without it, or tell the person you work for.",
        quote(what)
    )
}

pub(crate) fn approval_over() -> String {
    "A request for approval has run out without an answer, which means no.".to_owned()
}

pub(crate) fn approval_gone() -> String {
    "The approval of this call was used or taken back meanwhile: the next try asks a person again.".to_owned()
}

pub(crate) fn too_many_approvals() -> String {
    "A person would have to approve this, and too many requests are waiting already. Go on with other work.".to_owned()
}

/// A change outside of what a session may write (G7, T4).
pub(crate) fn out_of_scope(what: &str, why: Why, scope: &str, owner: Option<&str>) -> String {
    let why = match why {
        Why::NotInMay => "it is not among what the scope may change",
        Why::Never => "the scope never changes it",
        Why::CreateOnly => "there the scope only creates new files",
        Why::ReadOnly => "the scope only reads it",
    };
    let ask = owner.map_or_else(
        || "Tell the person you work for what would be needed there.".to_owned(),
        |owner| format!("Its owner is {}: say what is needed, and leave the change to them; they have been told if they are at work here.", quote(owner)),
    );
    format!("{what} is outside of this session's scope `{}`: {why}. Nothing was changed. {ask}", quote(scope))
}

pub(crate) fn asked_of_owner(what: &str, by: &Who) -> String {
    format!(
        "{} wanted to change {what}, which is in your scope and not in theirs; it was refused. They may ask you for it.",
        by.named()
    )
}

/// `scopes`: those that are this session's.
pub(crate) fn scopes(scopes: &[String]) -> String {
    if scopes.is_empty() {
        return "This repository has scopes, and none is for this session: it may change every file that no other rule forbids.".to_owned();
    }
    format!(
        "You may write within the scope {} only; other changes are refused, with whom to ask.",
        scopes.join(" and ")
    )
}

/// `own`: it is told to the session whose changes they were.
pub(crate) fn rolled_back(files: &[String], own: bool, session: &str, by: &str) -> String {
    let shown = cut(&files.join(", "), ERROR_CHARS_MAX);
    let whose = if own { "Your changes".to_owned() } else { format!("Changes of session {session}") };
    format!("{whose} to {shown} were taken back by {} (a rollback). Read those files again before going on.", quote(by))
}

pub(crate) fn held_back() -> String {
    "This session is being rolled back by a person at this moment: try again in a few seconds, and read the files again first."
        .to_owned()
}

pub(crate) fn waited_for(what: &str, who: &Who) -> String {
    format!(
        "{} is waiting for {what}, which you hold. It is given on when you commit it or when your turn ends.",
        who.named()
    )
}

pub(crate) fn elsewhere(what: &str, who: &Who, branch: &str, apart: &str) -> String {
    format!(
        "{what} was last changed by {} on branch {branch} in another work tree, and that is not in yours{apart}.",
        who.named()
    )
}

pub(crate) fn allowed_beside(what: &str, who: &Who) -> String {
    format!(
        "{what} is also being edited by {} in another work tree (this repository only warns of that). Expect a merge.",
        who.named()
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

pub(crate) fn tree_moved(command: &str) -> String {
    format!("Another branch or commit was checked out by `{}`: files you read may have changed.", quote(command))
}

/// A command failed in a work tree where others have just changed files: path, who, and whether a call of theirs still runs.
pub(crate) fn others_at_work(rows: &[(String, Who, bool)]) -> String {
    let row = |(path, who, busy): &(String, Who, bool)| {
        let state = if *busy { "still at it" } else { "settled" };
        format!("{} by {}, {state}", quote(path), who.named())
    };
    let rows: Vec<String> = rows.iter().map(row).collect();
    format!(
        "Others changed files here in the last minute: {}. If what failed is in these, it is theirs: leave it, go on with your own work, and \
         run the command again in about 30 s.",
        rows.join("; ")
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_says_who_since_when_what_and_what_next() {
        let who = Who {
            session: "abc12345".into(),
            agent: "claude".into(),
            person: None,
            host: "box".into(),
            pid: 77,
            task: format!("rewrite\nthe parser {}", "x".repeat(500)),
            since: Some(Span::from_secs(150)),
        };
        let said = held("src/types/api.ts", &who, 0, Span::from_secs(60));
        for part in [
            "src/types/api.ts is being edited by session abc12345",
            "claude, pid 77 on box",
            "rewrite the parser",
            "since 2 min",
            "next in line",
            "kept for you",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(said.len() < 700 && !said.contains('\n'));
        let person = Who { agent: "person".into(), person: Some("ann".into()), ..who };
        let said = held("src/types/api.ts", &person, 0, Span::from_secs(60));
        assert!(said.contains("src/types/api.ts is being edited by ann in an editor (a person on box"), "{said}");
        assert!(said.contains("since 2 min") && !said.contains("pid"), "{said}");
    }
}
