//! What `config.yaml` and the environment may say, what is refused and how, and that a dump is a file again.

use std::collections::BTreeMap;

use super::*;

const NO_VARIABLES: [(&str, &str); 0] = [];

fn loaded<'a>(text: &str, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Loaded, ConfigError> {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("config.yaml");
    std::fs::write(&file, text).unwrap();
    let variables: BTreeMap<&str, &str> = variables.into_iter().collect();
    Loaded::load_from(Some(&file), |name| variables.get(name).map(Into::into))
}

fn parsed(text: &str) -> Result<MachineConfig, ConfigError> {
    loaded(text, NO_VARIABLES).map(|l| l.config)
}

/// The first line of a refusal, from the file's name on.
fn refusal(text: &str) -> String {
    let told = parsed(text).expect_err(text).to_string();
    let first = told.lines().next().unwrap_or_default();
    first.find("config.yaml").map_or_else(|| first.to_owned(), |at| first[at..].to_owned())
}

const WHOLE: &str = "\
fleet: blue
store:
  kind: etcd
  endpoints: [\"https://10.0.0.1:2379\", \"https://[::1]:2379\"]
  user: railroad
  password_file: /etc/railroad/password
listen: { coordinator: \"10.0.0.9:7420\", metrics: \"127.0.0.1:7422\" }
coordinators: [\"https://host-a:7420\", \"http://localhost:7420\"]
tls: { ca: /t/ca.pem, cert: /t/host.pem, key: /t/host.key }
authority: /srv/authority
timing: { idle_release: 90s, cool: 250ms }
";

#[test]
fn an_empty_file_is_the_embedded_store_at_the_usual_pace() {
    for empty in ["", "store:\n", "store: { kind: embedded, endpoints: [] }", "tls: {}", "store: { user: null }"] {
        assert_eq!(parsed(empty).unwrap(), MachineConfig::default(), "{empty:?}");
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let config = parsed(WHOLE).unwrap();
    assert_eq!((config.fleet.as_str(), config.store.kind), ("blue", StoreKind::Etcd));
    assert_eq!(config.store.endpoints, ["https://10.0.0.1:2379", "https://[::1]:2379"]);
    assert_eq!(config.store.user.as_deref(), Some("railroad"));
    assert_eq!(config.listen.coordinator.unwrap().to_string(), "10.0.0.9:7420");
    assert_eq!(config.coordinators.len(), 2);
    assert_eq!(config.tls.unwrap().key, Path::new("/t/host.key"));
    assert_eq!(config.authority.unwrap(), Path::new("/srv/authority"));
    assert_eq!((config.timing.idle_release, config.timing.cool), (Span::from_secs(90), Span::from_millis(250)));
    assert_eq!(config.timing.lease, Timing::default().lease);
}

#[test]
fn each_key_can_be_set_by_its_variable_and_the_variable_wins() {
    let variables = [
        ("RAILROAD_FLEET", "red"),
        ("RAILROAD_STORE_KIND", "etcd"),
        ("RAILROAD_STORE_ENDPOINTS", "https://a:1, https://b:2"),
        ("RAILROAD_STORE_USER", "kim"),
        ("RAILROAD_STORE_PASSWORD_FILE", "/p"),
        ("RAILROAD_LISTEN_COORDINATOR", "[::1]:1"),
        ("RAILROAD_LISTEN_METRICS", "127.0.0.1:2"),
        ("RAILROAD_COORDINATORS", "https://c:3"),
        ("RAILROAD_TLS_CA", "/a"),
        ("RAILROAD_TLS_CERT", "/b"),
        ("RAILROAD_TLS_KEY", "/c"),
        ("RAILROAD_AUTHORITY", "/d"),
        ("RAILROAD_TIMING_LEASE", "61s"),
        ("RAILROAD_TIMING_KEEP_ALIVE", "14s"),
        ("RAILROAD_TIMING_CUT_OFF", "49s"),
        ("RAILROAD_TIMING_PERMIT_FRESH", "16s"),
        ("RAILROAD_TIMING_PERMIT_POLL", "4s"),
        ("RAILROAD_TIMING_COOL", "6s"),
        ("RAILROAD_TIMING_IDLE_RELEASE", "7m"),
        ("RAILROAD_TIMING_CLAIM_WINDOW", "8s"),
    ];
    let names: Vec<&str> = keys::KEYS.iter().map(|key| key.variable).collect();
    assert_eq!(variables.map(|v| v.0), *names, "a variable for each key, and none besides");
    let mut all = loaded(WHOLE, variables).unwrap();
    let config = &all.config;
    assert_eq!(
        (config.fleet.as_str(), config.store.endpoints.join(" ")),
        ("red", "https://a:1 https://b:2".to_owned())
    );
    assert_eq!((config.timing.lease, config.timing.claim_window), (Span::from_secs(61), Span::from_secs(8)));
    for (line, (name, _)) in all.dump().lines().filter(|l| l.contains('#')).zip(variables) {
        assert!(line.ends_with(&format!("  # environment {name}")), "{line}");
    }
    let mut none = loaded("", NO_VARIABLES).unwrap();
    let defaults = none.dump();
    let changed = all.dump();
    for (before, after) in defaults.lines().zip(changed.lines()).filter(|(l, _)| l.contains('#')) {
        let value = |line: &str| line.split("  #").next().unwrap_or_default().to_owned();
        assert_ne!(value(before), value(after), "each key has taken its variable's value");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    assert_eq!(loaded("fleet: blue", [("RAILROAD_FLEET", "")]).unwrap().config.fleet.as_str(), "blue");
}

#[test]
fn a_variable_is_checked_like_the_file() {
    let told = |name, value| loaded("", [(name, value)]).map(|l| l.config).unwrap_err().to_string();
    let kind = told("RAILROAD_STORE_KIND", "ectd");
    assert!(kind.starts_with("environment RAILROAD_STORE_KIND (store.kind): unknown value `ectd`"), "{kind}");
    assert!(kind.ends_with("did you mean `etcd`?"), "{kind}");
    for (name, value, rule) in [
        ("RAILROAD_TIMING_COOL", "5", "a duration is a whole number"),
        ("RAILROAD_LISTEN_METRICS", "7422", "write IP:PORT"),
        ("RAILROAD_AUTHORITY", "here", "no absolute path"),
        ("RAILROAD_FLEET", "Blue Team", "fleet name must be"),
        ("RAILROAD_TIMING_LEASE", "20s", "environment RAILROAD_TIMING_LEASE: timing: cut-off"),
        ("RAILROAD_STORE_ENDPOINTS", "http://a:1", "environment RAILROAD_STORE_ENDPOINTS: store.endpoints go with"),
    ] {
        let text = told(name, value);
        assert!(text.contains(rule), "{name}={value}: {text}");
    }
}

#[test]
fn a_dump_says_where_each_value_was_said_and_is_a_file_again() {
    for (text, variables) in [("", vec![]), (WHOLE, vec![]), (WHOLE, vec![("RAILROAD_FLEET", "null")])] {
        let mut first = loaded(text, variables).unwrap();
        let dump = first.dump();
        assert_eq!(parsed(&dump).unwrap(), first.config, "{dump}");
        assert_eq!(dump.matches("  # ").count(), keys::KEYS.len());
    }
    let mut whole = loaded(WHOLE, [("RAILROAD_TIMING_COOL", "1s")]).unwrap();
    let dump = whole.dump();
    for (line, origin) in [
        ("fleet: \"blue\"", "config.yaml:1"),
        ("  kind: etcd", "config.yaml:3"),
        ("  password_file: \"/etc/railroad/password\"", "config.yaml:6"),
        ("  metrics: \"127.0.0.1:7422\"", "config.yaml:7"),
        ("  lease: 1m", "# default"),
        ("  cool: 1s", "# environment RAILROAD_TIMING_COOL"),
    ] {
        let found = dump.lines().find(|l| l.starts_with(line)).unwrap_or_else(|| panic!("{line} in {dump}"));
        assert!(found.ends_with(origin), "{found}");
    }
}

#[test]
fn unknown_keys_and_values_are_refused_with_their_place_and_a_suggestion() {
    for (text, at, rule) in [
        ("timing: { leese: 60s }", "1:11", "did you mean `lease`?"),
        ("store: { kind: embeded }", "1:16", "did you mean `embedded`?"),
        ("store: { kind: consul }", "1:16", "unknown value `consul` (one of: embedded, etcd)"),
        ("store:\n  endpoint: []", "2:3", "did you mean `endpoints`?"),
        ("listen: { coordinator: 7420 }", "1:24", "write IP:PORT"),
        ("listen: { coordinator: localhost:7420 }", "1:24", "write IP:PORT"),
        ("tls: { ca: ca.pem }", "1:12", "no absolute path"),
        ("coordinators: { a: b }", "1:15", "a list of addresses"),
        ("fleet: Blue", "1:8", "fleet name must be"),
        ("fleet: a\nfleet: b", "2:1", "duplicate"),
        ("password: x", "1:1", "unknown key"),
    ] {
        let told = refusal(text);
        assert!(told.starts_with(&format!("config.yaml:{at}:")) && told.contains(rule), "{text}: {told}");
    }
}

#[test]
fn broken_relations_are_refused_with_their_place_and_what_to_do() {
    for (text, line, rule) in [
        ("timing: { lease: 20s }", 1, "timing: cut-off must be at least 10 s below"),
        ("store: { kind: etcd }", 1, "needs the addresses of its members"),
        ("store: { kind: etcd, endpoints: [] }", 1, "needs the addresses of its members"),
        ("store:\n  endpoints: [\"http://a:1\"]", 2, "go with `kind: etcd`"),
        ("store: { kind: etcd, endpoints: [\"http://a:1\", \"https://b:1\"] }", 1, "mix http and https"),
        ("store: { kind: etcd, endpoints: [\"https://b:1\"] }", 1, "no certificate"),
        ("store: { kind: etcd, endpoints: [\"http://a:1\", \"http://a:1\"] }", 1, "twice"),
        ("store: { kind: etcd, endpoints: [a] }", 1, "number 1: \"a\" is no address"),
        ("store: { kind: etcd, endpoints: [\"\"] }", 1, "is no address"),
        ("store: { kind: etcd, endpoints: [\"http://a\"] }", 1, "a host and a port"),
        ("store: { kind: etcd, endpoints: [\"http://a:0\"] }", 1, "a host and a port"),
        ("store: { kind: etcd, endpoints: [\"http://a:+1\"] }", 1, "a host and a port"),
        ("store: { kind: etcd, endpoints: [\"http://a:1/path\"] }", 1, "a host and a port"),
        ("store: { kind: etcd, endpoints: [\"http://a:1\"], user: x }", 1, "needs store.password_file"),
        ("store: { kind: etcd, endpoints: [\"http://a:1\"], password_file: /x }", 1, "needs store.user"),
        ("store: { user: x, password_file: /x }", 1, "the kind is embedded"),
        ("tls: { ca: /a, key: /k }", 1, "tls.cert is missing"),
        ("listen: { coordinator: \"0.0.0.0:7420\" }", 1, "can be reached from other machines"),
        ("listen:\n  coordinator: \"[2001:db8::1]:7420\"", 2, "rrctl join"),
        ("listen: { metrics: \"10.0.0.1:9\" }", 1, "metrics are plain http"),
        ("coordinators: [\"http://host-a:7420\"]", 1, "write https"),
    ] {
        let told = refusal(text);
        assert!(told.starts_with(&format!("config.yaml:{line}: ")) && told.contains(rule), "{text}: {told}");
    }
}

#[test]
fn an_address_with_a_password_is_refused_and_not_repeated() {
    for address in ["http://kim:secret@a:1", "kim:secret@a:1"] {
        let told = parsed(&format!("store: {{ kind: etcd, endpoints: [\"{address}\"] }}")).unwrap_err().to_string();
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn loopback_needs_no_certificate() {
    for address in ["127.0.0.1:7420", "127.9.8.7:0", "[::1]:7420", "[::ffff:127.0.0.1]:7420"] {
        parsed(&format!("listen: {{ coordinator: \"{address}\", metrics: \"{address}\" }}")).unwrap();
    }
}

#[test]
fn the_files_of_a_join_are_this_machines_identity_once_all_are_there() {
    let temp = tempfile::tempdir().unwrap();
    let load = || {
        let state = temp.path().as_os_str().to_owned();
        Loaded::load_from(None, move |name| (name == "RAILROAD_STATE_DIR").then(|| state.clone())).unwrap()
    };
    let files = TlsFiles::of_state(temp.path());
    std::fs::create_dir(temp.path().join("tls")).unwrap();
    for file in [&files.ca, &files.cert, &files.key] {
        assert_eq!(load().config.tls, None);
        std::fs::write(file, "").unwrap();
    }
    let mut all = load();
    assert_eq!(all.config.tls.as_ref(), Some(&files));
    let dump = all.dump();
    assert!(dump.contains("host.key\"  # default"), "{dump}");
}

#[test]
fn the_file_is_found_in_order_and_a_named_one_must_exist() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let file = home.join(".config/railroad/config.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let load = |named: Option<&Path>, by_variable: Option<&Path>| {
        let loaded = Loaded::load_from(named, |name| match name {
            "RAILROAD_CONFIG" => by_variable.map(|n| n.as_os_str().to_owned()),
            "HOME" => Some(home.clone().into_os_string()),
            _ => None,
        });
        loaded.map(|l| l.config)
    };
    assert_eq!(load(None, None).unwrap(), MachineConfig::default());
    std::fs::write(&file, "timing: { cool: 1s }").unwrap();
    assert_eq!(load(None, None).unwrap().timing.cool, Span::from_secs(1));
    let (absent, other) = (temp.path().join("absent.yaml"), temp.path().join("other.yaml"));
    std::fs::write(&other, "timing: { cool: 2s }").unwrap();
    assert_eq!(load(Some(&other), Some(&absent)).unwrap().timing.cool, Span::from_secs(2));
    assert!(matches!(load(None, Some(&absent)), Err(ConfigError::Read { .. })));
    assert!(matches!(load(Some(&absent), None), Err(ConfigError::Read { .. })));
    assert_eq!(Loaded::load_from(None, |_| None).unwrap().config, MachineConfig::default());
}
