//! What the publish gate asks (`railroad/v1/publish.proto`): what is known of commits, and a person's word for them. As in
//! [`crate::ops`] no socket is involved, so `rrctl` answers its git hooks by the same rules when no daemon runs.

use rr_core::id::CommitId;
use rr_fleet::{CommitRecord, Fleet, Overtaken, Verdict};
use rr_proto::v1;
use rr_proto::v1::publish_server::Publish as PublishService;
use rr_runtime::clock::unix_ms;
use tonic::{Request, Response, Status};

use crate::ops::text;
use crate::refusal::{bad, from_fleet};
use crate::services::Desk;

/// Commits in one request: whole object names of this many fit into it with room; a longer list comes in parts.
pub const COMMITS_MAX: usize = 500;

/// What is known of some commits.
///
/// # Errors
/// If a name is no commit's, there are more than [`COMMITS_MAX`], or the store does not answer.
pub async fn judge(fleet: &Fleet, request: v1::JudgeRequest) -> Result<v1::JudgeReply, Status> {
    let ids = commits(&request.commits)?;
    let known = fleet.commit_records(&ids).await.map_err(|e| from_fleet(&e))?;
    Ok(v1::JudgeReply { verdicts: ids.iter().zip(known).map(|(id, known)| on_the_wire(id, known)).collect() })
}

/// Records that a person answers for commits.
///
/// # Errors
/// If nobody is named or no reason is given, a name is no commit's, or the store does not answer.
pub async fn vouch(fleet: &Fleet, request: v1::VouchRequest) -> Result<v1::VouchReply, Status> {
    let v1::VouchRequest { commits: named, who, reason } = request;
    let (who, reason) = (text("who", who)?, text("reason", reason)?);
    let ids = commits(&named)?;
    fleet.vouch(&ids, &who, &reason, unix_ms()).await.map_err(|e| from_fleet(&e))?;
    tracing::warn!(who, reason, commits = ?named, "a person vouched for commits");
    Ok(v1::VouchReply { vouched: u64::try_from(ids.len()).unwrap_or(u64::MAX) })
}

fn commits(named: &[String]) -> Result<Vec<CommitId>, Status> {
    if named.len() > COMMITS_MAX {
        return Err(bad(format!("at most {COMMITS_MAX} commits can be named at a time")));
    }
    named.iter().map(|id| CommitId::parse(id).map_err(|e| bad(e.to_string()))).collect()
}

fn on_the_wire(id: &CommitId, known: Option<CommitRecord>) -> v1::CommitVerdict {
    let commit = id.to_string();
    let Some(record) = known else {
        return v1::CommitVerdict { commit, verdict: "unknown".to_owned(), ..Default::default() };
    };
    let CommitRecord { session, agent_session, verdict, at_unix_ms, .. } = record;
    let session = session.map(|s| s.to_string()).unwrap_or_default();
    let known = v1::CommitVerdict { commit, session, agent_session, at_unix_ms, ..Default::default() };
    match verdict {
        Verdict::Fenced => v1::CommitVerdict { verdict: "fenced".to_owned(), ..known },
        Verdict::Overtaken { paths, more } => v1::CommitVerdict {
            verdict: "overtaken".to_owned(),
            overtaken: paths.into_iter().map(path_on_the_wire).collect(),
            more: u64::try_from(more).unwrap_or(u64::MAX),
            ..known
        },
        Verdict::Vouched { who, reason } => v1::CommitVerdict { verdict: "vouched".to_owned(), who, reason, ..known },
    }
}

fn path_on_the_wire(overtaken: Overtaken) -> v1::OvertakenPath {
    let (holder, holder_token) = overtaken.by.map_or((String::new(), 0), |(sid, token)| (sid.to_string(), token.0));
    v1::OvertakenPath { path: overtaken.path, token: overtaken.own.map_or(0, |t| t.0), holder, holder_token }
}

#[tonic::async_trait]
impl PublishService for Desk {
    async fn judge(&self, request: Request<v1::JudgeRequest>) -> Result<Response<v1::JudgeReply>, Status> {
        judge(self.fleet(), request.into_inner()).await.map(Response::new)
    }

    async fn vouch(&self, request: Request<v1::VouchRequest>) -> Result<Response<v1::VouchReply>, Status> {
        vouch(self.fleet(), request.into_inner()).await.map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rr_core::id::{FleetName, SessionId, Token};
    use rr_core::limits::Timing;
    use rr_runtime::clock::BootClock;
    use rr_runtime::entropy::OsEntropy;
    use rr_store::embedded::{EmbeddedStore, Options};
    use tonic::Code;

    use super::*;

    async fn fleet() -> (tempfile::TempDir, Fleet) {
        let (dir, clock) = (tempfile::tempdir().expect("folder"), Arc::new(BootClock));
        let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).expect("store");
        let name = FleetName::default();
        let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default());
        (dir, fleet.await.expect("fleet"))
    }

    fn vouch_for(commits: Vec<String>, who: &str, reason: &str) -> v1::VouchRequest {
        v1::VouchRequest { commits, who: who.to_owned(), reason: reason.to_owned() }
    }

    #[tokio::test]
    async fn a_persons_word_is_told_and_what_is_not_known_is_told_too() {
        let (_dir, fleet) = fleet().await;
        let [known, unknown] = ["a", "b"].map(|digit| digit.repeat(40));
        let reply = vouch(&fleet, vouch_for(vec![known.clone()], "ann", " read it ")).await.expect("recorded");
        assert_eq!(reply.vouched, 1);
        let request = v1::JudgeRequest { commits: vec![unknown.clone(), known.clone()] };
        let found = judge(&fleet, request).await.expect("known").verdicts;
        let told: Vec<_> = found.iter().map(|v| (v.commit.as_str(), v.verdict.as_str(), v.reason.as_str())).collect();
        assert_eq!(told, [(unknown.as_str(), "unknown", ""), (known.as_str(), "vouched", "read it")]);
    }

    #[tokio::test]
    async fn what_names_no_commit_nobody_or_no_reason_is_refused() {
        let (_dir, fleet) = fleet().await;
        let commit = "a".repeat(40);
        for request in [
            vouch_for(vec![commit.clone()], "", "reason"),
            vouch_for(vec![commit.clone()], "ann", " "),
            vouch_for(vec!["HEAD".into()], "ann", "reason"),
            vouch_for(vec![commit.clone(); COMMITS_MAX + 1], "ann", "reason"),
        ] {
            assert_eq!(vouch(&fleet, request).await.expect_err("refused").code(), Code::InvalidArgument);
        }
        let request = v1::JudgeRequest { commits: vec!["../x".into()] };
        assert_eq!(judge(&fleet, request).await.expect_err("refused").code(), Code::InvalidArgument);
    }

    #[test]
    fn an_overtaken_path_is_told_with_both_tokens() {
        let by = Some((SessionId::from_random([1; 16]), Token(9)));
        let told = path_on_the_wire(Overtaken { path: "a".into(), own: Some(Token(7)), by });
        assert_eq!((told.token, told.holder_token, told.holder.len()), (7, 9, 32));
        let told = path_on_the_wire(Overtaken { path: "a".into(), own: None, by: None });
        assert_eq!((told.token, told.holder_token, told.holder.as_str()), (0, 0, ""));
    }
}
