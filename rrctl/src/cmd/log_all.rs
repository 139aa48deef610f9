//! `rrctl log --all-hosts`: what happened on all hosts, asked of their sidecars through a coordinator or the store. What is wanted
//! was read by `log`.

use rr_journal::Filter;
use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::journal::rows::Rows;

pub(crate) async fn run(filter: &Filter, limit: u32, mut rows: Rows, hand: &Hand) -> Result<(), Failure> {
    let mut lines = Door::to_look(&hand.dirs).await?.log(request(filter, limit), &hand.who()).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next().await? {
        if line.unreadable.is_empty() { found.push(line) } else { missing.push(line) }
    }
    // The newest were asked for; they are read from the oldest on.
    found.reverse();
    hand.answer(&as_json(&found, &missing), || as_text(&found, &missing, &mut rows))
}

fn request(filter: &Filter, limit: u32) -> v1::LogRequest {
    let kinds = filter.kinds.iter().flatten().map(|kind| kind.word().to_owned());
    v1::LogRequest {
        session: filter.session.clone().unwrap_or_default(),
        path: filter.path.as_ref().map(|path| path.shown().to_owned()).unwrap_or_default(),
        since_unix_ms: filter.since_unix_ms.unwrap_or(0),
        until_unix_ms: filter.until_unix_ms.unwrap_or(0),
        kinds: kinds.collect(),
        limit,
        newest_first: true,
    }
}

/// As its host's journal has it, with the host.
fn entry(line: &v1::LogReply) -> Value {
    let mut value = serde_json::from_str(&line.entry).unwrap_or(Value::Null);
    if let Value::Object(fields) = &mut value {
        fields.insert("host".to_owned(), json!(line.host));
        fields.insert("host_name".to_owned(), json!(line.host_name));
    }
    value
}

fn as_json(found: &[v1::LogReply], missing: &[v1::LogReply]) -> Value {
    let entries = found.iter().map(entry);
    let missing =
        missing.iter().map(|line| json!({ "host": line.host, "host_name": line.host_name, "why": line.unreadable }));
    json!({ "entries": entries.collect::<Vec<_>>(), "missing": missing.collect::<Vec<_>>() })
}

fn as_text(found: &[v1::LogReply], missing: &[v1::LogReply], rows: &mut Rows) -> String {
    let mut text = match found {
        [] => "Nothing of that is in a journal that answered.\n".to_owned(),
        _ => rows.heading(),
    };
    text.extend(found.iter().map(|line| rows.row(&entry(line))));
    for line in missing {
        text.push_str(&format!("\nmissing: {}: {}\n", line.host_name, line.unreadable));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_missing_is_named_beside_what_the_others_said() {
        let line = |host: &str, entry: &str, why: &str| v1::LogReply {
            host: host.to_owned(),
            host_name: host.to_owned(),
            sequence: 7,
            entry: entry.to_owned(),
            unreadable: why.to_owned(),
        };
        let entry = r#"{"sequence":7,"at_unix_ms":1,"session":"0123456789","kind":"told","text":"hello","cut":0}"#;
        let (found, missing) = ([line("box", entry, "")], [line("far", "", "it does not answer")]);
        let text = as_text(&found, &missing, &mut Rows::new(None, false, true, jiff::tz::TimeZone::UTC));
        let expected = "\
HOST          NUMBER  TIME                 SESSION   KIND             WHAT
box           7       1970-01-01 00:00:00  01234567  told             hello

missing: far: it does not answer
";
        assert_eq!(text, expected);
        let json = as_json(&found, &missing);
        assert_eq!((&json["entries"][0]["host"], &json["missing"][0]["host"]), (&json!("box"), &json!("far")));
    }
}
