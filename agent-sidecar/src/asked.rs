//! Questions that come through the store (docs/adr/0019-asking-the-sidecars.md): each is taken up once and answered from this
//! machine's journal and work trees. Who may ask what, the coordinator has seen to. Next: `undo`.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use rr_core::id::OpId;
use rr_core::path::{RepoPath, typed};
use rr_fleet::{Question, TakeUp, TakenUp};
use rr_journal::{Filter, Kind, Order};
use rr_proto::v1::answer::What as Said;
use rr_proto::v1::ask::What;
use rr_proto::{pack, unpack, v1};
use rr_runtime::errors::chain;

use crate::service::Service;

/// Entries in one answer, however many are asked for: a person reads fewer, and the store carries them.
const ENTRIES_MAX: usize = 2_000;
/// Left of an answer's room for what is around the entries.
const FRAME_BYTES: usize = 4 << 10;
/// Questions remembered, so that a look at the list does not try those again.
const SEEN_MAX: usize = 1_024;

/// The questions that were met already.
#[derive(Default)]
pub(crate) struct Met(Mutex<HashSet<OpId>>);

impl Met {
    fn is_new(&self, id: &OpId) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= SEEN_MAX {
            // Forgetting costs a try that finds the question taken up.
            met.clear();
        }
        met.insert(id.clone())
    }
}

/// Why a question has no answer.
pub(crate) enum Declined {
    /// There is nothing of it on this machine.
    NotHere(String),
    Refused(String),
}

impl Service {
    /// Looks for questions that a watch may have missed.
    pub(crate) async fn look_for_questions(self: &Arc<Self>) {
        match self.fleet.open_questions(&self.host).await {
            Ok(open) => open.into_iter().for_each(|question| self.hear(question)),
            Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "look for questions"),
        }
    }

    /// Answers a question beside everything else.
    pub(crate) fn hear(self: &Arc<Self>, question: Question) {
        if !question.is_for(&self.host) || !self.met.is_new(&question.id) {
            return;
        }
        let service = self.clone();
        self.tasks.spawn(async move { service.answer_question(question).await });
    }

    async fn answer_question(self: Arc<Self>, question: Question) {
        let taken = match self.fleet.take_up(&question, &self.host).await {
            Ok(TakeUp::Taken(taken)) => taken,
            Ok(TakeUp::Already | TakeUp::Over | TakeUp::NotAsked) => return,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "take up a question");
                return;
            }
        };
        let said = match self.say(&taken).await {
            Ok(said) => said,
            Err(Declined::NotHere(why)) => Said::NotHere(why),
            Err(Declined::Refused(why)) => Said::Refused(why),
        };
        let answer = pack(&v1::Answer { what: Some(said) });
        if let Err(error) = self.fleet.answer(&taken, &answer).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "answer a question");
        }
    }

    async fn say(self: &Arc<Self>, taken: &TakenUp) -> Result<Said, Declined> {
        let question = taken.question();
        let ask: v1::Ask = unpack(&question.question).map_err(|_| {
            Declined::Refused(
                "its sidecar is of another version and does not understand the question: update it".to_owned(),
            )
        })?;
        match ask.what {
            Some(What::Log(asked)) => self.log_answer(asked, question.answer_bytes_max).await.map(Said::Log),
            Some(What::Rollback(asked)) => self.roll_back(&asked).await.map(Said::Rollback),
            Some(What::Checkpoint(asked)) => self.checkpoint_asked(&asked).await.map(Said::Checkpoint),
            Some(What::Hold(asked)) => self.hold_asked(&asked).await.map(Said::Hold),
            None => Err(Declined::Refused("its sidecar is older than what was asked: update it".to_owned())),
        }
    }

    async fn log_answer(&self, asked: v1::LogRequest, room: usize) -> Result<v1::LogAnswer, Declined> {
        let filter = filter_of(&asked).map_err(Declined::Refused)?;
        // What was noted a moment ago belongs to the answer; on a disk that refuses there is the rest.
        drop(self.journal.settled().await);
        let (reader, host, host_name) = (self.journal.reader(), self.host.to_string(), self.host_name.clone());
        let read = move || {
            let mut answer = v1::LogAnswer::default();
            let mut left = room.saturating_sub(FRAME_BYTES);
            for found in reader.query(&filter) {
                let mut line =
                    v1::LogReply { host: host.clone(), host_name: host_name.clone(), ..v1::LogReply::default() };
                match found {
                    Ok((sequence, entry)) => {
                        line.sequence = sequence;
                        line.entry = rr_journal::json::of(sequence, &entry).to_string();
                    }
                    Err(damage) => line.unreadable = damage.to_string(),
                }
                let size = line.entry.len() + line.unreadable.len() + line.host.len() + line.host_name.len() + 32;
                if size > left || answer.entries.len() >= ENTRIES_MAX {
                    answer.more = true;
                    break;
                }
                left -= size;
                answer.entries.push(line);
            }
            answer
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| Declined::Refused("reading the journal failed".to_owned()))
    }

    /// A checkpoint that a person asked for.
    async fn checkpoint_asked(
        self: &Arc<Self>,
        asked: &v1::CheckpointRequest,
    ) -> Result<v1::CheckpointReply, Declined> {
        let repo = match self.repos.around(asked.folder.as_ref()) {
            Ok(Some(repo)) => repo,
            Ok(None) => return Err(Declined::NotHere(format!("{} is in no work tree", asked.folder))),
            Err(error) => return Err(Declined::Refused(chain(&error))),
        };
        let made = self.checkpoint(&repo, None, &asked.why).await.map_err(Declined::Refused)?;
        Ok(v1::CheckpointReply { commit: made, root: repo.tree.root.display().to_string() })
    }
}

fn filter_of(asked: &v1::LogRequest) -> Result<Filter, String> {
    let kinds = asked.kinds.iter().map(|word| Kind::parse(word).ok_or_else(|| format!("it knows no kind `{word}`")));
    let kinds: Vec<Kind> = kinds.collect::<Result<_, _>>()?;
    let path = match asked.path.as_str() {
        "" => None,
        path => {
            Some(RepoPath::found(typed(path.as_ref()).as_os_str().as_bytes()).map_err(|why| format!("{path}: {why}"))?)
        }
    };
    let given = |ms: u64| (ms > 0).then_some(ms);
    Ok(Filter {
        session: (!asked.session.is_empty()).then(|| asked.session.clone()),
        path,
        since_unix_ms: given(asked.since_unix_ms),
        until_unix_ms: given(asked.until_unix_ms),
        kinds: (!kinds.is_empty()).then_some(kinds),
        limit: usize::try_from(asked.limit).ok().filter(|n| *n > 0),
        order: if asked.newest_first { Order::NewestFirst } else { Order::OldestFirst },
        ..Filter::default()
    })
}
