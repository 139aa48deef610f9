//! `rrctl man`: from the same definition as the help.

use std::path::PathBuf;

use crate::exit::Failure;
use crate::{cli, out};

/// Print the manual page, or write one page a command into a folder
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write rrctl.1, rrctl-locks.1, ... into this folder
    #[arg(long)]
    dir: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let definition = cli::definition();
    if let Some(dir) = &args.dir {
        let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(definition, dir));
        return written.map_err(|e| Failure::at(format!("write the manual into {}", dir.display()), &e));
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(definition).render(&mut page).map_err(|e| Failure::at("write the manual page", &e))?;
    out::text(&String::from_utf8_lossy(&page))
}
