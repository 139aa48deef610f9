//! The gate before all services: whoever asks is known by the connection alone, has the right or not, and is shut out or not.
//! What a service gets to see of its caller is [`Caller`]. Which right a method needs is in `rights`.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use rr_fleet::Fleet;
use rr_link::accept::Peer;
use rr_link::identity::{Card, Role};
use rr_runtime::errors::chain;
use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::refusal::from_fleet;
use crate::rights::{Needs, needs};
use crate::services::refused;

/// A name that somebody gives himself is short.
const CLAIMED_CHARS_MAX: usize = 100;

/// Who asks, as far as a service cares.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Peer);

impl Caller {
    /// The caller of a request that came through the gate.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or_else(|| Status::internal("the request did not come through the gate"))
    }

    /// The certificate that the connection showed; none for programs of this user.
    pub(crate) fn card(&self) -> Option<&Card> {
        match &self.0 {
            Peer::Host(card) => Some(card),
            Peer::Local | Peer::Stranger => None,
        }
    }

    /// The name under which what it does is recorded. A name that comes from another machine stands behind the one that the
    /// certificate proves.
    pub(crate) fn who(&self, claimed: &str) -> String {
        let Some(card) = self.card() else { return claimed.to_owned() };
        let identity = &card.identity;
        let proven = format!("{} [{} {}]", identity.name, identity.role, identity.host.short());
        let claimed: String = claimed.trim().chars().filter(|c| !c.is_control()).take(CLAIMED_CHARS_MAX).collect();
        if claimed.is_empty() { proven } else { format!("{proven}: {claimed}") }
    }
}

/// Puts the gate before a service.
#[derive(Clone)]
pub(crate) struct GateLayer {
    pub(crate) fleet: Fleet,
}

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { fleet: self.fleet.clone(), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Gate<S> {
    fleet: Fleet,
    inner: S,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>;

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let fleet = self.fleet.clone();
        // The one that was found ready does the work.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        Box::pin(async move {
            let peer = request.extensions().get::<Peer>().cloned().unwrap_or(Peer::Stranger);
            match admit(&fleet, peer, request.uri().path()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(status) => {
                    tracing::warn!(path = request.uri().path(), why = status.message(), "refused a request");
                    Ok(refused(status).into_http())
                }
            }
        })
    }
}

async fn admit(fleet: &Fleet, peer: Peer, path: &str) -> Result<Caller, Status> {
    let method = path.trim_start_matches("/railroad.v1.");
    let Some(needs) = needs(path) else {
        return Err(Status::unimplemented(format!("this version knows no {method}")));
    };
    if let Needs::Role(least) = needs {
        check_role(&peer, least, method)?;
    }
    let caller = Caller(peer);
    check_not_denied(fleet, &caller).await?;
    Ok(caller)
}

fn check_role(peer: &Peer, least: Role, method: &str) -> Result<(), Status> {
    match peer.role() {
        Some(role) if role >= least => Ok(()),
        Some(role) => {
            let who = match peer {
                Peer::Host(card) => card.identity.name.clone(),
                Peer::Local | Peer::Stranger => "the caller".to_owned(),
            };
            Err(Status::permission_denied(format!(
                "{method} needs the role {least}, and {who} has the role {role}: ask somebody who has it, or an admin for a \
                 certificate (`rrctl join-token create --role {least}`)"
            )))
        }
        None => Err(Status::unauthenticated(format!(
            "{method} needs a certificate with the role {least}: `rrctl join` with a token gets one"
        ))),
    }
}

/// A host that is shut out is answered nothing, whatever certificate it has (H40).
pub(crate) async fn check_not_denied(fleet: &Fleet, caller: &Caller) -> Result<(), Status> {
    let Some(card) = caller.card() else { return Ok(()) };
    match fleet.denial(card.identity.host.as_str()).await {
        Ok(None) => Ok(()),
        Ok(Some(denial)) => Err(from_fleet(&rr_fleet::FleetError::Denied(denial))),
        Err(error) => Err(Status::new(
            Code::Unavailable,
            format!("it cannot be known whether this host is shut out: {}; try again", chain(&error)),
        )),
    }
}
