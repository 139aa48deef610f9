//! What proves this machine to others: whether it is good, for whom, and for how long. A machine alone needs none.

use std::time::{Duration, SystemTime};

use rr_link::material::Loaded;
use rr_link::upkeep;
use rr_runtime::config::MachineConfig;

use super::Row;
use crate::exit::chain;

const CHECK: &str = "certificate";
/// A machine that is on renews at a half of the life; with a quarter left somebody should look.
const LATE_PARTS: u32 = 4;

pub(super) fn certificate() -> Option<Row> {
    // A file that cannot be read has a row of its own.
    let config = MachineConfig::load().ok()?;
    match upkeep::load(&config) {
        Ok(None) => None,
        Ok(Some(material)) => Some(judge(&material.current(), SystemTime::now())),
        Err(error) => {
            Some(Row::fail(CHECK, chain(&error), "correct `tls` and `fleet` in config.yaml, or rrctl join anew"))
        }
    }
}

fn judge(loaded: &Loaded, now: SystemTime) -> Row {
    let who = &loaded.card.identity;
    let Ok(left) = loaded.card.until.duration_since(now) else {
        let todo = "rrctl join with a new token (an admin makes it with rrctl join-token create); compare the clocks";
        return Row::fail(CHECK, format!("{who} of fleet {}: it has ended", who.fleet), todo);
    };
    let found = format!("{who} of fleet {}, for another {}", who.fleet, span(left));
    if left < loaded.life() / LATE_PARTS {
        let todo = "it should have been renewed: is the daemon up, and does a machine of `coordinators` answer?";
        return Row::warn(CHECK, found, todo);
    }
    Row::ok(CHECK, found)
}

fn span(of: Duration) -> String {
    match of.as_secs() {
        s @ 0..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use rr_core::id::{FleetName, HostId};
    use rr_link::Files;
    use rr_link::authority::{Authority, Order};
    use rr_link::identity::{Identity, Role};
    use rr_link::issuing;
    use rr_link::material::Material;

    #[test]
    fn a_certificate_is_good_then_late_then_over() {
        let dir = tempfile::tempdir().expect("folder");
        let fleet = FleetName::default();
        let authority = Authority::init(&dir.path().join("ca"), &fleet).expect("made");
        let host = HostId::from_random([7; 16]);
        let identity = Identity { fleet: fleet.clone(), host, role: Role::Agent, name: "box-1".into() };
        let issued = authority.issue(&Order { identity: &identity, names: &[] }).expect("issued");
        let files = Files::below(dir.path());
        issuing::keep(&files, &authority, &issued).expect("kept");
        let loaded = Material::load(files, &fleet).expect("good").current();
        let hour = Duration::from_secs(3_600);
        let state = |after: Duration| judge(&loaded, SystemTime::now() + after).state;
        assert_eq!([state(Duration::ZERO), state(hour * 17)], [State::Ok; 2]);
        assert_eq!([state(hour * 19), state(hour * 23)], [State::Warn; 2]);
        assert_eq!(state(hour * 25), State::Fail);
        assert!(judge(&loaded, SystemTime::now()).found.contains("agent box-1"));
    }
}
