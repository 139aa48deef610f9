//! Real handshakes over loopback: who comes in as whom, who does not, and in what words it is told.

mod common;

use std::time::Duration;

use common::{Coordinator, Fleet, equip, who_am_i, write};
use rr_link::accept::Door;
use rr_link::authority::{Authority, Order};
use rr_link::dial::{DialError, dial};
use rr_link::identity::Role;
use rr_link::material::{Material, MaterialError};
use rr_link::pem;
use tokio::io::AsyncReadExt as _;

/// Far above what any of this takes; only a hang reaches it.
const SOON: Duration = Duration::from_secs(60);

fn tls(material: &Material) -> Door {
    Door::Tls { material: material.clone(), strangers: false }
}

/// What comes of a call: the peer it is taken for, or all words of its failure.
async fn call(coordinator: &Coordinator, material: &Material) -> Result<String, String> {
    match dial(&coordinator.https(), Some(material)).await {
        Ok(channel) => who_am_i(channel).await,
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn a_host_of_the_fleet_comes_in_as_who_its_certificate_says() {
    let fleet = Fleet::new("blue");
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    for role in Role::ALL {
        let machine = fleet.machine(&format!("m-{role}"), role);
        assert_eq!(call(&coordinator, &machine).await, Ok(format!("{role} m-{role}")));
    }
}

#[tokio::test]
async fn another_authoritys_host_is_refused_by_both_ends() {
    let (fleet, foreign) = (Fleet::new("blue"), Fleet::new("blue"));
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Admin))).await;
    let intruder = foreign.machine("intruder", Role::Admin);
    let told = call(&coordinator, &intruder).await.unwrap_err();
    assert!(told.contains("signed by another authority"), "{told}");

    // One that believes our authority but shows another's certificate.
    let mixed = foreign.files("mixed");
    equip(&foreign.authority, &mixed, &foreign.identity("mixed", Role::Admin));
    write(&mixed.ca, &(pem::certificate(fleet.authority.certificate()) + &std::fs::read_to_string(&mixed.ca).unwrap()));
    let mixed = Material::load(mixed, &foreign.name).unwrap();
    let told = call(&coordinator, &mixed).await.unwrap_err();
    assert!(told.contains("another authority signed it"), "{told}");
}

#[tokio::test]
async fn an_ended_certificate_is_refused_by_both_ends() {
    let fleet = Fleet::new("blue");
    let ended = fleet.living(Duration::ZERO);
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    let late = fleet.machine_of(&ended, "late", Role::Agent);
    let refused = dial(&coordinator.https(), Some(&late)).await.unwrap_err();
    assert!(matches!(refused, DialError::Ended(_)) && refused.to_string().contains("rrctl join"), "{refused}");

    let stale = fleet.machine_of(&ended, "stale", Role::Operator);
    ended_by_now(&stale).await;
    let stale = Coordinator::start(tls(&stale)).await;
    let told = call(&stale, &fleet.machine("m", Role::Agent)).await.unwrap_err();
    assert!(told.contains("its certificate has ended"), "{told}");
}

/// A certificate is valid through its last second.
async fn ended_by_now(material: &Material) {
    let end = material.current().card.until + Duration::from_secs(1);
    while std::time::SystemTime::now() <= end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_certificate_that_ends_takes_its_connection_with_it() {
    let fleet = Fleet::new("blue");
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    let short = fleet.machine_of(&fleet.living(Duration::from_secs(3)), "short", Role::Agent);
    let channel = dial(&coordinator.https(), Some(&short)).await.unwrap();
    assert_eq!(who_am_i(channel.clone()).await, Ok("agent short".into()));
    let refused = async {
        loop {
            if let Err(told) = who_am_i(channel.clone()).await {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("no call after the certificate's end");
}

#[tokio::test]
async fn a_certificate_of_another_fleet_is_refused_although_the_same_authority_signed_it() {
    let fleet = Fleet::new("blue");
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    let red = rr_core::id::FleetName::parse("red").unwrap();
    let mut identity = fleet.identity("spy", Role::Admin);
    identity.fleet = red.clone();
    let files = fleet.files("spy");
    equip(&fleet.authority, &files, &identity);
    let refused = Material::load(files.clone(), &fleet.name).unwrap_err();
    assert!(matches!(&refused, MaterialError::OtherFleet { found, .. } if *found == red), "{refused}");
    let spy = Material::load(files, &red).unwrap();
    let told = call(&coordinator, &spy).await.unwrap_err();
    assert!(told.contains("it is of fleet blue, and this is fleet red"), "{told}");

    // The coordinator does not rely on its caller to look: one that believes anybody gets no further.
    let told = raw_call(&coordinator, &spy).await;
    assert!(told.contains("alert"), "{told}");
}

/// Connects showing `material` without looking at the coordinator's fleet, and reads what comes back.
async fn raw_call(coordinator: &Coordinator, material: &Material) -> String {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
    let files = material.files();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.ca).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(&files.cert).unwrap()],
            PrivateKeyDer::from_pem_file(&files.key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(coordinator.at).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let mut bytes = Vec::new();
    match connector.connect(name, stream).await {
        Ok(mut stream) => match stream.read_to_end(&mut bytes).await {
            Ok(_) => format!("read {} bytes", bytes.len()),
            Err(error) => error.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn whoever_may_not_serve_is_no_coordinator_to_anybody() {
    let fleet = Fleet::new("blue");
    let caller = fleet.machine("caller", Role::Admin);
    for role in [Role::Viewer, Role::Agent] {
        let impostor = Coordinator::start(tls(&fleet.machine(&format!("i-{role}"), role))).await;
        let told = call(&impostor, &caller).await.unwrap_err();
        assert!(told.contains("below operator"), "{role}: {told}");
    }
    // A member of the store may serve, and is no coordinator.
    let store = fleet.authority.issue_for_store("etcd-1", &["localhost".into()]).unwrap();
    let files = fleet.files("store");
    write(&files.ca, &pem::certificate(fleet.authority.certificate()));
    write(&files.cert, &store.certificate);
    write(&files.key, &store.key);
    assert!(matches!(Material::load(files, &fleet.name), Err(MaterialError::Identity { .. })));
}

#[tokio::test]
async fn without_a_certificate_only_a_door_for_strangers_opens() {
    let fleet = Fleet::new("blue");
    let desk = fleet.machine("desk", Role::Operator);
    let stranger = stranger_call(&Coordinator::start(tls(&desk)).await, &desk).await;
    assert!(stranger.contains("CertificateRequired"), "{stranger}");
    let open = Coordinator::start(Door::Tls { material: desk.clone(), strangers: true }).await;
    assert!(!stranger_call(&open, &desk).await.contains("CertificateRequired"));
    assert_eq!(call(&open, &fleet.machine("m", Role::Agent)).await, Ok("agent m".into()));
}

/// Connects without a certificate; the alert or what else ends it.
async fn stranger_call(coordinator: &Coordinator, of: &Material) -> String {
    use rustls::pki_types::ServerName;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(of.current().authority[0].clone()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = tokio::net::TcpStream::connect(coordinator.at).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let mut first = [0; 9];
    match stream.read_exact(&mut first).await {
        Ok(_) => "answered".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn plain_and_tls_do_not_mix() {
    let fleet = Fleet::new("blue");
    let desk = fleet.machine("desk", Role::Operator);
    let coordinator = Coordinator::start(tls(&desk)).await;
    let plain = match dial(&coordinator.http(), None).await {
        Ok(channel) => who_am_i(channel).await,
        Err(error) => Err(error.to_string()),
    };
    assert!(plain.is_err(), "{plain:?}");

    let plain = Coordinator::start(Door::Loopback).await;
    assert_eq!(who_am_i(dial(&plain.http(), None).await.unwrap()).await, Ok("local".into()));
    let told = call(&plain, &desk).await.unwrap_err();
    assert!(told.contains("does not speak TLS"), "{told}");
    let none = dial(&plain.https(), None).await.unwrap_err();
    assert!(matches!(none, DialError::NoCertificate(_)), "{none}");
}

#[tokio::test]
async fn a_coordinator_is_believed_under_its_own_names_only() {
    let fleet = Fleet::new("blue");
    let files = fleet.files("desk");
    let identity = fleet.identity("desk", Role::Operator);
    equip(&fleet.authority, &files, &identity);
    let elsewhere = fleet.authority.issue(&Order { identity: &identity, names: &["elsewhere".into()] }).unwrap();
    write(&files.key, &elsewhere.key);
    write(&files.cert, &elsewhere.certificate);
    let coordinator = Coordinator::start(tls(&Material::load(files, &fleet.name).unwrap())).await;
    let told = call(&coordinator, &fleet.machine("m", Role::Agent)).await.unwrap_err();
    assert!(told.contains("for other names"), "{told}");
}

#[tokio::test]
async fn an_exchanged_pair_is_in_use_from_the_next_connection_on_and_half_a_pair_never() {
    let fleet = Fleet::new("blue");
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    let machine = fleet.machine("m", Role::Agent);
    assert!(!machine.look(), "nothing changed");
    let files = machine.files().clone();
    let promoted = fleet.identity("m", Role::Operator);
    let issued = fleet.authority.issue(&Order { identity: &promoted, names: &[] }).unwrap();
    write(&files.key, &issued.key);
    assert!(!machine.look(), "the new key does not belong to the old certificate");
    assert_eq!(call(&coordinator, &machine).await, Ok("agent m".into()), "the last good pair");
    write(&files.cert, &issued.certificate[..issued.certificate.len() / 2]);
    assert!(!machine.look(), "half a file");
    write(&files.cert, &issued.certificate);
    assert_eq!(call(&coordinator, &machine).await, Ok("operator m".into()), "dialing looks by itself");
    std::fs::remove_file(&files.cert).unwrap();
    assert!(!machine.look(), "a file that is gone");
    assert_eq!(call(&coordinator, &machine).await, Ok("operator m".into()));
}

#[tokio::test]
async fn a_foreign_certificate_put_into_our_place_is_not_loaded() {
    let (fleet, foreign) = (Fleet::new("blue"), Fleet::new("blue"));
    let files = fleet.files("m");
    equip(&foreign.authority, &files, &fleet.identity("m", Role::Admin));
    write(&files.ca, &pem::certificate(fleet.authority.certificate()));
    assert!(matches!(Material::load(files, &fleet.name), Err(MaterialError::Mismatch { .. })));
    let stolen = fleet.dir.path().join("ca");
    assert!(Authority::open(&stolen, &rr_core::id::FleetName::parse("green").unwrap()).is_err());
}

#[tokio::test]
async fn those_that_say_nothing_keep_nobody_out() {
    let fleet = Fleet::new("blue");
    let coordinator = Coordinator::start(tls(&fleet.machine("desk", Role::Operator))).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(tokio::net::TcpStream::connect(coordinator.at).await.unwrap());
    }
    assert_eq!(call(&coordinator, &fleet.machine("m", Role::Agent)).await, Ok("agent m".into()));
    // Their time is up at last.
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(SOON, silent[0].read_to_end(&mut bytes)).await.expect("ended");
    assert!(bytes.is_empty(), "{ended:?}");
}
