//! Who we are to etcd: certificates that change while in use, users with passwords whose tokens run out, users that a
//! certificate names. And what a person reads when etcd does not let us in.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Certificate, Client, ConnectOptions, Identity, Permission, TlsOptions};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd,
};
use rr_core::time::Span;
use rr_store::etcd::{ConnectError, Credentials, EtcdOptions};
use rr_store::suite::ManualClock;
use rr_store::{EtcdStore, Keys, Op, Store, StoreError, Txn};
use rr_tests::etcd::{EtcdCluster, EtcdSetup, EtcdTls, free_seats};

use super::{connect_with, eventually, next, options, put, read, tls_files, write};

/// A certificate authority in memory.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// `ca.pem`, `NAME.pem` and `NAME.key` in `dir`; the common name is `name`.
    fn issue(&self, dir: &Path, name: &str, ips: &[IpAddr], change: impl FnOnce(&mut CertificateParams)) {
        let mut params = CertificateParams::new(ips.iter().map(IpAddr::to_string).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        // etcd's own gateway is a client of its server, with the same certificate.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(dir.join("ca.pem"), &self.pem).unwrap();
        fs::write(dir.join(format!("{name}.pem")), cert.pem()).unwrap();
        fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

/// A cluster that speaks TLS to clients, and a folder with its certificates.
struct Secured {
    dir: tempfile::TempDir,
    ca: Ca,
    cluster: EtcdCluster,
    _claim: TcpListener,
}

impl Secured {
    fn start(members: usize, flags: &[&str]) -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new("fleet"));
        let (seats, claim) = free_seats(members);
        let ips: Vec<IpAddr> = seats.iter().map(|seat| seat.ip).collect();
        ca.issue(dir.path(), "server", &ips, |_| {});
        ca.issue(dir.path(), "host", &[], |_| {});
        let server = tls_files(dir.path(), "server");
        let tls = Some(EtcdTls { ca: server.ca, cert: server.cert, key: server.key });
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let cluster = EtcdCluster::start(members, EtcdSetup { tls, seats, flags, ..EtcdSetup::default() });
        Self { dir, ca, cluster, _claim: claim }
    }

    fn options(&self, name: &str) -> EtcdOptions {
        EtcdOptions { tls: Some(tls_files(self.dir.path(), name)), ..options(&self.cluster) }
    }

    async fn operator(&self, user: Option<(&str, &str)>) -> Client {
        let file = |name: &str| fs::read(self.dir.path().join(name)).unwrap();
        let identity = Identity::from_pem(file("host.pem"), file("host.key"));
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(file("ca.pem"))).identity(identity);
        let mut options = ConnectOptions::new().with_tls(tls);
        if let Some((user, password)) = user {
            options = options.with_user(user, password);
        }
        Client::connect(self.cluster.endpoints(), Some(options)).await.unwrap()
    }
}

async fn why(options: EtcdOptions) -> ConnectError {
    let connected = EtcdStore::connect(options, Arc::new(ManualClock::default())).await;
    connected.map(drop).expect_err("etcd does not let us in")
}

/// Authentication on, with `root` and a user that may use the keys beneath `mine/` only.
async fn protect(operator: &mut Client, user: &str, password: Option<&str>) {
    operator.user_add("root", "toor", None).await.unwrap();
    operator.role_add("root").await.unwrap();
    operator.user_grant_role("root", "root").await.unwrap();
    operator.role_add("fleet").await.unwrap();
    let mine = Permission::read_write("mine/").with_prefix();
    operator.role_grant_permission("fleet", mine).await.unwrap();
    let no_password = etcd_client::UserAddOptions::new().with_no_pwd();
    operator.user_add(user, password.unwrap_or(""), password.is_none().then_some(no_password)).await.unwrap();
    operator.user_grant_role(user, "fleet").await.unwrap();
    operator.auth_enable().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_works_and_new_files_are_taken_up_while_connected() {
    let secured = Secured::start(1, &[]);
    let clock = Arc::new(ManualClock::default());
    let store = EtcdStore::connect(secured.options("host"), clock.clone()).await.unwrap();
    write(&store, "a", "1").await;
    let mut watch = store.watch(Keys::one("a"), 0).await.unwrap();
    let dialled = || {
        secured.cluster.metric(0, "grpc_server_started_total{grpc_method=\"Status\",grpc_service=\"etcdserverpb.Maintenance\",grpc_type=\"unary\"}")
    };
    let before = dialled();
    // Time passes, nothing has changed.
    clock.advance(Span::from_secs(11));
    read(&store, "a").await.unwrap();
    // Files that are written one after another: what does not go together is not used.
    let key = secured.dir.path().join("host.key");
    fs::write(&key, "not a key").unwrap();
    clock.advance(Span::from_secs(11));
    read(&store, "a").await.unwrap();
    assert_eq!(dialled(), before);
    secured.ca.issue(secured.dir.path(), "host", &[], |_| {});
    clock.advance(Span::from_secs(11));
    eventually("new connections, for requests and for watches", || async {
        read(&store, "a").await?;
        if dialled() == before.map(|count| count + 2.0) {
            Ok(())
        } else {
            Err(StoreError::Unavailable("not yet".into()))
        }
    })
    .await;
    write(&store, "a", "2").await;
    next(&mut watch).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_cluster_is_reached_with_the_files_of_that_time() {
    let mut secured = Secured::start(1, &[]);
    let store = connect_with(secured.options("host")).await;
    write(&store, "a", "1").await;
    // All certificates are of another authority now: only a store that reads its files again gets in.
    let other = Ca::new("other");
    other.issue(secured.dir.path(), "server", &[secured.cluster.ip(0)], |_| {});
    other.issue(secured.dir.path(), "host", &[], |_| {});
    secured.cluster.restart_all(true);
    eventually("a read", || read(&store, "a")).await;
    write(&store, "a", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_that_do_not_work_are_told_with_the_endpoint() {
    let secured = Secured::start(1, &[]);
    let dir = tempfile::tempdir().unwrap();
    let stranger = Ca::new("stranger");
    stranger.issue(dir.path(), "host", &[], |_| {});
    let at =
        |name: &str, in_dir: &Path| EtcdOptions { tls: Some(tls_files(in_dir, name)), ..options(&secured.cluster) };
    // Another authority: we do not trust the server.
    let error = why(at("host", dir.path())).await.to_string();
    assert!(error.contains(&secured.cluster.endpoint(0)) && error.contains("certificate"), "{error}");
    // The right authority, and a certificate of another one: the server does not trust us.
    fs::write(dir.path().join("ca.pem"), &secured.ca.pem).unwrap();
    let error = why(at("host", dir.path())).await.to_string();
    assert!(error.contains(&secured.cluster.endpoint(0)) && error.contains("host.pem: is it valid"), "{error}");
    // Expired.
    secured.ca.issue(secured.dir.path(), "old", &[], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    });
    let error = why(secured.options("old")).await.to_string();
    assert!(error.contains(&secured.cluster.endpoint(0)) && error.contains("old.pem: is it valid"), "{error}");
    // Files that are not there, or hold something else.
    let error = why(secured.options("missing")).await;
    assert!(matches!(&error, ConnectError::Tls { why } if why.contains("missing.pem")), "{error}");
    fs::write(secured.dir.path().join("empty.pem"), "").unwrap();
    fs::write(secured.dir.path().join("empty.key"), "").unwrap();
    let error = why(secured.options("empty")).await;
    assert!(matches!(&error, ConnectError::Tls { why } if why.contains("empty.pem holds no PEM")), "{error}");
    fs::copy(secured.dir.path().join("host.pem"), secured.dir.path().join("odd.pem")).unwrap();
    fs::copy(secured.dir.path().join("host.pem"), secured.dir.path().join("odd.key")).unwrap();
    let error = why(secured.options("odd")).await;
    assert!(matches!(&error, ConnectError::Tls { why } if why.contains("odd.key")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_logs_in_again_when_the_token_has_run_out() {
    let mut cluster =
        EtcdCluster::start(1, EtcdSetup { flags: vec!["--auth-token-ttl=1".into()], ..EtcdSetup::default() });
    let mut operator = Client::connect(cluster.endpoints(), None).await.unwrap();
    protect(&mut operator, "fleet", Some("secret")).await;
    let with = |user: &str, password: &str| EtcdOptions {
        credentials: Some(Credentials { user: user.into(), password: password.into() }),
        ..options(&cluster)
    };
    let store = connect_with(with("fleet", "secret")).await;
    write(&store, "mine/a", "1").await;
    let mut watch = store.watch(Keys::prefix("mine/"), 0).await.unwrap();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    // Longer than a token lives: requests, streams and new watches get another.
    tokio::time::sleep(Duration::from_secs(4)).await;
    let leased = Txn::default().then(vec![Op::put_leased("mine/a", "2", lease)]);
    store.txn(leased).await.unwrap();
    next(&mut watch).await.unwrap().unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    store.keep_alive(lease).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    let mut late = store.watch(Keys::prefix("mine/"), 0).await.unwrap();
    // What is not ours is refused for good, and changes nothing.
    for answer in [store.txn(put("other", "1")).await.map(drop), store.range(Keys::prefix("")).await.map(drop)] {
        assert!(matches!(&answer, Err(StoreError::Invalid(why)) if why.contains("permission denied")), "{answer:?}");
    }
    let denied = store.watch(Keys::one("other"), 0).await.map(drop);
    assert!(matches!(&denied, Err(StoreError::Invalid(why)) if why.contains("permission denied")), "{denied:?}");
    // A restarted member knows no tokens at all.
    drop(operator);
    let refused = [
        (with("fleet", "wrong"), "store.password_file"),
        (with("nobody", "secret"), "store.password_file"),
        (options(&cluster), "set `store.user`"),
    ];
    for (options, hint) in refused {
        let error = why(options).await;
        assert!(matches!(&error, ConnectError::Refused { why, .. } if why.contains(hint)), "{error}");
    }
    cluster.restart_all(false);
    eventually("a write", || store.txn(put("mine/a", "3"))).await;
    next(&mut late).await.unwrap().unwrap();
    store.revoke(lease).await.unwrap();
    assert!(store.members().await[0].status.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_for_a_store_that_asks_for_none_is_refused_with_what_to_do() {
    let cluster = EtcdCluster::start(1, EtcdSetup::default());
    let credentials = Some(Credentials { user: "fleet".into(), password: "secret".into() });
    let error = why(EtcdOptions { credentials, ..options(&cluster) }).await;
    assert!(matches!(&error, ConnectError::Refused { why, .. } if why.contains("remove `store.user`")), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificates_common_name_is_a_user() {
    let secured = Secured::start(3, &[]);
    protect(&mut secured.operator(None).await, "host", None).await;
    let store = connect_with(secured.options("host")).await;
    write(&store, "mine/a", "1").await;
    let mut watch = store.watch(Keys::prefix("mine/"), 0).await.unwrap();
    let lease = store.grant(Span::from_secs(60)).await.unwrap();
    store.txn(Txn::default().then(vec![Op::put_leased("mine/b", "", lease)])).await.unwrap();
    next(&mut watch).await.unwrap().unwrap();
    store.keep_alive(lease).await.unwrap();
    store.revoke(lease).await.unwrap();
    let denied = store.txn(put("other", "1")).await;
    assert!(matches!(&denied, Err(StoreError::Invalid(why)) if why.contains("permission denied")), "{denied:?}");
    assert!(store.members().await.iter().all(|member| member.status.is_ok()));
    // A name that no user has is nobody.
    secured.ca.issue(secured.dir.path(), "nobody", &[], |_| {});
    let stranger = connect_with(secured.options("nobody")).await;
    assert!(matches!(read(&stranger, "mine/a").await, Err(StoreError::Invalid(_))));
}
