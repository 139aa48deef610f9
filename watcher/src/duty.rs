//! What the leader does for as long as it leads: follow all live work, compare it, look after the branches, deal with breaks. Each
//! part reads what it needs from the store again in each round, and none of them waits for another.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};

use rr_core::overlap::{Finding, Kind};
use rr_fleet::{Fleet, Leader};
use rr_runtime::config::StoreKind;
use rr_runtime::errors::chain;
use rr_runtime::program::Floor;
use rr_runtime::trouble::Trouble;
use tokio::sync::watch;

use crate::edits::Edits;
use crate::grounds::Grounds;
use crate::health::{Health, OwnFindings};
use crate::overlap::Overlap;
use crate::response::Response;
use crate::scene::{self, Scene};
use crate::slots::HostSlots;
use crate::together::{Together, Wanted};
use crate::workshop::{self, Workshop};

pub(crate) struct Duty {
    fleet: Fleet,
    overlap: Overlap,
    edits: Edits,
    health: Health,
    response: Response,
    together: Together,
}

impl Duty {
    pub(crate) fn new(floor: &Floor, fleet: Fleet) -> Self {
        let (metrics, host) = (floor.metrics.clone(), floor.host.clone());
        let many_machines = floor.config.store.kind != StoreKind::Embedded;
        let grounds = Arc::new(Grounds::new(host.clone(), floor.dirs.mirrors_dir(), many_machines));
        let shutdown = floor.tasks.shutdown_token();
        let slots = HostSlots::new(fleet.clone(), host.clone(), workshop::SLOTS, !many_machines, shutdown.clone());
        let shop = Workshop::open(floor.dirs.checks_dir(), slots, metrics.clone(), shutdown);
        let (shop, own) = (Arc::new(shop), OwnFindings::default());
        let edits = Edits {
            fleet: fleet.clone(),
            grounds: grounds.clone(),
            shop: shop.clone(),
            found: OwnFindings::default(),
            metrics: metrics.clone(),
        };
        let together = Together {
            fleet: fleet.clone(),
            grounds: grounds.clone(),
            shop: shop.clone(),
            found: OwnFindings::default(),
            wanted: Wanted::default(),
            metrics: metrics.clone(),
            host: host.clone(),
        };
        let overlap = Overlap {
            fleet: fleet.clone(),
            grounds: grounds.clone(),
            shop: shop.clone(),
            beside: vec![own.clone(), edits.found.clone(), together.found.clone()],
            also_wanted: together.wanted.clone(),
            metrics: metrics.clone(),
        };
        let health = Health {
            fleet: fleet.clone(),
            grounds: grounds.clone(),
            shop: shop.clone(),
            own: own.clone(),
            metrics: metrics.clone(),
            host,
        };
        let response = Response { own, fleet: fleet.clone(), grounds, shop, metrics };
        Self { fleet, overlap, edits, health, response, together }
    }

    /// Does it all until it is dropped: that ends with the term.
    pub(crate) async fn watch_over(&self, leader: &Leader) -> Infallible {
        self.remember().await;
        let (told, scene) = watch::channel(Scene::default());
        tokio::select! {
            never = scene::follow(&self.fleet, &told) => never,
            never = self.overlap.compare(leader, scene.clone()) => never,
            never = self.edits.look_after(scene.clone()) => never,
            never = self.together.look_after(scene.clone()) => never,
            never = self.health.look_after(leader, scene.clone()) => never,
            never = self.response.respond(leader, scene) => never,
        }
    }

    /// What the leader before has found stands until whoever finds its like has looked again: nothing ends because a watcher does.
    async fn remember(&self) {
        let mut trouble = Trouble::with("read what was found before");
        let standing = loop {
            match self.fleet.findings().await {
                Ok(standing) => break standing,
                Err(error) => tokio::time::sleep(trouble.failed(&chain(&error)).as_std()).await,
            }
        };
        type IsIts = fn(&Finding) -> bool;
        let finders: [(&OwnFindings, IsIts); 3] = [
            (&self.edits.found, |finding| matches!(finding.kind, Kind::Edits { .. })),
            (&self.together.found, |finding| matches!(finding.kind, Kind::Check(_)) && !finding.is_own()),
            (&self.health.own, |finding| {
                matches!(finding.kind, Kind::Reverted { .. })
                    || (matches!(finding.kind, Kind::Check(_)) && finding.is_own())
            }),
        ];
        for (found, is_its) in finders {
            let its = standing.iter().filter(|finding| is_its(finding));
            *found.lock().unwrap_or_else(PoisonError::into_inner) =
                its.map(|finding| (finding.id.clone(), finding.clone())).collect();
        }
    }
}
