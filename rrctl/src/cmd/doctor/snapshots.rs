//! The snapshots: whether each can still be read as what it was kept as.

use rr_git::Vault;
use rr_runtime::dirs::Dirs;
use rr_runtime::errors::chain;

use super::Row;

const CHECK: &str = "snapshots";
/// Damaged ones that are named; the others are counted.
const NAMED_MAX: usize = 3;

pub(super) fn snapshots(dirs: &Dirs) -> Row {
    let folder = dirs.snapshots_dir();
    if !folder.exists() {
        return Row::ok(CHECK, "none yet: the first start makes their place");
    }
    let vault = match Vault::to_look(&folder) {
        Ok(vault) => vault,
        Err(error) => {
            let todo = format!("look at {}: until it opens no call that changes something passes", folder.display());
            return Row::fail(CHECK, chain(&error), todo);
        }
    };
    let damage = vault.check();
    if damage.is_empty() {
        return Row::ok(CHECK, format!("{}: all can be read", folder.display()));
    }
    let name = |d: &rr_git::Damage| {
        let what = d.object.map_or_else(|| d.file.display().to_string(), |object| object.to_string());
        format!("{what}: {}", d.why)
    };
    let mut named: Vec<String> = damage.iter().take(NAMED_MAX).map(name).collect();
    if damage.len() > NAMED_MAX {
        named.push(format!("{} more", damage.len() - NAMED_MAX));
    }
    Row::fail(
        CHECK,
        named.join("; "),
        "the rest stays usable; a rollback that needs one of these says so and writes nothing",
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::State;
    use super::*;

    #[test]
    fn a_damaged_snapshot_is_a_finding_and_the_rest_is_none() {
        let temp = tempfile::tempdir().expect("folder");
        let dirs = Dirs { state: temp.path().join("state"), runtime: temp.path().join("run") };
        assert_eq!(snapshots(&dirs).state, State::Ok);
        std::fs::create_dir_all(&dirs.state).expect("mkdir");
        let vault = Vault::open(&dirs.snapshots_dir(), Arc::new(rr_git::disk::RealDisk)).expect("opened");
        let blob = vault.keep_bytes(b"what stood there").expect("kept").to_string();
        assert_eq!(snapshots(&dirs).state, State::Ok);
        let file = dirs.snapshots_dir().join("objects").join(&blob[..2]).join(&blob[2..]);
        let mut bytes = std::fs::read(&file).expect("there");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::remove_file(&file).expect("ours");
        std::fs::write(&file, bytes).expect("write");
        let row = snapshots(&dirs);
        assert_eq!(row.state, State::Fail);
        assert!(row.found.contains(&blob), "{}", row.found);
    }
}
