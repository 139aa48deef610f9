//! One path through its changes: what stood there, and what would have without the ones taken out. Whole contents, modes and
//! kinds are decided here; lines are woven by the [`Ground`], and only when both sides really differ. It does not know which
//! changes are taken out, nor why.

use super::{Change, Ground, Left, Place, Why, Woven};
use crate::content::{BlobId, Content};
use crate::id::SessionId;

/// What a path comes to.
pub(super) enum End {
    Write { expects: Content, becomes: Content },
    Settled { stands: Content, why: Left },
    Conflict { why: Why, ours: Content, theirs: Content, base: Content, by: Option<(SessionId, u64)> },
}

pub(super) struct Replay<'g, G: Ground> {
    ground: &'g mut G,
    /// None before the first change.
    stood: Option<Content>,
    side: Side<G::Weave>,
    left: Left,
    clash: Option<Clash>,
}

/// What would stand without the changes taken out.
enum Side<W> {
    Same,
    Apart { is: Content, lines: Lines<W> },
}

/// The lines of both sides, read only once they are needed.
enum Lines<W> {
    None,
    /// Where the sides parted, and what the text became since by changes taken out.
    Unread(BlobId, Vec<BlobId>),
    Read(W),
}

struct Clash {
    why: Why,
    theirs: Content,
    base: Content,
    by: Option<(SessionId, u64)>,
}

/// What was not kept may be anything.
fn same(one: Content, other: Content) -> bool {
    one == other && one != Content::Unkept
}

impl<'g, G: Ground> Replay<'g, G> {
    pub(super) fn new(ground: &'g mut G) -> Self {
        Self { ground, stood: None, side: Side::Same, left: Left::NothingLeft, clash: None }
    }

    pub(super) fn stands_at(&mut self, place: &Place) -> Content {
        self.ground.stands(place)
    }

    /// The path is seen to be this: whatever it was before, somebody changed it whom no record names.
    pub(super) fn reach(&mut self, content: Content) {
        match self.stood {
            Some(stood) if stood != content => self.leave_in(content, None, None),
            Some(_) => {}
            None => self.stood = Some(content),
        }
    }

    /// A change that is not to have been.
    pub(super) fn take_out(&mut self, to: Content) {
        let from = self.stood.replace(to).unwrap_or(to);
        match &mut self.side {
            // It may well have changed what was not kept.
            Side::Same if from == to && from != Content::Unkept => {}
            Side::Same => self.side = Side::Apart { is: from, lines: Lines::parting(from, to) },
            Side::Apart { is, .. } if same(*is, to) => self.side = Side::Same,
            Side::Apart { lines, .. } => lines.skip(self.ground, to),
        }
    }

    /// A change that stays.
    pub(super) fn leave_in(&mut self, to: Content, by: Option<&Change>, moved: Option<&Place>) {
        let from = self.stood.replace(to).unwrap_or(to);
        if self.clash.is_some() {
            return;
        }
        let Side::Apart { is, lines } = &mut self.side else { return };
        if same(from, to) {
            return;
        }
        match make_again(self.ground, lines, (*is, from, to), moved) {
            Made::Same => self.side = Side::Same,
            Made::Anew => {
                self.side = Side::Same;
                self.left = Left::Overwritten;
            }
            Made::Apart(made) => *is = made,
            Made::Clash(why) => {
                let by = by.map(|change| (change.session.clone(), change.seq));
                self.clash = Some(Clash { why, theirs: *is, base: from, by });
            }
        }
    }

    pub(super) fn end(self, now: Content) -> End {
        if let Some(Clash { why, theirs, base, by }) = self.clash {
            return End::Conflict { why, ours: now, theirs, base, by };
        }
        let Side::Apart { is, lines } = self.side else {
            return End::Settled { stands: now, why: self.left };
        };
        let kept = match (&lines, is.blob()) {
            (_, Some(blob)) if self.ground.has(blob) => true,
            (Lines::Read(weave), Some(_)) => self.ground.keep(weave),
            (_, Some(_)) => false,
            (_, None) => is != Content::Unkept,
        };
        if kept && now != Content::Unkept {
            return End::Write { expects: now, becomes: is };
        }
        End::Conflict { why: Why::NotKept, ours: now, theirs: is, base: now, by: None }
    }
}

enum Made {
    Same,
    Anew,
    Apart(Content),
    Clash(Why),
}

/// Makes the change `from` → `to` on what would stand instead of `from`.
fn make_again<G: Ground>(
    ground: &mut G,
    lines: &mut Lines<G::Weave>,
    (is, from, to): (Content, Content, Content),
    moved: Option<&Place>,
) -> Made {
    use Content::{Absent, File, Unkept};
    match (is, from, to) {
        _ if same(is, to) => Made::Same,
        (_, _, Absent) => moved.map_or(Made::Anew, |to| Made::Clash(Why::Moved { to: to.clone() })),
        (Unkept, _, _) | (_, Unkept, _) | (_, _, Unkept) => Made::Clash(Why::NotKept),
        // Taken out in between: what was edited is another file than what stood before.
        (File { .. }, File { blob: from, .. }, File { blob: to, .. }) if matches!(lines, Lines::None) => {
            if ground.overwrites(from, to) { Made::Anew } else { Made::Clash(Why::EditedWhatItMade) }
        }
        (File { .. }, File { .. }, File { .. }) => make_file_again(ground, lines, (is, from, to)),
        (Absent, File { blob: from, .. }, File { blob: to, .. }) => {
            if ground.overwrites(from, to) {
                Made::Anew
            } else {
                Made::Clash(Why::EditedWhatItMade)
            }
        }
        (Absent, _, _) => Made::Clash(Why::EditedWhatItMade),
        (_, Absent, _) => Made::Clash(Why::MadeAnew),
        (Content::Link { .. }, Content::Link { .. }, Content::Link { .. }) => Made::Clash(Why::NotText),
        _ => Made::Clash(Why::OtherKind),
    }
}

fn make_file_again<G: Ground>(ground: &mut G, lines: &mut Lines<G::Weave>, sides: (Content, Content, Content)) -> Made {
    let (Content::File { blob: is, mode }, Content::File { blob: from, mode: from_mode }, to) =
        (sides.0, sides.1, sides.2)
    else {
        return Made::Clash(Why::OtherKind);
    };
    let Content::File { blob: to_blob, mode: to_mode } = to else { return Made::Clash(Why::OtherKind) };
    let mode = match () {
        () if from_mode == to_mode => mode,
        () if mode == from_mode || mode == to_mode => to_mode,
        () => return Made::Clash(Why::SameMode),
    };
    let is_anew = from != to_blob && is != from && ground.overwrites(from, to_blob);
    let blob = match () {
        () if from == to_blob => is,
        () if is == from || is_anew => {
            *lines = Lines::Unread(to_blob, Vec::new());
            to_blob
        }
        () => match lines.weave(ground, to_blob) {
            Woven::Without(blob) => blob,
            Woven::Clash => return Made::Clash(Why::SameLines),
            Woven::NotText => return Made::Clash(Why::NotText),
            Woven::NotKept => return Made::Clash(Why::NotKept),
        },
    };
    let made = Content::File { blob, mode };
    match same(made, to) {
        true if is_anew => Made::Anew,
        true => Made::Same,
        false => Made::Apart(made),
    }
}

impl<W> Lines<W> {
    fn parting(from: Content, to: Content) -> Self {
        match (from, to) {
            (Content::File { blob, .. }, Content::File { blob: to, .. }) => Self::Unread(blob, vec![to]),
            _ => Self::None,
        }
    }

    fn skip<G: Ground<Weave = W>>(&mut self, ground: &mut G, to: Content) {
        let Content::File { blob, .. } = to else {
            // What comes after is another file.
            *self = Self::None;
            return;
        };
        match self {
            Self::None => {}
            Self::Unread(_, skipped) => skipped.push(blob),
            Self::Read(weave) => {
                if ground.take_out(weave, blob).is_err() {
                    *self = Self::None;
                }
            }
        }
    }

    fn weave<G: Ground<Weave = W>>(&mut self, ground: &mut G, to: BlobId) -> Woven {
        if let Self::Unread(start, skipped) = self {
            let mut weave = match ground.weave(*start) {
                Ok(weave) => weave,
                Err(why) => return why,
            };
            for blob in skipped {
                if let Err(why) = ground.take_out(&mut weave, *blob) {
                    return why;
                }
            }
            *self = Self::Read(weave);
        }
        match self {
            Self::Read(weave) => ground.leave_in(weave, to),
            _ => Woven::Clash,
        }
    }
}
