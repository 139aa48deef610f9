//! A host's state folder on a disk of its own that is small enough to be filled. Owns that disk; it goes with the test's
//! mounts. Only where mounting is permitted: elsewhere there is none, and that is said.

use std::fs;

use super::Host;
use super::namespace::works;
use crate::isolation;

/// The file that takes the room.
const FILLER: &str = "filler";

/// The state folder of one host, on a disk of its own.
pub struct SmallDisk<'a> {
    host: &'a Host,
}

impl<'a> SmallDisk<'a> {
    /// Puts one of so many MiB under the state folder, in which nothing may be open yet.
    ///
    /// # Panics
    /// If the folder cannot be made.
    #[must_use]
    pub fn under(host: &'a Host, mib: u32) -> Option<Self> {
        fs::create_dir_all(&host.state).expect("make the state folder");
        let size = format!("size={mib}m,mode=0700");
        let mut mount = host.command("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "rr-test"]).arg(&host.state);
        if isolation::walled() && works(&mut mount) {
            return Some(Self { host });
        }
        eprintln!("NO SMALL DISK: mounting is not permitted here");
        None
    }

    /// Takes all the room there is.
    ///
    /// # Panics
    /// If there is still room afterwards.
    pub fn fill(&self) {
        assert!(!self.does(&format!("cat /dev/zero > {FILLER}")), "the disk is full");
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If it was not taken.
    pub fn empty(&self) {
        assert!(self.does(&format!("rm {FILLER}")), "there is room again");
    }

    /// On the host, since others do not see its mounts.
    fn does(&self, command: &str) -> bool {
        let mut shell = self.host.command_in(&self.host.state, "sh");
        works(shell.args(["-c", command]))
    }
}
