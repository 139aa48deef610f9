//! The verbs, each as the list of its steps.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::bench;
use crate::openings;
use crate::step::{Failed, Outcome, Steps, cargo, command, root, run as run_command, works};
use crate::system;

const HELP: &str = "\
cargo xtask <verb>

  test              install what is missing, check the form, build, run every test
  lint              the checks of form alone: rustfmt, clippy, opening lines
  fmt               format every file
  bench [name]      run the benchmarks, or one (--strict: fail if a target is missed)
  bench watcher [--repo PATH] [--merges N] [--only B1,B4]
                    the watcher's bars, on made-up repositories or that one (at most N merge commits of it); a miss is
                    a failure
  demo [args]       run rrctl's demo from this checkout
  etcd [up|path]    three etcd members on loopback, in the foreground (etcd --help: ports, data)
  hosts [N]         N hosts with a sidecar each on that etcd, in the foreground (hosts --help)
  install           install rrctl for this user
  soak              ten minutes of thirty sessions against one store; the stories of many hosts with usual leases;
                    the fault matrix of a cluster in its long form: an hour in all";

/// Ten minutes are long enough for every lease, idle release and log rewrite to come round many times.
const SOAK: [(&str, &str); 2] = [("RAILROAD_SOAK_SECS", "600"), ("RAILROAD_SOAK_SESSIONS", "30")];

/// Leaders killed every 20 s, a host cut off for 120 s, a sidecar stopped for 75 s, a thousand that start at once.
const FAULTS: [(&str, &str); 5] = [
    ("RAILROAD_FAULTS_SECS", "600"),
    ("RAILROAD_FAULTS_KILL_SECS", "20"),
    ("RAILROAD_FAULTS_CUT_SECS", "120"),
    ("RAILROAD_FAULTS_STOP_SECS", "75"),
    ("RAILROAD_FAULTS_SIDECARS", "1000"),
];

pub(crate) fn run(args: &[String]) -> Outcome {
    let (verb, rest) = args.split_first().map_or(("help", args), |(verb, rest)| (verb.as_str(), rest));
    if !["demo", "etcd", "hosts"].contains(&verb) && rest.iter().any(|a| a == "--help" || a == "-h") {
        return help();
    }
    match verb {
        "bench" => bench::run(rest),
        "demo" => demo(rest),
        "etcd" => run_command(etcd(rest)),
        "hosts" => hosts(rest),
        "help" | "--help" | "-h" => help(),
        plain if !rest.is_empty() => Err(Failed(format!("`{plain}` takes no arguments\n\n{HELP}"))),
        "test" => test(),
        "lint" => lint(),
        "fmt" => run_command(cargo(&["fmt", "--all"])),
        "install" => install(),
        "soak" => soak(),
        other => Err(Failed(format!("no verb `{other}`\n\n{HELP}"))),
    }
}

fn help() -> Outcome {
    println!("{HELP}");
    Ok(())
}

fn test() -> Outcome {
    let mut steps = Steps::default();
    steps.must("what the tests need of this system", system::prepare)?;
    steps.must("the real agents that tests run", agents)?;
    check_form(&mut steps);
    steps.must("build every program", || run_command(cargo(&["build", "--workspace", "--locked"])))?;
    steps.should("run every test", every_test);
    steps.end()
}

fn agents() -> Outcome {
    let script = root().join("tests/agents/install.sh");
    if !script.is_file() {
        return Err(Failed(format!("{} is missing: the checkout is not whole", script.display())));
    }
    run_command(command("sh", &["tests/agents/install.sh"]))
}

fn lint() -> Outcome {
    let mut steps = Steps::default();
    check_form(&mut steps);
    steps.end()
}

fn check_form(steps: &mut Steps) {
    steps.should("formatting", || run_command(cargo(&["fmt", "--all", "--check"])));
    steps.should("every file says what it is", openings::check);
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    steps.should("lints", || run_command(cargo(&clippy)));
}

fn every_test() -> Outcome {
    if works(cargo(&["nextest", "--version"])) {
        return run_command(cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]));
    }
    println!("    cargo-nextest is not installed: `cargo test` does the same, more slowly");
    run_command(cargo(&["test", "--workspace", "--locked", "--no-fail-fast"]))
}

fn demo(args: &[String]) -> Outcome {
    let mut command = cargo(&["run", "--quiet", "--release", "--locked", "-p", "rrctl", "--", "demo"]);
    command.args(args);
    if wants_etcd(args) {
        command.args(["--etcd", &etcd_program()?]);
    }
    run_command(command)
}

/// The show is to run on etcd, and says not which.
fn wants_etcd(args: &[String]) -> bool {
    let store = args.windows(2).any(|pair| pair == ["--store", "etcd"]) || args.iter().any(|a| a == "--store=etcd");
    store && !args.iter().any(|a| a == "--etcd" || a.starts_with("--etcd="))
}

/// The etcd that the tests use is theirs to find: this crate stays small.
fn etcd(args: &[String]) -> Command {
    of_the_tests("rr-test-etcd", args)
}

fn hosts(args: &[String]) -> Outcome {
    let programs = ["-p", "rrctl", "-p", "rr-sidecar", "-p", "rr-coordinator", "-p", "rr-watcher"];
    run_command(cargo(&[&["build", "--quiet", "--locked"], &programs[..]].concat()))?;
    run_command(of_the_tests("rr-test-hosts", args))
}

fn of_the_tests(program: &str, args: &[String]) -> Command {
    let mut command = cargo(&["run", "--quiet", "--locked", "-p", "rr-tests", "--bin", program, "--"]);
    command.args(args);
    command
}

fn etcd_program() -> Result<String, Failed> {
    let mut command = etcd(&["path".to_owned()]);
    let failed = |why: String| Failed(format!("`cargo xtask etcd path`: {why}"));
    let output = command.stderr(Stdio::inherit()).output().map_err(|e| failed(e.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn install() -> Outcome {
    system::quick_hook();
    run_command(cargo(&["install", "--path", "rrctl", "--locked"]))?;
    let folder = install_folder();
    println!("\nrrctl is in {}", folder.join("rrctl").display());
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|f| f == folder) {
        println!("that folder is not on PATH yet: export PATH=\"{}:$PATH\"", folder.display());
    }
    println!("next, in a repository that agents work on: rrctl install");
    Ok(())
}

/// Where `cargo install` puts programs unless its own configuration says otherwise.
fn install_folder() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = set("CARGO_INSTALL_ROOT").or_else(|| set("CARGO_HOME"));
    let home = home.or_else(|| Some(set("HOME")?.join(".cargo")));
    home.unwrap_or_else(|| PathBuf::from(".cargo")).join("bin")
}

fn soak() -> Outcome {
    // The sessions and hosts are processes of the built programs, which a test does not build by itself.
    let programs = ["-p", "rrctl", "-p", "rr-sidecar", "-p", "rr-coordinator", "-p", "rr-watcher"];
    run_command(cargo(&[&["build", "--release", "--locked"], &programs[..]].concat()))?;
    let mut steps = Steps::default();
    steps.should("sessions on one store", || run_command(long("soak", &SOAK)));
    steps.should("hosts on one etcd", || run_command(long("many_hosts", &[("RAILROAD_USUAL_TIMES", "1")])));
    // One at a time: each is to have the machine for itself.
    let mut faults = long("faults", &FAULTS);
    faults.arg("--test-threads=1");
    steps.should("sidecars on a cluster that is hurt", || run_command(faults));
    steps.end()
}

/// Not through nextest: it ends what takes longer than a test should.
fn long(test: &str, settings: &[(&str, &str)]) -> Command {
    let mut command = cargo(&["test", "--release", "--locked", "-p", "rr-tests", "--test", test, "--", "--nocapture"]);
    command.envs(settings.iter().copied());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_verb_is_refused_with_the_list() {
        let refused = run(&["tset".to_owned()]).unwrap_err().to_string();
        assert!(refused.starts_with("no verb `tset`") && refused.contains("bench [name]"), "{refused}");
    }

    #[test]
    fn the_etcd_of_the_tests_is_handed_to_a_demo_that_names_none() {
        let wants = |line: &str| wants_etcd(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(wants("--hosts 3 --store etcd") && wants("--store=etcd"));
        assert!(!wants("--agents 5") && !wants("--store embedded") && !wants("--store etcd --etcd /bin/etcd"));
    }

    #[test]
    fn asking_for_help_or_a_word_too_many_runs_nothing() {
        assert!(run(&["lint".to_owned(), "--help".to_owned()]).is_ok());
        let refused = run(&["lint".to_owned(), "core".to_owned()]).unwrap_err().to_string();
        assert!(refused.starts_with("`lint` takes no arguments"), "{refused}");
    }
}
