//! `rrctl join-token`: the word that lets one new machine in.

use rr_proto::v1;
use serde_json::json;

use crate::door;
use crate::exit::Failure;
use crate::hand::Hand;

/// Make the word that lets one new machine into the fleet
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a token: one machine can join with it, once
    ///
    /// It holds a secret, where the coordinators are, and the authority's certificate. Give it to the machine by a way that you
    /// trust, and at once: it ends within a quarter of an hour.
    Create(Create),
}

#[derive(Debug, clap::Args)]
struct Create {
    /// What the machine may do: viewer looks on, agent is for machines that agents work on, operator also pauses, releases and
    /// serves as a coordinator, admin also lets in and shuts out
    #[arg(long, value_parser = ["viewer", "agent", "operator", "admin"])]
    role: String,
    /// How many minutes it can be used
    #[arg(long, value_name = "MINUTES", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=15))]
    ttl: u32,
    /// Where the machine finds a coordinator, as https://host:port; repeat for several [default: as config.yaml says]
    #[arg(long, value_name = "URL")]
    address: Vec<String>,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let What::Create(create) = &args.what;
    let request = v1::CreateTokenRequest {
        role: create.role.clone(),
        ttl_s: create.ttl * 60,
        addresses: create.address.clone(),
        who: hand.who(),
    };
    let made = door::create_token(&hand.dirs, request).await?;
    let json = json!({ "token": made.token, "role": create.role, "expires_unix_ms": made.expires_unix_ms });
    hand.answer(&json, || {
        // The token alone on standard output could be piped; so it is the only line without blanks.
        format!("On the new machine, within {} min, once:\n\nrrctl join {}\n", create.ttl, made.token)
    })
}
