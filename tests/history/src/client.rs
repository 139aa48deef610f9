//! The fleet's calls with a recorder beside them: what was asked, when, and what came back. It adds no retry and no rule.

use std::sync::Arc;

use rr_core::id::{Epoch, Token};
use rr_core::permit::Permit;
use rr_core::time::Span;
use rr_fleet::{
    Answer, Beat, Ending, Fleet, FleetError, FleetState, Grant, GrantedLock, Hold, PauseDone, Proof, Registered,
    Released, Request, ResumeDone, Session, SessionRecord, WaitEnd,
};

use crate::record::{Deed, Lock, Outcome, Recorder};

/// One client of a fleet.
#[derive(Clone)]
pub struct Client {
    pub fleet: Fleet,
    pub recorder: Arc<Recorder>,
}

/// What came of a registration.
#[derive(Debug)]
pub enum Registration {
    New(Session),
    Taken,
}

impl Client {
    /// # Errors
    /// As [`Fleet::register`]; so below.
    pub async fn register(&self, record: &SessionRecord, fingerprint: &str) -> Result<Registration, FleetError> {
        let call = self.recorder.open(None, Deed::Register);
        match self.fleet.register(record, fingerprint).await {
            Ok(Registered::New(session)) => {
                call.close_for(Some(&session.sid), Outcome::Registered { revision: session.created });
                Ok(Registration::New(session))
            }
            Ok(Registered::SlotTaken { .. }) => {
                call.close(Outcome::No);
                Ok(Registration::Taken)
            }
            Err(error) => {
                call.close(Outcome::Unknown);
                Err(error)
            }
        }
    }

    /// Asks, and waits in the queue for so long if need be. `None`: not granted.
    pub async fn acquire(
        &self,
        session: &Session,
        request: Request,
        patience: Span,
    ) -> Result<Option<Grant>, FleetError> {
        let call = self.recorder.open(Some(&session.sid), Deed::Acquire(request.claims.clone()));
        let done = self.ask_and_wait(session, request, patience).await;
        call.close(match &done {
            Ok(Some(grant)) => told(grant),
            Ok(None) => Outcome::No,
            Err(_) => Outcome::Unknown,
        });
        done
    }

    async fn ask_and_wait(
        &self,
        session: &Session,
        request: Request,
        patience: Span,
    ) -> Result<Option<Grant>, FleetError> {
        let waiter = match self.fleet.request(session, request).await? {
            Answer::Granted(grant) => return Ok(Some(grant)),
            Answer::Lost => return Ok(None),
            Answer::Queued(waiter, _) => waiter,
        };
        if patience == Span::ZERO {
            self.fleet.cancel(session, &waiter).await;
            return Ok(None);
        }
        let until = self.fleet.clock().now() + patience;
        match self.fleet.wait(session, waiter, until).await? {
            WaitEnd::Granted(grant) => Ok(Some(grant)),
            WaitEnd::Busy(_) | WaitEnd::Ring | WaitEnd::Lost => Ok(None),
        }
    }

    pub async fn release(&self, session: &Session, lock: &GrantedLock) -> Result<Released, FleetError> {
        let deed = Deed::Release { key: lock.key.clone(), token: lock.token };
        let call = self.recorder.open(Some(&session.sid), deed);
        let done = self.fleet.release(lock).await;
        call.close(released(&done));
        done
    }

    pub async fn force_release(&self, key: &str, token: Token) -> Result<Released, FleetError> {
        let call = self.recorder.open(None, Deed::ForceRelease { key: key.to_owned(), token });
        let done = self.fleet.force_release(key, token).await;
        call.close(released(&done));
        done
    }

    pub async fn beat(&self, session: &Session) -> Result<Beat, FleetError> {
        let call = self.recorder.open(Some(&session.sid), Deed::KeepAlive);
        let done = self.fleet.beat(session).await;
        call.close(match &done {
            Ok(Beat::Acknowledged { .. }) => Outcome::Alive,
            Ok(Beat::Gone) => Outcome::No,
            Err(_) => Outcome::Unknown,
        });
        done
    }

    pub async fn prove(&self, session: &Session) -> Result<Proof, FleetError> {
        let call = self.recorder.open(Some(&session.sid), Deed::KeepAlive);
        let done = self.fleet.prove(session).await;
        call.close(match &done {
            Ok(Proof::Alive { .. }) => Outcome::Alive,
            Ok(Proof::Dead(_)) => Outcome::No,
            Err(_) => Outcome::Unknown,
        });
        done
    }

    pub async fn end(&self, session: &Session, how: Ending) -> Result<(), FleetError> {
        let call = self.recorder.open(Some(&session.sid), Deed::End);
        let done = self.fleet.end(session, how).await;
        call.close(if done.is_ok() { Outcome::Ended } else { Outcome::Unknown });
        done
    }

    pub async fn read_permit(&self) -> Result<FleetState, FleetError> {
        let call = self.recorder.open(None, Deed::ReadPermit);
        let done = self.fleet.state().await;
        call.close(match &done {
            Ok(state) => {
                let running = matches!(state.permit, Permit::Run(_));
                Outcome::Read { revision: state.revision, running, epoch: state.epoch }
            }
            Err(_) => Outcome::Unknown,
        });
        done
    }

    pub async fn pause(&self, hold: &Hold) -> Result<PauseDone, FleetError> {
        let call = self.recorder.open(None, Deed::Pause);
        let done = self.fleet.pause(hold).await;
        call.close(match &done {
            Ok(PauseDone::Paused { epoch, hold } | PauseDone::Already { epoch, hold }) => {
                Outcome::Paused { epoch: *epoch, hold: hold.clone() }
            }
            Ok(PauseDone::PausedWithoutRecord { epoch }) => Outcome::PausedBare { epoch: *epoch },
            Err(_) => Outcome::Unknown,
        });
        done
    }

    /// Lifts every hold there is.
    pub async fn resume(&self, epoch: Epoch) -> Result<ResumeDone, FleetError> {
        let call = self.recorder.open(None, Deed::Resume { epoch });
        let done = self.fleet.resume(epoch, "test", |_| true).await;
        call.close(match &done {
            Ok(ResumeDone::Resumed { epoch }) => Outcome::Resumed { epoch: *epoch },
            Ok(ResumeDone::Refused(_)) => Outcome::No,
            Err(_) => Outcome::Unknown,
        });
        done
    }
}

fn told(grant: &Grant) -> Outcome {
    let lock = |l: &GrantedLock| Lock { key: l.key.clone(), token: l.token, claim: l.claim.clone() };
    Outcome::Granted {
        revision: grant.revision,
        locks: grant.locks.iter().map(lock).collect(),
        unclean: grant.unclean.iter().map(|u| (u.token, u.session.clone())).collect(),
    }
}

fn released(done: &Result<Released, FleetError>) -> Outcome {
    match done {
        Ok(Released::Yes) => Outcome::Released,
        Ok(Released::WasLost) => Outcome::WasLost,
        Err(_) => Outcome::Unknown,
    }
}
