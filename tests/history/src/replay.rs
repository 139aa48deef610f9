//! Every revision, one after the other: what must hold of the store whatever anybody was told. On the way it notes what came
//! of each key, for those who judge the answers.

use rr_core::time::BootTime;
use rr_store::{Change, KeyValue, Revision, WatchEvent};

use crate::check::{Rule, Violation};
use crate::facts::{End, Facts, Life, Running, SessionLife};
use crate::key::{Key, Place};
use crate::scope::{Claimed, json};
use crate::world::{Holder, Waiter, World};

/// Why a revision breaks a promise.
type Broken = (Rule, String);

/// The store at the end of the walk, and what came of each key on the way.
pub(crate) struct Walk<'a> {
    prefix: &'a str,
    world: World,
    pub(crate) facts: Facts,
    last: Revision,
}

pub(crate) fn walk<'a>(
    prefix: &'a str,
    events: impl Iterator<Item = (&'a WatchEvent, BootTime)>,
    found: &mut Vec<Violation>,
) -> Walk<'a> {
    let mut walk = Walk { prefix, world: World::default(), facts: Facts::default(), last: 0 };
    for (event, at) in events {
        let revision = event.revision;
        let mut broken = Vec::new();
        if revision <= walk.last {
            broken.push((Rule::NeverOlder, format!("revision {revision} follows {}", walk.last)));
        }
        walk.last = revision;
        walk.step(event, at, &mut broken);
        found.extend(broken.into_iter().map(|(rule, why)| Violation { rule, revision, why }));
    }
    walk
}

impl Walk<'_> {
    fn step(&mut self, event: &WatchEvent, at: BootTime, broken: &mut Vec<Broken>) {
        self.before(event, broken);
        let restore =
            event.changes.iter().any(|c| matches!(c, Change::Put(kv) if self.key(&kv.key) == Key::Generation));
        let ending = self.ending(event);
        for change in &event.changes {
            let done = match change {
                Change::Put(kv) => self.put(kv, broken),
                Change::Delete { key } => {
                    self.delete(key, event.revision, at, restore, &ending);
                    Ok(())
                }
            };
            broken.extend(done.err());
        }
        self.after(event, restore, &ending, broken);
    }

    fn key<'k>(&self, key: &'k str) -> Key<'k> {
        Key::parse(key, self.prefix)
    }

    fn named(&self, part: &str) -> Option<&KeyValue> {
        self.world.keys.get(&format!("{}{part}", self.prefix))
    }

    /// The sessions that end at this revision.
    fn ending(&self, event: &WatchEvent) -> Vec<String> {
        let deleted = event.changes.iter().filter_map(|change| match change {
            Change::Delete { key } => match self.key(key) {
                Key::Session(sid) => Some(sid.to_owned()),
                _ => None,
            },
            Change::Put(_) => None,
        });
        deleted.collect()
    }

    /// What is judged by the store as it was just before.
    fn before(&self, event: &WatchEvent, broken: &mut Vec<Broken>) {
        let entry = event.changes.iter().find_map(|change| match change {
            Change::Delete { key } => self.world.keys.get(key).filter(|_| matches!(self.key(key), Key::Waiter { .. })),
            Change::Put(_) => None,
        });
        for change in &event.changes {
            let Change::Put(kv) = change else { continue };
            let judged = match self.key(&kv.key) {
                Key::Holder(place) if kv.version == 1 => self.overtakes(kv, &place, entry),
                Key::Epoch => self.epoch_rises(kv),
                Key::Run => self.permit_fits(kv),
                Key::Slot if kv.version > 1 => Err((Rule::Slot, format!("{} was taken while it was taken", kv.key))),
                _ => Ok(()),
            };
            broken.extend(judged.err());
        }
    }

    /// A grant takes nobody's turn. Without an entry of its own it took the short way, which nobody may while anybody waits.
    fn overtakes(&self, kv: &KeyValue, place: &Place<'_>, entry: Option<&KeyValue>) -> Result<(), Broken> {
        let waited = |ground: &&crate::world::Ground| !ground.waiters.is_empty();
        let Some(ground) = self.world.grounds.get(place.repo).filter(waited) else { return Ok(()) };
        // One that cannot be read is found when it is put.
        let Ok(claimed) = Claimed::held(place.anchor, kv) else { return Ok(()) };
        let turn = entry.map_or(Revision::MAX, |own| own.create_revision);
        for other in ground.waiters.range(..turn).map(|(_, waiter)| waiter) {
            let excluded =
                other.session != place.session && other.claims.iter().any(|wanted| wanted.excludes(&claimed));
            if entry.is_none() || excluded {
                return Err((Rule::FirstCome, format!("{} overtook {}", kv.key, other.key)));
            }
        }
        Ok(())
    }

    fn epoch_rises(&self, kv: &KeyValue) -> Result<(), Broken> {
        let (next, before) = (number(kv)?, self.named("fleet/epoch").map(number).transpose()?);
        match before {
            Some(before) if next <= before => Err((Rule::Permit, format!("epoch {next} after {before}"))),
            _ => Ok(()),
        }
    }

    fn permit_fits(&self, kv: &KeyValue) -> Result<(), Broken> {
        let epoch = json(kv).map_err(|why| (Rule::Permit, format!("the permit cannot be read: {why}")))?;
        let before = self.named("fleet/epoch").map(number).transpose()?;
        match (epoch["epoch"].as_u64(), before) {
            (Some(epoch), Some(before)) if epoch != before + 1 => {
                Err((Rule::Permit, format!("a permit for epoch {epoch} after {before}")))
            }
            (None, _) => Err((Rule::Permit, "a permit without an epoch".to_owned())),
            _ => Ok(()),
        }
    }

    fn put(&mut self, kv: &KeyValue, broken: &mut Vec<Broken>) -> Result<(), Broken> {
        if let Some(sid) = self.key(&kv.key).owner() {
            self.world.owned.entry(sid.to_owned()).or_default().insert(kv.key.clone());
        }
        self.world.keys.insert(kv.key.clone(), kv.clone());
        let unreadable = |why| (Rule::Readable, why);
        match self.key(&kv.key) {
            Key::Session(sid) if kv.version == 1 => {
                let life = SessionLife { created: kv.create_revision, ended: None };
                self.facts.sessions.insert(sid.to_owned(), life);
            }
            Key::Holder(place) if kv.version == 1 => {
                let claimed = Claimed::held(place.anchor, kv).map_err(unreadable)?;
                let holder = Holder { key: kv.key.clone(), session: place.session.to_owned(), claimed };
                self.hold(kv, &place, holder, broken);
            }
            Key::Mark(place) if kv.version == 1 => {
                let id = (place.session.to_owned(), kv.create_revision);
                self.facts.marks.entry(id).or_default().push(place.anchor.to_owned());
            }
            Key::Waiter { repo, session } if kv.version == 1 => {
                let claims = Claimed::wanted(kv).map_err(unreadable)?;
                let waiter = Waiter { key: kv.key.clone(), session: session.to_owned(), claims };
                self.facts.waits += 1;
                self.world.grounds.entry(repo.to_owned()).or_default().waiters.insert(kv.create_revision, waiter);
            }
            Key::Hold(id) => {
                self.world.holds.insert(id.to_owned());
                self.facts.holds.entry(id.to_owned()).or_insert(kv.mod_revision);
            }
            _ => {}
        }
        Ok(())
    }

    fn hold(&mut self, kv: &KeyValue, place: &Place<'_>, holder: Holder, broken: &mut Vec<Broken>) {
        let ground = self.world.grounds.entry(place.repo.to_owned()).or_default();
        for other in ground.around(place.anchor) {
            if other.session != holder.session && other.claimed.excludes(&holder.claimed) {
                broken.push((Rule::Exclusive, format!("{} and {} are held at once", other.key, holder.key)));
            }
        }
        let (session, repo, claimed) = (holder.session.clone(), place.repo.to_owned(), holder.claimed.clone());
        ground.hold(holder);
        let life = Life { session, repo, claimed, ended: None };
        self.facts.holders.insert((kv.key.clone(), kv.create_revision), life);
    }

    fn delete(&mut self, key: &str, revision: Revision, at: BootTime, restore: bool, ending: &[String]) {
        let Some(old) = self.world.keys.remove(key) else { return };
        let parsed = Key::parse(key, self.prefix);
        if let Some(owned) = parsed.owner().and_then(|sid| self.world.owned.get_mut(sid)) {
            owned.remove(key);
        }
        match parsed {
            Key::Session(sid) => {
                if let Some(life) = self.facts.sessions.get_mut(sid) {
                    life.ended = Some((revision, at));
                }
            }
            Key::Holder(place) => {
                if let Some(ground) = self.world.grounds.get_mut(place.repo) {
                    ground.let_go(place.anchor, key);
                }
                let with_session = ending.iter().any(|sid| sid == place.session);
                let how = if restore {
                    End::Restore
                } else if with_session {
                    End::Session
                } else {
                    End::Alone
                };
                if let Some(life) = self.facts.holders.get_mut(&(key.to_owned(), old.create_revision)) {
                    life.ended = Some((revision, how));
                }
            }
            Key::Waiter { repo, .. } => {
                if let Some(ground) = self.world.grounds.get_mut(repo) {
                    ground.waiters.remove(&old.create_revision);
                }
            }
            Key::Hold(id) => drop(self.world.holds.remove(id)),
            _ => {}
        }
    }

    /// What is judged by the store as it is now.
    fn after(&mut self, event: &WatchEvent, restore: bool, ending: &[String], broken: &mut Vec<Broken>) {
        let mut permit = false;
        let mut changed = false;
        for change in &event.changes {
            let key = self.key(change.key());
            permit |= matches!(key, Key::Run | Key::Epoch | Key::Hold(_));
            changed |= key == Key::Run;
            if let (Change::Put(kv), Some(sid)) = (change, key.owner()) {
                broken.extend(self.fits_its_session(kv, sid, &key).err());
            }
        }
        for sid in ending {
            let left = self.world.owned.remove(sid).unwrap_or_default();
            broken.extend(left.first().map(|key| (Rule::GoesWithSession, format!("{key} has outlived its session"))));
        }
        if permit {
            broken.extend(self.note_permit(event.revision, changed, restore).err());
        }
    }

    fn fits_its_session(&self, kv: &KeyValue, sid: &str, key: &Key<'_>) -> Result<(), Broken> {
        let Some(session) = self.named(&format!("sess/{sid}")) else {
            return Err((Rule::GoesWithSession, format!("{} has no session", kv.key)));
        };
        let generation = self.named("meta/gen").map_or(0, |kv| kv.mod_revision);
        if session.create_revision < generation && matches!(key, Key::Holder(_) | Key::Waiter { .. }) {
            return Err((Rule::Generation, format!("{} is of a session from before generation {generation}", kv.key)));
        }
        Ok(())
    }

    fn note_permit(&mut self, since: Revision, changed: bool, restore: bool) -> Result<(), Broken> {
        let running = self.named("fleet/run").is_some();
        let epoch = self.named("fleet/epoch").map(number).transpose()?.unwrap_or(0);
        self.facts.permit.push(Running { since, running, epoch, changed, restore });
        match self.world.holds.first() {
            Some(hold) if running => Err((Rule::Permit, format!("the fleet may run although hold {hold} is there"))),
            _ => Ok(()),
        }
    }

    /// The replayed store and the one that was read in the end are the same.
    pub(crate) fn compare(&self, last: &[KeyValue], found: &mut Vec<Violation>) {
        let odd = last.iter().find(|kv| self.world.keys.get(&kv.key) != Some(*kv)).map(|kv| kv.key.clone());
        let more = || (last.len() != self.world.keys.len()).then(|| format!("{} keys", self.world.keys.len()));
        if let Some(what) = odd.or_else(more) {
            let why = format!("{what}: as replayed it is not as it was read in the end ({} keys)", last.len());
            found.push(Violation { rule: Rule::WatchTellsAll, revision: self.last, why });
        }
    }
}

fn number(kv: &KeyValue) -> Result<u64, Broken> {
    let text = String::from_utf8_lossy(&kv.value);
    text.parse().map_err(|_| (Rule::Readable, format!("{}: {text:?} is no number", kv.key)))
}
