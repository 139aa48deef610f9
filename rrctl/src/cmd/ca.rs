//! `rrctl ca`: the fleet's own authority, made once on one machine, and certificates that nobody can ask for by a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rr_core::id::{Entropy as _, FleetName, HostId};
use rr_link::Files;
use rr_link::authority::{AUTHORITY_LIFE, Authority, AuthorityError, Order};
use rr_link::identity::{Identity, Role};
use rr_link::issuing;
use rr_runtime::config::MachineConfig;
use rr_runtime::entropy::OsEntropy;
use rr_runtime::host::{host_id, host_name};
use serde_json::json;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The fleet's own certificate authority
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make the authority, once for a fleet, and this machine's own certificate with it
    ///
    /// Whoever has the authority's key can be anybody in the fleet: it stays on this machine, readable for you alone. An
    /// authority that is there already is never written over.
    Init(Init),
    /// Make a key and a certificate: for members of etcd, and for people
    ///
    /// Machines of the fleet get theirs by `rrctl join`, and keep their key to themselves.
    Issue(Issue),
}

#[derive(Debug, clap::Args)]
struct Init {
    /// Its folder [default: `authority` in config.yaml, else `ca` in the state folder]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A name or address by which others reach this machine; repeat for several
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Issue {
    /// For a person: viewer, agent, operator, admin; for a member of etcd, or etcd's root: store
    #[arg(long, value_parser = ["viewer", "agent", "operator", "admin", "store"])]
    role: String,
    /// Who it is for; the name of its files
    #[arg(long)]
    name: String,
    /// A name or address by which it is reached; repeat for several
    #[arg(long, value_name = "NAME")]
    san: Vec<String>,
    /// How long it is valid
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    days: u32,
    /// Where the files go
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// The authority's folder [default: as for init]
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let config = super::beginning()?.config;
    match &args.what {
        What::Init(init) => self::init(init, &config, hand),
        What::Issue(issue) => self::issue(issue, &config, hand),
    }
}

fn folder(named: Option<&PathBuf>, config: &MachineConfig, hand: &Hand) -> PathBuf {
    named.or(config.authority.as_ref()).cloned().unwrap_or_else(|| hand.dirs.state.join("ca"))
}

fn init(args: &Init, config: &MachineConfig, hand: &Hand) -> Result<(), Failure> {
    rr_runtime::program::prepare(&hand.dirs)?;
    let folder = folder(args.dir.as_ref(), config, hand);
    let authority = Authority::init(&folder, &config.fleet).map_err(|e| failed("make the authority", &e))?;
    let files = config.tls.as_ref().map_or_else(
        || Files::below(&hand.dirs.state),
        |f| Files { ca: f.ca.clone(), cert: f.cert.clone(), key: f.key.clone() },
    );
    let own = if files.any_exists() { None } else { Some(own_certificate(&authority, &files, &args.san, hand)?) };
    let json = json!({
        "fleet": config.fleet, "folder": folder, "host_id": own.as_ref().map(|i| i.host.as_str()),
        "days": AUTHORITY_LIFE.as_secs() / DAY.as_secs(),
    });
    hand.answer(&json, || said(&config.fleet, &folder, own.as_ref(), &args.san))
}

/// The machine that has the authority is the first that may let others in.
fn own_certificate(authority: &Authority, files: &Files, san: &[String], hand: &Hand) -> Result<Identity, Failure> {
    let host = host_id(&hand.dirs).map_err(|e| Failure::at("read this host's id", &e))?;
    let identity = Identity { fleet: authority.fleet().clone(), host, role: Role::Admin, name: host_name() };
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    // A name that is none for certificates is left out; people reach the machine by what they say.
    names.extend(Some(host_name()).filter(|name| Authority::check_names(std::slice::from_ref(name)).is_ok()));
    names.extend(san.iter().cloned());
    names.dedup();
    let issued = authority.issue(&Order { identity: &identity, names: &names });
    let issued = issued.map_err(|e| failed("make this machine's certificate", &e))?;
    issuing::keep(files, authority, &issued).map_err(|e| Failure::at("keep this machine's certificate", &e))?;
    Ok(identity)
}

fn said(fleet: &FleetName, folder: &Path, own: Option<&Identity>, san: &[String]) -> String {
    let own = own.map_or_else(
        || "This machine has a certificate already; it was left as it is.".to_owned(),
        |own| format!("This machine is {own}; its coordinator renews that by itself."),
    );
    let address = san.first().map_or("THIS-HOST", String::as_str);
    format!(
        "Made the authority of fleet {fleet} in {}. Whoever has its key can be anybody in the fleet.\n{own}\n\
         To let machines in, put this into config.yaml and start the daemon anew:\n\n\
         authority: {}\nlisten: {{ coordinator: \"0.0.0.0:7420\" }}\ncoordinators: [\"https://{address}:7420\"]\n\n\
         Then, for each machine: rrctl join-token create --role agent\n",
        folder.display(),
        folder.display()
    )
}

fn issue(args: &Issue, config: &MachineConfig, hand: &Hand) -> Result<(), Failure> {
    let folder = folder(args.dir.as_ref(), config, hand);
    let authority = Authority::open(&folder, &config.fleet).map_err(|e| failed("open the authority", &e))?;
    let authority = authority.with_life(DAY * args.days);
    let issued = if args.role == "store" {
        authority.issue_for_store(&args.name, &args.san)
    } else {
        let role = Role::parse(&args.role).map_err(|e| Failure::at("understand --role", &e).of_kind(Kind::Usage))?;
        let host = HostId::from_random(OsEntropy.bits());
        let identity = Identity { fleet: config.fleet.clone(), host, role, name: args.name.clone() };
        authority.issue(&Order { identity: &identity, names: &args.san })
    };
    let issued = issued.map_err(|e| failed("make the certificate", &e))?;
    let files =
        issuing::files_of(&args.out, &args.name).map_err(|e| Failure::at("name the files", &e).of_kind(Kind::Usage))?;
    issuing::keep(&files, &authority, &issued)
        .map_err(|e| Failure::at("keep the certificate", &e).of_kind(Kind::Refused))?;
    hand.answer(&json!({ "ca": files.ca, "cert": files.cert, "key": files.key, "days": args.days }), || {
        let [ca, cert, key] = [&files.ca, &files.cert, &files.key].map(|f| f.display().to_string());
        format!("Wrote {ca}, {cert} and {key}; valid for {} days.\n", args.days)
    })
}

fn failed(doing: &str, error: &AuthorityError) -> Failure {
    let kind = match error {
        AuthorityError::Exists(_) => Kind::Refused,
        AuthorityError::BadName(_) | AuthorityError::TooManyNames => Kind::Usage,
        _ => Kind::Failed,
    };
    Failure::at(doing, error).of_kind(kind)
}
