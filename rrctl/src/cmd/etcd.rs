//! `rrctl etcd`: what a person does once in the life of an etcd cluster.

use std::path::PathBuf;

use rr_link::identity::store_user;
use rr_runtime::config::StoreKind;
use rr_runtime::store::etcd_options;
use rr_store::etcd::TlsFiles;
use rr_store::etcd::users::{FleetUser, UsersDone, UsersError, init_users};
use serde_json::json;

use crate::door;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// Prepare an etcd cluster for this fleet
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the fleet's user in etcd, with the fleet's keys and no others; doing it again changes nothing
    ///
    /// The user has no password: hosts of the fleet are it by their certificates. Once etcd asks for users (`--enable`), only its
    /// root can do this: `rrctl ca issue --role store --name root` makes a certificate for it, to be shown with --cert and --key.
    InitUsers(InitUsers),
}

#[derive(Debug, clap::Args)]
struct InitUsers {
    /// Also have etcd ask everybody for a user from now on
    #[arg(long)]
    enable: bool,
    /// Show this certificate instead of this machine's own
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let What::InitUsers(args) = &args.what;
    let config = door::machine()?;
    if config.store.kind != StoreKind::Etcd {
        return Err(Failure::new(Kind::Usage, "this machine's store is no etcd cluster").hint("set store.kind: etcd"));
    }
    let mut options = etcd_options(&config)?;
    if let (Some(cert), Some(key), Some(own)) = (&args.cert, &args.key, &options.tls) {
        options.tls = Some(TlsFiles { ca: own.ca.clone(), cert: cert.clone(), key: key.clone() });
    }
    let user = FleetUser { name: store_user(&config.fleet), prefix: format!("rr/v1/{}/", config.fleet) };
    let done = init_users(&options, &user, args.enable).await.map_err(|e| failed(&e))?;
    let json = json!({ "user": user.name, "prefix": user.prefix, "created": done.created, "wider": done.wider, "enabled": done.enabled });
    hand.answer(&json, || said(&user, &done))
}

fn failed(error: &UsersError) -> Failure {
    let failure = Failure::at("make the fleet's user in etcd", error);
    if error.to_string().contains("permission denied") || error.to_string().contains("user name is empty") {
        return failure
            .of_kind(Kind::Refused)
            .hint("only etcd's root may: rrctl ca issue --role store --name root, then --cert and --key");
    }
    failure
}

fn said(user: &FleetUser, done: &UsersDone) -> String {
    let made = if done.created { "made" } else { "there already" };
    let mut text = format!("User {} is {made}: it has the keys below {}.\n", user.name, user.prefix);
    for wider in &done.wider {
        text.push_str(&format!("It also has {wider}, which somebody else gave it.\n"));
    }
    text.push_str(if done.enabled {
        "etcd asks everybody for a user from now on.\n"
    } else {
        "Whether etcd asks for users was left as it is (--enable).\n"
    });
    text
}
