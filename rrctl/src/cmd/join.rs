//! `rrctl join`: makes this machine one of a fleet. The key is made here and stays here; what the token opens is the
//! coordinator's to say. Next: `rr_link::join`.

use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use rr_link::Files;
use rr_link::join::{self, JoinError, Joined, Newcomer};
use rr_link::material::Material;
use rr_link::token::JoinToken;
use rr_runtime::config::{Beginning, MachineConfig};
use rr_runtime::host::{host_id, host_name};
use serde_json::json;

use crate::cmd::beginning;
use crate::exit::{Failure, Kind};
use crate::hand::Hand;

/// A token is below this by far; something else was piped in.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Make this machine one of the fleet that a token is for
///
/// Its key is made here and never leaves it. The certificate lives for a day and is renewed by the daemon; a machine that was
/// off for longer joins again with a new token and stays who it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What `rrctl join-token create` printed; `-` reads it from standard input, where other users of this machine cannot see it
    token: String,
    /// What people shall call this machine [default: its host name]
    #[arg(long)]
    name: Option<String>,
    /// A name or address by which others reach it, if it is to be a coordinator; repeat for several [default: its host name]
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,
    /// Join although this machine has a certificate that is still good
    #[arg(long)]
    again: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let token = read(&args.token)?;
    let Beginning { config, place, exists } = beginning()?;
    if exists && config.fleet != token.fleet {
        return Err(Failure::new(Kind::Refused, format!("the token is for fleet {}", token.fleet))
            .because(format!("this machine's config.yaml is for fleet {}", config.fleet))
            .hint(format!("if it is to move, set `fleet: {}` there first", token.fleet)));
    }
    rr_runtime::program::prepare(&hand.dirs)?;
    let files = config.tls.as_ref().map_or_else(
        || Files::below(&hand.dirs.state),
        |f| Files { ca: f.ca.clone(), cert: f.cert.clone(), key: f.key.clone() },
    );
    if !args.again {
        refuse_twice(&files, &token)?;
    }
    let host = host_id(&hand.dirs).map_err(|e| Failure::at("read this host's id", &e))?;
    let name = args.name.clone().unwrap_or_else(host_name);
    let names = if args.san.is_empty() { vec![host_name()] } else { args.san.clone() };
    let joined = join::join(&token, &Newcomer { host, name, names }, &files).await.map_err(|e| failed(&e, &token))?;
    let wanted = file_text(&token, &joined);
    let written = match place.as_deref() {
        Some(place) if !exists => write_new(place, &wanted)?,
        _ => false,
    };
    let json = json!({
        "fleet": token.fleet, "role": token.role.word(), "host_id": joined.card.identity.host,
        "config": place, "config_written": written,
    });
    hand.answer(&json, || {
        said(&token, &joined, place.as_deref(), (!written).then(|| missing(&config, &token, &joined)))
    })
}

fn read(text: &str) -> Result<JoinToken, Failure> {
    let mut piped = String::new();
    let text = if text == "-" {
        let read = std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut piped);
        read.map_err(|e| Failure::at("read the token from standard input", &e))?;
        &piped
    } else {
        text
    };
    JoinToken::parse(text).map_err(|e| Failure::at("understand the token", &e).of_kind(Kind::Usage))
}

fn refuse_twice(files: &Files, token: &JoinToken) -> Result<(), Failure> {
    let Ok(material) = Material::load(files.clone(), &token.fleet) else { return Ok(()) };
    let card = &material.current().card;
    if card.has_ended(SystemTime::now()) {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("this machine has joined already: it is {}", card.identity))
        .hint("rrctl join --again, to join once more all the same; the token is not used up yet"))
}

fn failed(error: &JoinError, token: &JoinToken) -> Failure {
    let kind = match error {
        JoinError::Unreachable(_) => Kind::Unreachable,
        JoinError::Refused(_) => Kind::Refused,
        _ => Kind::Failed,
    };
    let failure = Failure::at(format!("join fleet {}", token.fleet), error).of_kind(kind);
    let now = rr_runtime::clock::unix_ms();
    match error {
        JoinError::Refused(_) if now > token.expires_unix_ms => {
            let min = (now - token.expires_unix_ms) / 60_000;
            failure.hint(format!("the token ended {min} min ago by this machine's clock: ask an admin for another one"))
        }
        _ => failure,
    }
}

/// What the file of a new machine has to say.
fn file_text(token: &JoinToken, joined: &Joined) -> String {
    let list = |items: &[String]| items.iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", ");
    let coordinators: Vec<String> = token.addresses.iter().map(ToString::to_string).collect();
    let mut text = format!("fleet: {}\ncoordinators: [{}]\n", token.fleet, list(&coordinators));
    if !joined.store_endpoints.is_empty() {
        text.push_str(&format!("store: {{ kind: etcd, endpoints: [{}] }}\n", list(&joined.store_endpoints)));
    }
    text
}

/// `false`: somebody else was faster.
fn write_new(place: &Path, text: &str) -> Result<bool, Failure> {
    use std::io::Write as _;
    let made = (|| {
        if let Some(folder) = place.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::File::create_new(place)?.write_all(text.as_bytes())
    })();
    match made {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(Failure::at(format!("write {}", place.display()), &e)
            .hint(format!("this machine has joined; write it by hand:\n{text}"))),
    }
}

/// The lines that the file there lacks.
fn missing(config: &MachineConfig, token: &JoinToken, joined: &Joined) -> String {
    let has_all = token.addresses.iter().all(|a| config.coordinators.contains(&a.to_string()));
    let has_store = joined.store_endpoints.is_empty() || !config.store.endpoints.is_empty();
    let text = file_text(token, joined);
    let wanted = text.lines().filter(|line| match line.split(':').next() {
        Some("coordinators") => !has_all,
        Some("store") => !has_store,
        _ => config.fleet != token.fleet,
    });
    wanted.map(|line| format!("{line}\n")).collect()
}

fn said(token: &JoinToken, joined: &Joined, place: Option<&Path>, missing: Option<String>) -> String {
    let mut text = format!("This machine is {} of fleet {}.\n", joined.card.identity, token.fleet);
    let place = place.map_or_else(|| "config.yaml".to_owned(), |p| p.display().to_string());
    match missing {
        None => text.push_str(&format!("Wrote {place}.\n")),
        Some(lines) if lines.is_empty() => {}
        Some(lines) => text.push_str(&format!("Put this into {place}:\n\n{lines}\n")),
    }
    text.push_str("Then: rrctl up --detach (if it runs already: rrctl down --wait first)\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_no_token_is_a_mistake_of_the_command_line() {
        for text in ["", "hello", "rrjoin1.AAAA"] {
            assert_eq!(read(text).expect_err("no token").kind, Kind::Usage, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_there_is_never_written_over() {
        let dir = tempfile::tempdir().expect("folder");
        let place = dir.path().join("a/config.yaml");
        assert_eq!(write_new(&place, "one"), Ok(true));
        assert_eq!(write_new(&place, "two"), Ok(false));
        assert_eq!(std::fs::read_to_string(place).expect("there"), "one");
    }
}
