//! What the watcher does about the break, as anybody can follow it: incidents and health, read from the coordinator's socket. Owns
//! the telling of it and the times; it believes what it is shown, and `losses` looks whether it is true.

use std::time::Duration;

use rr_proto::v1;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::shop::CHECK;
use crate::client::Client;
use crate::demo::news::News;
use crate::demo::place::Place;
use crate::exit::{Failure, Kind};
use crate::watch::incident::{ESCALATED, is_open, stage};
use crate::watch::{commit, cut, indented, proof};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// What the check says of the break: the error and its place.
const OUTPUT_LINES_MAX: usize = 6;
/// An incident that is over has opened the fleet before, or does so at once.
const RESUME_MAX: Duration = Duration::from_secs(20);
const CELL_CHARS: usize = 100;
/// Who tells.
const WATCHER: &str = "watcher";

/// How the fleet stands, for the agents' side of the show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Running,
    Paused,
    /// The break was dealt with, or given to a person.
    Over,
}

/// What there was to see.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) incident: v1::Incident,
    pub(super) paused_at_unix_ms: Option<u64>,
    pub(super) proven_at_unix_ms: Option<u64>,
    pub(super) resumed_at_unix_ms: Option<u64>,
}

/// The coordinator's socket, as `rrctl` uses it.
pub(super) struct Follower<'a> {
    client: Client,
    news: &'a News,
}

impl<'a> Follower<'a> {
    pub(super) async fn at(place: &Place, news: &'a News) -> Result<Self, Failure> {
        let [_, api] = place.sockets();
        Ok(Self { client: Client::connect(&api).await?, news })
    }

    /// Until the check is trusted and this commit is known to pass it.
    pub(super) async fn until_green(&mut self, head: &str) -> Result<(), Failure> {
        loop {
            if self.client.health().await?.lines.iter().any(|line| line.green == head) {
                return self.news.line(WATCHER, &format!("`{CHECK}` passed twice on main: it can be believed"));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Tells the break from its begin to its end.
    pub(super) async fn follow(&mut self, course: &watch::Sender<Course>) -> Result<Seen, Failure> {
        let id = self.first_incident().await?;
        let mut pictures = self.client.watch_incident(v1::ShowIncidentRequest { id }).await?;
        let mut seen = Seen::default();
        loop {
            let picture = pictures.next().await?;
            let Some(incident) = picture.incident else { continue };
            for line in seen.news_of(&incident, picture.now_unix_ms) {
                self.news.line(WATCHER, &line)?;
            }
            let is_over = !is_open(&incident) || incident.state == ESCALATED;
            if seen.paused_at_unix_ms.is_some() && !is_over {
                course.send_replace(Course::Paused);
                self.news.bar(&bar(&incident))?;
            }
            seen.incident = incident;
            if is_over {
                break;
            }
        }
        if seen.incident.state != ESCALATED {
            self.until_resumed(&mut seen).await?;
        }
        self.news.end_bar()?;
        course.send_replace(Course::Over);
        Ok(seen)
    }

    async fn first_incident(&mut self) -> Result<String, Failure> {
        loop {
            let known = self.client.incidents(v1::ListIncidentsRequest { past: 1 }).await?;
            if let Some(first) = known.incidents.first() {
                return Ok(first.id.clone());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn until_resumed(&mut self, seen: &mut Seen) -> Result<(), Failure> {
        let running = async {
            while self.client.status().await?.run.is_none_or(|run| run.paused) {
                sleep(LOOK_EVERY).await;
            }
            Ok::<(), Failure>(())
        };
        let stuck = |_| Failure::new(Kind::Failed, "the break is over and the fleet is still paused");
        timeout(RESUME_MAX, running).await.map_err(stuck)??;
        let now = rr_runtime::clock::unix_ms();
        seen.resumed_at_unix_ms = Some(now);
        let lasted = now.saturating_sub(seen.paused_at_unix_ms.unwrap_or(now));
        self.news.line(WATCHER, &format!("RESUMES the fleet after {}", seconds(lasted)))
    }
}

impl Seen {
    /// What is new in this picture, a line each.
    fn news_of(&mut self, now: &v1::Incident, at_unix_ms: u64) -> Vec<String> {
        let before = &self.incident;
        let mut lines = Vec::new();
        if before.id.is_empty() {
            lines.push(sees(now));
        }
        if now.pause.is_some() && self.paused_at_unix_ms.is_none() {
            self.paused_at_unix_ms = Some(at_unix_ms);
            lines.push(format!("PAUSES the fleet, and searches among {} commits", now.suspects.len()));
        }
        for (n, build) in now.builds.iter().enumerate().skip(before.builds.len()) {
            let is_same = |other: &v1::Build| (&other.what, &other.of) == (&build.what, &build.of);
            let again = if now.builds[..n].iter().any(is_same) { ", again, to prove it" } else { "" };
            lines.push(format!("build {}: {}{again}: {}", n + 1, proof::words(build, &now.suspects), build.verdict));
        }
        if !now.culprits.is_empty() && before.culprits.is_empty() {
            self.proven_at_unix_ms = Some(at_unix_ms);
            lines.push(format!("PROVES: {}", proven(now)));
        }
        let is_ready = |of: &v1::Incident| of.revert.as_ref().is_some_and(|revert| revert.green);
        if is_ready(now) && !is_ready(before) {
            lines.push("the branch without it passes".to_owned());
        }
        if let Some(made) = reverted(now).filter(|_| reverted(before).is_none()) {
            lines.push(format!("REVERTS it by {}; the work is kept on {}", commit(made), cut(&now.kept, CELL_CHARS)));
        }
        if !now.escalated.is_empty() && before.escalated.is_empty() {
            lines.push(format!("ASKS A PERSON: {}", cut(&now.escalated, 2 * CELL_CHARS)));
        }
        lines
    }
}

fn sees(incident: &v1::Incident) -> String {
    let said = indented(&incident.output, OUTPUT_LINES_MAX);
    format!("SEES: `{}` fails at {}\n{}", cut(&incident.check, CELL_CHARS), commit(&incident.red), said.trim_end())
}

fn proven(incident: &v1::Incident) -> String {
    let guilty = incident.culprits.iter().filter_map(|at| incident.suspects.get(usize::try_from(*at).ok()?));
    let named = |s: &v1::Suspect| format!("{} \"{}\" by {}", commit(&s.commit), s.subject, s.author);
    let who = guilty.map(named).collect::<Vec<_>>().join(" and ");
    let how = incident.proof.as_ref().map_or(String::new(), |proof| {
        format!("; red with it (build {}), green without it (build {})", proof.red, proof.green)
    });
    cut(&format!("{who}{how}"), 2 * CELL_CHARS)
}

fn reverted(incident: &v1::Incident) -> Option<&str> {
    incident.revert.as_ref().map(|revert| revert.commit.as_str()).filter(|commit| !commit.is_empty())
}

/// How far the search is, and what is going on.
fn bar(incident: &v1::Incident) -> String {
    format!("{}: {}", proof::bar(incident.builds.len(), incident.suspects.len()), stage(incident))
}

pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::incident::tests::incident;

    #[test]
    fn each_step_is_told_once_and_its_time_is_the_first() {
        let mut seen = Seen::default();
        let mut now = v1::Incident {
            state: "seen".into(),
            pause: None,
            builds: vec![],
            culprits: vec![],
            proof: None,
            revert: None,
            escalated: String::new(),
            ..incident("1a2b")
        };
        let mut told = |now: &v1::Incident, at| {
            let lines = seen.news_of(now, at);
            seen.incident = now.clone();
            (lines, seen.clone())
        };
        assert!(told(&now, 1).0[0].starts_with("SEES: `types` fails at 3333333333"));
        let whole = incident("1a2b");
        (now.pause, now.builds) = (whole.pause.clone(), whole.builds[..1].to_vec());
        let (lines, _) = told(&now, 2);
        assert!(lines[0].starts_with("PAUSES the fleet, and searches among 3 commits"), "{lines:?}");
        assert!(lines[1].starts_with("build 1: up to 2222222222 (2 of 3): red"), "{lines:?}");
        (now.builds, now.culprits, now.proof) = (whole.builds.clone(), whole.culprits.clone(), whole.proof.clone());
        let (lines, _) = told(&now, 3);
        assert!(lines[0].starts_with("build 2: ") && lines[1].contains("PROVES: 2222222222 \"change b\" by kim"));
        now.revert = Some(v1::Revert { green: true, commit: "4".repeat(40), ..Default::default() });
        now.kept = "railroad/kept".into();
        let (lines, _) = told(&now, 4);
        assert_eq!(lines[1], "REVERTS it by 4444444444; the work is kept on railroad/kept");
        let (lines, seen) = told(&now, 5);
        assert_eq!((lines.len(), seen.paused_at_unix_ms, seen.proven_at_unix_ms), (0, Some(2), Some(3)));
    }
}
