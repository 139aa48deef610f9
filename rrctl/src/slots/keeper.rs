//! The keeper of a place in a line: stands there for another process, tells its person who is before it, renews its lease, and gives
//! the slot back when that process is gone. It never ends it: a slot that is lost is said, and what runs goes on.

use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rr_core::time::{BootTime, Clock as _};
use rr_proto::v1;
use rr_proto::v1::stay_in_line_reply::Outcome;
use rr_runtime::clock::{BootClock, unix_ms};
use rr_runtime::host;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

use super::{GAVE_UP, HAS_IT, Wanted};
use crate::door::Door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::table::{age, plain};

/// The longest that one look at the line takes.
const LOOK_MS: u32 = 2_000;
/// A slot is looked after this often: several times in a lease.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// After a look that failed.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Tries to give a slot back; then its lease does.
const LEAVE_TRIES: u32 = 5;

/// Stands in line for a process, says so on standard output when it has the slot, and looks after it.
pub(crate) async fn keep(wanted: &Wanted, hand: &Hand) -> Result<(), Failure> {
    let Some(process) = watched(wanted.pid) else { return Ok(()) };
    let host = host::host_id(&hand.dirs).map_err(|e| Failure::at("find this machine's id", &e))?;
    let mut keeper = Keeper { wanted, host: host.to_string(), hand, door: None, shown: String::new() };
    let gone = gone(process);
    tokio::pin!(gone);
    let place = tokio::select! {
        () = &mut gone => return Ok(()),
        joined = keeper.join() => joined.or_else(|failure| give_up(&failure).map(|()| None))?,
    };
    let Some(place) = place else { return Ok(()) };
    let has_it = tokio::select! {
        () = &mut gone => Ok(false),
        waited = keeper.wait(&place) => waited,
    };
    match has_it {
        Ok(true) => {
            say(HAS_IT)?;
            tokio::select! {
                () = &mut gone => {}
                () = keeper.look_after(&place) => gone.await,
            }
        }
        Ok(false) => {}
        Err(failure) => {
            keeper.leave(&place).await;
            return give_up(&failure);
        }
    }
    keeper.leave(&place).await;
    Ok(())
}

struct Keeper<'a> {
    wanted: &'a Wanted,
    host: String,
    hand: &'a Hand,
    door: Option<Door>,
    /// What was said last of who is before it.
    shown: String,
}

impl Keeper<'_> {
    /// The way to the fleet; after a failure another is looked for.
    async fn door(&mut self) -> Result<&mut Door, Failure> {
        if self.door.is_none() {
            self.door = Some(Door::to_look(&self.hand.dirs).await?);
        }
        self.door.as_mut().ok_or_else(|| Failure::new(Kind::Unreachable, "no daemon answers on this machine"))
    }

    async fn join(&mut self) -> Result<Option<v1::LinePlace>, Failure> {
        let Wanted { slot, of, who, root, .. } = self.wanted.clone();
        let holder = v1::SlotHolder { who, session: String::new(), root, since_unix_ms: unix_ms() };
        let (host, name) = (self.host.clone(), slot.clone());
        let request = v1::JoinLineRequest { host: host.clone(), name: slot, of, holder: Some(holder) };
        let ticket = self.door().await?.join_line(request).await?.ticket;
        Ok(Some(v1::LinePlace { host, name, ticket }))
    }

    async fn stay(&mut self, place: &v1::LinePlace, wait_ms: u32) -> Result<Option<Outcome>, Failure> {
        let request = v1::StayInLineRequest { place: Some(place.clone()), of: self.wanted.of, wait_ms };
        let stayed = self.door().await?.stay_in_line(request).await;
        if stayed.is_err() {
            self.door = None;
        }
        Ok(stayed?.outcome)
    }

    /// Until it has the slot. A store that does not answer is asked again: the place lasts as long as its lease.
    async fn wait(&mut self, place: &v1::LinePlace) -> Result<bool, Failure> {
        let until = now().as_millis().saturating_add(self.wanted.wait_ms);
        // At once for the first time: a person wants to know why nothing happens.
        let mut look_ms = 0;
        loop {
            let left = until.saturating_sub(now().as_millis());
            let stayed = self.stay(place, u32::try_from(left).map_or(look_ms, |left| left.min(look_ms))).await;
            look_ms = LOOK_MS;
            match stayed {
                Ok(Some(Outcome::HasIt(_))) => return Ok(true),
                Ok(Some(Outcome::Waits(wait))) if left == 0 => return Err(self.too_late(&wait)),
                Ok(Some(Outcome::Waits(wait))) => self.show(&wait),
                Ok(Some(Outcome::Gone(_))) => {
                    let what = format!("the place in line for the slot `{}` was lost", self.wanted.slot);
                    return Err(Failure::new(Kind::Failed, what).hint("run it again"));
                }
                Ok(None) => return Err(Failure::new(Kind::Failed, "the coordinator's answer is of another version")),
                Err(failure) if left == 0 => return Err(failure),
                Err(failure) => {
                    tracing::debug!(failure = failure.text(), "stay in line");
                    sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    fn too_late(&self, wait: &v1::SlotWait) -> Failure {
        let what = match self.wanted.wait_ms {
            0 => format!("the slot `{}` is not free", self.wanted.slot),
            ms => format!("the slot `{}` did not become free within {}", self.wanted.slot, age(ms)),
        };
        Failure::new(Kind::Refused, what).because(before(wait)).hint("rrctl slots; --wait 1h waits longer")
    }

    /// Says who is before it whenever that has changed.
    fn show(&mut self, wait: &v1::SlotWait) {
        let holders: Vec<&str> = wait.holders.iter().map(|h| h.who.as_str()).collect();
        let now = format!("{} {}", holders.join("; "), wait.ahead);
        if self.shown != now {
            self.shown = now;
            tell(&format!("waiting for the slot `{}`: {}", self.wanted.slot, before(wait)));
        }
    }

    /// Renews the lease. Returns when the slot is lost, which it says.
    async fn look_after(&mut self, place: &v1::LinePlace) {
        loop {
            sleep(RENEW_EVERY).await;
            match self.stay(place, 0).await {
                Ok(Some(Outcome::HasIt(_))) => {}
                Ok(_) => {
                    return tell(&format!(
                        "the slot `{}` was lost (its lease ran out, or it was taken away): the command goes on, and another may start \
                         beside it",
                        self.wanted.slot
                    ));
                }
                Err(failure) => tell(&format!(
                    "the slot `{}` could not be renewed: {}",
                    self.wanted.slot,
                    failure.text().lines().next().unwrap_or_default()
                )),
            }
        }
    }

    async fn leave(&mut self, place: &v1::LinePlace) {
        for _ in 0..LEAVE_TRIES {
            let request = v1::LeaveLineRequest { place: Some(place.clone()) };
            let left = match self.door().await {
                Ok(door) => door.leave_line(request).await.map(drop),
                Err(failure) => Err(failure),
            };
            match left {
                Ok(()) => return,
                Err(failure) => tracing::debug!(failure = failure.text(), "give a slot back"),
            }
            self.door = None;
            sleep(AGAIN_AFTER).await;
        }
    }
}

fn before(wait: &v1::SlotWait) -> String {
    let has = |h: &v1::SlotHolder| {
        let since = age(unix_ms().saturating_sub(h.since_unix_ms));
        format!("{} has it, asked for {since} ago", plain(&h.who))
    };
    let holders: Vec<String> = wait.holders.iter().map(has).collect();
    let ahead = match wait.ahead {
        0 => "you are next".to_owned(),
        n => format!("{n} ahead of you"),
    };
    format!("{}; {ahead}", holders.join("; "))
}

fn now() -> BootTime {
    BootClock.now()
}

/// To the person before the command's own standard error.
fn tell(text: &str) {
    // There is nobody left to tell that standard error is gone.
    let _ = writeln!(io::stderr(), "rrctl: {text}");
}

fn say(text: &str) -> Result<(), Failure> {
    crate::out::text(&format!("{text}\n"))
}

/// Whoever waits for us ends with the same code; why, is said here.
fn give_up(failure: &Failure) -> Result<(), Failure> {
    let _ = io::stderr().write_all(failure.text().as_bytes());
    say(&format!("{GAVE_UP}{}", failure.kind.code()))
}

/// A handle on a process. `None`: it is gone.
fn watched(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::NONBLOCK).ok()
}

async fn gone(process: OwnedFd) {
    // Deprecated for types that lie about their descriptor; an `OwnedFd` cannot, and the new form needs `unsafe`.
    #[allow(deprecated)]
    let fd = AsyncFd::new(process);
    match fd {
        Ok(fd) => drop(fd.readable().await),
        Err(error) => {
            tell(&format!("the command cannot be watched ({error}): the slot is held until its lease ends"));
            std::future::pending::<()>().await;
        }
    }
}
