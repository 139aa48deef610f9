//! `rrctl slots`: who has a counted slot and who waits for one, once or as it changes.

use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::follow::{More, follow};
use crate::hand::Hand;
use crate::out;
use crate::table::{age, table};
use crate::view::short;

/// List who has a counted slot of which host, and who waits for one
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Show them again after each change, until interrupted; with --json one line a change
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let mut door = Door::to_look(&hand.dirs).await?;
    if !args.watch {
        return show(&door.slots().await?, hand);
    }
    follow(door.watch_slots().await?, hand, |reply| show(reply, hand).map(|()| More::ToCome)).await
}

fn show(reply: &v1::SlotsReply, hand: &Hand) -> Result<(), Failure> {
    hand.answer(&as_json(reply), || as_text(reply, out::columns()))
}

pub(crate) fn as_json(reply: &v1::SlotsReply) -> Value {
    let slot = |s: &v1::SlotInLine| {
        let holder = s.holder.clone().unwrap_or_default();
        let session = (!holder.session.is_empty()).then_some(holder.session);
        let root = (!holder.root.is_empty()).then_some(holder.root);
        json!({
            "host_id": s.host, "host": s.host_name, "slot": s.name, "of": s.of, "place": s.place, "has_it": s.has_it, "who": holder.who,
            "session": session, "root": root, "since_unix_ms": holder.since_unix_ms,
        })
    };
    let slots: Vec<_> = reply.slots.iter().map(slot).collect();
    json!({ "slots": slots, "now_unix_ms": reply.now_unix_ms })
}

fn as_text(reply: &v1::SlotsReply, columns: Option<u16>) -> String {
    if reply.slots.is_empty() {
        return "Nobody has a slot or waits for one.\n".to_owned();
    }
    let row = |s: &v1::SlotInLine| {
        let holder = s.holder.clone().unwrap_or_default();
        let host = if s.host_name.is_empty() { short(&s.host).to_owned() } else { s.host_name.clone() };
        let place = match s.place.checked_sub(s.of) {
            _ if s.has_it => "has it".to_owned(),
            None | Some(0) => "next".to_owned(),
            Some(ahead) => format!("{ahead} ahead"),
        };
        let since = age(reply.now_unix_ms.saturating_sub(holder.since_unix_ms));
        vec![host, format!("{} (of {})", s.name, s.of), place, since, holder.who]
    };
    table(&["HOST", "SLOT", "PLACE", "SINCE", "WHO"], reply.slots.iter().map(row), columns)
}

/// For `rrctl status`: a line, where anybody waits or works in one.
pub(crate) fn in_a_line(reply: &v1::SlotsReply) -> Option<String> {
    let (busy, waiting): (Vec<_>, Vec<_>) = reply.slots.iter().partition(|slot| slot.has_it);
    (!reply.slots.is_empty())
        .then(|| format!("Slots     {} in use, {} waiting: rrctl slots\n", busy.len(), waiting.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply() -> v1::SlotsReply {
        let slot = |place: u32, who: &str| v1::SlotInLine {
            host: "0123456789abcdef0123456789abcdef".into(),
            host_name: "box".into(),
            name: "build".into(),
            holder: Some(v1::SlotHolder { who: who.into(), since_unix_ms: 88_000, ..Default::default() }),
            of: 1,
            place,
            has_it: place == 0,
        };
        v1::SlotsReply { slots: vec![slot(0, "a"), slot(1, "b"), slot(2, "c")], now_unix_ms: 100_000 }
    }

    #[test]
    fn a_line_is_a_table_and_for_the_status_one_line() {
        let expected = "\
HOST  SLOT          PLACE    SINCE  WHO
box   build (of 1)  has it   12s    a
box   build (of 1)  next     12s    b
box   build (of 1)  1 ahead  12s    c
";
        assert_eq!(as_text(&reply(), None), expected);
        assert_eq!(in_a_line(&reply()).as_deref(), Some("Slots     1 in use, 2 waiting: rrctl slots\n"));
        assert_eq!(in_a_line(&v1::SlotsReply::default()), None);
        assert_eq!(as_json(&reply())["slots"][1]["has_it"], false);
    }
}
