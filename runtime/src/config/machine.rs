//! `config.yaml`: what one machine decides: its fleet, its store, where its programs listen and whom they trust, and how fast
//! the clockwork runs. It lies in `$XDG_CONFIG_HOME/railroad` or where `$RAILROAD_CONFIG` says; a variable of the
//! environment overrides each key (`keys`). What must hold between them is `relations`'s and `rr_core::limits`'s.

mod keys;
mod relations;
mod said;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rr_core::id::FleetName;
use rr_core::limits::Timing;
use rr_core::time::Span;
use serde::Deserialize;

pub use self::keys::Row;
use self::said::{Absolute, Address, List, Origin, Said};
use super::words::Duration;
use super::{ConfigError, parse, read};
use crate::dirs::Dirs;

/// Names the file of this machine.
pub const FILE_VARIABLE: &str = "RAILROAD_CONFIG";

/// Checked: all relations hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineConfig {
    pub fleet: FleetName,
    pub store: StoreConfig,
    pub listen: Listen,
    /// Where coordinators of the fleet answer, in the order in which they are tried.
    pub coordinators: Vec<String>,
    /// This machine's identity. Without the key: the files that a join left in the state folder, if they are there.
    pub tls: Option<TlsFiles>,
    /// The folder of the certificate authority, where a coordinator may issue certificates.
    pub authority: Option<PathBuf>,
    pub timing: Timing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreConfig {
    pub kind: StoreKind,
    /// All http or all https.
    pub endpoints: Vec<String>,
    /// Together with `password_file`, or neither.
    pub user: Option<String>,
    pub password_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A file on this machine, owned by one program.
    #[default]
    Embedded,
    /// An etcd cluster.
    Etcd,
}

/// Addresses beside the unix sockets. Those that other machines can reach need `tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listen {
    pub coordinator: Option<SocketAddr>,
    /// Of the sidecar, and of all in one process; the coordinator takes the next port, the watcher the one after it.
    pub metrics: Option<SocketAddr>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    fleet: Said<FleetName>,
    store: WrittenStore,
    listen: WrittenListen,
    coordinators: Said<List>,
    tls: WrittenTls,
    authority: Said<Absolute>,
    timing: WrittenTiming,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenStore {
    kind: Said<StoreKind>,
    endpoints: Said<List>,
    user: Said<String>,
    password_file: Said<Absolute>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenListen {
    coordinator: Said<Address>,
    metrics: Said<Address>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenTls {
    ca: Said<Absolute>,
    cert: Said<Absolute>,
    key: Said<Absolute>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenTiming {
    lease: Said<Duration>,
    keep_alive: Said<Duration>,
    cut_off: Said<Duration>,
    permit_fresh: Said<Duration>,
    permit_poll: Said<Duration>,
    cool: Said<Duration>,
    idle_release: Said<Duration>,
    claim_window: Said<Duration>,
}

/// A machine's configuration together with where each value was said.
pub struct Loaded {
    pub config: MachineConfig,
    written: Written,
    file: Option<PathBuf>,
}

impl Loaded {
    /// Reads the file of this machine, then the environment over it. `named`: a file that must exist, instead of the one that
    /// `$RAILROAD_CONFIG` names (which must exist too) or the usual place (which need not).
    ///
    /// # Errors
    /// With file, line, column and what was probably meant; or which relation between the values does not hold.
    pub fn load(named: Option<&Path>) -> Result<Self, ConfigError> {
        Self::load_from(named, |name| std::env::var_os(name))
    }

    fn load_from(named: Option<&Path>, env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let (file, text) = find(named, &env)?;
        let mut written = match &file {
            Some(file) => parse(&text, file, &[])?,
            None => Written::default(),
        };
        written.take_environment(&env)?;
        let state = Dirs::from_variables(&env).ok().map(|dirs| dirs.state);
        let config = written.settled(state.as_deref());
        relations::check(&written, &config).map_err(|broken| {
            let place = broken.origin.shown(file.as_deref());
            ConfigError::Unsafe { place, what: broken.what }
        })?;
        Ok(Self { config, written, file })
    }

    /// Every key with its value and where that was said. No secret is in it: a password is in a file of its own.
    #[must_use]
    pub fn rows(&mut self) -> Vec<Row> {
        keys::rows(&self.config, &mut self.written, self.file.as_deref())
    }

    /// The same as text that can be used as the file again.
    #[must_use]
    pub fn dump(&mut self) -> String {
        keys::as_file(&self.rows())
    }

    /// The file that was read, if there is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

impl MachineConfig {
    /// As [`Loaded::load`] without a named file.
    ///
    /// # Errors
    /// As there.
    pub fn load() -> Result<Self, ConfigError> {
        Loaded::load(None).map(|loaded| loaded.config)
    }
}

/// What is said of a machine that is about to get its certificate.
pub struct Beginning {
    /// Not checked: the certificate that a relation may ask for is not there yet.
    pub config: MachineConfig,
    /// Where the file is, or would be.
    pub place: Option<PathBuf>,
    pub exists: bool,
}

impl Beginning {
    /// Reads the file of this machine if there is one, then the environment over it.
    ///
    /// # Errors
    /// If the file cannot be read or understood.
    pub fn load() -> Result<Self, ConfigError> {
        Self::load_from(|name| std::env::var_os(name))
    }

    fn load_from(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let named = env(FILE_VARIABLE).filter(|v| !v.is_empty()).map(PathBuf::from);
        let place = named.or_else(|| usual_place(&env));
        let text = place.as_deref().map(read).transpose()?.flatten();
        let mut written = match (&place, &text) {
            (Some(place), Some(text)) => parse(text, place, &[])?,
            _ => Written::default(),
        };
        written.take_environment(&env)?;
        let state = Dirs::from_variables(&env).ok().map(|dirs| dirs.state);
        Ok(Self { config: written.settled(state.as_deref()), place, exists: text.is_some() })
    }
}

/// Where the file is looked for if nothing names one.
fn usual_place(env: &impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from).filter(|p| p.is_absolute());
    let home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
    home.map(|home| home.join("railroad/config.yaml"))
}

/// The file to read and its text; no file where none is named and the usual place has none.
fn find(
    named: Option<&Path>,
    env: &impl Fn(&str) -> Option<OsString>,
) -> Result<(Option<PathBuf>, String), ConfigError> {
    let set = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let named = named.map(|file| (file.to_owned(), "it was named, and it does not exist"));
    let by_variable = || Some((set(FILE_VARIABLE)?, "$RAILROAD_CONFIG names it, and it does not exist"));
    if let Some((file, absent)) = named.or_else(by_variable) {
        let source = || std::io::Error::new(std::io::ErrorKind::NotFound, absent);
        let text = read(&file)?.ok_or_else(|| ConfigError::Read { file: file.clone(), source: source() })?;
        return Ok((Some(file), text));
    }
    let Some(file) = usual_place(env) else { return Ok((None, String::new())) };
    Ok(read(&file)?.map_or((None, String::new()), |text| (Some(file), text)))
}

impl Written {
    fn take_environment(&mut self, env: &impl Fn(&str) -> Option<OsString>) -> Result<(), ConfigError> {
        for key in &keys::KEYS {
            let Some(text) = env(key.variable).filter(|text| !text.is_empty()) else { continue };
            let variable = key.variable;
            let refused = |what, suggestion| ConfigError::Environment { variable, key: key.path, what, suggestion };
            let text = text.to_str().ok_or_else(|| refused("its value is no text".to_owned(), None))?;
            (key.slot)(self).say(text, variable).map_err(|r| refused(r.what, r.suggestion))?;
        }
        Ok(())
    }

    fn settled(&self, state: Option<&Path>) -> MachineConfig {
        let path = |said: &Said<Absolute>| said.value.as_ref().map(|p| p.0.clone());
        let list = |said: &Said<List>| said.value.clone().unwrap_or_default().0;
        let store = &self.store;
        MachineConfig {
            fleet: self.fleet.value.clone().unwrap_or_default(),
            store: StoreConfig {
                kind: store.kind.value.unwrap_or_default(),
                endpoints: list(&store.endpoints),
                user: store.user.value.clone(),
                password_file: path(&store.password_file),
            },
            listen: Listen {
                coordinator: self.listen.coordinator.value.map(|a| a.0),
                metrics: self.listen.metrics.value.map(|a| a.0),
            },
            coordinators: list(&self.coordinators),
            tls: self.tls.settled(state),
            authority: path(&self.authority),
            timing: self.timing.over(Timing::default()),
        }
    }
}

impl WrittenTls {
    fn settled(&self, state: Option<&Path>) -> Option<TlsFiles> {
        let said = [&self.ca, &self.cert, &self.key];
        if said.iter().all(|s| s.value.is_none()) {
            return TlsFiles::of_state(state?).exist();
        }
        let [Some(ca), Some(cert), Some(key)] = said.map(|s| s.value.as_ref().map(|p| p.0.clone())) else {
            return None;
        };
        Some(TlsFiles { ca, cert, key })
    }
}

impl TlsFiles {
    /// Where a join leaves them.
    #[must_use]
    pub fn of_state(state: &Path) -> Self {
        let tls = state.join("tls");
        Self { ca: tls.join("ca.pem"), cert: tls.join("host.pem"), key: tls.join("host.key") }
    }

    /// All of them: a join that is not finished has given this machine no identity yet.
    fn exist(self) -> Option<Self> {
        [&self.ca, &self.cert, &self.key].iter().all(|file| file.is_file()).then_some(self)
    }
}

impl WrittenTiming {
    fn over(&self, base: Timing) -> Timing {
        let or = |said: &Said<Duration>, base: Span| said.value.map_or(base, |d| d.0);
        Timing {
            lease: or(&self.lease, base.lease),
            keep_alive: or(&self.keep_alive, base.keep_alive),
            cut_off: or(&self.cut_off, base.cut_off),
            permit_fresh: or(&self.permit_fresh, base.permit_fresh),
            permit_poll: or(&self.permit_poll, base.permit_poll),
            cool: or(&self.cool, base.cool),
            idle_release: or(&self.idle_release, base.idle_release),
            claim_window: or(&self.claim_window, base.claim_window),
        }
    }

    /// Where the last of the timings was said that are not the usual ones: relations hold between several.
    fn origin(&self) -> Origin {
        let all = [
            self.lease.origin,
            self.keep_alive.origin,
            self.cut_off.origin,
            self.permit_fresh.origin,
            self.permit_poll.origin,
            self.cool.origin,
            self.idle_release.origin,
            self.claim_window.origin,
        ];
        all.into_iter().rfind(|origin| *origin != Origin::Default).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
