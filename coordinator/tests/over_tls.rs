//! The coordinator as other machines see it: real certificates over loopback, on the embedded store. Who is let in and how
//! often, what each role may ask, and what becomes of a host that is shut out (H40). Handshakes alone are proven in `rr_link`.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use rr_coordinator::app::Open;
use rr_coordinator::enrol::Issuer;
use rr_core::id::{CallPrint, Entropy as _, FleetName, HostId};
use rr_core::limits::Timing;
use rr_fleet::{ApprovalRequest, Fleet, Registered, SessionRecord};
use rr_link::Files;
use rr_link::accept::{Door, listen};
use rr_link::authority::{Authority, Order, new_key_text, request_for};
use rr_link::dial::{Address, dial};
use rr_link::identity::{Identity, Role};
use rr_link::join::{JoinError, Joined, Newcomer, join};
use rr_link::material::Material;
use rr_link::pem;
use rr_link::renewal::{Source, keep_fresh};
use rr_link::token::{JoinToken, hash};
use rr_proto::v1;
use rr_proto::v1::approvals_client::ApprovalsClient;
use rr_proto::v1::enrol_client::EnrolClient;
use rr_proto::v1::fleet_client::FleetClient;
use rr_proto::v1::journal_client::JournalClient;
use rr_proto::v1::locks_client::LocksClient;
use rr_runtime::clock::BootClock;
use rr_runtime::entropy::OsEntropy;
use rr_store::embedded::{EmbeddedStore, Options};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Far above what any of this takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A coordinator with an authority, on a store and an address of its own.
struct Desk {
    dir: tempfile::TempDir,
    name: FleetName,
    fleet: Fleet,
    address: Address,
    _end: DropGuard,
}

impl Desk {
    async fn open() -> Self {
        Self::giving(DAY).await
    }

    /// Certificates live this long.
    async fn giving(life: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = FleetName::parse("blue").unwrap();
        let clock = Arc::new(BootClock);
        let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).unwrap();
        let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.unwrap();
        let ca = dir.path().join("ca");
        let authority = Authority::init(&ca, &name).unwrap().with_life(life);
        let files = files(&dir, "desk");
        let own = Identity { fleet: name.clone(), host: new_host(), role: Role::Admin, name: "desk".into() };
        equip(&authority, &files, &own);
        let material = Material::load(files, &name).unwrap();
        let end = CancellationToken::new();
        tokio::spawn(keep_fresh(
            material.clone(),
            Source::Own(Arc::new(Authority::open(&ca, &name).unwrap().with_life(life))),
            end.clone(),
        ));
        let door = Door::Tls { material, strangers: true };
        let listener = listen("127.0.0.1:0".parse().unwrap(), &door).await.unwrap();
        let address = Address::parse(&format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port())).unwrap();
        let issuer = Issuer::new(authority, vec![address.clone()], vec!["https://s:1".into()]);
        let socket = dir.path().join("api.sock");
        let remote = Some((listener, door));
        let open = Open::at(&socket, remote).await.unwrap();
        let serving = open.serve(fleet.clone(), Some(issuer), end.clone());
        tokio::spawn(async move { serving.await.unwrap() });
        Self { dir, name, fleet, address, _end: end.drop_guard() }
    }

    fn authority(&self) -> Authority {
        Authority::open(&self.dir.path().join("ca"), &self.name).unwrap()
    }

    fn files(&self, name: &str) -> Files {
        files(&self.dir, name)
    }

    /// A machine with a certificate.
    fn machine(&self, name: &str, role: Role) -> Material {
        let files = self.files(name);
        let identity = Identity { fleet: self.name.clone(), host: new_host(), role, name: name.into() };
        equip(&self.authority(), &files, &identity);
        Material::load(files, &self.name).unwrap()
    }

    async fn channel(&self, material: &Material) -> Channel {
        dial(&self.address, Some(material)).await.unwrap()
    }

    async fn token(&self, role: Role) -> JoinToken {
        let admin = EnrolClient::new(self.channel(&self.machine("admin", Role::Admin)).await);
        let made = { admin }.create_token(token_request(role)).await.unwrap().into_inner();
        JoinToken::parse(&made.token).unwrap()
    }

    async fn join(&self, token: &JoinToken, name: &str) -> Result<Joined, JoinError> {
        join(token, &newcomer(name), &self.files(name)).await
    }

    async fn status(&self, material: &Material) -> Result<v1::StatusReply, Status> {
        let mut client = FleetClient::new(self.channel(material).await);
        client.status(v1::StatusRequest {}).await.map(tonic::Response::into_inner)
    }
}

fn files(dir: &tempfile::TempDir, name: &str) -> Files {
    let files = Files::below(&dir.path().join(name));
    std::fs::create_dir_all(files.ca.parent().unwrap()).unwrap();
    files
}

fn equip(authority: &Authority, files: &Files, identity: &Identity) {
    use std::os::unix::fs::PermissionsExt as _;
    let issued = authority.issue(&Order { identity, names: &["127.0.0.1".into()] }).unwrap();
    let ca = pem::certificate(authority.certificate());
    for (file, text) in [(&files.ca, &ca), (&files.cert, &issued.certificate), (&files.key, &issued.key)] {
        std::fs::write(file, text).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn new_host() -> HostId {
    HostId::from_random(OsEntropy.bits())
}

fn newcomer(name: &str) -> Newcomer {
    Newcomer { host: new_host(), name: name.into(), names: vec![name.into()] }
}

fn token_request(role: Role) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest { role: role.word().into(), ttl_s: 0, addresses: vec![], who: "kim".into() }
}

fn told(joined: Result<Joined, JoinError>) -> String {
    joined.unwrap_err().to_string()
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("in time")
}

#[tokio::test]
async fn a_token_lets_one_machine_in_with_the_role_it_was_made_for() {
    let desk = Desk::open().await;
    let token = desk.token(Role::Agent).await;
    let joined = desk.join(&token, "box-1").await.unwrap();
    assert_eq!((joined.card.identity.role, joined.card.identity.name.as_str()), (Role::Agent, "box-1"));
    assert!(joined.card.names.is_empty(), "an agent's machine serves nobody: {:?}", joined.card.names);
    assert_eq!(joined.store_endpoints, ["https://s:1"]);
    let material = Material::load(desk.files("box-1"), &desk.name).unwrap();
    desk.status(&material).await.unwrap();
    let hosts = desk.fleet.hosts().await.unwrap();
    assert_eq!((hosts.len(), hosts[0].name.as_str(), &hosts[0].host), (1, "box-1", &joined.card.identity.host));

    let again = told(desk.join(&token, "box-2").await);
    assert!(again.contains("was used already, by box-1"), "{again}");
    assert!(Material::load(desk.files("box-2"), &desk.name).is_err(), "whoever was refused has no certificate");
}

#[tokio::test]
async fn of_twenty_machines_with_one_token_exactly_one_comes_in() {
    let desk = Arc::new(Desk::open().await);
    let token = desk.token(Role::Operator).await;
    let tries: Vec<_> = (0..20)
        .map(|n| {
            let (desk, token) = (desk.clone(), token.clone());
            tokio::spawn(async move { desk.join(&token, &format!("box-{n}")).await })
        })
        .collect();
    let mut inside = 0;
    for task in tries {
        match task.await.unwrap() {
            Ok(joined) => {
                assert_eq!(joined.card.names, std::slice::from_ref(&joined.card.identity.name));
                inside += 1;
            }
            Err(JoinError::Refused(why)) => assert!(why.contains("used already"), "{why}"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((inside, desk.fleet.hosts().await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_token_that_was_never_made_has_ended_or_is_another_fleets_lets_nobody_in() {
    let desk = Desk::open().await;
    let token = desk.token(Role::Agent).await;
    let invented = JoinToken { secret: [9; 32], ..token.clone() };
    let refused = told(desk.join(&invented, "box-1").await);
    assert!(refused.contains("has ended or was never made here"), "{refused}");

    let other = JoinToken { fleet: FleetName::parse("red").unwrap(), ..token.clone() };
    let refused = told(desk.join(&other, "box-2").await);
    assert!(refused.contains("it is of fleet blue, and this is fleet red"), "{refused}");

    // Another coordinator at that address, with an authority of its own: it gets to see nothing of the token.
    let elsewhere = Desk::open().await;
    let misled = JoinToken { addresses: vec![elsewhere.address.clone()], ..token.clone() };
    let refused = told(desk.join(&misled, "box-3").await);
    assert!(refused.contains("signed by another authority"), "{refused}");

    let nobody = JoinToken { addresses: vec![Address::parse("https://127.0.0.1:1").unwrap()], ..token.clone() };
    assert!(matches!(desk.join(&nobody, "box-4").await, Err(JoinError::Unreachable(_))));
    desk.join(&token, "box-5").await.unwrap();
}

/// Requests that a program other than ours could make.
#[tokio::test]
async fn a_forged_request_gets_nothing_and_spends_nothing() {
    let desk = Desk::open().await;
    let token = desk.token(Role::Agent).await;
    let mut client = EnrolClient::new(desk.channel(&desk.machine("m", Role::Viewer)).await);
    let good = v1::JoinRequest {
        secret: token.secret.to_vec(),
        fleet: "blue".into(),
        host: new_host().to_string(),
        name: "box-1".into(),
        names: vec![],
        request: request_for(&new_key_text().unwrap()).unwrap(),
    };
    let mut unsigned = good.request.clone();
    *unsigned.last_mut().unwrap() ^= 1;
    let forged = [
        (v1::JoinRequest { fleet: "red".into(), ..good.clone() }, Code::PermissionDenied),
        (v1::JoinRequest { secret: token.secret[..31].to_vec(), ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { secret: vec![], ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { host: "../admin".into(), ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { names: vec!["*".into()], ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { names: vec!["a".into(); 99], ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { request: unsigned, ..good.clone() }, Code::InvalidArgument),
        (v1::JoinRequest { request: vec![0; 40_000], ..good.clone() }, Code::InvalidArgument),
    ];
    for (request, code) in forged {
        let refused = client.join(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    // The hash of a secret, which anybody who can read the store has, is no secret.
    let hashed = hash(&token.secret);
    let refused = client.join(v1::JoinRequest { secret: hashed.as_bytes()[..32].to_vec(), ..good.clone() }).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    client.join(good).await.unwrap();
}

#[tokio::test]
async fn a_hosts_id_cannot_be_taken_by_another_machine() {
    let desk = Desk::open().await;
    let victim = desk.join(&desk.token(Role::Agent).await, "victim").await.unwrap().card.identity.host;
    let token = desk.token(Role::Admin).await;
    let thief = Newcomer { host: victim.clone(), name: "thief".into(), names: vec![] };
    let refused = told(join(&token, &thief, &desk.files("thief")).await);
    assert!(refused.contains("belongs to victim with another key"), "{refused}");
    // The machine itself, whose certificate ended while it was off, comes back with its key.
    let back = Newcomer { host: victim, name: "victim".into(), names: vec![] };
    join(&token, &back, &desk.files("victim")).await.unwrap();
}

/// Every method by every role, and by one without a certificate.
#[tokio::test]
async fn each_method_is_answered_from_its_role_on_and_says_which_it_needs() {
    use Role::{Admin, Agent, Operator, Viewer};
    let desk = Desk::open().await;
    for role in Role::ALL {
        let material = desk.machine(&format!("m-{role}"), role);
        let channel = desk.channel(&material).await;
        let (mut fleet, mut locks) = (FleetClient::new(channel.clone()), LocksClient::new(channel.clone()));
        let mut approvals = ApprovalsClient::new(channel.clone());
        let mut enrol = EnrolClient::new(channel);
        let nobody = new_host().to_string();
        let pause = v1::PauseRequest { who: "kim".into(), reason: "test".into(), hard: false };
        let release = v1::ForceReleaseRequest { who: "kim".into(), reason: "test".into(), ..Default::default() };
        let deny = v1::DenyRequest { host: nobody.clone(), who: "kim".into(), reason: "test".into() };
        let decide = v1::DecideRequest { id: nobody.clone(), approve: true, who: "kim".into(), ..Default::default() };
        let allow = v1::AllowRequest { host: nobody, who: "kim".into() };
        let answers = [
            ("Fleet/Status", Viewer, fleet.status(v1::StatusRequest {}).await.err()),
            ("Fleet/Watch", Viewer, fleet.watch(v1::WatchRequest {}).await.err()),
            ("Fleet/Pause", Operator, fleet.pause(pause).await.err()),
            (
                "Fleet/Resume",
                Operator,
                fleet.resume(v1::ResumeRequest { who: "kim".into(), ..Default::default() }).await.err(),
            ),
            ("Locks/ForceRelease", Operator, locks.force_release(release).await.err()),
            ("Enrol/CreateToken", Admin, enrol.create_token(token_request(Agent)).await.err()),
            ("Enrol/Renew", Viewer, enrol.renew(v1::RenewRequest {}).await.err()),
            ("Enrol/Deny", Admin, enrol.deny(deny).await.err()),
            ("Enrol/Allow", Admin, enrol.allow(allow).await.err()),
            ("Enrol/Hosts", Viewer, enrol.hosts(v1::HostsRequest {}).await.err()),
            ("Approvals/List", Viewer, approvals.list(v1::ListApprovalsRequest {}).await.err()),
            ("Approvals/Watch", Viewer, approvals.watch(v1::WatchApprovalsRequest {}).await.err()),
            ("Approvals/Decide", Operator, approvals.decide(decide).await.err()),
        ];
        for (method, least, refused) in answers {
            match refused {
                None => assert!(role >= least, "{method} was answered to {role}"),
                Some(refused) => {
                    assert!(role < least, "{method} was refused to {role}: {refused}");
                    assert_eq!(refused.code(), Code::PermissionDenied, "{method}: {refused}");
                    let (needs, has) = (format!("needs the role {least}"), format!("has the role {role}"));
                    assert!(refused.message().contains(&needs) && refused.message().contains(&has), "{refused}");
                }
            }
        }
    }
}

/// Sidecars do what the store asks of them: nobody else looks at the asker's right.
#[tokio::test]
async fn all_read_the_log_and_only_an_operator_has_files_changed_or_kept() {
    let desk = Desk::open().await;
    for role in Role::ALL {
        let material = desk.machine(&format!("m-{role}"), role);
        let mut client = JournalClient::new(desk.channel(&material).await);
        client.log(v1::LogRequest::default()).await.unwrap();
        // Past the gate these make no sense.
        let rollback = client.rollback(v1::RollbackRequest::default()).await.unwrap_err();
        let checkpoint = client.checkpoint(v1::CheckpointRequest::default()).await.unwrap_err();
        let expected = if role >= Role::Operator { Code::InvalidArgument } else { Code::PermissionDenied };
        assert_eq!([rollback.code(), checkpoint.code()], [expected; 2], "{role}: {rollback}; {checkpoint}");
    }
}

#[tokio::test]
async fn what_is_recorded_names_who_the_certificate_proves_whatever_the_caller_says() {
    let desk = Desk::open().await;
    let material = desk.machine("box-1", Role::Operator);
    let short = material.current().card.identity.host.short().to_owned();
    let mut client = FleetClient::new(desk.channel(&material).await);
    for claimed in ["root [admin ffffffff]", ""] {
        let request = v1::PauseRequest { who: claimed.into(), reason: "test".into(), hard: false };
        client.pause(request).await.unwrap();
    }
    let holds = desk.fleet.state().await.unwrap().holds;
    let proven = format!("box-1 [operator {short}]");
    let mut names: Vec<_> = holds.iter().map(|h| h.who.clone()).collect();
    names.sort();
    assert_eq!(names, [proven.clone(), format!("{proven}: root [admin ffffffff]")]);
}

#[tokio::test]
async fn an_agents_machine_cannot_approve_what_it_asked_and_an_operators_does_so_under_its_proven_name() {
    let desk = Desk::open().await;
    let material = desk.machine("box-1", Role::Agent);
    let session = register(&desk.fleet, &material.current().card.identity.host).await;
    let call_print = CallPrint::parse(&"a".repeat(64)).unwrap();
    let request = ApprovalRequest {
        repo: None,
        call_print,
        tool: "Bash".into(),
        command: "npm publish".into(),
        folder: "/w".into(),
        agent: "claude".into(),
        host_name: "box-1".into(),
        diff: None,
        rule: "npm publish".into(),
        because: String::new(),
        asked_unix_ms: 0,
        expires_unix_ms: 60_000,
    };
    desk.fleet.ask_approval(&session, &request).await.unwrap();
    let mut own = ApprovalsClient::new(desk.channel(&material).await);
    let listed = own.list(v1::ListApprovalsRequest {}).await.unwrap().into_inner().approvals.remove(0);
    let decide = v1::DecideRequest {
        id: listed.id,
        revision: listed.revision,
        approve: true,
        who: "kim [admin ffffffff]".into(),
        reason: String::new(),
    };
    assert_eq!(own.decide(decide.clone()).await.unwrap_err().code(), Code::PermissionDenied);
    let desk_of_kim = desk.machine("kims", Role::Operator);
    let mut operator = ApprovalsClient::new(desk.channel(&desk_of_kim).await);
    operator.decide(decide).await.unwrap();
    let shown = own.list(v1::ListApprovalsRequest {}).await.unwrap().into_inner().approvals.remove(0);
    let proven = format!("kims [operator {}]: kim", desk_of_kim.current().card.identity.host.short());
    assert!(shown.state == "approved" && shown.who.starts_with(&proven), "{}", shown.who);
}

#[tokio::test]
async fn certificates_are_renewed_under_running_calls_and_none_fails() {
    let desk = Desk::giving(Duration::from_secs(6)).await;
    let token = desk.token(Role::Agent).await;
    desk.join(&token, "box-1").await.unwrap();
    let material = Material::load(desk.files("box-1"), &desk.name).unwrap();
    let end = CancellationToken::new();
    let renewing = keep_fresh(material.clone(), Source::Coordinators(vec![desk.address.clone()]), end.clone());
    let renewing = tokio::spawn(renewing);
    let (calls, stop) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let channel = desk.channel(&material).await;
    let caller = {
        let (calls, stop) = (calls.clone(), stop.clone());
        tokio::spawn(async move {
            let mut client = FleetClient::new(channel);
            while !stop.load(Ordering::Relaxed) {
                client.status(v1::StatusRequest {}).await.map_err(|e| (calls.load(Ordering::Relaxed), e))?;
                calls.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok::<(), (u32, Status)>(())
        })
    };
    // Three lives on: only renewed certificates are good then.
    let mut seen = material.watch();
    let first = material.current().card.until;
    let renewed = async {
        while seen.borrow_and_update().card.until < first + Duration::from_secs(12) {
            seen.changed().await.unwrap();
        }
        // A busy machine makes fewer calls in that time.
        while calls.load(Ordering::Relaxed) <= 100 && !caller.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon(renewed).await;
    stop.store(true, Ordering::Relaxed);
    if let Err((after, error)) = caller.await.unwrap() {
        panic!("call {after} failed: {error:?}");
    }
    let card = &material.current().card;
    assert!(SystemTime::now() > first && card.identity.role == Role::Agent && calls.load(Ordering::Relaxed) > 100);
    end.cancel();
    renewing.await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_shut_out_is_answered_nothing_and_renews_nothing_until_it_is_let_in() {
    let desk = Desk::open().await;
    let material = desk.machine("box-1", Role::Admin);
    let host = material.current().card.identity.host.clone();
    let channel = desk.channel(&material).await;
    let (mut fleet, mut enrol) = (FleetClient::new(channel.clone()), EnrolClient::new(channel));
    let mut pictures = fleet.watch(v1::WatchRequest {}).await.unwrap().into_inner();
    pictures.message().await.unwrap().expect("a picture");
    let session = register(&desk.fleet, &host).await;

    let mut admin = EnrolClient::new(desk.channel(&desk.machine("admin", Role::Admin)).await);
    let order = v1::DenyRequest { host: host.to_string(), who: "kim".into(), reason: "it was stolen".into() };
    let done = admin.deny(order.clone()).await.unwrap().into_inner();
    assert_eq!((done.already, done.sessions_ended), (false, 1));
    let all = desk.fleet.overview().await.unwrap();
    assert!(all.sessions.is_empty(), "its sessions are gone: {:?}", all.sessions);
    let alive = desk.fleet.keep_alive(&session).await.unwrap();
    assert_eq!(alive, rr_store::KeepAlive::Gone);

    let says_why = |refused: Status| {
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        assert!(refused.message().contains("kim: it was stolen"), "{refused}");
    };
    says_why(enrol.renew(v1::RenewRequest {}).await.unwrap_err());
    says_why(fleet.status(v1::StatusRequest {}).await.unwrap_err());
    // It cannot let itself in again either.
    let allow = v1::AllowRequest { host: host.to_string(), who: "me".into() };
    says_why(enrol.allow(allow.clone()).await.unwrap_err());
    let ended = async {
        loop {
            match pictures.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it ended without a word"),
                Err(status) => return status,
            }
        }
    };
    says_why(soon(ended).await);

    assert!(admin.deny(order).await.unwrap().into_inner().already);
    assert!(admin.allow(allow.clone()).await.unwrap().into_inner().allowed);
    assert!(!admin.allow(allow).await.unwrap().into_inner().allowed);
    fleet.status(v1::StatusRequest {}).await.unwrap();
    let renewed = enrol.renew(v1::RenewRequest {}).await.unwrap().into_inner();
    assert_eq!(renewed.role, "admin");
}

async fn register(fleet: &Fleet, host: &HostId) -> rr_fleet::Session {
    let record = SessionRecord {
        host: host.clone(),
        host_name: "box-1".into(),
        boot: "b".into(),
        pid: 1,
        start: 1,
        agent: "claude".into(),
        agent_session: "one".into(),
        workspace: "/work".into(),
        since_unix_ms: 1,
        task: String::new(),
        warning: String::new(),
    };
    match fleet.register(&record, host.as_str()).await.unwrap() {
        Registered::New(session) => session,
        Registered::SlotTaken { by, .. } => panic!("slot taken by {by}"),
    }
}

#[tokio::test]
async fn without_a_certificate_only_joining_is_answered() {
    let desk = Desk::open().await;
    let token = desk.token(Role::Agent).await;
    // As a stranger: by the token's own way, but asking for something else.
    let channel = rr_link::join::reach(&token).await.unwrap();
    let refused = FleetClient::new(channel.clone()).status(v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("rrctl join"), "{refused}");
    let mut enrol = EnrolClient::new(channel);
    assert_eq!(enrol.renew(v1::RenewRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(enrol.create_token(token_request(Role::Admin)).await.unwrap_err().code(), Code::Unauthenticated);
}

#[tokio::test]
async fn a_coordinator_without_the_authority_says_where_to_ask() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(BootClock);
    let store = EmbeddedStore::open(&dir.path().join("store"), Options::default(), clock.clone()).unwrap();
    let name = FleetName::default();
    let fleet = Fleet::open(store, &name, clock, Arc::new(OsEntropy), Timing::default()).await.unwrap();
    let listener = listen("127.0.0.1:0".parse().unwrap(), &Door::Loopback).await.unwrap();
    let address = Address::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let socket: PathBuf = dir.path().join("api.sock");
    let remote = Some((listener, Door::Loopback));
    tokio::spawn(Open::at(&socket, remote).await.unwrap().serve(fleet, None, end));
    // This user's own programs need no certificate on this machine.
    let mut enrol = EnrolClient::new(dial(&address, None).await.unwrap());
    let refused = enrol.create_token(token_request(Role::Agent)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("rrctl ca init"), "{refused}");
    enrol.hosts(v1::HostsRequest {}).await.unwrap();
}
