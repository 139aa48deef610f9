//! `config.yaml`: what one machine decides: which store, and how fast its clockwork runs. It lies in
//! `$XDG_CONFIG_HOME/railroad` or where `$RAILROAD_CONFIG` says. The relations between the timings are `rr_core::limits`'s.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rr_core::limits::Timing;
use rr_core::time::Span;
use serde::Deserialize;

use super::words::Duration;
use super::{ConfigError, parse, read};

/// Keys that this version does not enforce yet.
const NOT_ENFORCED: [&str; 2] = ["tls", "listen"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineConfig {
    pub store: StoreConfig,
    /// Checked: its relations hold.
    pub timing: Timing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    pub kind: StoreKind,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreKind {
    /// A file on this machine.
    #[default]
    Embedded,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    store: StoreConfig,
    timing: WrittenTiming,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenTiming {
    lease: Option<Duration>,
    keep_alive: Option<Duration>,
    cut_off: Option<Duration>,
    permit_fresh: Option<Duration>,
    permit_poll: Option<Duration>,
    cool: Option<Duration>,
    idle_release: Option<Duration>,
    claim_window: Option<Duration>,
}

impl MachineConfig {
    /// Reads the file of this machine. Without one, the defaults; but one that `$RAILROAD_CONFIG` names must exist.
    ///
    /// # Errors
    /// As [`MachineConfig::parse`], or if the file cannot be read.
    pub fn load() -> Result<Self, ConfigError> {
        Self::load_from(|name| std::env::var_os(name))
    }

    fn load_from(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        let set = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        if let Some(named) = set("RAILROAD_CONFIG") {
            let text = read(&named)?.ok_or_else(|| ConfigError::Read {
                file: named.clone(),
                source: std::io::Error::new(
                    std::io::ErrorKind::NotFound,
                    "$RAILROAD_CONFIG names it, and it does not exist",
                ),
            })?;
            return Self::parse(&text, &named);
        }
        let absolute = |name: &str| set(name).filter(|p| p.is_absolute());
        let home = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        let Some(file) = home.map(|home| home.join("railroad/config.yaml")) else {
            return Ok(Self::default());
        };
        read(&file)?.map_or_else(|| Ok(Self::default()), |text| Self::parse(&text, &file))
    }

    /// # Errors
    /// With file, line, column and what was probably meant; or which relation between the timings does not hold.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let written: Written = parse(text, file, &NOT_ENFORCED)?;
        let timing = written.timing.over(Timing::default());
        timing.check().map_err(|e| ConfigError::Unsafe { file: file.to_owned(), what: format!("timing: {e}") })?;
        let store = written.store;
        Ok(Self { store, timing })
    }
}

impl WrittenTiming {
    fn over(&self, base: Timing) -> Timing {
        let or = |written: Option<Duration>, base: Span| written.map_or(base, |d| d.0);
        Timing {
            lease: or(self.lease, base.lease),
            keep_alive: or(self.keep_alive, base.keep_alive),
            cut_off: or(self.cut_off, base.cut_off),
            permit_fresh: or(self.permit_fresh, base.permit_fresh),
            permit_poll: or(self.permit_poll, base.permit_poll),
            cool: or(self.cool, base.cool),
            idle_release: or(self.idle_release, base.idle_release),
            claim_window: or(self.claim_window, base.claim_window),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<MachineConfig, ConfigError> {
        MachineConfig::parse(text, Path::new("config.yaml"))
    }

    #[test]
    fn an_empty_file_is_the_embedded_store_at_the_usual_pace() {
        assert_eq!(parsed("").unwrap(), MachineConfig::default());
        assert_eq!(parsed("store: { kind: embedded }").unwrap().timing, Timing::default());
    }

    #[test]
    fn timings_are_taken_over_one_by_one() {
        let timing = parsed("timing: { lease: 13s, keep_alive: 1s, cut_off: 3s, claim_window: 2m }").unwrap().timing;
        let want = Timing {
            lease: Span::from_secs(13),
            keep_alive: Span::from_secs(1),
            cut_off: Span::from_secs(3),
            claim_window: Span::from_secs(120),
            ..Timing::default()
        };
        assert_eq!(timing, want);
    }

    #[test]
    fn timings_that_are_not_safe_together_are_refused() {
        let told = parsed("timing: { lease: 20s }").unwrap_err().to_string();
        assert!(told.starts_with("config.yaml: timing: cut-off must be at least 10 s below"), "{told}");
    }

    #[test]
    fn unknown_and_not_yet_enforced_keys_are_refused() {
        let told = |text: &str| parsed(text).unwrap_err().to_string();
        assert!(told("timing: { leese: 60s }").contains("did you mean `lease`?"));
        assert!(told("store: { kind: embeded }").contains("did you mean `embedded`?"));
        assert!(told("store: { kind: etcd }").contains("unknown value `etcd`"));
        assert!(told("tls: {}").contains("not enforced by this version"));
    }

    #[test]
    fn the_file_is_found_in_order_and_a_named_one_must_exist() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("home");
        let file = home.join(".config/railroad/config.yaml");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let load = |named: Option<&Path>| {
            MachineConfig::load_from(|name| match name {
                "RAILROAD_CONFIG" => named.map(|n| n.as_os_str().to_owned()),
                "HOME" => Some(home.clone().into_os_string()),
                _ => None,
            })
        };
        assert_eq!(load(None).unwrap(), MachineConfig::default());
        std::fs::write(&file, "timing: { cool: 1s }").unwrap();
        assert_eq!(load(None).unwrap().timing.cool, Span::from_secs(1));
        let absent = temp.path().join("absent.yaml");
        assert!(matches!(load(Some(&absent)), Err(ConfigError::Read { .. })));
        assert_eq!(MachineConfig::load_from(|_| None).unwrap(), MachineConfig::default());
    }
}
