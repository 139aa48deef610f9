//! `rrctl log --all-hosts`: what happened on all hosts, asked of their sidecars through a coordinator or the store. What is wanted
//! was read by `log`.

use jiff::tz::TimeZone;
use rr_journal::Filter;
use rr_proto::v1;
use serde_json::{Value, json};

use crate::door::Door;
use crate::exit::Failure;
use crate::hand::Hand;
use crate::journal::when;
use crate::out;
use crate::table::table;

/// What every entry has; the rest says what happened.
const COMMON: [&str; 7] = ["sequence", "at_unix_ms", "session", "agent_id", "call", "revision", "kind"];

pub(crate) async fn run(filter: &Filter, limit: usize, hand: &Hand) -> Result<(), Failure> {
    let mut lines = Door::to_look(&hand.dirs).await?.log(request(filter, limit), &hand.who()).await?;
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    while let Some(line) = lines.next().await? {
        if line.unreadable.is_empty() { found.push(line) } else { missing.push(line) }
    }
    // The newest were asked for; they are read from the oldest on.
    found.reverse();
    let zone = TimeZone::system();
    hand.answer(&as_json(&found, &missing), || as_text(&found, &missing, &zone))
}

fn request(filter: &Filter, limit: usize) -> v1::LogRequest {
    let kinds = filter.kinds.iter().flatten().map(|kind| kind.word().to_owned());
    v1::LogRequest {
        session: filter.session.clone().unwrap_or_default(),
        path: filter.path.as_ref().map(|path| path.shown().to_owned()).unwrap_or_default(),
        since_unix_ms: filter.since_unix_ms.unwrap_or(0),
        until_unix_ms: filter.until_unix_ms.unwrap_or(0),
        kinds: kinds.collect(),
        limit: u32::try_from(limit).unwrap_or(u32::MAX),
        newest_first: true,
    }
}

fn entry(line: &v1::LogReply) -> Value {
    serde_json::from_str(&line.entry).unwrap_or(Value::Null)
}

fn as_json(found: &[v1::LogReply], missing: &[v1::LogReply]) -> Value {
    let entries = found.iter().map(|line| {
        let mut value = entry(line);
        if let Value::Object(fields) = &mut value {
            fields.insert("host".to_owned(), json!(line.host));
            fields.insert("host_name".to_owned(), json!(line.host_name));
        }
        value
    });
    let missing =
        missing.iter().map(|line| json!({ "host": line.host, "host_name": line.host_name, "why": line.unreadable }));
    json!({ "entries": entries.collect::<Vec<_>>(), "missing": missing.collect::<Vec<_>>() })
}

fn as_text(found: &[v1::LogReply], missing: &[v1::LogReply], zone: &TimeZone) -> String {
    let row = |line: &v1::LogReply| {
        let entry = entry(line);
        let word = |key: &str| entry[key].as_str().unwrap_or("-").to_owned();
        vec![
            line.host_name.clone(),
            line.sequence.to_string(),
            when::show(entry["at_unix_ms"].as_u64().unwrap_or(0), zone),
            word("session").chars().take(8).collect(),
            word("kind"),
            what(&entry),
        ]
    };
    let mut text = if found.is_empty() {
        "Nothing of that is in a journal that answered.\n".to_owned()
    } else {
        table(&["HOST", "NUMBER", "TIME", "SESSION", "KIND", "WHAT"], found.iter().map(row), out::columns())
    };
    for line in missing {
        text.push_str(&format!("\nmissing: {}: {}\n", line.host_name, line.unreadable));
    }
    text
}

/// What is particular to an entry, in one line.
fn what(entry: &Value) -> String {
    let fields = entry.as_object().into_iter().flatten();
    let own = fields.filter(|(key, value)| !COMMON.contains(&key.as_str()) && !value.is_null() && **value != json!(0));
    let shown = own.map(|(key, value)| match value.as_str() {
        Some(text) => format!("{key}: {text}"),
        None => format!("{key}: {value}"),
    });
    shown.collect::<Vec<_>>().join("; ")
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
        let text = as_text(&found, &missing, &TimeZone::UTC);
        for part in ["box", "01234567", "told", "text: hello", "missing: far: it does not answer"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("cut"));
        let json = as_json(&found, &missing);
        assert_eq!((&json["entries"][0]["host"], &json["missing"][0]["host"]), (&json!("box"), &json!("far")));
    }
}
