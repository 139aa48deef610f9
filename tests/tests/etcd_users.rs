//! A fleet's user of a real etcd that speaks TLS and asks everybody for a user: its own keys and nothing else, by certificate
//! alone, the same however often it is made.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rr_core::id::{Entropy as _, FleetName, HostId};
use rr_core::time::Span;
use rr_link::authority::{Authority, Issued, Order};
use rr_link::identity::{Identity, Role, store_user};
use rr_link::pem;
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::etcd::users::{FleetUser, UsersDone, init_users};
use rr_store::etcd::{EtcdOptions, EtcdStore, TlsFiles};
use rr_store::{Compare, KeepAlive, Keys, Op, Store as _, StoreError, Txn};
use rr_tests::etcd::{EtcdCluster, EtcdSetup, EtcdTls};

/// An etcd with the fleet's authority, and everybody's files.
struct Stage {
    dir: tempfile::TempDir,
    fleet: FleetName,
    authority: Authority,
    etcd: Option<EtcdCluster>,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let fleet = FleetName::parse("blue").expect("legal");
        let authority = Authority::init(&dir.path().join("ca"), &fleet).expect("authority");
        fs::write(dir.path().join("ca.pem"), pem::certificate(authority.certificate())).expect("written");
        let mut stage = Self { dir, fleet, authority, etcd: None };
        // Loopback clusters choose their own address; the certificate has to fit any, so it is reached by a name it has.
        let names: Vec<String> = vec!["localhost".into(), "127.0.0.1".into()];
        let member = stage.authority.issue_for_store("etcd-1", &names).expect("issued");
        let (cert, key) = stage.write("etcd-1", &member);
        let tls = EtcdTls { ca: stage.dir.path().join("ca.pem"), cert, key };
        stage.etcd = Some(EtcdCluster::start(1, EtcdSetup { tls: Some(tls), ..EtcdSetup::default() }));
        let ip = stage.etcd.as_ref().expect("running").ip(0).to_string();
        // Reloaded with each handshake: now with the address that it got.
        let member = stage.authority.issue_for_store("etcd-1", &[ip]).expect("issued");
        stage.write("etcd-1", &member);
        stage
    }

    fn write(&self, name: &str, issued: &Issued) -> (PathBuf, PathBuf) {
        let file = |ending: &str| self.dir.path().join(format!("{name}.{ending}"));
        let (cert, key) = (file("pem"), file("key"));
        private(&cert, &issued.certificate);
        private(&key, &issued.key);
        (cert, key)
    }

    /// The options of one who shows this certificate.
    fn options(&self, name: &str, issued: &Issued) -> EtcdOptions {
        let (cert, key) = self.write(name, issued);
        let tls = TlsFiles { ca: self.dir.path().join("ca.pem"), cert, key };
        let endpoints = self.etcd.as_ref().expect("running").endpoints();
        EtcdOptions { endpoints, credentials: None, tls: Some(tls) }
    }

    fn host(&self, fleet: &FleetName, role: Role) -> EtcdOptions {
        let host = HostId::from_random(OsEntropy.bits());
        let identity = Identity { fleet: fleet.clone(), host, role, name: "box".into() };
        let issued = self.authority.issue(&Order { identity: &identity, names: &[] }).expect("issued");
        self.options(&format!("{fleet}-{role}"), &issued)
    }

    fn root(&self) -> EtcdOptions {
        self.options("root", &self.authority.issue_for_store("root", &[]).expect("issued"))
    }

    fn user(&self) -> FleetUser {
        FleetUser { name: store_user(&self.fleet), prefix: format!("rr/v1/{}/", self.fleet) }
    }
}

fn private(file: &Path, text: &str) {
    fs::write(file, text).expect("written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("restricted");
}

async fn connect(options: EtcdOptions) -> Arc<EtcdStore> {
    EtcdStore::connect(options, Arc::new(BootClock)).await.expect("connects")
}

fn put(key: &str) -> Txn {
    Txn::when(vec![Compare::absent(Keys::one(key))]).then(vec![Op::put(key, "x")])
}

fn is_refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    match answer {
        Err(StoreError::Invalid(why)) => assert!(why.contains("permission denied"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_fleets_user_has_its_own_keys_and_no_others() {
    let stage = Stage::new();
    let made = init_users(&stage.root(), &stage.user(), true).await.expect("made");
    assert_eq!(made, UsersDone { created: true, wider: vec![], enabled: true });
    let again = init_users(&stage.root(), &stage.user(), true).await.expect("made again");
    assert_eq!(again, UsersDone { created: false, wider: vec![], enabled: true });

    for role in [Role::Agent, Role::Operator, Role::Admin] {
        let store = connect(stage.host(&stage.fleet, role)).await;
        let own = format!("rr/v1/blue/{role}");
        assert!(store.txn(put(&own)).await.expect("its own key").succeeded, "{role}");
        let lease = store.grant(Span::from_secs(60)).await.expect("a lease");
        let leased = Txn::default().then(vec![Op::put_leased(format!("{own}/l"), "x", lease)]);
        store.txn(leased).await.expect("a leased key");
        assert!(matches!(store.keep_alive(lease).await, Ok(KeepAlive::Alive(_))));
        store.revoke(lease).await.expect("revoked");
        for foreign in ["rr/v1/red/x", "rr/v1/blues/x", "rr/v1/blue", "other"] {
            is_refused(store.txn(put(foreign)).await);
            is_refused(store.range(Keys::one(foreign)).await);
        }
        is_refused(store.range(Keys::prefix("rr/v1/")).await);
        is_refused(store.range(Keys::prefix("")).await);
    }
}

#[tokio::test]
async fn those_who_are_no_user_get_nothing() {
    let stage = Stage::new();
    init_users(&stage.root(), &stage.user(), true).await.expect("made");
    // A viewer's certificate and another fleet's, of the same authority, and a member's own.
    let red = FleetName::parse("red").expect("legal");
    let member = stage.options("member", &stage.authority.issue_for_store("etcd-9", &[]).expect("issued"));
    for options in [stage.host(&stage.fleet, Role::Viewer), stage.host(&red, Role::Admin), member] {
        let answer = match EtcdStore::connect(options.clone(), Arc::new(BootClock)).await {
            Ok(store) => store.txn(put("rr/v1/blue/x")).await.map(|_| ()).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        assert!(answer.is_err(), "{options:?}");
    }
    // And nobody but root makes users.
    let error = init_users(&stage.host(&stage.fleet, Role::Admin), &stage.user(), false).await.expect_err("refused");
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[tokio::test]
async fn rights_that_somebody_else_gave_are_told_and_left() {
    let stage = Stage::new();
    let wide = FleetUser { prefix: "rr/".into(), ..stage.user() };
    init_users(&stage.root(), &wide, false).await.expect("made");
    let made = init_users(&stage.root(), &stage.user(), false).await.expect("made");
    assert_eq!((made.created, made.wider), (false, vec!["the keys from rr/".to_owned()]));
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_told_with_its_address() {
    let options = EtcdOptions { endpoints: vec!["http://127.0.0.1:1".into()], ..EtcdOptions::default() };
    let user = FleetUser { name: "railroad-blue".into(), prefix: "rr/v1/blue/".into() };
    let error = init_users(&options, &user, false).await.expect_err("nobody there");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}
