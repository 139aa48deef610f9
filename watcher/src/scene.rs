//! All live work of the fleet as the store tells it, kept up to date for whoever compares or checks it. A wake-up carries
//! nothing: the newest picture is what counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use rr_core::id::RepoId;
use rr_core::live::{ChangeSet, TreeKey};
use rr_fleet::{Fleet, FleetError, LiveChange};
use rr_runtime::errors::chain;
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;

/// Every work tree that somebody works in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene {
    /// The store has been read: a tree that is not among them is not there.
    pub is_known: bool,
    pub trees: BTreeMap<TreeKey, Arc<ChangeSet>>,
}

impl Scene {
    pub(crate) fn repos(&self) -> std::collections::BTreeSet<RepoId> {
        self.trees.values().map(|set| set.repo.clone()).collect()
    }

    pub(crate) fn of<'a>(&'a self, repo: &'a RepoId) -> impl Iterator<Item = (&'a TreeKey, &'a Arc<ChangeSet>)> {
        self.trees.iter().filter(move |(_, set)| set.repo == *repo)
    }
}

/// Follows the store for as long as it is not dropped.
pub(crate) async fn follow(fleet: &Fleet, scene: &watch::Sender<Scene>) -> Infallible {
    let mut trouble = Trouble::with("follow the fleet's live work");
    loop {
        let Err(error) = follow_once(fleet, scene, &mut trouble).await;
        tokio::time::sleep(trouble.failed(&chain(&error)).as_std()).await;
    }
}

async fn follow_once(
    fleet: &Fleet,
    scene: &watch::Sender<Scene>,
    trouble: &mut Trouble,
) -> Result<Infallible, FleetError> {
    let mut follower = fleet.follow_live().await?;
    let mut is_first = true;
    loop {
        let changes = follower.next().await?;
        trouble.worked();
        scene.send_modify(|scene| {
            // A new follower tells at first what stands, not what went meanwhile.
            if std::mem::take(&mut is_first) {
                *scene = Scene { is_known: true, trees: BTreeMap::new() };
            }
            for change in changes {
                match change {
                    LiveChange::Put(key, set) => drop(scene.trees.insert(key, Arc::new(*set))),
                    LiveChange::Gone(key) => drop(scene.trees.remove(&key)),
                }
            }
        });
    }
}
