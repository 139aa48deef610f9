//! The thread beside a run that watches what its processes take, ends them when that is too much, and ends all of them
//! when the run is over or was dropped. A thread of its own, started before the check: when a fork bomb goes off there
//! may be no way to start another, and it must not have to wait for anybody. Why a run is to end otherwise is decided
//! in `run`.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use super::family::Family;
use super::{Limits, free_bytes};
use crate::outcome::Why;

/// A fork bomb makes a few hundred processes in this time. Only the kernel's count of all tasks is read: ten
/// microseconds.
const GLANCE_EVERY: Duration = Duration::from_millis(20);
/// Looking at the family costs a hundred times as much.
const GLANCES_A_LOOK: u32 = 5;
/// More tasks on the machine than at the last look: it may be the family's doing.
const TASKS_MORE: u64 = 16;

/// What it saw, told when everything has ended.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub least_free_bytes: u64,
    /// Processes that could not be ended.
    pub left: usize,
}

pub(super) struct Warden {
    /// Dropped to say that the run is over.
    over: Option<Sender<()>>,
    objection: Option<oneshot::Receiver<Why>>,
    account: oneshot::Receiver<Account>,
}

impl Warden {
    pub(super) fn start(family: Family, disks: Vec<PathBuf>, limits: &Limits) -> io::Result<Self> {
        let (over, is_over) = channel();
        let (object, objection) = oneshot::channel();
        let (tell, account) = oneshot::channel();
        let mut watch = Watch {
            family,
            disks,
            limits: limits.clone(),
            least_free_bytes: u64::MAX,
            was_stopped: false,
            glances: 0,
            tasks: tasks(),
        };
        thread::Builder::new().name("check-warden".to_owned()).spawn(move || {
            while is_over.recv_timeout(GLANCE_EVERY) == Err(RecvTimeoutError::Timeout) {
                if let Some(why) = watch.glance() {
                    // Said after the act: whoever is told has to wait for the processor.
                    watch.family.kill_group();
                    let _ = object.send(why);
                    break;
                }
            }
            let left = watch.family.end();
            let _ = tell.send(Account { least_free_bytes: watch.least_free_bytes, left });
        })?;
        Ok(Self { over: Some(over), objection: Some(objection), account })
    }

    /// Returns when the check must not go on, and why. Never, if it may.
    pub(super) async fn objects(&mut self) -> Why {
        if let Some(objection) = &mut self.objection {
            let heard = objection.await;
            self.objection = None;
            if let Ok(why) = heard {
                return why;
            }
        }
        std::future::pending().await
    }

    /// Has everything ended that the check started. With an objection that nobody had heard yet: the check's end may be
    /// seen before the reason for it.
    pub(super) async fn end_all(&mut self) -> (Account, Option<Why>) {
        self.over = None;
        let account = (&mut self.account).await.unwrap_or_default();
        let unheard = self.objection.as_mut().and_then(|o| o.try_recv().ok());
        (account, unheard)
    }
}

struct Watch {
    family: Family,
    disks: Vec<PathBuf>,
    limits: Limits,
    least_free_bytes: u64,
    was_stopped: bool,
    glances: u32,
    tasks: u64,
}

impl Watch {
    fn glance(&mut self) -> Option<Why> {
        self.glances = self.glances.wrapping_add(1);
        let tasks = tasks();
        if !self.glances.is_multiple_of(GLANCES_A_LOOK) && tasks <= self.tasks.saturating_add(TASKS_MORE) {
            return None;
        }
        self.tasks = tasks;
        self.look()
    }

    fn look(&mut self) -> Option<Why> {
        let seen = self.family.look(self.limits.processes);
        let is_still_stopped = std::mem::replace(&mut self.was_stopped, seen.is_stopped) && seen.is_stopped;
        match () {
            () if seen.processes > self.limits.processes => Some(Why::TooManyProcesses),
            () if self.takes_too_much(seen.memory_bytes) => Some(Why::OutOfMemory),
            // Twice in a row: a shell stops its children for an instant when it hands the terminal over.
            () if is_still_stopped => Some(Why::NeedsInput),
            () => {
                let free = free_bytes(&self.disks);
                self.least_free_bytes = self.least_free_bytes.min(free);
                (free < self.limits.free_bytes_floor).then_some(Why::NoSpace)
            }
        }
    }

    /// The quick sum counts twice what parent and child share: it acquits, and the slow one convicts.
    fn takes_too_much(&self, quick_bytes: u64) -> bool {
        quick_bytes > self.limits.memory_bytes && self.family.exact_memory_bytes() > self.limits.memory_bytes
    }
}

/// How many tasks the machine has, by the fourth field of `/proc/loadavg` (`running/all`).
fn tasks() -> u64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all = text.split_ascii_whitespace().nth(3).and_then(|f| f.split('/').nth(1));
    all.and_then(|n| n.parse().ok()).unwrap_or_default()
}
