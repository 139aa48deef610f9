//! Entries as JSON: the fields of `docs/json.md`.

use rr_core::content::Content;
use serde_json::{Value, json};

use crate::entry::{Does, Entry, Event, FileChange, Spot};
use crate::reader::Damage;
use crate::text::Text;

/// One entry with its place in the order.
#[must_use]
pub fn of(sequence: u64, entry: &Entry) -> Value {
    let mut value = json!({
        "sequence": sequence,
        "at_unix_ms": entry.at_unix_ms,
        "session": entry.session,
        "agent_id": entry.agent_id,
        "call": entry.call,
        "revision": entry.revision,
        "kind": entry.event.kind().word(),
    });
    if let (Value::Object(all), Value::Object(own)) = (&mut value, particulars(&entry.event)) {
        all.extend(own);
    }
    value
}

#[must_use]
pub fn damage(damage: &Damage) -> Value {
    let file = damage.file.to_string_lossy();
    json!({ "file": file, "at": damage.at, "len": damage.len, "after": damage.after, "wrong": damage.wrong.words() })
}

fn particulars(event: &Event) -> Value {
    match event {
        Event::SessionStarted { agent, agent_session, workspace, pid, task } => json!({
            "agent": agent, "agent_session": agent_session, "workspace": workspace.to_string_lossy(), "pid": pid,
            "task": task.shown, "cut": task.cut,
        }),
        Event::SessionEnded { how: text } | Event::Told { text } => json!({ "text": text.shown, "cut": text.cut }),
        Event::Intent { tool, does, cwd } => intent(tool, does, &cwd.to_string_lossy()),
        Event::Verdict { verdict, reason, rule } => {
            json!({ "verdict": verdict.word(), "reason": shown(reason), "rule": rule })
        }
        Event::Snapped { files } => {
            let kept = |root: &std::path::Path, path: &str, content: &Content| json!({ "root": root.to_string_lossy(), "path": path, "content": content });
            json!({ "files": files.iter().map(|f| kept(&f.root, f.path.shown(), &f.content)).collect::<Vec<_>>() })
        }
        Event::Started => json!({}),
        Event::Done { ok, changes } => json!({ "ok": ok, "changes": all(changes) }),
        Event::Lock { scope, token, how } => json!({ "lock": scope, "token": token, "how": how.word() }),
        Event::Paused { epoch, who, reason } => json!({ "epoch": epoch, "who": who, "reason": shown(reason) }),
        Event::Resumed { epoch, who } => json!({ "epoch": epoch, "who": who }),
        Event::Approval { id, outcome, who, reason } => {
            json!({ "id": id, "outcome": outcome.word(), "who": who, "reason": shown(reason) })
        }
        Event::RolledBack { of, undone, changes, undoes } => {
            json!({ "of": of, "undone": undone, "changes": all(changes), "undoes": undoes })
        }
        Event::Checkpoint { root, commit, why } => {
            json!({ "root": root.to_string_lossy(), "commit": commit, "why": shown(why) })
        }
        Event::Missed { notes } => json!({ "notes": notes }),
        Event::Forgotten { before } => json!({ "before": before }),
    }
}

fn intent(tool: &str, does: &Does, cwd: &str) -> Value {
    let (word, paths, command) = match does {
        Does::Read(spots) => ("read", spots.as_slice(), None),
        Does::Write(spots) => ("write", spots.as_slice(), None),
        Does::Shell(command) => ("shell", &[][..], Some(command)),
        Does::Other => ("other", &[][..], None),
    };
    let spot = |spot: &Spot| json!({ "root": spot.root.to_string_lossy(), "path": spot.path.shown() });
    json!({
        "tool": tool, "does": word, "paths": paths.iter().map(spot).collect::<Vec<_>>(),
        "command": command.map(|text| &text.shown), "cut": command.map_or(0, |text| text.cut), "cwd": cwd,
    })
}

#[must_use]
pub fn change(change: &FileChange) -> Value {
    json!({
        "root": change.root.to_string_lossy(), "path": change.path.shown(),
        "before": change.before, "after": change.after, "foreseen": change.foreseen,
    })
}

fn all(changes: &[FileChange]) -> Vec<Value> {
    changes.iter().map(change).collect()
}

fn shown(text: &Text) -> String {
    text.to_string()
}

#[cfg(test)]
mod tests {
    use rr_core::content::BlobId;
    use rr_core::id::SessionId;
    use rr_core::path::RepoPath;

    use super::*;

    #[test]
    fn an_entry_is_an_object_with_its_particulars() {
        let entry = |event| Entry {
            at_unix_ms: 1_700_000_000_000,
            session: Some(SessionId::from_random([1; 16])),
            agent_id: None,
            call: Some("t1".to_owned()),
            revision: 0,
            event,
        };
        let path = RepoPath::parse(b"src/a.rs").expect("legal");
        let spot = Spot { root: "/repo".into(), path: path.clone() };
        let intent = entry(Event::Intent { tool: "Edit".into(), does: Does::Write(vec![spot]), cwd: "/repo".into() });
        let expected = json!({
            "sequence": 7, "at_unix_ms": 1_700_000_000_000_u64, "session": "01".repeat(16), "agent_id": null,
            "call": "t1", "revision": 0, "kind": "intent", "tool": "Edit", "does": "write",
            "paths": [{ "root": "/repo", "path": "src/a.rs" }], "command": null, "cut": 0, "cwd": "/repo",
        });
        assert_eq!(of(7, &intent), expected);
        let before = Content::File { blob: BlobId([1; 20]), mode: 0o644 };
        let change = FileChange { root: "/repo".into(), path, before, after: Content::Absent, foreseen: true };
        let value = of(11, &entry(Event::Done { ok: true, changes: vec![change] }));
        assert_eq!((&value["kind"], &value["changes"][0]["before"]), (&json!("done"), &json!(before)));
    }
}
