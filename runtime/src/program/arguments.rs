//! What can be typed behind a program's name: which file to read, and the questions that are answered instead of running.
//! `rrctl` has arguments of its own.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{CommandFactory as _, FromArgMatches as _, Parser};

use super::About;
use crate::config::Loaded;
use crate::exit::{Failure, Kind};

/// It runs until it is told to end (SIGTERM); its configuration is `config.yaml`, each key of which a variable of the
/// environment overrides (RAILROAD_STORE_KIND and so on).
///
/// Exit codes: 0 done, 1 failed, 2 not understood, 3 nobody answers, 4 refused.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The machine's file, instead of the one in $RAILROAD_CONFIG or ~/.config/railroad/config.yaml
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// Print every key with its value and where that was said, and end
    #[arg(long)]
    dump_config: bool,
    /// Read the configuration, say whether it can be used, and end
    #[arg(long, conflicts_with = "dump_config")]
    check_config: bool,
}

pub(super) enum Asked {
    /// And answered: nothing is to be run.
    Answered,
    ToRun(Box<Loaded>),
}

pub(super) fn asked(about: &About) -> Result<Asked, Failure> {
    let command = Arguments::command().name(about.name).about(about.does);
    let matches = match command.try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // A reader that is gone does not matter here.
            let _ = error.print();
            let kind = if error.use_stderr() { Kind::Usage } else { return Ok(Asked::Answered) };
            return Err(Failure::new(kind, "told by the parser").told());
        }
    };
    let arguments = Arguments::from_arg_matches(&matches).map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
    let mut loaded = Loaded::load(arguments.config.as_deref()).map_err(|e| unusable(&e))?;
    if arguments.dump_config {
        print(&loaded.dump())?;
        return Ok(Asked::Answered);
    }
    if arguments.check_config {
        let file = loaded.file().map_or_else(|| "no file; the defaults".to_owned(), |f| f.display().to_string());
        print(&format!("{file}: can be used\n"))?;
        return Ok(Asked::Answered);
    }
    Ok(Asked::ToRun(Box::new(loaded)))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::at("write the output", &e))
}

fn unusable(error: &crate::config::ConfigError) -> Failure {
    Failure::at("read this machine's config.yaml", error).of_kind(Kind::Usage)
}
