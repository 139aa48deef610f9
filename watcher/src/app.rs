//! The watcher's table of contents: campaign for the office, lead, look for rings, do one's `duty`, and start over when the office
//! is lost.
//! Level-triggered: each round reads the store again, so a restart is nothing special. What is due when is `term`'s; what
//! a write may do is guarded in `rr_fleet`.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use rr_core::id::HostId;
use rr_core::time::{BootTime, Span};
use rr_fleet::{Fleet, FleetError, Leader};
use rr_runtime::config::StoreKind;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::errors::chain;
use rr_runtime::exit::Failure;
use rr_runtime::metrics::Metrics;
use rr_runtime::program::Floor;
use rr_runtime::tasks::Kind::Essential;
use rr_runtime::trouble::{Trouble, patiently};
use rr_store::Forgetful;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::duty::Duty;
use crate::room;
use crate::term::{Due, Term};

/// Its name as a program of its own.
pub const PROGRAM: &str = "rr-watcher";
/// Its name among the parts of a program.
pub const PART: &str = "watcher";
/// Only one watcher of a fleet acts.
const OFFICE: &str = "watcher";
/// The longest wait for one answer of the store (lock-protocol §2, T_KA). A shutdown waits for at most one.
const ANSWER_MAX: Span = Span::from_secs(5);

/// The watcher as a program of its own.
///
/// # Errors
/// If the store can not be used as this fleet's.
pub async fn run_on(floor: Floor) -> Result<(), Failure> {
    let open = || {
        let (store, clock) = (Forgetful::over(Arc::clone(&floor.store)), Arc::clone(&floor.clock));
        Fleet::open(store, &floor.config.fleet, clock, Arc::new(OsEntropy), floor.config.timing)
    };
    let fleet = patiently("open the fleet", FleetError::is_outage, open).await;
    start(&floor, fleet.map_err(|e| Failure::at("open the fleet", &e))?);
    Ok(())
}

/// Begins to watch over a fleet that is open. It is ready at once: whether it leads is the store's to say.
pub fn start(floor: &Floor, fleet: Fleet) {
    let duty = Duty::new(floor, fleet.clone());
    let watcher = Watcher {
        fleet,
        host: floor.host.clone(),
        shutdown: floor.tasks.shutdown_token(),
        metrics: floor.metrics.clone(),
        duty: Some(duty),
        // An embedded store has one process at a time: whoever led from here before is gone.
        is_alone: floor.config.store.kind == StoreKind::Embedded,
    };
    floor.tasks.spawn(PART, Essential, async move { watcher.run().await });
    floor.ready.is_up(PART);
}

/// Leads and unties rings until `shutdown`, and looks at no repository. Many may run in one fleet: one leads, the others wait for
/// its end.
pub async fn run(fleet: Fleet, host: HostId, shutdown: CancellationToken) {
    Watcher { fleet, host, shutdown, metrics: Metrics::of(PART), duty: None, is_alone: false }.run().await;
}

impl Watcher {
    async fn run(&self) {
        if self.is_alone {
            // Else its lease runs out by itself.
            let _ = ask(self.fleet.vacate(OFFICE, &self.host), ANSWER_MAX).await;
        }
        while let Some((leader, mut term)) = self.campaign().await {
            tracing::info!("leading as the fleet's watcher");
            self.metrics.leads(true);
            let end = tokio::select! {
                end = self.lead(&leader, &mut term) => end,
                never = room::mind(&self.fleet, &leader) => match never {},
                never = self.watch_over(&leader) => match never {},
            };
            self.metrics.leads(false);
            // Also after a loss: the lease may live on, and nobody can be elected until it ends.
            let resigned = timeout(ANSWER_MAX.as_std(), self.fleet.resign(&leader)).await;
            tracing::info!(?end, resigned = resigned.is_ok(), "no longer leading");
        }
    }
}

struct Watcher {
    fleet: Fleet,
    host: HostId,
    shutdown: CancellationToken,
    metrics: Metrics,
    duty: Option<Duty>,
    /// Nobody else can have this store open.
    is_alone: bool,
}

#[derive(Debug)]
enum End {
    Shutdown,
    /// The store says that the office is no longer ours.
    Lost,
    /// Not renewed in time: the office may be somebody else's.
    CutOff,
}

/// What came of one question to the store within its time.
enum Asked<T> {
    Answer(T),
    Failed(String),
}

impl Watcher {
    async fn watch_over(&self, leader: &Leader) -> Infallible {
        match &self.duty {
            Some(duty) => duty.watch_over(leader).await,
            None => std::future::pending().await,
        }
    }

    /// Tries until the office is won; `None` at shutdown. A try is never cut short by the shutdown: a win that nobody
    /// learns of would keep the office empty until its lease runs out.
    async fn campaign(&self) -> Option<(Leader, Term)> {
        let mut trouble = Trouble::with("campaign for the watcher's office");
        while !self.shutdown.is_cancelled() {
            let sent = self.now();
            let wait = match ask(self.fleet.campaign(OFFICE, &self.host), ANSWER_MAX).await {
                Asked::Answer(Some(leader)) => {
                    trouble.worked();
                    return Some((leader, Term::won(sent, self.fleet.timing())));
                }
                Asked::Answer(None) => {
                    trouble.worked();
                    self.fleet.timing().keep_alive
                }
                Asked::Failed(why) => trouble.failed(&why),
            };
            self.pause(wait).await;
        }
        None
    }

    async fn lead(&self, leader: &Leader, term: &mut Term) -> End {
        let mut renewing = Trouble::with("renew the watcher's office");
        let mut looking = Trouble::with("look for rings of waiters");
        while !self.shutdown.is_cancelled() {
            let now = self.now();
            match term.due(now) {
                Due::Over => return End::CutOff,
                Due::Renew => {
                    if !self.renew(leader, term, &mut renewing).await {
                        return End::Lost;
                    }
                }
                Due::LookForRings => self.look(leader, term, &mut looking).await,
                Due::Nothing { until } => self.pause(until.since(now)).await,
            }
        }
        End::Shutdown
    }

    /// `false`: the store says that the term is over.
    async fn renew(&self, leader: &Leader, term: &mut Term, trouble: &mut Trouble) -> bool {
        let sent = self.now();
        match ask(self.fleet.keep_leading(leader), ANSWER_MAX.min(term.left(sent))).await {
            Asked::Answer(true) => {
                trouble.worked();
                term.renewed(sent);
            }
            Asked::Answer(false) => return false,
            Asked::Failed(why) => {
                trouble.failed(&why);
                term.not_renewed(self.now());
            }
        }
        true
    }

    /// Given up at the end of the term, in the middle if need be: what was sent then is refused by the leader key in it.
    async fn look(&self, leader: &Leader, term: &mut Term, trouble: &mut Trouble) {
        let limit = ANSWER_MAX.min(term.left(self.now()));
        match ask(self.fleet.break_rings(leader), limit).await {
            Asked::Answer(broken) => {
                trouble.worked();
                self.metrics.rings_broken(broken.len());
                for ring in broken {
                    tracing::warn!(entry = ring.entry, "refused the youngest waiter of a ring");
                }
                term.looked(self.now());
            }
            Asked::Failed(why) => {
                let wait = trouble.failed(&why);
                term.look_later(self.now(), wait);
            }
        }
    }

    fn now(&self) -> BootTime {
        self.fleet.clock().now()
    }

    async fn pause(&self, wait: Span) {
        // Shutdown or timeout: the caller looks again in both cases.
        let _ = timeout(wait.as_std(), self.shutdown.cancelled()).await;
    }
}

async fn ask<T>(question: impl Future<Output = Result<T, FleetError>>, limit: Span) -> Asked<T> {
    match timeout(limit.as_std(), question).await {
        Ok(Ok(answer)) => Asked::Answer(answer),
        Ok(Err(error)) => Asked::Failed(chain(&error)),
        Err(_) => Asked::Failed(format!("no answer within {} ms", limit.as_millis())),
    }
}
