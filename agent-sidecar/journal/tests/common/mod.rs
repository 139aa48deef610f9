//! What the tests of the journal share: entries to write, and a disk that writes down all that is done to it, from which the
//! folder of a machine that died at any moment can be made.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use rr_core::content::{BlobId, Content};
use rr_core::id::SessionId;
use rr_core::path::RepoPath;
use rr_journal::{
    Disk, Does, Entry, Event, FileChange, Journal, JournalError, Kept, Options, RealDisk, Recovered, Spot,
};

pub(crate) const AT: u64 = 1_700_000_000_000;

pub(crate) fn session(n: u8) -> SessionId {
    SessionId::from_random([n; 16])
}

pub(crate) fn path(text: &str) -> RepoPath {
    RepoPath::parse(text.as_bytes()).expect(text)
}

pub(crate) fn blob(n: u64) -> BlobId {
    let mut bytes = [0x3c; 20];
    bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    BlobId(bytes)
}

pub(crate) fn file(n: u64) -> Content {
    Content::File { blob: blob(n), mode: 0o644 }
}

pub(crate) fn entry(of: u8, call: &str, event: Event) -> Entry {
    Entry { at_unix_ms: AT, session: Some(session(of)), agent_id: None, call: Some(call.into()), revision: 7, event }
}

pub(crate) fn intent(of: u8, call: &str, at: &str) -> Entry {
    let does = Does::Write(vec![Spot { root: "/repo".into(), path: path(at) }]);
    entry(of, call, Event::Intent { tool: "Edit".into(), does, cwd: "/repo".into() })
}

pub(crate) fn snapped(of: u8, call: &str, at: &str, before: u64) -> Entry {
    let files = vec![Kept { root: "/repo".into(), path: path(at), content: file(before) }];
    entry(of, call, Event::Snapped { files })
}

pub(crate) fn started(of: u8, call: &str) -> Entry {
    entry(of, call, Event::Started)
}

pub(crate) fn done(of: u8, call: &str, at: &str, before: u64) -> Entry {
    let (before, after) = (file(before), file(before + 1));
    let changes = vec![FileChange { root: "/repo".into(), path: path(at), before, after, foreseen: true }];
    entry(of, call, Event::Done { ok: true, changes })
}

/// One changing call as the gate writes it: what must be durable before it may run.
pub(crate) fn call(of: u8, n: u64) -> Vec<Entry> {
    let (name, at) = (format!("toolu_{n:08}"), format!("src/file{}.rs", n % 7));
    vec![intent(of, &name, &at), snapped(of, &name, &at, n), started(of, &name)]
}

pub(crate) fn done_of(of: u8, n: u64) -> Entry {
    done(of, &format!("toolu_{n:08}"), &format!("src/file{}.rs", n % 7), n)
}

pub(crate) fn open(dir: &Path) -> (Journal, Recovered) {
    Journal::open(dir, &Options::default(), Arc::new(RealDisk)).expect("opened")
}

pub(crate) fn all(dir: &Path) -> Vec<(u64, Entry)> {
    let found = rr_journal::Reader::open(dir).query(&rr_journal::Filter::default());
    found.map(|find| find.expect("whole")).collect()
}

/// Something that was done to the disk, and what the test did in between.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Create(PathBuf),
    Write {
        path: PathBuf,
        at: u64,
        bytes: Vec<u8>,
    },
    Sync(PathBuf),
    SyncFolder,
    Shorten {
        path: PathBuf,
        len: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    /// Entries up to this one were acknowledged.
    Told(u64),
}

/// The real disk, and a record of all calls. It does not wait for the real one, but it can be made to wait for the test.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Record>);

#[derive(Default)]
struct Record {
    ops: Mutex<Vec<Op>>,
    gate: Mutex<Gate>,
    moved: Condvar,
}

#[derive(Default)]
struct Gate {
    held: bool,
    /// Syncs that wait to be let through.
    waiting: usize,
    woken: bool,
}

impl Wake for Record {
    fn wake(self: Arc<Self>) {
        self.gate.lock().expect("whole").woken = true;
        self.moved.notify_all();
    }
}

impl Recorded {
    pub(crate) fn push(&self, op: Op) {
        self.0.ops.lock().expect("whole").push(op);
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.0.ops.lock().expect("whole").clone()
    }

    /// Writes, and puts down when it is acknowledged: at each sync it is looked whether that was too soon.
    pub(crate) fn append(&self, journal: &Journal, entries: Vec<Entry>) -> Result<u64, JournalError> {
        let mut append = pin!(journal.append(entries));
        let waker = Waker::from(Arc::clone(&self.0));
        self.0.gate.lock().expect("whole").held = true;
        loop {
            let polled = append.as_mut().poll(&mut Context::from_waker(&waker));
            let mut gate = self.0.gate.lock().expect("whole");
            if let Poll::Ready(answer) = polled {
                gate.held = false;
                if let Ok(sequence) = answer {
                    self.push(Op::Told(sequence));
                }
                drop(gate);
                self.0.moved.notify_all();
                return answer;
            }
            if gate.waiting > 0 && !gate.woken {
                gate.held = false;
                self.0.moved.notify_all();
                gate = self.0.moved.wait_while(gate, |gate| gate.waiting > 0).expect("whole");
                gate.held = true;
            } else {
                gate = self.0.moved.wait_while(gate, |gate| gate.waiting == 0 && !gate.woken).expect("whole");
            }
            gate.woken = false;
        }
    }

    fn pass(&self) {
        let mut gate = self.0.gate.lock().expect("whole");
        if gate.held {
            gate.waiting += 1;
            self.0.moved.notify_all();
            gate = self.0.moved.wait_while(gate, |gate| gate.held).expect("whole");
            gate.waiting -= 1;
            self.0.moved.notify_all();
        }
    }
}

impl Disk for Recorded {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.push(Op::Create(path.into()));
        RealDisk.create(path)
    }

    fn write(&self, file: &File, path: &Path, bytes: &[u8], at: u64) -> io::Result<()> {
        self.push(Op::Write { path: path.into(), at, bytes: bytes.into() });
        RealDisk.write(file, path, bytes, at)
    }

    fn sync(&self, _: &File, path: &Path) -> io::Result<()> {
        self.pass();
        self.push(Op::Sync(path.into()));
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.push(Op::SyncFolder);
        Ok(())
    }

    fn shorten(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.push(Op::Shorten { path: path.into(), len });
        RealDisk.shorten(file, path, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.push(Op::Rename { from: from.into(), to: to.into() });
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.push(Op::Remove(path.into()));
        RealDisk.remove(path)
    }
}

/// How much of what was not synced survives the death of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    /// Only what was synced; names only after a sync of their folder.
    None,
    /// All of it: as if only the program had died.
    All,
    /// Each sector and each name by a throw of the dice.
    Dice(u64),
}

impl Luck {
    fn has(&mut self) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Dice(state) => {
                // A plain generator: what matters is that a number makes it again.
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *state >> 63 == 1
            }
        }
    }
}

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    /// Written and not synced, in order.
    pending: Vec<(u64, Vec<u8>)>,
}

const SECTOR: usize = 512;

/// A folder as the kernel and the disk have it.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    inodes: Vec<Inode>,
    /// As programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// As the disk has them.
    durable_names: BTreeMap<PathBuf, usize>,
    pub(crate) told: u64,
}

impl Machine {
    pub(crate) fn run(&mut self, op: &Op) {
        match op {
            Op::Create(path) => {
                self.inodes.push(Inode::default());
                self.names.insert(path.clone(), self.inodes.len() - 1);
            }
            Op::Write { path, at, bytes } => self.inode(path).pending.push((*at, bytes.clone())),
            Op::Sync(path) => {
                let inode = self.inode(path);
                for (at, bytes) in std::mem::take(&mut inode.pending) {
                    put(&mut inode.durable, at, &bytes);
                }
            }
            Op::SyncFolder => self.durable_names = self.names.clone(),
            Op::Shorten { path, len } => {
                let (inode, len) = (self.inode(path), usize::try_from(*len).expect("small"));
                inode.durable.truncate(len);
            }
            Op::Rename { from, to } => {
                if let Some(inode) = self.names.remove(from) {
                    self.names.insert(to.clone(), inode);
                }
            }
            Op::Remove(path) => drop(self.names.remove(path)),
            Op::Told(sequence) => self.told = self.told.max(*sequence),
        }
    }

    fn inode(&mut self, path: &Path) -> &mut Inode {
        let number = self.names[path];
        &mut self.inodes[number]
    }

    /// What is left in the folder after the machine has died.
    pub(crate) fn dies_into(&self, dir: &Path, mut luck: Luck) {
        fs::create_dir_all(dir).expect("made");
        let mut names: HashMap<&PathBuf, usize> = HashMap::new();
        for (path, inode) in &self.durable_names {
            let unchanged = self.names.get(path) == Some(inode);
            if unchanged || !luck.has() {
                names.insert(path, *inode);
            }
        }
        for (path, inode) in &self.names {
            if self.durable_names.get(path) != Some(inode) && luck.has() {
                names.insert(path, *inode);
            }
        }
        for (path, inode) in names {
            let inode = &self.inodes[inode];
            let mut bytes = inode.durable.clone();
            for (at, pending) in &inode.pending {
                let mut done = 0;
                while done < pending.len() {
                    let from = at + done as u64;
                    // A disk writes a sector whole or not at all.
                    let in_sector = usize::try_from(from % SECTOR as u64).expect("small");
                    let len = (SECTOR - in_sector).min(pending.len() - done);
                    if luck.has() {
                        put(&mut bytes, from, &pending[done..done + len]);
                    }
                    done += len;
                }
            }
            fs::write(dir.join(path.file_name().expect("named")), bytes).expect("written");
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, part: &[u8]) {
    let at = usize::try_from(at).expect("small");
    if bytes.len() < at + part.len() {
        bytes.resize(at + part.len(), 0);
    }
    bytes[at..at + part.len()].copy_from_slice(part);
}

/// Writes over bytes of a file, as nobody should.
pub(crate) fn spoil(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("opened");
    file.write_all_at(bytes, at).expect("written");
}
