//! A fleet's authority, machines with certificates of it, and a coordinator that only tells its callers who they are.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use rr_core::id::{FleetName, HostId};
use rr_link::Files;
use rr_link::accept::{Door, Peer, incoming, listen};
use rr_link::authority::{Authority, Order};
use rr_link::dial::Address;
use rr_link::identity::{Identity, Role};
use rr_link::material::Material;
use rr_proto::v1;
use rr_proto::v1::locks_client::LocksClient;
use rr_proto::v1::locks_server::{Locks, LocksServer};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};

pub struct Fleet {
    pub dir: tempfile::TempDir,
    pub name: FleetName,
    pub authority: Authority,
}

impl Fleet {
    pub fn new(name: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let name = FleetName::parse(name).unwrap();
        let authority = Authority::init(&dir.path().join("ca"), &name).unwrap();
        Self { dir, name, authority }
    }

    /// The same authority, giving out certificates of another life.
    pub fn living(&self, life: Duration) -> Authority {
        Authority::open(&self.dir.path().join("ca"), &self.name).unwrap().with_life(life)
    }

    pub fn machine(&self, name: &str, role: Role) -> Material {
        self.machine_of(&self.authority, name, role)
    }

    pub fn machine_of(&self, authority: &Authority, name: &str, role: Role) -> Material {
        let files = self.files(name);
        equip(authority, &files, &self.identity(name, role));
        Material::load(files, &self.name).unwrap()
    }

    pub fn identity(&self, name: &str, role: Role) -> Identity {
        let mut bits = [0; 16];
        bits[..name.len().min(16)].copy_from_slice(&name.as_bytes()[..name.len().min(16)]);
        Identity { fleet: self.name.clone(), host: HostId::from_random(bits), role, name: name.to_owned() }
    }

    pub fn files(&self, name: &str) -> Files {
        let files = Files::below(&self.dir.path().join(name));
        std::fs::create_dir_all(files.ca.parent().unwrap()).unwrap();
        files
    }
}

/// Writes a new identity into `files`.
pub fn equip(authority: &Authority, files: &Files, identity: &Identity) {
    let issued = authority.issue(&Order { identity, names: &["localhost".into(), "127.0.0.1".into()] }).unwrap();
    write(&files.ca, &rr_link::pem::certificate(authority.certificate()));
    write(&files.key, &issued.key);
    write(&files.cert, &issued.certificate);
}

pub fn write(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let aside = file.with_extension("aside");
    std::fs::write(&aside, text).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(aside, file).unwrap();
}

/// Tells each caller who it is taken for.
struct Mirror;

#[tonic::async_trait]
impl Locks for Mirror {
    async fn force_release(
        &self,
        request: Request<v1::ForceReleaseRequest>,
    ) -> Result<Response<v1::ForceReleaseReply>, Status> {
        let who = match request.extensions().get::<Peer>() {
            Some(Peer::Local) => "local".to_owned(),
            Some(Peer::Host(card)) => format!("{} {}", card.identity.role, card.identity.name),
            Some(Peer::Stranger) => "stranger".to_owned(),
            None => "not known".to_owned(),
        };
        Err(Status::already_exists(who))
    }
}

pub struct Coordinator {
    pub at: SocketAddr,
    _end: DropGuard,
}

impl Coordinator {
    pub async fn start(door: Door) -> Self {
        Self::start_with(door, Duration::from_secs(3_600)).await
    }

    pub async fn start_with(door: Door, connection_age: Duration) -> Self {
        let listener = listen("127.0.0.1:0".parse().unwrap(), &door).await.unwrap();
        let at = listener.local_addr().unwrap();
        let end = CancellationToken::new();
        let server = Server::builder()
            .max_connection_age(connection_age)
            .add_service(LocksServer::new(Mirror))
            .serve_with_incoming_shutdown(incoming(listener, door), end.clone().cancelled_owned());
        tokio::spawn(server);
        Self { at, _end: end.drop_guard() }
    }

    pub fn https(&self) -> Address {
        Address::parse(&format!("https://localhost:{}", self.at.port())).unwrap()
    }

    pub fn http(&self) -> Address {
        Address::parse(&format!("http://localhost:{}", self.at.port())).unwrap()
    }
}

/// Who the coordinator takes us for, or why it does not speak with us.
pub async fn who_am_i(channel: Channel) -> Result<String, String> {
    let refused = LocksClient::new(channel).force_release(v1::ForceReleaseRequest::default()).await.unwrap_err();
    match refused.code() {
        tonic::Code::AlreadyExists => Ok(refused.message().to_owned()),
        _ => Err(rr_link::dial::explain(&refused)),
    }
}
