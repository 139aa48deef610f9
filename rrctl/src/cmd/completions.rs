//! `rrctl completions`: from the same definition as the help.

use clap_complete::Shell;

use crate::exit::Failure;
use crate::{cli, out};

/// Print the completions for a shell
///
/// For example: rrctl completions bash > ~/.local/share/bash-completion/completions/rrctl
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::definition(), "rrctl", &mut script);
    out::text(&String::from_utf8_lossy(&script))
}
