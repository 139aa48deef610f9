//! Packets that take their time: the kernel hands each to this module, which gives it back later. Owns the order and the
//! waiting; which packets come here is a rule on the machine itself. (`tc netem`, which does this inside the kernel, is
//! not in every kernel, nor is nft's own `queue`.)

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nfq::{Message, Queue, Verdict};

use super::namespace::Namespace;

/// Both directions of the one cable. With a bypass: without a courier packets pass at once.
const RULES: [&[&str]; 2] = [
    &["INPUT", "-i", "eth0", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass"],
    &["OUTPUT", "-o", "eth0", "-j", "NFQUEUE", "--queue-num", "0", "--queue-bypass"],
];
/// Between two looks at what has come: what a delay may be longer than asked.
const LOOK_EVERY: Duration = Duration::from_micros(500);

/// A delay in force on one machine, in each direction; over when dropped.
pub(super) struct Delay {
    machine: Arc<Namespace>,
    over: Arc<AtomicBool>,
    courier: Option<JoinHandle<()>>,
}

impl Delay {
    pub(super) fn on(machine: &Arc<Namespace>, delay: Duration) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let (ready, heard) = channel();
        let until = Arc::clone(&over);
        // A thread made in the machine's network stays in it.
        let courier = machine.inside(|| {
            std::thread::spawn(move || match open() {
                Ok(queue) => {
                    let _ = ready.send(Ok(()));
                    carry(queue, delay, &until);
                }
                Err(error) => drop(ready.send(Err(error))),
            })
        });
        heard.recv().context("the courier starts")?.context("open a packet queue")?;
        let delay = Self { machine: Arc::clone(machine), over, courier: Some(courier) };
        RULES.iter().try_for_each(|rule| machine.run(&[&["iptables", "--wait", "-A"], *rule].concat()))?;
        Ok(delay)
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        for rule in RULES {
            // What is not there any more delays nothing.
            let _ = self.machine.run(&[&["iptables", "--wait", "-D"], rule].concat());
        }
        self.over.store(true, Ordering::Relaxed);
        if let Some(courier) = self.courier.take() {
            drop(courier.join());
        }
    }
}

fn open() -> io::Result<Queue> {
    let mut queue = Queue::open()?;
    queue.bind(0)?;
    queue.set_nonblocking(true);
    Ok(queue)
}

fn carry(mut queue: Queue, delay: Duration, over: &AtomicBool) {
    let mut waiting: VecDeque<(Instant, Message)> = VecDeque::new();
    while !over.load(Ordering::Relaxed) {
        while let Ok(packet) = queue.recv() {
            waiting.push_back((Instant::now() + delay, packet));
        }
        while let Some((_, mut packet)) = waiting.pop_front_if(|(due, _)| *due <= Instant::now()) {
            packet.set_verdict(Verdict::Accept);
            // A packet that is lost is sent again.
            let _ = queue.verdict(packet);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
