//! Whether a program does its work yet: which of its parts do, told to whoever asks (`/readyz`) and to systemd, once. It does
//! not know what the parts are for.

use std::collections::BTreeMap;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where systemd listens, for a service of `Type=notify`.
const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";

/// A cheap handle on one program's readiness.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    parts: BTreeMap<&'static str, bool>,
    is_told: bool,
    is_stopping: bool,
}

impl Readiness {
    /// Parts without which the program is not ready.
    #[must_use]
    pub fn of(parts: &[&'static str]) -> Self {
        let parts = parts.iter().map(|part| (*part, false)).collect();
        Self { state: Arc::new(Mutex::new(State { parts, ..State::default() })) }
    }

    /// A part does its work from now on. With the last one the program is ready, and systemd is told.
    pub fn is_up(&self, part: &'static str) {
        let mut state = self.state();
        state.parts.insert(part, true);
        if state.parts.values().all(|up| *up) && !state.is_told {
            state.is_told = true;
            tracing::info!("ready");
            notify("READY=1");
        }
    }

    /// The program takes on nothing new.
    pub fn stop(&self) {
        let mut state = self.state();
        if !std::mem::replace(&mut state.is_stopping, true) {
            notify("STOPPING=1");
        }
    }

    /// `Err`: what is still missing.
    ///
    /// # Errors
    /// In words, for a person.
    pub fn check(&self) -> Result<(), String> {
        let state = self.state();
        if state.is_stopping {
            return Err("stopping".to_owned());
        }
        let missing: Vec<&str> = state.parts.iter().filter(|(_, up)| !**up).map(|(part, _)| *part).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("waiting for: {}", missing.join(", "))) }
    }

    /// The state is only ever changed by single steps, so a panic while it was locked leaves it whole.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells systemd, if it started us and wants to know.
fn notify(text: &str) {
    let Some(address) = std::env::var_os(NOTIFY_VARIABLE).filter(|a| !a.is_empty()) else { return };
    if let Err(error) = send(address.as_bytes(), text) {
        tracing::warn!(%error, text, "could not tell systemd");
    }
}

/// One datagram; a name that begins with `@` is in no file system.
fn send(address: &[u8], text: &str) -> io::Result<()> {
    let address = match address.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_once_every_part_is_and_until_it_stops() {
        let readiness = Readiness::of(&["sidecar", "coordinator"]);
        assert_eq!(readiness.check(), Err("waiting for: coordinator, sidecar".to_owned()));
        readiness.is_up("sidecar");
        assert_eq!(readiness.check(), Err("waiting for: coordinator".to_owned()));
        readiness.is_up("coordinator");
        assert_eq!(readiness.check(), Ok(()));
        readiness.stop();
        assert_eq!(readiness.check(), Err("stopping".to_owned()));
    }

    #[test]
    fn systemd_is_told_by_a_datagram_to_a_path_or_to_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("rr-readiness-{}", std::process::id());
        let named = SocketAddr::from_abstract_name(&name).unwrap();
        for (listening, address) in [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().as_bytes().to_vec()),
            (UnixDatagram::bind_addr(&named).unwrap(), format!("@{name}").into_bytes()),
        ] {
            send(&address, "READY=1").unwrap();
            let mut heard = [0; 32];
            let length = listening.recv(&mut heard).unwrap();
            assert_eq!(&heard[..length], b"READY=1");
        }
        assert!(send(b"/nowhere/at/all", "READY=1").is_err());
    }
}
