//! The oracle: all that ever happened in a store, replayed from its own watch, and what must hold at every revision. It
//! reads keys and values by itself and shares no rule with the code under test; it knows only the scopes that tests use:
//! paths, names, and patterns `*.ext`.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rr_store::{Change, EmbeddedStore, KeyValue, Keys, Revision, Store, WatchEvent};

use super::PREFIX;

/// Every change since the store was made.
pub async fn events(store: &EmbeddedStore) -> Vec<WatchEvent> {
    let last = store.range(Keys::prefix("")).await.unwrap().revision;
    let mut stream = store.watch(Keys::prefix(PREFIX), 1).await.unwrap();
    let mut all: Vec<WatchEvent> = Vec::new();
    while all.last().is_none_or(|event| event.revision < last) {
        all.push(stream.next().await.unwrap().unwrap());
    }
    all
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct What {
    /// Folder names, then perhaps `*.ext`; a name is one part that starts with `!`.
    parts: Vec<String>,
    extension: Option<String>,
    shared: bool,
}

impl What {
    fn of(anchor: &str, glob: Option<&str>, mode: &str) -> Self {
        let parts = anchor.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let extension = glob.map(|glob| glob.strip_prefix("*.").expect("only *.ext").to_owned());
        Self { parts, extension, shared: mode == "shared" }
    }

    fn is_name(&self) -> bool {
        self.parts.first().is_some_and(|part| part.starts_with('!'))
    }

    pub fn excludes(&self, other: &Self) -> bool {
        if self.shared && other.shared {
            return false;
        }
        match (&self.extension, &other.extension) {
            (Some(a), Some(b)) => self.parts == other.parts && a == b,
            (Some(extension), None) => Self::pattern_meets(&self.parts, extension, other),
            (None, Some(extension)) => Self::pattern_meets(&other.parts, extension, self),
            (None, None) => self.parts.starts_with(&other.parts) || other.parts.starts_with(&self.parts),
        }
    }

    fn pattern_meets(folder: &[String], extension: &str, path: &Self) -> bool {
        if path.is_name() {
            return false;
        }
        let inside = |below: &[String]| below.len() == 1 && below[0].ends_with(&format!(".{extension}"));
        folder.starts_with(&path.parts) || path.parts.strip_prefix(folder).is_some_and(inside)
    }
}

/// The store at one revision, as the oracle understands it.
#[derive(Default)]
struct World {
    keys: BTreeMap<String, KeyValue>,
}

fn json(kv: &KeyValue) -> serde_json::Value {
    serde_json::from_slice(&kv.value).unwrap()
}

fn number(kv: &KeyValue) -> u64 {
    String::from_utf8(kv.value.clone()).unwrap().parse().unwrap()
}

/// `x/<repo>/<anchor>/@/<sid>.<n>` without its tree: repository, anchor, session.
fn holder(key: &str) -> Option<(&str, &str, &str)> {
    let rest = key.strip_prefix(PREFIX)?;
    let rest = rest.strip_prefix("x/").or_else(|| rest.strip_prefix("s/"))?;
    let (place, owner) = rest.split_once("@/")?;
    let (repo, anchor) = place.split_once('/')?;
    Some((repo, anchor.trim_end_matches('/'), owner.split_once('.')?.0))
}

fn waiter(key: &str) -> Option<(&str, &str)> {
    let (repo, owner) = key.strip_prefix(PREFIX)?.strip_prefix("q/")?.split_once('/')?;
    Some((repo, owner.split_once('.')?.0))
}

fn held(kv: &KeyValue) -> What {
    let (value, (_, anchor, _)) = (json(kv), holder(&kv.key).unwrap());
    What::of(anchor, value["glob"].as_str(), value["mode"].as_str().unwrap())
}

fn wanted(kv: &KeyValue) -> Vec<What> {
    let value = json(kv);
    let claims = value["claims"].as_array().unwrap();
    let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
    claims.iter().map(|c| What::of(&text(&c["anchor"]), c["glob"].as_str(), &text(&c["mode"]))).collect()
}

impl World {
    fn below(&self, part: &str) -> impl Iterator<Item = &KeyValue> {
        let prefix = format!("{PREFIX}{part}");
        self.keys.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix)).map(|(_, kv)| kv)
    }

    fn has(&self, part: &str) -> bool {
        self.keys.contains_key(&format!("{PREFIX}{part}"))
    }

    fn take(&mut self, event: &WatchEvent) {
        for change in &event.changes {
            match change {
                Change::Put(kv) => drop(self.keys.insert(kv.key.clone(), kv.clone())),
                Change::Delete { key } => drop(self.keys.remove(key)),
            }
        }
    }

    fn holders(&self) -> impl Iterator<Item = &KeyValue> {
        self.below("x/").chain(self.below("s/"))
    }

    fn no_two_holders_exclude_each_other(&self) -> Result<(), String> {
        let all: Vec<_> = self.holders().map(|kv| (kv, holder(&kv.key).unwrap(), held(kv))).collect();
        for (at, (a, (repo_a, _, sid_a), what_a)) in all.iter().enumerate() {
            for (b, (repo_b, _, sid_b), what_b) in &all[at + 1..] {
                if repo_a == repo_b && sid_a != sid_b && what_a.excludes(what_b) {
                    return Err(format!("{} and {} are held at once", a.key, b.key));
                }
            }
        }
        Ok(())
    }

    fn nothing_outlives_its_session(&self) -> Result<(), String> {
        for part in ["x/", "s/", "q/", "op/", "fleet/ack/"] {
            for kv in self.below(part) {
                let sid = holder(&kv.key).map(|h| h.2).or(waiter(&kv.key).map(|w| w.1));
                let rest = kv.key.strip_prefix(&format!("{PREFIX}{part}")).unwrap();
                let sid = sid.unwrap_or_else(|| rest.split('/').next().unwrap());
                if !self.has(&format!("sess/{sid}")) {
                    return Err(format!("{} has outlived its session", kv.key));
                }
            }
        }
        Ok(())
    }

    fn running_means_unheld(&self) -> Result<(), String> {
        match self.below("fleet/hold/").next() {
            Some(hold) if self.has("fleet/run") => Err(format!("running although {} is there", hold.key)),
            _ => Ok(()),
        }
    }

    /// A grant takes nobody's turn: `self` is the store just before it.
    fn nobody_is_overtaken(&self, event: &WatchEvent) -> Result<(), String> {
        let put = event.changes.iter().filter_map(|change| match change {
            Change::Put(kv) => holder(&kv.key).map(|place| (kv, place)),
            Change::Delete { .. } => None,
        });
        let entry = event.changes.iter().find_map(|change| match change {
            Change::Delete { key } if waiter(key).is_some() => self.keys.get(key),
            _ => None,
        });
        for (kv, (repo, _, sid)) in put {
            for other in self.below(&format!("q/{repo}/")) {
                let earlier = entry.is_none_or(|own| other.create_revision < own.create_revision);
                let excluded = entry.is_none() || wanted(other).iter().any(|what| what.excludes(&held(kv)));
                let foreign = waiter(&other.key).unwrap().1 != sid || entry.is_none();
                if earlier && excluded && foreign {
                    return Err(format!("{} overtook {}", kv.key, other.key));
                }
            }
        }
        Ok(())
    }

    fn the_epoch_rises(&self, event: &WatchEvent) -> Result<(), String> {
        let before = self.keys.get(&format!("{PREFIX}fleet/epoch")).map(number);
        for change in &event.changes {
            let Change::Put(kv) = change else { continue };
            if kv.key == format!("{PREFIX}fleet/epoch") && before.is_some_and(|before| number(kv) <= before) {
                return Err(format!("epoch {} after {before:?}", number(kv)));
            }
            if kv.key == format!("{PREFIX}fleet/run") && before.is_some_and(|n| json(kv)["epoch"] != n + 1) {
                return Err(format!("run permit {} after epoch {before:?}", json(kv)));
            }
        }
        Ok(())
    }
}

/// Checks every revision. The error names the first at which something does not hold.
pub fn check(events: &[WatchEvent]) -> Result<(), String> {
    let mut world = World::default();
    for event in events {
        let before = world.nobody_is_overtaken(event).and_then(|()| world.the_epoch_rises(event));
        world.take(event);
        let held = event.changes.iter().any(|change| matches!(change, Change::Put(kv) if holder(&kv.key).is_some()));
        before
            .and_then(|()| if held { world.no_two_holders_exclude_each_other() } else { Ok(()) })
            .and_then(|()| world.nothing_outlives_its_session())
            .and_then(|()| world.running_means_unheld())
            .map_err(|why| format!("at revision {}: {why}", event.revision))?;
    }
    Ok(())
}

/// The revision at which this key came into being.
pub fn made_at(events: &[WatchEvent], key: &str) -> Vec<Revision> {
    let made = |change: &Change| matches!(change, Change::Put(kv) if kv.key == key && kv.version == 1);
    events.iter().filter(|event| event.changes.iter().any(made)).map(|event| event.revision).collect()
}
