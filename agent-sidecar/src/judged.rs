//! The policy and the scopes of a repository, put to one call (D8, G6): what `rr_policy` says to it becomes a denial, a question
//! to a person, or a note. An approval is used up only when everything else has let the call pass. It refuses to know what the
//! rules are.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rr_core::id::{ApprovalId, CallPrint};
use rr_core::limits::APPROVAL_WAIT;
use rr_core::policy::PolicySource;
use rr_core::scope::Scope;
use rr_fleet::{ApprovalAnswer as Decided, ApprovalRequest, Asked, Used};
use rr_journal::{ApprovalStep, Event as Fact, Verdict as Word};
use rr_policy::{
    Call, Facts, Foreseen, Hit, Judgement, NeededSlot, Policy, ScopeVerdict, Scopes, Slots, Touch, TouchKind,
};
use rr_runtime::clock::unix_ms;
use rr_runtime::config::RepoConfig;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::call::{Action, Answer, Event, ToolCall};
use crate::effects::Effects;
use crate::messages;
use crate::repos::{Place, Repo, landing};
use crate::service::Service;
use crate::table::{AgentSession, RequestAt, Stands};

/// The task that an agent was started for, in its environment.
const TASK: &str = "RAILROAD_TASK";
/// Built-in rules about where something is or how it reads, not what it does.
const NO_MORE_THAN_AN_OBJECTION: [&str; 4] =
    ["default/own-files", "default/own-commands", "default/outside-repository", "default/unreadable"];
/// Why a request is over that a person did not decide.
const NO_ANSWER: &str = "nobody answered in time";
/// After a watch has ended it is opened again this much later.
const REOPEN_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

/// One version of a repository's rules.
pub(crate) struct Rules {
    policy: Policy,
    scopes: Scopes,
    scoped: bool,
    slots: Slots,
}

impl Rules {
    pub(crate) fn of(config: &RepoConfig) -> Self {
        let source = config.policy();
        Self {
            scopes: Scopes::compile(&source.scopes),
            scoped: !source.scopes.is_empty(),
            policy: Policy::compile(&source).policy,
            slots: Slots::compile(&config.slots),
        }
    }

    /// Whether a command, as a process shows it, needs this slot.
    pub(crate) fn needs_slot(&self, command: &str, cwd: &Path, slot: &str) -> bool {
        let analysis = rr_shell::analyse(command, &rr_shell::Env { cwd, home: None });
        let call = Call {
            agent: "",
            tool: "",
            command: Some(command),
            analysis: Some(&analysis),
            reads: &[],
            writes: &[],
            root: None,
            home: None,
            temporary: &[],
        };
        self.slots.needed(&call).iter().any(|needed| needed.name == slot)
    }

    /// Where there is no repository, the built-in rules hold.
    fn built_in() -> Arc<Self> {
        static RULES: OnceLock<Arc<Rules>> = OnceLock::new();
        let built_in = || {
            let policy = Policy::compile(&PolicySource::default()).policy;
            Arc::new(Self { policy, scopes: Scopes::default(), scoped: false, slots: Slots::default() })
        };
        RULES.get_or_init(built_in).clone()
    }
}

/// What the policy lets a call do.
#[derive(Default)]
pub(crate) struct Cleared {
    /// Rules that matched and only watch.
    pub shadowed: Vec<Fact>,
    /// A person's word, to be used when the call passes.
    pub approval: Option<ApprovalId>,
}

impl Service {
    /// Puts a call to the rules of the repository around it.
    pub(crate) async fn put_to_policy(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        found: &Effects,
    ) -> Result<Cleared, Answer> {
        let repo = self.repos.around(&event.cwd).ok().flatten();
        let rules = repo.as_ref().map_or_else(Rules::built_in, |repo| repo.rules());
        if let Some(outside) = self.outside_scope(who, event, found, repo.as_deref(), &rules) {
            return Err(outside);
        }
        let judged = judge(&rules.policy, who, call, found, repo.as_deref());
        match judged {
            Judgement::Pass => Ok(Cleared::default()),
            Judgement::Shadowed(hits) => Ok(Cleared { shadowed: hits.iter().map(shadowed).collect(), approval: None }),
            Judgement::Deny(hit) => {
                let answer = self.refuse(who, &hit.what, messages::blocked(&hit));
                Err(Answer { rule: Some(hit.rule), ..answer })
            }
            Judgement::Approve(hit) => self.ask_a_person(who, event, call, found, repo.as_deref(), &hit).await,
        }
    }

    /// What the rules say of a command that has met an objection besides: a rule tells why, and what to do instead. Those about
    /// places and spelling say no more than the objection.
    pub(crate) fn refused_by_rule(&self, who: &AgentSession, event: &Event, call: &ToolCall) -> Option<Answer> {
        let Action::Shell { command } = &call.action else { return None };
        let repo = self.repos.around(&event.cwd).ok().flatten();
        let rules = repo.as_ref().map_or_else(Rules::built_in, |repo| repo.rules());
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let env = rr_shell::Env { cwd: &event.cwd, home: home.as_deref() };
        let parse = || rr_shell::analyse(command, &env);
        let found = Effects { analysis: Some(tokio::task::block_in_place(parse)), ..Effects::default() };
        let Judgement::Deny(hit) = judge(&rules.policy, who, call, &found, repo.as_deref()) else { return None };
        if NO_MORE_THAN_AN_OBJECTION.contains(&hit.rule.as_str()) {
            return None;
        }
        let answer = self.refuse(who, &hit.what, messages::blocked(&hit));
        Some(Answer { rule: Some(hit.rule), ..answer })
    }

    /// The slots that a call needs before it may run.
    pub(crate) fn slots_needed(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        found: &Effects,
    ) -> Vec<NeededSlot> {
        let Some(repo) = self.repos.around(&event.cwd).ok().flatten() else { return Vec::new() };
        let rules = repo.rules();
        if rules.slots.is_empty() {
            return Vec::new();
        }
        as_judged(who, call, found, Some(&repo), |call| rules.slots.needed(call))
    }

    /// The first change outside of a session's scopes, as a refusal that says whom to ask (G7).
    fn outside_scope(
        &self,
        who: &AgentSession,
        event: &Event,
        found: &Effects,
        repo: Option<&Repo>,
        rules: &Rules,
    ) -> Option<Answer> {
        let repo = repo.filter(|_| rules.scoped)?;
        let touched = touched(found, repo);
        let branch = repo.tree.branch();
        let worktree = repo.tree.root.display().to_string();
        let folder = event.cwd.strip_prefix(&repo.tree.root).ok().map(|f| f.display().to_string());
        let task = who.lock().scope_task.clone();
        let facts = Facts {
            session: Some(&who.key.session),
            task: task.as_deref(),
            branch: Some(&branch),
            worktree: Some(&worktree),
            folder: folder.as_deref(),
            agent: Some(&who.key.agent),
        };
        let ScopeVerdict::Outside { path, why, scope, owner } = rules.scopes.decide(&facts, &touched) else {
            return None;
        };
        let what = path.to_string();
        self.pass_on(who, &what, owner.as_deref());
        let answer =
            self.refuse(who, &format!("{what} (scope)"), messages::out_of_scope(&what, why, &scope, owner.as_deref()));
        Some(Answer { rule: Some(format!("scope {scope}")), ..answer })
    }

    /// A request for what is outside of a session's scope reaches whoever owns it, if that is a session here (G7).
    fn pass_on(&self, who: &AgentSession, what: &str, owner: Option<&str>) {
        let Some(owner) = owner else { return };
        let by = self.who(who.sid(), None);
        for other in self.all().into_iter().filter(|o| o.sid() != who.sid()) {
            let owns = other.key.session == owner || other.lock().scope_task.as_deref() == Some(owner);
            if owns {
                other.notify(messages::asked_of_owner(what, &by));
            }
        }
    }

    /// Says once that a repository has scopes and none is this session's.
    pub(crate) fn without_scope(&self, who: &AgentSession, event: &Event) -> Option<String> {
        let repo = self.repos.around(&event.cwd).ok().flatten()?;
        let rules = repo.rules();
        if !rules.scoped {
            return None;
        }
        let (branch, worktree) = (repo.tree.branch(), repo.tree.root.display().to_string());
        let task = who.lock().scope_task.clone();
        let facts = Facts {
            session: Some(&who.key.session),
            task: task.as_deref(),
            branch: Some(&branch),
            worktree: Some(&worktree),
            folder: Some(""),
            agent: Some(&who.key.agent),
        };
        let scopes: Vec<String> = rules.scopes.of(&facts).map(|s| s.name.clone()).collect();
        Some(messages::scopes(&scopes))
    }

    async fn ask_a_person(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        found: &Effects,
        repo: Option<&Repo>,
        hit: &Hit,
    ) -> Result<Cleared, Answer> {
        let wait = repo.map_or(APPROVAL_WAIT, |repo| repo.config().0.approvals.expire);
        let now = unix_ms();
        let request = ApprovalRequest {
            repo: repo.map(|repo| repo.id.clone()),
            call_print: print(event, call),
            tool: call.tool.clone(),
            command: rr_journal::redact(&shown(call)).into_owned(),
            folder: event.cwd.display().to_string(),
            agent: who.key.agent.clone(),
            host_name: self.host_name.clone(),
            diff: tokio::task::block_in_place(|| self.proposed(call, found)),
            rule: hit.rule.clone(),
            because: hit.because.clone(),
            asked_unix_ms: now,
            expires_unix_ms: now + wait.as_millis(),
        };
        let asked = match self.fleet.ask_approval(&who.session, &request).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "ask a person");
                return Err(Answer::deny(messages::not_connected("the store gave no clear answer about its approval")));
            }
        };
        let rule = Some(hit.rule.clone());
        let waits = |text: String| Answer { asked: true, rule: rule.clone(), ..Answer::deny(text) };
        let refused = |text: String| Answer { rule: rule.clone(), ..Answer::deny(text) };
        Err(match asked {
            Asked::Approved { id } => return Ok(Cleared { shadowed: vec![], approval: Some(id) }),
            Asked::Waiting { id, ahead } => {
                let asked = RequestAt { id: id.clone(), stands: Stands::Waiting };
                let before = who.lock().asked.insert(request.call_print.clone(), asked);
                if before.is_none_or(|before| before.id != id) {
                    self.note_of(who, event, call, approval(&id, ApprovalStep::Asked, "", &hit.because));
                }
                waits(messages::approval_waits(&hit.rule, &hit.because, id.short(), ahead))
            }
            Asked::Rejected { by, reason, .. } => refused(messages::approval_rejected(&shown(call), &by, &reason)),
            Asked::Expired { id } => {
                // Said once; the next time a person is asked anew.
                let known = who.lock().asked.remove(&request.call_print);
                if known.is_none_or(|known| known.id != id || known.stands != Stands::Over) {
                    self.note_of(who, event, call, approval(&id, ApprovalStep::Expired, "", NO_ANSWER));
                }
                if let Err(error) = self.fleet.withdraw_approval(&who.session, &id).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "withdraw an expired request");
                }
                refused(messages::approval_expired(&shown(call)))
            }
            Asked::TooMany(_) => refused(messages::too_many_approvals()),
            Asked::Lost => refused(messages::not_connected("its session is no longer valid in the store")),
        })
    }

    /// Uses up a person's word for this call. Only then it passes, and only once.
    pub(crate) async fn use_word(
        &self,
        who: &AgentSession,
        event: &Event,
        call: &ToolCall,
        id: &ApprovalId,
    ) -> Result<(), Answer> {
        match self.fleet.use_approval(&who.session, id).await {
            Ok(Used::Yes { by }) => {
                self.note_of(who, event, call, approval(id, ApprovalStep::Used, &by, ""));
                Ok(())
            }
            Ok(Used::Paused) => Err(Answer::deny(messages::not_connected("the fleet was just paused"))),
            Ok(_) => Err(Answer::deny(messages::approval_gone())),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "use an approval");
                Err(Answer::deny(messages::not_connected("the store gave no clear answer about its approval")))
            }
        }
    }

    /// Tells sessions what people have answered, as it happens.
    pub(crate) async fn follow_answers(self: Arc<Self>, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.fleet.follow_answers().await {
                Ok(mut answers) => {
                    tokio::select! {
                        () = shutdown.cancelled() => return,
                        () = async { while let Ok(changed) = answers.changed().await { self.tell_answers(&changed); } } => {}
                    }
                }
                Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "follow approvals"),
            }
            let _ = tokio::time::timeout(REOPEN_AFTER, shutdown.cancelled()).await;
        }
    }

    fn tell_answers(&self, changed: &[rr_fleet::AnswerChange]) {
        for change in changed {
            let Some(who) = self.all().into_iter().find(|who| *who.sid() == change.session) else { continue };
            let Some(stood) = who.lock().asked.get(&change.call_print).cloned() else { continue };
            let (now, told) = match &change.now {
                Some((id, Decided::Approved { who: by, reason, .. })) => (
                    Some(Stands::Approved),
                    Some((
                        messages::approval_granted(id.short(), by),
                        approval(id, ApprovalStep::Approved, by, reason),
                    )),
                ),
                Some((id, Decided::Rejected { who: by, reason, .. })) => (
                    Some(Stands::Rejected),
                    Some((
                        messages::approval_refused(id.short(), by, reason),
                        approval(id, ApprovalStep::Rejected, by, reason),
                    )),
                ),
                Some((_, Decided::Used { .. })) => (None, None),
                Some((_, Decided::Waiting)) => continue,
                None => match over(&stood) {
                    Some(told) => (Some(Stands::Over), Some(told)),
                    // It is remembered as long as it was told that it is over; a rejected one made room for another.
                    None if stood.stands == Stands::Over => continue,
                    None => (None, None),
                },
            };
            match now {
                Some(stands) => {
                    let asked = RequestAt { stands, ..stood };
                    drop(who.lock().asked.insert(change.call_print.clone(), asked));
                }
                None => drop(who.lock().asked.remove(&change.call_print)),
            }
            if let Some((text, fact)) = told {
                self.note(&who, fact);
                who.notify(text);
            }
        }
    }
}

/// What its agent is told and the journal has, when a request's time is over.
fn over(asked: &RequestAt) -> Option<(String, Fact)> {
    let (text, reason) = match asked.stands {
        Stands::Waiting => (messages::approval_over(asked.id.short()), NO_ANSWER),
        Stands::Approved => (messages::approval_unused(asked.id.short()), "it was approved, and not used in time"),
        Stands::Rejected | Stands::Over => return None,
    };
    Some((text, approval(&asked.id, ApprovalStep::Expired, "", reason)))
}

/// The task that an agent was started for.
pub(crate) fn task_of(question: &crate::socket::Question) -> Option<String> {
    question.env(TASK).filter(|task| !task.is_empty()).map(str::to_owned)
}

fn judge(policy: &Policy, who: &AgentSession, call: &ToolCall, found: &Effects, repo: Option<&Repo>) -> Judgement {
    if call.action == Action::Harmless {
        return Judgement::Pass;
    }
    as_judged(who, call, found, repo, |call| policy.judge(call))
}

/// A call in the words of the policy.
fn as_judged<T>(
    who: &AgentSession,
    call: &ToolCall,
    found: &Effects,
    repo: Option<&Repo>,
    look: impl FnOnce(&Call<'_>) -> T,
) -> T {
    let (reads, writes, command) = match &call.action {
        Action::Read(paths) => (paths.clone(), vec![], None),
        Action::Write { paths, .. } | Action::Unknown { paths } => (vec![], paths.clone(), None),
        Action::Shell { command } => {
            let foreseen = found.analysis.as_ref().map(Foreseen::of).unwrap_or_default();
            (foreseen.reads, foreseen.writes, Some(command.as_str()))
        }
        Action::Harmless => (vec![], vec![], None),
    };
    let landed = |paths: Vec<PathBuf>| paths.iter().map(|path| landing(path)).collect::<Vec<_>>();
    // Another work tree of the same repository is no other place: it is locked and journalled like this one.
    let elsewhere = |path: &PathBuf| {
        let same = |p: &Place| {
            p.disk == *path && repo.is_some_and(|repo| p.repo.id == repo.id && p.repo.tree.root != repo.tree.root)
        };
        found.writes.iter().any(same)
    };
    let (reads, mut writes) = (landed(reads), landed(writes));
    writes.retain(|path| !elsewhere(path));
    let home = std::env::var_os("HOME").map(PathBuf::from);
    look(&Call {
        agent: &who.key.agent,
        tool: &call.tool,
        command,
        analysis: found.analysis.as_ref(),
        reads: &reads,
        writes: &writes,
        root: repo.map(|repo| repo.tree.root.as_path()),
        home: home.as_deref(),
        temporary: &[std::env::temp_dir()],
    })
}

fn touched(found: &Effects, repo: &Repo) -> Vec<Touch> {
    let here = |r: &Repo| r.id == repo.id;
    let single = found.writes.iter().filter(|p| here(&p.repo)).map(|place| {
        let how = if place.disk.symlink_metadata().is_ok() { TouchKind::Change } else { TouchKind::Create };
        Touch { path: place.path.clone(), how }
    });
    let wide = found.claims.iter().filter(|(r, _)| here(r)).filter_map(|(_, claim)| match &claim.scope {
        Scope::Path(path) | Scope::Glob { folder: path, .. } => {
            Some(Touch { path: path.clone(), how: TouchKind::Change })
        }
        Scope::Named(_) => None,
    });
    single.chain(wide).collect()
}

fn shown(call: &ToolCall) -> String {
    match &call.action {
        Action::Shell { command } => command.clone(),
        Action::Read(paths) | Action::Write { paths, .. } | Action::Unknown { paths } => {
            let paths: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            format!("{} {}", call.tool, paths.join(" "))
        }
        Action::Harmless => call.tool.clone(),
    }
}

/// Exactly this call: an approval is good for nothing else.
fn print(event: &Event, call: &ToolCall) -> CallPrint {
    let mut hash = Sha256::new();
    let arguments = match &call.action {
        Action::Shell { command } => command.clone(),
        other => format!("{other:?} {}", serde_json::Value::Object(call.input.clone())),
    };
    for part in [call.tool.as_str(), &arguments, &event.cwd.to_string_lossy()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    // A hash in hex is a legal print.
    CallPrint::parse(&hex).unwrap_or_else(|_| unreachable!("64 hex digits"))
}

fn shadowed(hit: &Hit) -> Fact {
    Fact::Verdict { verdict: Word::Shadowed, reason: hit.because.as_str().into(), rule: Some(hit.rule.clone()) }
}

fn approval(id: &ApprovalId, outcome: ApprovalStep, who: &str, reason: &str) -> Fact {
    Fact::Approval { id: id.to_string(), outcome, who: who.to_owned(), reason: reason.into() }
}

impl Repo {
    /// The rules of this repository now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        let config = self.config().0;
        self.compiled(&config, |config| Arc::new(Rules::of(config)))
    }
}
