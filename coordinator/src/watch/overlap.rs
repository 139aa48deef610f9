//! Live work trees and what they have against each other, as the wire has them. A list carries no hunks; one finding is
//! explained with both its sides.

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt as _};
use rr_core::live::{ChangeSet, GitPath, TreeKey};
use rr_core::overlap::{Finding, FindingId};
use rr_fleet::Fleet;
use rr_proto::v1::overlap_server::Overlap as OverlapService;
use rr_proto::{live_tree, v1};
use rr_runtime::clock::unix_ms;
use rr_store::Revision;
use tonic::{Request, Response, Status};

use super::people::People;
use super::{when_other, while_let_in};
use crate::gate::Caller;
use crate::refusal::{bad, from_fleet};
use crate::services::{Desk, refused, said};

/// Every live work tree and every finding.
///
/// # Errors
/// If the store does not answer.
pub async fn list(fleet: &Fleet) -> Result<v1::OverlapReply, Status> {
    seen(fleet).await.map(|(reply, _)| reply)
}

async fn seen(fleet: &Fleet) -> Result<(v1::OverlapReply, Revision), Status> {
    let (trees, revision) = fleet.live().await.map_err(|e| from_fleet(&e))?;
    let findings = fleet.findings().await.map_err(|e| from_fleet(&e))?;
    let people = People::of(fleet).await?;
    let trees = trees.iter().map(|(key, set)| on_the_wire(key, set, &people)).collect();
    let findings = findings.iter().map(|f| v1::Finding { excerpt: String::new(), ..f.into() }).collect();
    Ok((v1::OverlapReply { trees, findings, now_unix_ms: unix_ms() }, revision))
}

/// The same at once and after each change, until the store cannot be read for good.
pub fn pictures(fleet: Fleet) -> impl Stream<Item = Result<v1::OverlapReply, Status>> + Send {
    let all = vec![fleet.keyspace().all().to_owned()];
    let pictures = crate::follow::follow(fleet, all, |fleet| async move { seen(&fleet).await }.boxed());
    when_other(pictures, |reply| v1::OverlapReply { now_unix_ms: 0, ..reply.clone() })
}

/// One finding whole.
///
/// # Errors
/// If its id is none, there is no such finding, or the store does not answer.
pub async fn explain(fleet: &Fleet, request: v1::ExplainRequest) -> Result<v1::ExplainReply, Status> {
    let id = FindingId::parse(&request.id).map_err(bad)?;
    let found = fleet.findings().await.map_err(|e| from_fleet(&e))?.into_iter().find(|f| f.id == id);
    let Some(finding) = found else {
        return Err(Status::not_found(format!(
            "there is no finding {id}, or no longer; rrctl overlap shows what stands now"
        )));
    };
    let (trees, _) = fleet.live().await.map_err(|e| from_fleet(&e))?;
    let people = People::of(fleet).await?;
    let sides = finding.sides.iter().map(|key| side(key, &finding, &trees, &people)).collect();
    Ok(v1::ExplainReply { finding: Some((&finding).into()), sides, now_unix_ms: unix_ms() })
}

fn side(key: &TreeKey, finding: &Finding, trees: &[(TreeKey, ChangeSet)], people: &People) -> v1::Side {
    let Some((_, set)) = trees.iter().find(|(live, _)| live == key) else {
        let gone = v1::LiveTree { host: key.host.to_string(), tree: key.tree.clone(), ..Default::default() };
        return v1::Side { tree: Some(gone), files: vec![] };
    };
    let is_meant = |path: &GitPath| finding.paths.contains(path);
    let files = set.files.iter().filter(|f| is_meant(&f.path) || f.renamed_from.as_ref().is_some_and(is_meant));
    v1::Side { tree: Some(on_the_wire(key, set, people)), files: files.map(Into::into).collect() }
}

fn on_the_wire(key: &TreeKey, set: &ChangeSet, people: &People) -> v1::LiveTree {
    let writers = set.writers.iter().map(|session| people.writer(session)).collect();
    v1::LiveTree { host_name: people.host_name(key.host.as_str()), writers, ..live_tree(key, set) }
}

#[tonic::async_trait]
impl OverlapService for Desk {
    type WatchStream = BoxStream<'static, Result<v1::OverlapReply, Status>>;

    async fn list(&self, _: Request<v1::ListOverlapRequest>) -> Result<Response<v1::OverlapReply>, Status> {
        list(self.fleet()).await.map(said).map_err(refused)
    }

    async fn watch(&self, request: Request<v1::WatchOverlapRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let caller = Caller::of(&request)?;
        let fleet = self.fleet().clone();
        let pictures = while_let_in(fleet.clone(), caller, pictures(fleet));
        Ok(said(pictures.take_until(self.shutdown().cancelled_owned()).boxed()))
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainReply>, Status> {
        explain(self.fleet(), request.into_inner()).await.map(said).map_err(refused)
    }
}
