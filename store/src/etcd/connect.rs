//! The way to a first connection: options checked, TLS files read, every endpoint dialled at once; and what stands in the
//! way said in words for people. Once there is a store, [`super::endpoint`] makes connections by itself.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use etcd_client::GetOptions;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use rr_core::time::Clock;
use tokio::time::{Instant, timeout_at};

use super::endpoint::Endpoint;
use super::failure::{Failure, Fate};
use super::highest::Highest;
use super::line::Access;
use super::options::{self, ConnectError, EtcdOptions};
use super::route::Route;
use super::tls;
use crate::contract::Position;

/// How long those that do not answer are waited for once one has: they are looked at only to find mistakes in the list,
/// and a host that is down must not delay a command that pauses the fleet.
const GRACE: Duration = Duration::from_millis(500);

pub(super) async fn connect(
    options: EtcdOptions,
    seen: Position,
    clock: &Arc<dyn Clock>,
) -> Result<Route, ConnectError> {
    let uris = options::check(&options)?;
    if let Some(files) = &options.tls {
        tls::check(files).await.map_err(|why| ConnectError::Tls { why })?;
    }
    let access = Access { credentials: options.credentials, tls: options.tls, cluster: OnceLock::new() };
    let access = Arc::new(access);
    let endpoint = |uri| Arc::new(Endpoint::new(uri, Arc::clone(&access), Arc::clone(clock)));
    let endpoints: Vec<_> = uris.into_iter().map(endpoint).collect();
    let preferred = any_of(&reachable(&endpoints).await?);
    is_let_in(&endpoints[preferred]).await?;
    // One connection a process; the others are made when they are needed.
    let others = endpoints.iter().enumerate().filter(|(at, _)| *at != preferred);
    others.for_each(|(_, endpoint)| endpoint.requests.clear());
    Ok(Route::new(endpoints, preferred, Highest::starting_at(seen)))
}

/// Those that could be connected to. One is enough; one that must not be used is an error.
async fn reachable(endpoints: &[Arc<Endpoint>]) -> Result<Vec<usize>, ConnectError> {
    let dial = |(at, endpoint): (usize, &Arc<Endpoint>)| {
        let endpoint = Arc::clone(endpoint);
        async move { (at, endpoint.line(&endpoint.requests).await) }
    };
    let mut dials: FuturesUnordered<_> = endpoints.iter().enumerate().map(dial).collect();
    let mut up = Vec::new();
    let mut tried = Vec::new();
    let mut until = None;
    while let Some((at, line)) = next_until(&mut dials, until).await {
        let Err(failure) = line else {
            until.get_or_insert_with(|| Instant::now() + GRACE);
            up.push(at);
            continue;
        };
        let endpoint = &endpoints[at];
        if let Some(error) = for_good(endpoint, &failure) {
            return Err(error);
        }
        tracing::warn!(endpoint = endpoint.name, why = failure.why, "etcd endpoint cannot be reached");
        tried.push((at, failure.why));
    }
    if !up.is_empty() {
        return Ok(up);
    }
    tried.sort_unstable();
    Err(ConnectError::Unreachable {
        tried: tried.into_iter().map(|(at, why)| (endpoints[at].name.clone(), why)).collect(),
    })
}

/// The next to be done; nothing when all are, or when it is time to go on without the others.
async fn next_until<F: Future>(dials: &mut FuturesUnordered<F>, until: Option<Instant>) -> Option<F::Output> {
    match until {
        Some(until) => timeout_at(until, dials.next()).await.ok().flatten(),
        None => dials.next().await,
    }
}

/// Failures that no other endpoint and no later try makes up for.
fn for_good(endpoint: &Endpoint, failure: &Failure) -> Option<ConnectError> {
    match &failure.fate {
        Fate::Foreign { first } => Some(ConnectError::TwoClusters { one: first.clone(), other: endpoint.name.clone() }),
        Fate::Final(_) => Some(refused(endpoint, failure)),
        Fate::NotApplied | Fate::Lost => None,
    }
}

fn refused(endpoint: &Endpoint, failure: &Failure) -> ConnectError {
    let why = failure.why.trim_start_matches("etcdserver: ");
    let hint = match why {
        _ if why.contains("user name is empty") => {
            "; set `store.user` and `store.password_file`, or use a certificate whose common name is an etcd user"
        }
        _ if why.contains("authentication is not enabled") => "; remove `store.user`, or enable authentication in etcd",
        _ if why.contains("authentication failed") => "; correct `store.user` and `store.password_file`",
        _ => "",
    };
    ConnectError::Refused { endpoint: endpoint.name.clone(), why: format!("{why}{hint}") }
}

/// Whether etcd asks for a user that we have not named. Which keys we may read is another matter, and so is a leader.
async fn is_let_in(endpoint: &Endpoint) -> Result<(), ConnectError> {
    let Some(line) = endpoint.requests.current() else { return Ok(()) };
    let read = line.kv.clone().get("\0", Some(GetOptions::new().with_serializable())).await;
    match read.map_err(|error| Failure::of(&error)) {
        Err(failure) if failure.why.contains("user name is empty") => Err(refused(endpoint, &failure)),
        _ => Ok(()),
    }
}

/// Spreads the processes of a fleet over the members.
fn any_of(up: &[usize]) -> usize {
    let mut byte = [0];
    // Without randomness all take the first, which works as well.
    let _ = getrandom::fill(&mut byte);
    up[usize::from(byte[0]) % up.len()]
}
