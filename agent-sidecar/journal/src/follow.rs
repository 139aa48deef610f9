//! What comes after: the same question again and again, each time behind the last answer. The caller says when; a look at a
//! journal in which nothing was written costs one call of the file system.

use std::time::{Duration, SystemTime};

use crate::folder;
use crate::query::Find;
use crate::reader::{Damage, Filter, Order, Reader};

/// A file system's clock may stand still for so long between two writes.
const CLOCK_STEP: Duration = Duration::from_secs(1);
/// Damage is told once. Of more places than this some are told again.
const DAMAGE_KEPT_MAX: usize = 256;

pub struct Follow {
    reader: Reader,
    filter: Filter,
    seen: Option<SystemTime>,
    damage: Vec<Damage>,
}

impl Reader {
    /// Follows the journal behind `filter.after`; without it, from now on.
    #[must_use]
    pub fn follow(&self, filter: &Filter) -> Follow {
        let last = || {
            let newest = Filter { limit: Some(1), order: Order::NewestFirst, ..Filter::default() };
            self.query(&newest).flatten().next().map_or(0, |(sequence, _)| sequence)
        };
        let after = filter.after.unwrap_or_else(last);
        let filter = Filter { after: Some(after), order: Order::OldestFirst, limit: None, ..filter.clone() };
        Follow { reader: self.clone(), filter, seen: None, damage: Vec::new() }
    }
}

impl Follow {
    /// What came since the last look.
    pub fn poll(&mut self) -> Vec<Find> {
        let written = self.written();
        let settled = written.is_some_and(|at| at.elapsed().is_ok_and(|age| age > CLOCK_STEP));
        if settled && written == self.seen {
            return vec![];
        }
        let finds: Vec<Find> = self.reader.query(&self.filter).collect();
        let newest = finds.iter().flatten().map(|(sequence, _)| *sequence).max();
        self.filter.after = newest.max(self.filter.after);
        self.seen = written;
        finds.into_iter().filter(|find| self.is_news(find)).collect()
    }

    fn written(&self) -> Option<SystemTime> {
        let last = folder::segments(&self.reader.dir).ok()?.pop()?;
        std::fs::metadata(last.path(&self.reader.dir)).ok()?.modified().ok()
    }

    fn is_news(&mut self, find: &Find) -> bool {
        let Err(damage) = find else { return true };
        if self.damage.contains(damage) {
            return false;
        }
        if self.damage.len() >= DAMAGE_KEPT_MAX {
            self.damage.clear();
        }
        self.damage.push(damage.clone());
        true
    }
}
