//! Every key of `config.yaml`: its path, the variable that overrides it, and how its value is written down. One table, so
//! that file, environment and `--dump-config` cannot know different keys.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rr_core::time::Span;

use super::said::Slot;
use super::{MachineConfig, StoreKind, Written};

pub(super) struct Key {
    /// As in the file: at most one dot.
    pub(super) path: &'static str,
    pub(super) variable: &'static str,
    pub(super) slot: fn(&mut Written) -> &mut dyn Slot,
    /// The value in force, as YAML on one line.
    pub(super) shown: fn(&MachineConfig) -> String,
}

const fn key(
    path: &'static str,
    variable: &'static str,
    slot: fn(&mut Written) -> &mut dyn Slot,
    shown: fn(&MachineConfig) -> String,
) -> Key {
    Key { path, variable, slot, shown }
}

/// In the order of the file; keys of one section stand together.
pub(super) const KEYS: [Key; 20] = [
    key("fleet", "RAILROAD_FLEET", |w| &mut w.fleet, |c| text(c.fleet.as_str())),
    key("store.kind", "RAILROAD_STORE_KIND", |w| &mut w.store.kind, |c| kind(c.store.kind)),
    key("store.endpoints", "RAILROAD_STORE_ENDPOINTS", |w| &mut w.store.endpoints, |c| list(&c.store.endpoints)),
    key("store.user", "RAILROAD_STORE_USER", |w| &mut w.store.user, |c| maybe(c.store.user.as_deref())),
    key(
        "store.password_file",
        "RAILROAD_STORE_PASSWORD_FILE",
        |w| &mut w.store.password_file,
        |c| path(c.store.password_file.as_ref()),
    ),
    key(
        "listen.coordinator",
        "RAILROAD_LISTEN_COORDINATOR",
        |w| &mut w.listen.coordinator,
        |c| address(c.listen.coordinator),
    ),
    key("listen.metrics", "RAILROAD_LISTEN_METRICS", |w| &mut w.listen.metrics, |c| address(c.listen.metrics)),
    key("coordinators", "RAILROAD_COORDINATORS", |w| &mut w.coordinators, |c| list(&c.coordinators)),
    key("tls.ca", "RAILROAD_TLS_CA", |w| &mut w.tls.ca, |c| path(c.tls.as_ref().map(|t| &t.ca))),
    key("tls.cert", "RAILROAD_TLS_CERT", |w| &mut w.tls.cert, |c| path(c.tls.as_ref().map(|t| &t.cert))),
    key("tls.key", "RAILROAD_TLS_KEY", |w| &mut w.tls.key, |c| path(c.tls.as_ref().map(|t| &t.key))),
    key("authority", "RAILROAD_AUTHORITY", |w| &mut w.authority, |c| path(c.authority.as_ref())),
    key("timing.lease", "RAILROAD_TIMING_LEASE", |w| &mut w.timing.lease, |c| span(c.timing.lease)),
    key("timing.keep_alive", "RAILROAD_TIMING_KEEP_ALIVE", |w| &mut w.timing.keep_alive, |c| span(c.timing.keep_alive)),
    key("timing.cut_off", "RAILROAD_TIMING_CUT_OFF", |w| &mut w.timing.cut_off, |c| span(c.timing.cut_off)),
    key(
        "timing.permit_fresh",
        "RAILROAD_TIMING_PERMIT_FRESH",
        |w| &mut w.timing.permit_fresh,
        |c| span(c.timing.permit_fresh),
    ),
    key(
        "timing.permit_poll",
        "RAILROAD_TIMING_PERMIT_POLL",
        |w| &mut w.timing.permit_poll,
        |c| span(c.timing.permit_poll),
    ),
    key("timing.cool", "RAILROAD_TIMING_COOL", |w| &mut w.timing.cool, |c| span(c.timing.cool)),
    key(
        "timing.idle_release",
        "RAILROAD_TIMING_IDLE_RELEASE",
        |w| &mut w.timing.idle_release,
        |c| span(c.timing.idle_release),
    ),
    key(
        "timing.claim_window",
        "RAILROAD_TIMING_CLAIM_WINDOW",
        |w| &mut w.timing.claim_window,
        |c| span(c.timing.claim_window),
    ),
];

/// One key as it is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub key: &'static str,
    /// As YAML on one line.
    pub value: String,
    /// `default`, `FILE:LINE` or `environment NAME`.
    pub origin: String,
}

pub(super) fn rows(config: &MachineConfig, written: &mut Written, file: Option<&Path>) -> Vec<Row> {
    let row =
        |key: &Key| Row { key: key.path, value: (key.shown)(config), origin: (key.slot)(written).origin().shown(file) };
    KEYS.iter().map(row).collect()
}

/// As text that can be used as a file again, the origin of each value behind it.
pub(super) fn as_file(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut section = "";
    for row in rows {
        let (outer, name) = row.key.split_once('.').unwrap_or(("", row.key));
        // Writing to a String cannot fail.
        if outer != section && !outer.is_empty() {
            let _ = writeln!(text, "{outer}:");
        }
        section = outer;
        let indent = if outer.is_empty() { "" } else { "  " };
        let _ = writeln!(text, "{indent}{name}: {}  # {}", row.value, row.origin);
    }
    text
}

/// In quotation marks, whatever it is: a fleet may be called `null`. JSON's strings are YAML's too.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn maybe(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| text(item)).collect();
    format!("[{}]", items.join(", "))
}

fn path(path: Option<&PathBuf>) -> String {
    maybe(path.map(|p| p.to_string_lossy()).as_deref())
}

fn address(address: Option<SocketAddr>) -> String {
    maybe(address.map(|a| a.to_string()).as_deref())
}

fn kind(kind: StoreKind) -> String {
    match kind {
        StoreKind::Embedded => "embedded",
        StoreKind::Etcd => "etcd",
    }
    .to_owned()
}

/// In the largest unit that it is whole in.
fn span(span: Span) -> String {
    match span.as_millis() {
        0 => "0s".to_owned(),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}
