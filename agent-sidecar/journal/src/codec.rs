//! Entries as bytes and back. One form, two ways for names that repeat (paths, sessions, tools): inline in the log as it
//! is written, or by number in a sealed segment, which has a table of them. New events get new numbers; a number never
//! changes its meaning. It knows no frame and no file.

use std::collections::HashMap;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rr_core::content::{BlobId, Content};
use rr_core::id::SessionId;
use rr_core::path::RepoPath;

use crate::entry::{ApprovalStep, Does, Entry, Event, FileChange, Kept, LockStep, Spot, Verdict};
use crate::text::Text;

/// Bytes that are no entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry: {0}")]
pub struct NotAnEntry(pub(crate) &'static str);

type Read<T> = Result<T, NotAnEntry>;

/// Where names go.
pub(crate) trait NamesOut {
    fn put(&mut self, name: &[u8], out: &mut Vec<u8>);
}

/// Where names come from.
pub(crate) trait NamesIn {
    fn get<'a>(&'a self, bytes: &mut &'a [u8]) -> Read<&'a [u8]>;
}

/// Each name where it is used.
pub(crate) struct Inline;

impl NamesOut for Inline {
    fn put(&mut self, name: &[u8], out: &mut Vec<u8>) {
        put_bytes(out, name);
    }
}

impl NamesIn for Inline {
    fn get<'a>(&'a self, bytes: &mut &'a [u8]) -> Read<&'a [u8]> {
        get_bytes(bytes)
    }
}

pub(crate) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

pub(crate) fn get_number(bytes: &mut &[u8]) -> Read<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = get_byte(bytes)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(NotAnEntry("a number without an end"))
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn get_bytes<'a>(bytes: &mut &'a [u8]) -> Read<&'a [u8]> {
    let len = usize::try_from(get_number(bytes)?).map_err(|_| NotAnEntry("too long"))?;
    let (part, rest) = bytes.split_at_checked(len).ok_or(NotAnEntry("cut short"))?;
    *bytes = rest;
    Ok(part)
}

fn get_byte(bytes: &mut &[u8]) -> Read<u8> {
    let (first, rest) = bytes.split_first().ok_or(NotAnEntry("cut short"))?;
    *bytes = rest;
    Ok(*first)
}

/// The entry as the log has it, for sending it elsewhere.
#[must_use]
pub fn encode(entry: &Entry) -> Vec<u8> {
    let mut out = Vec::new();
    encode_with(entry, &mut Inline, &mut out);
    out
}

/// # Errors
/// If the bytes are not one whole entry.
pub fn decode(bytes: &[u8]) -> Result<Entry, NotAnEntry> {
    decode_with(bytes, &Inline, &mut Paths::default())
}

pub(crate) fn encode_with(entry: &Entry, names: &mut dyn NamesOut, out: &mut Vec<u8>) {
    let mut to = Encoder { names, out };
    to.number(entry.at_unix_ms);
    to.option(entry.session.as_ref(), |to, session| to.name(session.as_str()));
    to.option(entry.agent_id.as_ref(), |to, agent| to.name(agent));
    to.option(entry.call.as_ref(), |to, call| put_bytes(to.out, call.as_bytes()));
    to.number(entry.revision);
    to.event(&entry.event);
}

struct Encoder<'a> {
    names: &'a mut dyn NamesOut,
    out: &'a mut Vec<u8>,
}

impl Encoder<'_> {
    fn event(&mut self, event: &Event) {
        self.tag(event.kind() as usize);
        match event {
            Event::SessionStarted { agent, agent_session, workspace, pid, task } => {
                self.name(agent);
                self.name(agent_session);
                self.path(workspace);
                self.number(u64::from(*pid));
                self.text(task);
            }
            Event::SessionEnded { how: text } | Event::Told { text } => self.text(text),
            Event::Intent { tool, does, cwd } => {
                self.name(tool);
                self.does(does);
                self.path(cwd);
            }
            Event::Verdict { verdict, reason, rule } => {
                self.tag(*verdict as usize);
                self.repeated(reason);
                self.option(rule.as_ref(), |to, rule| to.name(rule));
            }
            Event::Snapped { files } => self.list(files, |to, kept| {
                to.place(&kept.root, &kept.path);
                to.content(&kept.content);
            }),
            Event::Started => {}
            Event::Done { ok, changes } => {
                self.tag(usize::from(*ok));
                self.list(changes, Self::change);
            }
            Event::Lock { scope, token, how } => {
                self.name(scope);
                self.number(*token);
                self.tag(*how as usize);
            }
            Event::Paused { epoch, who, reason } => {
                self.number(*epoch);
                self.name(who);
                self.text(reason);
            }
            Event::Resumed { epoch, who } => {
                self.number(*epoch);
                self.name(who);
            }
            Event::Approval { id, outcome, who, reason } => {
                put_bytes(self.out, id.as_bytes());
                self.tag(*outcome as usize);
                self.name(who);
                self.text(reason);
            }
            Event::RolledBack { of, undone, changes, undoes } => {
                self.name(of.as_str());
                self.list(undone, |to, sequence| to.number(*sequence));
                self.list(changes, Self::change);
                self.option(undoes.as_ref(), |to, sequence| to.number(*sequence));
            }
            Event::Checkpoint { root, commit, why } => {
                self.path(root);
                put_bytes(self.out, commit.as_bytes());
                self.text(why);
            }
            Event::Missed { notes: number } | Event::Forgotten { before: number } => self.number(*number),
        }
    }

    fn does(&mut self, does: &Does) {
        match does {
            Does::Read(spots) => self.spots(0, spots),
            Does::Write(spots) => self.spots(1, spots),
            Does::Shell(command) => {
                self.tag(2);
                self.text(command);
            }
            Does::Other => self.tag(3),
        }
    }

    fn spots(&mut self, tag: usize, spots: &[Spot]) {
        self.tag(tag);
        self.list(spots, |to, spot| to.place(&spot.root, &spot.path));
    }

    fn change(&mut self, change: &FileChange) {
        self.place(&change.root, &change.path);
        self.content(&change.before);
        self.content(&change.after);
        self.tag(usize::from(change.foreseen));
    }

    fn place(&mut self, root: &Path, path: &RepoPath) {
        self.path(root);
        self.path(path.as_path());
    }

    fn content(&mut self, content: &Content) {
        match content {
            Content::Absent => self.tag(0),
            Content::File { blob, mode } => {
                self.tag(1);
                self.out.extend_from_slice(&blob.0);
                self.number(u64::from(*mode));
            }
            Content::Link { blob } => {
                self.tag(2);
                self.out.extend_from_slice(&blob.0);
            }
            Content::Folder => self.tag(3),
            Content::Unkept => self.tag(4),
        }
    }

    /// A text of which there are few different ones.
    fn repeated(&mut self, text: &Text) {
        self.name(&text.shown);
        self.number(text.cut);
    }

    fn text(&mut self, text: &Text) {
        put_bytes(self.out, text.shown.as_bytes());
        self.number(text.cut);
    }

    fn name(&mut self, name: &str) {
        self.names.put(name.as_bytes(), self.out);
    }

    fn path(&mut self, path: &Path) {
        self.names.put(path.as_os_str().as_bytes(), self.out);
    }

    fn number(&mut self, number: u64) {
        put_number(self.out, number);
    }

    /// Tags are small: the enums of `entry` have few variants.
    fn tag(&mut self, tag: usize) {
        put_number(self.out, tag as u64);
    }

    fn option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.tag(usize::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn list<T>(&mut self, items: &[T], put: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| put(self, item));
    }
}

/// Parsed paths by their bytes: parsing one is dear, and the same ones come again and again.
#[derive(Default)]
pub(crate) struct Paths(HashMap<Box<[u8]>, Rc<RepoPath>>);

/// Distinct paths kept at once; then it starts anew.
const PATHS_MAX: usize = 64 << 10;

impl Paths {
    fn get(&mut self, path: &[u8]) -> Read<Rc<RepoPath>> {
        if let Some(known) = self.0.get(path) {
            return Ok(Rc::clone(known));
        }
        let found = Rc::new(RepoPath::found(path).map_err(|_| NotAnEntry("a path that is none"))?);
        if self.0.len() >= PATHS_MAX {
            self.0.clear();
        }
        self.0.insert(path.into(), Rc::clone(&found));
        Ok(found)
    }
}

/// Whose entry it is and when it was made, read without the rest.
pub(crate) struct Head<'a> {
    pub(crate) at_unix_ms: u64,
    pub(crate) session: Option<&'a [u8]>,
    pub(crate) kind: u64,
}

pub(crate) fn head_with<'a>(bytes: &'a [u8], names: &'a dyn NamesIn) -> Read<Head<'a>> {
    let mut from = bytes;
    let at_unix_ms = get_number(&mut from)?;
    let session = if get_byte(&mut from)? == 1 { Some(names.get(&mut from)?) } else { None };
    if get_byte(&mut from)? == 1 {
        names.get(&mut from)?;
    }
    if get_byte(&mut from)? == 1 {
        get_bytes(&mut from)?;
    }
    get_number(&mut from)?;
    Ok(Head { at_unix_ms, session, kind: get_number(&mut from)? })
}

pub(crate) fn decode_with(bytes: &[u8], names: &dyn NamesIn, paths: &mut Paths) -> Read<Entry> {
    let mut from = Decoder { bytes, names, paths };
    let at_unix_ms = from.number()?;
    let session = from.option(Decoder::session)?;
    let agent_id = from.option(Decoder::name)?;
    let call = from.option(Decoder::string)?;
    let revision = from.number()?;
    let event = from.event()?;
    if !from.bytes.is_empty() {
        return Err(NotAnEntry("bytes left over"));
    }
    Ok(Entry { at_unix_ms, session, agent_id, call, revision, event })
}

struct Decoder<'a, 'p> {
    bytes: &'a [u8],
    names: &'a dyn NamesIn,
    paths: &'p mut Paths,
}

impl Decoder<'_, '_> {
    fn event(&mut self) -> Read<Event> {
        Ok(match self.number()? {
            0 => Event::SessionStarted {
                agent: self.name()?,
                agent_session: self.name()?,
                workspace: self.path()?,
                pid: u32::try_from(self.number()?).map_err(|_| NotAnEntry("a process id that is none"))?,
                task: self.text()?,
            },
            1 => Event::SessionEnded { how: self.text()? },
            2 => Event::Intent { tool: self.name()?, does: self.does()?, cwd: self.path()? },
            3 => Event::Verdict {
                verdict: self.one_of(Verdict::ALL)?,
                reason: self.repeated()?,
                rule: self.option(Self::name)?,
            },
            4 => Event::Snapped { files: self.list(Self::kept)? },
            5 => Event::Started,
            6 => Event::Done { ok: self.flag()?, changes: self.list(Self::change)? },
            7 => Event::Lock { scope: self.name()?, token: self.number()?, how: self.one_of(LockStep::ALL)? },
            8 => Event::Told { text: self.text()? },
            9 => Event::Paused { epoch: self.number()?, who: self.name()?, reason: self.text()? },
            10 => Event::Resumed { epoch: self.number()?, who: self.name()? },
            11 => Event::Approval {
                id: self.string()?,
                outcome: self.one_of(ApprovalStep::ALL)?,
                who: self.name()?,
                reason: self.text()?,
            },
            12 => Event::RolledBack {
                of: self.session()?,
                undone: self.list(Self::number)?,
                changes: self.list(Self::change)?,
                undoes: self.option(Self::number)?,
            },
            13 => Event::Checkpoint { root: self.path()?, commit: self.string()?, why: self.text()? },
            14 => Event::Missed { notes: self.number()? },
            15 => Event::Forgotten { before: self.number()? },
            _ => return Err(NotAnEntry("a kind of event that this version does not know")),
        })
    }

    fn does(&mut self) -> Read<Does> {
        Ok(match self.number()? {
            0 => Does::Read(self.list(Self::spot)?),
            1 => Does::Write(self.list(Self::spot)?),
            2 => Does::Shell(self.text()?),
            3 => Does::Other,
            _ => return Err(NotAnEntry("a kind of intent that this version does not know")),
        })
    }

    fn spot(&mut self) -> Read<Spot> {
        Ok(Spot { root: self.path()?, path: self.repo_path()? })
    }

    fn kept(&mut self) -> Read<Kept> {
        Ok(Kept { root: self.path()?, path: self.repo_path()?, content: self.content()? })
    }

    fn change(&mut self) -> Read<FileChange> {
        Ok(FileChange {
            root: self.path()?,
            path: self.repo_path()?,
            before: self.content()?,
            after: self.content()?,
            foreseen: self.flag()?,
        })
    }

    fn content(&mut self) -> Read<Content> {
        Ok(match self.number()? {
            0 => Content::Absent,
            1 => Content::File {
                blob: self.blob()?,
                mode: u16::try_from(self.number()?).map_err(|_| NotAnEntry("a mode that is none"))?,
            },
            2 => Content::Link { blob: self.blob()? },
            3 => Content::Folder,
            4 => Content::Unkept,
            _ => return Err(NotAnEntry("a kind of content that this version does not know")),
        })
    }

    fn blob(&mut self) -> Read<BlobId> {
        let (blob, rest) = self.bytes.split_first_chunk().ok_or(NotAnEntry("cut short"))?;
        self.bytes = rest;
        Ok(BlobId(*blob))
    }

    fn session(&mut self) -> Read<SessionId> {
        SessionId::parse(&self.name()?).map_err(|_| NotAnEntry("a session id that is none"))
    }

    fn repo_path(&mut self) -> Read<RepoPath> {
        let shown = self.names.get(&mut self.bytes)?;
        Ok((*self.paths.get(shown)?).clone())
    }

    fn path(&mut self) -> Read<PathBuf> {
        let name = self.names.get(&mut self.bytes)?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(name.to_owned())))
    }

    fn repeated(&mut self) -> Read<Text> {
        Ok(Text { shown: self.name()?, cut: self.number()? })
    }

    fn text(&mut self) -> Read<Text> {
        Ok(Text { shown: self.string()?, cut: self.number()? })
    }

    fn name(&mut self) -> Read<String> {
        as_text(self.names.get(&mut self.bytes)?)
    }

    fn string(&mut self) -> Read<String> {
        as_text(get_bytes(&mut self.bytes)?)
    }

    fn number(&mut self) -> Read<u64> {
        get_number(&mut self.bytes)
    }

    fn flag(&mut self) -> Read<bool> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(NotAnEntry("neither yes nor no")),
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> Read<T> {
        let at = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        all.get(at).copied().ok_or(NotAnEntry("a word that this version does not know"))
    }

    fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.flag()? { get(self).map(Some) } else { Ok(None) }
    }

    fn list<T>(&mut self, get: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let len = self.number()?;
        // Each item has at least one byte: a wrong length ends soon.
        if len > self.bytes.len() as u64 {
            return Err(NotAnEntry("cut short"));
        }
        (0..len).map(|_| get(self)).collect()
    }
}

fn as_text(bytes: &[u8]) -> Read<String> {
    String::from_utf8(bytes.to_owned()).map_err(|_| NotAnEntry("a text that is none"))
}
