//! The keys of a fleet taken apart (lock-protocol §3), written anew here: what reads keys for the judge must not be what
//! writes them for the judged.

/// What a key is, with the parts that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Generation,
    Session(&'a str),
    Slot,
    Holder(Place<'a>),
    Mark(Place<'a>),
    Waiter {
        repo: &'a str,
        session: &'a str,
    },
    Operation {
        session: &'a str,
    },
    Ack {
        session: &'a str,
    },
    Run,
    Epoch,
    Hold(&'a str),
    /// Not the protocol's, or not this fleet's.
    Other,
}

/// Where a holder or a mark lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) repo: &'a str,
    pub(crate) anchor: &'a str,
    pub(crate) session: &'a str,
}

impl<'a> Key<'a> {
    pub(crate) fn parse(key: &'a str, prefix: &str) -> Self {
        Self::below(key, prefix).unwrap_or(Self::Other)
    }

    fn below(key: &'a str, prefix: &str) -> Option<Self> {
        let (part, rest) = key.strip_prefix(prefix)?.split_once('/')?;
        Some(match (part, rest) {
            ("meta", "gen") => Self::Generation,
            ("sess", sid) => Self::Session(sid),
            ("slot", _) => Self::Slot,
            ("x" | "s", rest) => Self::Holder(Place::parse(rest)?),
            ("mark", rest) => Self::Mark(Place::parse(rest)?),
            ("q", rest) => {
                let (repo, owner) = rest.split_once('/')?;
                Self::Waiter { repo, session: owner.split_once('.')?.0 }
            }
            ("op", rest) => Self::Operation { session: rest.split_once('/')?.0 },
            ("ack", session) => Self::Ack { session },
            ("fleet", "run") => Self::Run,
            ("fleet", "epoch") => Self::Epoch,
            ("fleet", rest) => match rest.split_once('/')? {
                ("hold", id) => Self::Hold(id),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// The session with which this key must go.
    pub(crate) fn owner(&self) -> Option<&'a str> {
        match self {
            Self::Holder(place) => Some(place.session),
            Self::Waiter { session, .. } | Self::Operation { session } | Self::Ack { session } => Some(session),
            _ => None,
        }
    }
}

impl<'a> Place<'a> {
    /// `<repo>/<anchor>/@/<sid>.<n>`; the repository's root has no anchor and no slash of it.
    fn parse(rest: &'a str) -> Option<Self> {
        let (place, owner) = rest.split_once("@/")?;
        let (repo, anchor) = place.split_once('/')?;
        Some(Self { repo, anchor: anchor.strip_suffix('/').unwrap_or(anchor), session: owner.split_once('.')?.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_key_is_known_and_a_foreign_one_is_not() {
        let place = |anchor| Place { repo: "r", anchor, session: "s" };
        for (key, is) in [
            ("p/sess/s", Key::Session("s")),
            ("p/x/r/src/a/@/s.12", Key::Holder(place("src/a"))),
            ("p/s/r/@/s.0", Key::Holder(place(""))),
            ("p/mark/r/!build/@/s.0", Key::Mark(place("!build"))),
            ("p/q/r/s.op", Key::Waiter { repo: "r", session: "s" }),
            ("p/op/s/op", Key::Operation { session: "s" }),
            ("p/ack/s", Key::Ack { session: "s" }),
            ("p/fleet/hold/h", Key::Hold("h")),
            ("p/x/garbage", Key::Other),
            ("other/sess/s", Key::Other),
        ] {
            assert_eq!(Key::parse(key, "p/"), is, "{key}");
        }
    }
}
