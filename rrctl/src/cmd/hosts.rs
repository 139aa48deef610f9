//! `rrctl hosts`: who belongs to the fleet, and who is shut out.

use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::out;
use crate::table::table;
use crate::view::short;

/// Show the hosts of the fleet: those that joined, those at work, and those that are shut out
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(hand: &Hand) -> Result<(), Failure> {
    let hosts = Door::to_look(&hand.dirs).await?.hosts().await?.hosts;
    let rows: Vec<Value> = hosts.iter().map(row).collect();
    hand.answer(&json!({ "hosts": rows }), || {
        let cells = hosts.iter().map(|host| {
            let role = if host.role.is_empty() { "-" } else { &host.role };
            let state =
                host.denied.as_ref().map_or_else(|| "in".to_owned(), |d| format!("out, by {}: {}", d.who, d.reason));
            vec![host.name.clone(), short(&host.id).to_owned(), role.to_owned(), state]
        });
        table(&["HOST", "ID", "ROLE", "STATE"], cells, out::columns())
    })
}

fn row(host: &v1::Host) -> Value {
    let denied =
        host.denied.as_ref().map(|d| json!({ "who": d.who, "reason": d.reason, "since_unix_ms": d.since_unix_ms }));
    let role = Some(&host.role).filter(|role| !role.is_empty());
    json!({ "host_id": host.id, "host": host.name, "role": role, "since_unix_ms": host.since_unix_ms, "denied": denied })
}
