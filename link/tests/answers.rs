//! A machine that joins or renews believes no answer: a coordinator that goes wild, though its certificate is good, can give it
//! nothing but what is its own. And a machine goes on as soon as anybody answers.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Fleet, equip};
use rr_link::accept::{Door, incoming, listen};
use rr_link::authority::{Order, request_for};
use rr_link::dial::Address;
use rr_link::identity::{Identity, Role};
use rr_link::join::{JoinError, Newcomer, join};
use rr_link::material::Material;
use rr_link::renewal::{RenewError, Source, keep_fresh, renew};
use rr_link::token::JoinToken;
use rr_proto::v1;
use rr_proto::v1::enrol_server::{Enrol, EnrolServer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::transport::Server;
use tonic::{Request, Response, Status};

/// Far above what any of this takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);

/// Answers every question with the same certificate.
struct Wild(Vec<u8>);

impl Wild {
    fn answer(&self) -> Result<Response<v1::CertificateReply>, Status> {
        let store_endpoints = ["https://a:1", "https://a:1\"]\nevil: \"", "ftp://x", "https://"].map(str::to_owned);
        let role = "agent".to_owned();
        Ok(Response::new(v1::CertificateReply {
            certificate: self.0.clone(),
            role,
            store_endpoints: store_endpoints.into(),
        }))
    }
}

#[tonic::async_trait]
impl Enrol for Wild {
    async fn create_token(&self, _: Request<v1::CreateTokenRequest>) -> Result<Response<v1::CreateTokenReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn join(&self, _: Request<v1::JoinRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        self.answer()
    }

    async fn renew(&self, _: Request<v1::RenewRequest>) -> Result<Response<v1::CertificateReply>, Status> {
        self.answer()
    }

    async fn deny(&self, _: Request<v1::DenyRequest>) -> Result<Response<v1::DenyReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn allow(&self, _: Request<v1::AllowRequest>) -> Result<Response<v1::AllowReply>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn hosts(&self, _: Request<v1::HostsRequest>) -> Result<Response<v1::HostsReply>, Status> {
        Err(Status::unimplemented(""))
    }
}

async fn wild(fleet: &Fleet, answer: &[u8]) -> (Address, DropGuard) {
    let door = Door::Tls { material: fleet.machine("wild", Role::Operator), strangers: true };
    let listener = listen("127.0.0.1:0".parse().unwrap(), &door).await.unwrap();
    let address = Address::parse(&format!("https://127.0.0.1:{}", listener.local_addr().unwrap().port())).unwrap();
    let end = CancellationToken::new();
    let server = Server::builder()
        .add_service(EnrolServer::new(Wild(answer.to_vec())))
        .serve_with_incoming_shutdown(incoming(listener, door), end.clone().cancelled_owned());
    tokio::spawn(server);
    (address, end.drop_guard())
}

fn certificate_of(material: &Material) -> Vec<u8> {
    CertificateDer::from_pem_file(&material.files().cert).unwrap().to_vec()
}

/// A certificate for the key of `material`, saying something else.
fn says(fleet: &Fleet, material: &Material, change: impl Fn(&mut Identity)) -> Vec<u8> {
    let mut identity = material.current().card.identity.clone();
    change(&mut identity);
    let order = Order { identity: &identity, names: &[] };
    fleet.authority.sign_key(&material.current().card.key, &order).unwrap().to_vec()
}

#[tokio::test]
async fn nothing_but_ones_own_is_taken_as_a_renewal() {
    let fleet = Fleet::new("blue");
    let machine = fleet.machine("m", Role::Agent);
    let foreign = Fleet::new("blue");
    let forged = [
        certificate_of(&fleet.machine("other", Role::Agent)),
        certificate_of(&foreign.machine("m", Role::Agent)),
        says(&fleet, &machine, |i| i.role = Role::Admin),
        says(&fleet, &machine, |i| i.host = fleet.identity("x", Role::Agent).host),
        says(&fleet, &machine, |i| i.fleet = rr_core::id::FleetName::parse("red").unwrap()),
        b"garbage".to_vec(),
        vec![],
    ];
    let before = std::fs::read(&machine.files().cert).unwrap();
    for (n, answer) in forged.iter().enumerate() {
        let (address, _end) = wild(&fleet, answer).await;
        let refused = renew(&machine, &Source::Coordinators(vec![address])).await.unwrap_err();
        assert!(matches!(refused, RenewError::BadAnswer(_)), "{n}: {refused}");
        assert_eq!(std::fs::read(&machine.files().cert).unwrap(), before, "{n}");
    }
    let (address, _end) = wild(&fleet, &says(&fleet, &machine, |_| {})).await;
    // The first coordinator is gone; the next one answers.
    let nobody = Address::parse("https://127.0.0.1:1").unwrap();
    renew(&machine, &Source::Coordinators(vec![nobody, address])).await.unwrap();
    assert_ne!(std::fs::read(&machine.files().cert).unwrap(), before);
    assert!(matches!(renew(&machine, &Source::Coordinators(vec![])).await, Err(RenewError::Nowhere)));
}

#[tokio::test]
async fn nothing_but_ones_own_is_taken_as_a_join_and_no_address_that_is_none() {
    let fleet = Fleet::new("blue");
    let files = fleet.files("new");
    let newcomer = Newcomer { host: fleet.identity("new", Role::Agent).host, name: "new".into(), names: vec![] };
    let token = |address: &Address| JoinToken {
        secret: [1; 32],
        fleet: fleet.name.clone(),
        role: Role::Agent,
        expires_unix_ms: 0,
        addresses: vec![address.clone()],
        authority: fleet.authority.certificate().clone(),
    };
    // A certificate of a machine of the same name, but for a key that is not ours.
    let (address, _end) = wild(&fleet, &certificate_of(&fleet.machine("new-2", Role::Agent))).await;
    let refused = join(&token(&address), &newcomer, &files).await.unwrap_err();
    assert!(matches!(refused, JoinError::BadAnswer(_)), "{refused}");
    assert!(!files.cert.exists() && !files.ca.exists(), "nothing of it is kept");

    // The key is there by now; for it, but with more rights than the token promised.
    let request = request_for(&std::fs::read_to_string(&files.key).unwrap()).unwrap();
    for (role, good) in [(Role::Admin, false), (Role::Agent, true)] {
        let identity = fleet.identity("new", role);
        let answer = fleet.authority.sign_request(&request, &Order { identity: &identity, names: &[] }).unwrap();
        let (address, _end) = wild(&fleet, &answer).await;
        match join(&token(&address), &newcomer, &files).await {
            Ok(joined) => assert!(good && joined.store_endpoints == ["https://a:1"], "{:?}", joined.store_endpoints),
            Err(refused) => assert!(!good, "{refused}"),
        }
    }
    Material::load(files, &fleet.name).unwrap();
}

#[tokio::test]
async fn where_the_authority_is_an_ended_certificate_is_made_anew_at_once() {
    let fleet = Fleet::new("blue");
    let files = fleet.files("desk");
    equip(&fleet.living(Duration::ZERO), &files, &fleet.identity("desk", Role::Admin));
    let material = Material::load(files, &fleet.name).unwrap();
    let ended = material.current().card.until;
    let end = CancellationToken::new();
    let _end = end.clone().drop_guard();
    let mut seen = material.watch();
    tokio::spawn(keep_fresh(material.clone(), Source::Own(Arc::new(fleet.living(Duration::from_secs(60)))), end));
    tokio::time::timeout(SOON, seen.changed()).await.expect("in time").unwrap();
    let card = &material.current().card;
    assert!(card.until > ended && card.identity.role == Role::Admin);
    assert_eq!(card.names, ["localhost", "127.0.0.1"], "it keeps its names");
}
