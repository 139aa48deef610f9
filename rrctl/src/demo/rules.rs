//! The policy's part in the show: one command that a built-in rule refuses, one that a person has to approve, and the person's
//! yes, said as anybody says it. Owns the stand-ins for the two programs: they do nothing but leave a mark, so that what ran
//! is counted and not believed. Next: `show` hears what became of them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use super::place::Place;
use super::roles::Role;
use super::script::Step;
use crate::exit::{Failure, Kind};

pub(crate) const REFUSED: &str = "terraform destroy -auto-approve";
pub(crate) const APPROVED: &str = "npm publish";
/// The repository's own rule; that `terraform destroy` is refused is built in.
pub(crate) const RULES: &str = "approve:\n  - match: npm publish\n    because: what is published stays published\n";

/// What became of the two commands, as the agents tell it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) refused: usize,
    /// A person's yes to them.
    pub(crate) approvals: usize,
    /// Asked about once more, after the one call that was approved.
    pub(crate) asked_anew: usize,
}

/// Gives the two commands to two agents that are not killed; to one, if there is but one.
pub(crate) fn deal(roles: &mut [Role], victim: usize) {
    let count = roles.len().max(1);
    for (seat, at, step) in [
        (1, 1, Step::Approved { command: APPROVED.to_owned() }),
        (count - 1, 3, Step::Refused { command: REFUSED.to_owned() }),
    ] {
        if let Some(role) = roles.get_mut((victim + seat) % count) {
            let at = at.min(role.script.steps.len());
            role.script.steps.insert(at, step);
        }
    }
}

/// Puts programs of these names into a folder; each leaves a line behind when it runs.
pub(crate) fn put_stand_ins(folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for command in [REFUSED, APPROVED] {
        let file = folder.join(program(command));
        fs::write(&file, "#!/bin/sh\necho \"$*\" >> \"$0.ran\"\n")?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// How often the stand-in of a command ran.
pub(crate) fn runs(folder: &Path, command: &str) -> usize {
    let mark = folder.join(format!("{}.ran", program(command)));
    fs::read_to_string(mark).map_or(0, |text| text.lines().count())
}

fn program(command: &str) -> &str {
    command.split(' ').next().unwrap_or(command)
}

/// What a person does who is asked: looks at what waits, and approves it by its id. Returns the id, short.
pub(crate) async fn approve(place: Place) -> Result<String, Failure> {
    let waiting = place.rrctl(&["approvals"]).await?;
    let mut rows = waiting["approvals"].as_array().into_iter().flatten();
    let asked = rows.find(|row| row["command"] == APPROVED).and_then(|row| row["id"].as_str());
    let id = asked.ok_or_else(|| Failure::new(Kind::Failed, format!("`{APPROVED}` does not wait for approval")))?;
    let said: Value = place.rrctl(&["approve", id, "--reason", "demo"]).await?;
    let short = id.get(..8).unwrap_or(id).to_owned();
    match said["decided"].as_str() {
        Some("approved") => Ok(short),
        _ => Err(Failure::new(Kind::Failed, format!("request {short} was not approved"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::roles::{Dice, cast};
    use super::*;

    #[test]
    fn the_commands_go_to_agents_that_live() {
        for count in 2..6 {
            for victim in 0..count {
                let mut roles = cast(count, &mut Dice::new(3));
                deal(&mut roles, victim);
                let tried = |role: &Role| {
                    let special = |s: &&Step| matches!(s, Step::Refused { .. } | Step::Approved { .. });
                    role.script.steps.iter().filter(special).count()
                };
                assert_eq!(roles.iter().map(tried).sum::<usize>(), 2);
                assert_eq!(tried(&roles[victim]), 0);
            }
        }
    }

    #[test]
    fn a_stand_in_that_ran_is_counted() {
        let dir = tempfile::tempdir().expect("folder");
        put_stand_ins(dir.path()).expect("put");
        assert_eq!((runs(dir.path(), APPROVED), runs(dir.path(), REFUSED)), (0, 0));
        let ran = std::process::Command::new(dir.path().join("npm")).arg("publish").status().expect("runs");
        assert!(ran.success());
        assert_eq!((runs(dir.path(), APPROVED), runs(dir.path(), REFUSED)), (1, 0));
    }
}
