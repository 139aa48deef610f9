//! Story: several machines, each proven to the others. One makes the authority, the others join with a word that works once;
//! what each may ask depends on its role; and a machine that is shut out is out at once (H40). Every machine is a home with
//! programs of its own on one address of loopback; in the last story they share a real etcd.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use rr_core::id::FleetName;
use rr_link::authority::{Authority, Order};
use rr_link::identity::{Card, Role};
use rr_link::pem;
use rr_tests::agent::Agent;
use rr_tests::daemon::{Daemon, Sandbox, rrctl_program, until};
use rr_tests::etcd::{EtcdCluster, EtcdSetup, EtcdTls};
use serde_json::Value;

const PORT: u16 = 7_420;
/// Held by a test for as long as it uses an address.
const CLAIM_PORT: u16 = 7_419;

/// An address of loopback that no other test uses now: what other tools use lies outside of 127.240 to 127.249.
fn own_address() -> (Ipv4Addr, TcpListener) {
    for n in 0..10 * 250 * 250 {
        let [a, b, c] =
            [240 + n % 10, 1 + (n / 10) % 250, 1 + n / 2_500].map(|part| u8::try_from(part).expect("a part"));
        let ip = Ipv4Addr::new(127, a, b, c);
        if let Ok(claim) = TcpListener::bind((ip, CLAIM_PORT)) {
            return (ip, claim);
        }
    }
    panic!("no address is free");
}

/// The machine that has the authority.
struct Center {
    sandbox: Sandbox,
    ip: Ipv4Addr,
    _claim: TcpListener,
}

impl Center {
    fn new() -> Self {
        let (ip, claim) = own_address();
        let center = Self { sandbox: Sandbox::new(), ip, _claim: claim };
        center.configure("");
        done(&center.sandbox, &["ca", "init", "--san", &ip.to_string()]);
        center
    }

    /// Sets the machine's file; `more` stands at its end.
    fn configure(&self, more: &str) {
        let (ip, authority) = (self.ip, self.sandbox.state.join("ca"));
        self.sandbox.machine_config(&format!(
            "fleet: blue\nauthority: {}\nlisten: {{ coordinator: \"{ip}:{PORT}\" }}\ncoordinators: [\"https://{ip}:{PORT}\"]\n{more}",
            authority.display()
        ));
    }

    fn token(&self, role: &str) -> String {
        let made = self.sandbox.json(&["join-token", "create", "--role", role]);
        made["token"].as_str().expect("a token").to_owned()
    }

    /// A further machine, joined.
    fn machine(&self, name: &str, role: &str) -> Sandbox {
        let machine = Sandbox::new();
        done(&machine, &["join", &self.token(role), "--name", name]);
        machine
    }
}

/// Must succeed.
#[track_caller]
fn done(sandbox: &Sandbox, words: &[&str]) -> String {
    let output = sandbox.rrctl(words);
    assert!(output.status.success(), "rrctl {words:?}: {}", told(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Must end with this code, and say all of these words.
#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let told = told(output);
    assert_eq!(output.status.code(), Some(code), "{told}");
    for word in words {
        assert!(told.contains(word), "{word:?} is not in: {told}");
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn mode(file: &Path) -> u32 {
    fs::metadata(file).unwrap_or_else(|e| panic!("{}: {e}", file.display())).permissions().mode() & 0o777
}

#[test]
fn a_new_machine_joins_with_one_line_and_is_reached_by_nobody_elses_word() {
    let center = Center::new();
    let _daemon = Daemon::start(&center.sandbox);
    assert_eq!(mode(&center.sandbox.state.join("ca/ca.key")), 0o600);
    refused(&center.sandbox.rrctl(&["ca", "init"]), 4, &["never written over"]);

    let token = center.token("operator");
    let machine = Sandbox::new();
    // Lost on the way: nothing of it is used up.
    refused(&machine.rrctl(&["join", &token[..token.len() - 9]]), 2, &["not whole"]);
    refused(&machine.rrctl(&["join", "rr-token"]), 2, &["no join token"]);
    machine.machine_config("fleet: red\n");
    refused(&machine.rrctl(&["join", &token]), 4, &["for fleet blue", "for fleet red"]);
    fs::remove_file(machine.home.join(".config/railroad/config.yaml")).expect("removed");
    refused(&machine.rrctl(&["status"]), 3, &[]);

    done(&machine, &["join", &token, "--name", "box-1"]);
    for file in ["tls/ca.pem", "tls/host.pem", "tls/host.key"] {
        assert_eq!(mode(&machine.state.join(file)), 0o600, "{file}");
    }
    let written = fs::read_to_string(machine.home.join(".config/railroad/config.yaml")).expect("written");
    assert!(written.contains("fleet: blue") && written.contains(&center.ip.to_string()), "{written}");
    assert_eq!(machine.json(&["status"])["paused"], false, "it reaches the coordinator over there");

    let other = Sandbox::new();
    refused(&other.rrctl(&["join", &token]), 4, &["used already", "box-1"]);
    refused(&machine.rrctl(&["join", &center.token("admin")]), 4, &["joined already", "--again"]);
    let hosts = center.sandbox.json(&["hosts"]);
    assert_eq!((&hosts["hosts"][0]["host"], &hosts["hosts"][0]["role"]), (&"box-1".into(), &"operator".into()));
}

#[test]
fn of_twenty_machines_with_one_token_exactly_one_comes_in() {
    let center = Center::new();
    let _daemon = Daemon::start(&center.sandbox);
    let token = center.token("agent");
    let homes = tempfile::tempdir().expect("folder");
    let joins: Vec<_> = (0..20)
        .map(|n| {
            let home = homes.path().join(n.to_string());
            let mut command = center.sandbox.command(rrctl_program());
            command.args(["join", &token]).env("HOME", &home).env("XDG_CONFIG_HOME", home.join("c"));
            command.env("RAILROAD_STATE_DIR", home.join("s")).env("RAILROAD_RUNTIME_DIR", home.join("r"));
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("starts")
        })
        .collect();
    let mut inside = 0;
    for join in joins {
        let output = join.wait_with_output().expect("ends");
        if output.status.success() {
            inside += 1;
        } else {
            refused(&output, 4, &["used already"]);
        }
    }
    assert_eq!(inside, 1);
    assert_eq!(center.sandbox.json(&["hosts"])["hosts"].as_array().expect("a list").len(), 1);
}

#[test]
fn each_machine_may_do_what_its_role_says_and_is_recorded_as_who_it_is() {
    let center = Center::new();
    let _daemon = Daemon::start(&center.sandbox);
    for role in ["viewer", "agent"] {
        let machine = center.machine("looker", role);
        done(&machine, &["status"]);
        let output = machine.rrctl(&["pause-all", "--reason", "test"]);
        refused(&output, 4, &["needs the role operator", &format!("has the role {role}")]);
    }
    let operator = center.machine("desk", "operator");
    let epoch = operator.json(&["pause-all", "--reason", "test"])["epoch"].to_string();
    let hold = &center.sandbox.json(&["status"])["holds"][0];
    assert!(hold["who"].as_str().expect("a name").starts_with("desk [operator "), "{hold}");
    done(&operator, &["resume", "--epoch", &epoch]);
    refused(&operator.rrctl(&["join-token", "create", "--role", "agent"]), 4, &["needs the role admin"]);
    refused(&operator.rrctl(&["deny", "looker", "--reason", "r"]), 5, &["2 hosts are called looker"]);
    let host = center.sandbox.json(&["hosts"])["hosts"][0]["host_id"].as_str().expect("an id").to_owned();
    refused(&operator.rrctl(&["deny", &host, "--reason", "r"]), 4, &["needs the role admin"]);
    let admin = center.machine("chief", "admin");
    done(&admin, &["join-token", "create", "--role", "viewer"]);
}

#[test]
fn a_certificate_that_was_copied_to_another_machine_is_not_worked_under() {
    let center = Center::new();
    let _daemon = Daemon::start(&center.sandbox);
    let machine = center.machine("box-1", "agent");
    let copy = Sandbox::new();
    fs::create_dir_all(copy.state.join("tls")).expect("made");
    fs::set_permissions(&copy.state, fs::Permissions::from_mode(0o700)).expect("set");
    for file in ["tls/ca.pem", "tls/host.pem", "tls/host.key"] {
        fs::copy(machine.state.join(file), copy.state.join(file)).expect("copied");
    }
    copy.machine_config("fleet: blue\n");
    refused(&copy.rrctl(&["up"]), 4, &["that of another host", "rrctl join"]);
}

/// Replaces a joined machine's certificate by one that says the same and lives this long only.
fn shorten(center: &Center, machine: &Sandbox, life: Duration) {
    let fleet = FleetName::parse("blue").expect("legal");
    let authority = Authority::open(&center.sandbox.state.join("ca"), &fleet).expect("the center's").with_life(life);
    let card = card(machine);
    let order = Order { identity: &card.identity, names: &card.names };
    let short = authority.sign_key(&card.key, &order).expect("signed");
    fs::write(machine.state.join("tls/host.pem"), pem::certificate(&short)).expect("written");
}

fn card(machine: &Sandbox) -> Card {
    let text = fs::read_to_string(machine.state.join("tls/host.pem")).expect("there");
    Card::read(&pem::read_certificate(&text).expect("a certificate")).expect("a host's")
}

#[test]
fn a_daemon_renews_its_machines_certificate_in_time_and_not_if_it_is_shut_out() {
    let center = Center::new();
    let _daemon = Daemon::start(&center.sandbox);
    let (good, bad) = (center.machine("good", "operator"), center.machine("bad", "operator"));
    done(&center.sandbox, &["deny", "bad", "--reason", "it was stolen"]);
    // Each just before it starts, which a busy machine has to be done with in that time.
    let _daemons = [&good, &bad].map(|machine| {
        shorten(&center, machine, Duration::from_secs(10));
        Daemon::start(machine)
    });
    let end = card(&bad).until;
    until("it is renewed", || card(&good).until > end + Duration::from_secs(3_600));
    assert_eq!(card(&good).identity.role, Role::Operator);
    until("the other one's has ended", || SystemTime::now() > end);
    assert_eq!(card(&bad).until, end, "nobody gave it a new one");
    let log = fs::read_to_string(bad.path().join("daemon.log")).expect("a log");
    assert!(log.contains("it was stolen"), "{log}");
    // Nor does a token help: the host is shut out, not the certificate.
    refused(&bad.rrctl(&["join", &center.token("admin"), "--again"]), 4, &["shut out of the fleet", "it was stolen"]);
}

/// One machine alone: no certificate is needed for this.
#[test]
fn a_host_that_is_shut_out_loses_its_locks_and_its_agents_are_told_why() {
    let sandbox = Sandbox::new();
    let mut daemon = Daemon::start(&sandbox);
    let mut one = Agent::start(&sandbox, "one");
    one.write("a.txt", "1\n").must_pass();
    let host = sandbox.json(&["hosts"])["hosts"][0]["host_id"].as_str().expect("an id").to_owned();
    assert_eq!(sandbox.json(&["deny", &host, "--reason", "it was stolen"])["sessions_ended"], 1);
    assert!(sandbox.locks().is_empty() && sandbox.sessions().is_empty(), "gone at once");
    let said = ["shut out of the fleet", "it was stolen", "rrctl allow"];
    until("the daemon knows", || one.write("b.txt", "1\n").reason.is_some_and(|r| r.contains(said[0])));
    one.write("b.txt", "1\n").must_be_denied(&said);
    one.read("a.txt").must_be_denied(&said);
    // A new start changes nothing.
    daemon.restart();
    one.write("b.txt", "1\n").must_be_denied(&said);
    assert!(!sandbox.repo.join("b.txt").exists());

    assert_eq!(sandbox.json(&["allow", &host])["allowed"], true);
    until("it goes on", || one.write("b.txt", "1\n").passed());
    assert_eq!(sandbox.holder("b.txt").as_deref(), Some("one"));
}

/// Files that `rrctl ca issue` made for a member of etcd.
fn member(center: &Center, san: &str) -> EtcdTls {
    let out = center.sandbox.path().join("etcd");
    drop(fs::remove_dir_all(&out));
    let folder = out.to_str().expect("text").to_owned();
    done(&center.sandbox, &["ca", "issue", "--role", "store", "--name", "etcd-1", "--san", san, "--out", &folder]);
    EtcdTls { ca: out.join("ca.pem"), cert: out.join("etcd-1.pem"), key: out.join("etcd-1.key") }
}

fn issue_root(center: &Center) -> [PathBuf; 2] {
    let out = center.sandbox.path().join("root");
    let folder = out.to_str().expect("text").to_owned();
    done(&center.sandbox, &["ca", "issue", "--role", "store", "--name", "root", "--out", &folder]);
    [out.join("root.pem"), out.join("root.key")]
}

#[test]
fn two_machines_on_one_etcd_that_knows_its_users_until_one_is_shut_out() {
    let center = Center::new();
    let tls = member(&center, "localhost");
    let etcd = EtcdCluster::start(1, EtcdSetup { tls: Some(tls), ..EtcdSetup::default() });
    // etcd reads its certificate anew for each handshake.
    member(&center, &etcd.ip(0).to_string());
    center.configure(&format!("store: {{ kind: etcd, endpoints: [\"{}\"] }}\n", etcd.endpoint(0)));
    let users = center.sandbox.json(&["etcd", "init-users", "--enable"]);
    assert_eq!((&users["user"], &users["prefix"]), (&"railroad-blue".into(), &"rr/v1/blue/".into()));
    let _daemon = Daemon::start(&center.sandbox);
    // From now on only root may, and says so by its certificate.
    refused(&center.sandbox.rrctl(&["etcd", "init-users"]), 4, &["permission denied", "--role store --name root"]);
    let [cert, key] = issue_root(&center);
    let (cert, key) = (cert.to_str().expect("text"), key.to_str().expect("text"));
    let again = center.sandbox.json(&["etcd", "init-users", "--cert", cert, "--key", key]);
    assert_eq!((&again["created"], &again["wider"]), (&false.into(), &Value::Array(vec![])));

    let machine = center.machine("box-1", "agent");
    let _other = Daemon::start(&machine);
    let mut agent = Agent::start(&machine, "far");
    agent.write("a.txt", "1\n").must_pass();
    assert_eq!(center.sandbox.holder("a.txt").as_deref(), Some("far"), "seen over here");
    assert_eq!(center.sandbox.json(&["deny", "box-1", "--reason", "it was stolen"])["sessions_ended"], 1);
    assert!(center.sandbox.locks().is_empty(), "its locks are gone at once");
    until("the daemon there knows", || {
        agent.write("b.txt", "1\n").reason.is_some_and(|r| r.contains("shut out of the fleet"))
    });
    agent.write("b.txt", "1\n").must_be_denied(&["it was stolen"]);
    assert!(center.sandbox.sessions().is_empty());
    done(&center.sandbox, &["allow", "box-1"]);
    until("it goes on", || agent.write("b.txt", "1\n").passed());
}
