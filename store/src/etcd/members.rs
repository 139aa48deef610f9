//! What each member says of itself, for a person: asked of each endpoint at once, whatever state the cluster is in.
//! It judges nothing; which version or size is too low or high is for `doctor`.

use std::time::Duration;

use etcd_client::proto::PbStatusResponse;
use tokio::time::timeout;

use super::endpoint::Endpoint;
use super::wire::unsigned;

/// A member that needs longer is in trouble, and that is what the person wants to know.
const STATUS_MAX: Duration = Duration::from_secs(2);

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub endpoint: String,
    /// An error in words for people.
    pub status: Result<MemberStatus, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// As `3.7.2`.
    pub version: String,
    pub cluster_id: u64,
    pub member_id: u64,
    /// The member that it takes for the leader; none while there is no quorum.
    pub leader: Option<u64>,
    pub is_learner: bool,
    pub raft_term: u64,
    pub raft_index: u64,
    pub raft_applied: u64,
    pub db_bytes: u64,
    pub db_bytes_in_use: u64,
    /// Members before 3.6 do not tell.
    pub quota_bytes: Option<u64>,
    /// Alarms of the cluster and what else is wrong, in etcd's words: `memberID:… alarm:NOSPACE`.
    pub alarms: Vec<String>,
}

impl MemberStatus {
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.member_id)
    }
}

pub(super) async fn ask(endpoint: &Endpoint) -> Member {
    let status = match timeout(STATUS_MAX, endpoint.status()).await {
        Ok(Ok(status)) => Ok(told(status)),
        Ok(Err(failure)) => Err(failure.why),
        Err(_) => Err(format!("no answer within {STATUS_MAX:?}")),
    };
    Member { endpoint: endpoint.name.clone(), status }
}

fn told(status: PbStatusResponse) -> MemberStatus {
    let header = status.header.unwrap_or_default();
    MemberStatus {
        version: status.version,
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        leader: (status.leader != 0).then_some(status.leader),
        is_learner: status.is_learner,
        raft_term: status.raft_term,
        raft_index: status.raft_index,
        raft_applied: status.raft_applied_index,
        db_bytes: unsigned(status.db_size),
        db_bytes_in_use: unsigned(status.db_size_in_use),
        quota_bytes: (status.db_size_quota > 0).then(|| unsigned(status.db_size_quota)),
        alarms: status.errors,
    }
}
