//! What the store's tests share: a folder with an embedded store in it that can be stopped, crashed and started again,
//! and a disk with a limit. Each test binary uses a part of it.
#![allow(dead_code, unreachable_pub)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use rr_core::time::Span;
use rr_store::embedded::Disk;
use rr_store::suite::{Harness, ManualClock, Stop};
use rr_store::{EmbeddedStore, OpenError, Options, Store};
use tempfile::TempDir;

/// One folder and the store in it.
pub struct Embedded {
    root: TempDir,
    pub clock: Arc<ManualClock>,
    options: Options,
    running: Mutex<Running>,
}

struct Running {
    lives: u32,
    store: Option<Arc<EmbeddedStore>>,
}

impl Embedded {
    pub fn new(options: Options) -> Self {
        let root = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::default());
        let store = EmbeddedStore::open(&root.path().join("0"), options.clone(), clock.clone()).unwrap();
        Self { root, clock, options, running: Mutex::new(Running { lives: 0, store: Some(store) }) }
    }

    pub fn embedded(&self) -> Arc<EmbeddedStore> {
        self.running.lock().unwrap().store.clone().unwrap()
    }

    pub fn dir(&self) -> PathBuf {
        self.root.path().join(self.running.lock().unwrap().lives.to_string())
    }

    pub fn log(&self) -> PathBuf {
        self.dir().join("store.log")
    }

    pub fn stop(&self) {
        let store = self.running.lock().unwrap().store.take();
        // Others may still hold it; the folder is free when the last lets go.
        assert_eq!(store.map_or(1, |store| Arc::strong_count(&store)), 1, "the store is still in use");
    }

    pub fn start(&self) -> Result<Arc<EmbeddedStore>, OpenError> {
        self.start_with(self.options.clone())
    }

    pub fn start_with(&self, options: Options) -> Result<Arc<EmbeddedStore>, OpenError> {
        let store = EmbeddedStore::open(&self.dir(), options, self.clock.clone())?;
        self.running.lock().unwrap().store = Some(store.clone());
        Ok(store)
    }

    pub fn crash_now(&self, held: Arc<EmbeddedStore>) {
        drop(held);
        self.crash();
    }

    /// Goes on from the files as they are at this moment: what a process that dies now would leave.
    pub fn crash(&self) {
        let (from, store) = (self.dir(), self.running.lock().unwrap().store.take());
        let lives = {
            let mut running = self.running.lock().unwrap();
            running.lives += 1;
            running.lives
        };
        copy_dir(&from, &self.root.path().join(lives.to_string()));
        drop(store);
        self.start().unwrap();
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        match std::fs::copy(&path, to.join(path.file_name().unwrap())) {
            // The log was just replaced: what was to become it is it now.
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.ends_with("store.log.next") => {}
            other => drop(other.unwrap()),
        }
    }
}

#[async_trait]
impl Harness for Embedded {
    fn store(&self) -> Arc<dyn Store> {
        self.embedded()
    }

    async fn restart(&self, stop: Stop) {
        match stop {
            Stop::Clean => {
                self.stop();
                self.start().unwrap();
            }
            Stop::Crash => self.crash(),
        }
    }

    async fn advance(&self, span: Span) {
        self.clock.advance(span);
    }

    fn ttl(&self) -> Span {
        Span::from_secs(60)
    }
}

/// A disk of limited size, whose syncs and writes can be made to fail.
#[derive(Default)]
pub struct SmallDisk {
    left: AtomicU64,
    pub sync_fails: AtomicBool,
    /// For tests of what is read back, which lose nothing by not waiting for the real disk.
    pub sync_skipped: AtomicBool,
    /// While held, syncs wait.
    pub sync_gate: Mutex<()>,
    pub syncs_begun: AtomicU64,
    /// A write stops half-way for lack of space, as on a file system that copies on write.
    pub overwrite_is_full: AtomicBool,
}

impl SmallDisk {
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes), ..Self::default() })
    }

    /// As large as needed, and fast.
    pub fn lazy() -> Arc<Self> {
        let disk = Self::new(u64::MAX / 2);
        disk.sync_skipped.store(true, Ordering::SeqCst);
        disk
    }

    pub fn add(&self, bytes: u64) {
        self.left.fetch_add(bytes, Ordering::SeqCst);
    }

    pub fn fill(&self) {
        self.left.store(0, Ordering::SeqCst);
    }

    fn refund(&self, path: &Path) {
        self.add(std::fs::metadata(path).map_or(0, |file| file.len()));
    }
}

impl Disk for SmallDisk {
    fn overwrite(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        if self.overwrite_is_full.swap(false, Ordering::SeqCst) {
            file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all_at(bytes, at)
    }

    fn extend(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let len = bytes.len() as u64;
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(len));
        taken.map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        file.write_all_at(bytes, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.syncs_begun.fetch_add(1, Ordering::SeqCst);
        drop(self.sync_gate.lock().unwrap());
        if self.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk does not answer"));
        }
        if self.sync_skipped.load(Ordering::SeqCst) { Ok(()) } else { file.sync_data() }
    }

    fn shorten(&self, file: &File, len: u64) -> io::Result<()> {
        self.add(file.metadata()?.len().saturating_sub(len));
        file.set_len(len)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.refund(path);
        std::fs::remove_file(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.refund(to);
        std::fs::rename(from, to)
    }
}
