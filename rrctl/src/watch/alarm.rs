//! What of the watch belongs on a screen that is about something else: open incidents, and findings of which somebody
//! has to give way. Not knowing it must not hide the rest. Next: `rrctl status`.

use rr_proto::v1;
use serde_json::{Value, json};

use super::finding::SERIOUS_FROM;
use super::{count, incident};
use crate::door::Door;
use crate::exit::Failure;
use crate::table::plain;
use crate::view::short;

/// Incidents that are told each on a line of its own.
const INCIDENTS_MAX: usize = 3;

/// What is wrong, as far as is known.
#[derive(Debug)]
pub(crate) struct Alarm {
    found: Result<Found, Failure>,
}

#[derive(Debug, Default)]
struct Found {
    open: Vec<v1::Incident>,
    serious: usize,
}

impl Default for Alarm {
    fn default() -> Self {
        Self { found: Ok(Found::default()) }
    }
}

impl Alarm {
    pub(crate) async fn look(door: &mut Door) -> Self {
        Self { found: Self::ask(door).await }
    }

    async fn ask(door: &mut Door) -> Result<Found, Failure> {
        let incidents = door.incidents(v1::ListIncidentsRequest { past: 0 }).await?.incidents;
        let open = incidents.into_iter().filter(incident::is_open).collect();
        let findings = door.overlap().await?.findings;
        Ok(Found { open, serious: findings.iter().filter(|f| f.level >= SERIOUS_FROM).count() })
    }

    /// Ids of those that are open; `null`: not known.
    pub(crate) fn incidents(&self) -> Value {
        let ids = |found: &Found| json!(found.open.iter().map(|i| i.id.clone()).collect::<Vec<_>>());
        self.found.as_ref().map_or(Value::Null, ids)
    }

    /// How many; `null`: not known.
    pub(crate) fn serious_findings(&self) -> Value {
        self.found.as_ref().map_or(Value::Null, |found| found.serious.into())
    }

    /// Nothing where nothing is wrong.
    pub(crate) fn text(&self) -> String {
        let found = match &self.found {
            Ok(found) => found,
            Err(failure) => {
                let why = plain(failure.text().trim_end());
                return format!("WARNING   incidents and overlap are not known: {why}\n");
            }
        };
        let mut text = String::new();
        for open in found.open.iter().take(INCIDENTS_MAX) {
            let id = plain(short(&open.id));
            text.push_str(&format!("BROKEN    {}: rrctl incident show {id}\n", incident::in_a_line(open)));
        }
        if found.open.len() > INCIDENTS_MAX {
            text.push_str(&format!("BROKEN    and {} more: rrctl incident list\n", found.open.len() - INCIDENTS_MAX));
        }
        if found.serious > 0 {
            let (pairs, verb) = (count(found.serious, "finding"), if found.serious == 1 { "says" } else { "say" });
            text.push_str(&format!("Overlap   {pairs} {verb} that work cannot go together: rrctl overlap\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Kind;
    use crate::watch::incident::tests::incident as open;

    fn alarm(open: Vec<v1::Incident>, serious: usize) -> Alarm {
        Alarm { found: Ok(Found { open, serious }) }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_wrong() {
        assert_eq!(Alarm::default().text(), "");
        assert_eq!(Alarm::default().incidents(), json!([]));
    }

    #[test]
    fn an_open_incident_is_one_line_with_what_to_type() {
        let text = alarm(vec![open("1a2b")], 2).text();
        let expected = "\
BROKEN    incident 1a2b1a2b: types fails on main of /w/main, a person has to decide: rrctl incident show 1a2b1a2b
Overlap   2 findings say that work cannot go together: rrctl overlap
";
        assert_eq!(text, expected);
        let many = alarm((0..9).map(|_| open("1a2b")).collect(), 0).text();
        assert!(many.lines().count() == 4 && many.ends_with("and 6 more: rrctl incident list\n"), "{many}");
    }

    #[test]
    fn what_is_not_known_is_not_told_as_nothing() {
        let blind = Alarm { found: Err(Failure::new(Kind::Failed, "older")) };
        assert!(blind.text().starts_with("WARNING   incidents and overlap are not known: error: older"));
        assert!(blind.incidents().is_null() && blind.serious_findings().is_null());
    }
}
