//! The floors: a server that answers every hook at once with "no objection", a program that only exchanges the bytes of
//! a call with it, and one sync of a disk. What is compared with them is `gate`'s.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::hooked::{Hooked, timed};
use crate::static_build::{self, Linkage};

/// One frame: exit code 0, nothing to print.
pub(crate) const NO_OBJECTION: &[u8] = b"Q\x01\0\0\0\0";

/// The server, in a thread that ends with the program.
pub(crate) struct Instantly {
    folder: tempfile::TempDir,
    socket: PathBuf,
}

impl Instantly {
    /// Starts it, and lets it keep the bytes of one call for the floor.
    pub(crate) fn start(bench: &mut Hooked<'_>) -> Self {
        let folder = tempfile::tempdir().expect("make a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).expect("close the folder");
        let socket = folder.path().join("hook.sock");
        let listener = UnixListener::bind(&socket).expect("listen");
        let saved = folder.path().join("request");
        thread::spawn(move || serve(&listener, &saved));
        let at_once = Self { folder, socket };
        let (input, _) = bench.before("Read", &json!({"file_path": bench.path("src/f01.rs")}));
        timed(&mut at_once.hook(bench), &input);
        at_once
    }

    /// The installed hook, asking this server instead of the daemon.
    pub(crate) fn hook(&self, bench: &Hooked<'_>) -> Command {
        let mut command = bench.command();
        command.arg("--socket").arg(&self.socket);
        command
    }

    pub(crate) fn build_floor(&self) -> Floor {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hook/benches/floor.rs");
        let program = self.folder.path().join("floor");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
        let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let request = self.folder.path().join("request");
        let env = [("RR_FLOOR_REQUEST", request.as_path())];
        let linkage = static_build::compile(&rustc, &target, None, &source, &program, &env).expect("compile the floor");
        Floor { program, socket: self.socket.clone(), linkage }
    }
}

/// The program that neither reads its input nor checks anything.
pub(crate) struct Floor {
    program: PathBuf,
    socket: PathBuf,
    pub(crate) linkage: Linkage,
}

impl Floor {
    pub(crate) fn command(&self, bench: &Hooked<'_>) -> Command {
        let mut command = bench.starts(&self.program);
        command.arg(&self.socket);
        command
    }
}

fn serve(listener: &UnixListener, saved: &Path) {
    let mut buffer = vec![0; 64 * 1024];
    for stream in listener.incoming() {
        let mut stream = stream.expect("accept a call");
        let len = whole_request(&mut stream, &mut buffer);
        if !saved.exists() {
            std::fs::write(saved, &buffer[..len]).expect("keep the first request");
        }
        stream.write_all(NO_OBJECTION).expect("answer a call");
    }
}

pub(crate) fn whole_request(stream: &mut UnixStream, buffer: &mut [u8]) -> usize {
    let mut len = 0;
    while !buffer[..len].ends_with(b"E\0\0\0\0") {
        let got = stream.read(&mut buffer[len..]).expect("read a call");
        assert!(got > 0, "a call ended early");
        len += got;
    }
    len
}

/// A file that has all its blocks, written in place and synced.
pub(crate) struct Disk(File);

const BLOCK: [u8; 4 << 10] = [0x5a; 4 << 10];
const BLOCKS: usize = 256;

impl Disk {
    pub(crate) fn new(folder: &Path) -> Self {
        let file = File::create(folder.join("floor")).expect("create the floor's file");
        (0..BLOCKS).for_each(|at| file.write_all_at(&BLOCK, offset(at)).expect("fill the floor's file"));
        file.sync_all().expect("sync the floor's file");
        Self(file)
    }

    pub(crate) fn sync(&self, round: usize) -> Duration {
        let start = Instant::now();
        self.0.write_all_at(&BLOCK, offset(round % BLOCKS)).expect("write");
        self.0.sync_data().expect("sync");
        start.elapsed()
    }
}

fn offset(block: usize) -> u64 {
    (block * BLOCK.len()) as u64
}
