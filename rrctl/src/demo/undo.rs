//! The end of the show: what one agent did is played back, and its last steps are taken out of the files. Another agent has
//! edited one of these files since. Owns the proof that nothing else is gone: what stands afterwards is compared, byte for byte,
//! with what stood before less that agent's lines. Next: `play` adds it to the account.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::ledger::{Wrote, lost, texts};
use super::news::News;
use super::place::Place;
use super::script::{Script, Step};
use crate::exit::{Failure, Kind};
use crate::view::short;

/// What one agent did last: two files of its own, one of them by a shell command.
pub(crate) const STEPS: usize = 3;
const REVIEWER: &str = "review";
/// Lines of a change that are shown.
const SHOWN_MAX: usize = 4;
const LINE: &str = "// review: looks good";

/// What the journal knows of one agent.
struct Replayed {
    /// Its session's id.
    session: String,
    /// Changing or refused.
    calls: usize,
}

/// What the rollback came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undone {
    pub(crate) replayed: usize,
    /// Lines of the agent that are gone, as they should be.
    pub(crate) lines: usize,
    /// One sentence for each file that is not as it was less these lines.
    pub(crate) lost: Vec<String>,
}

/// Reviews one agent's work, plays it back, and takes its last steps out.
pub(crate) async fn undo(place: &Place, wrote: &[Wrote], news: &News) -> Result<Undone, Failure> {
    let Some((of, last)) = chosen(wrote) else {
        return Err(Failure::new(Kind::Failed, format!("no agent ended with {STEPS} steps of its own")));
    };
    let file = last[STEPS - 1].path.clone();
    review(place, &file).await?;
    news.line(REVIEWER, &format!("edits {file} after {of}"))?;
    let Replayed { session, calls } = replay(place, of, news).await?;
    let look = || texts(place.repo()).map_err(|e| Failure::at("look at the files", &e));
    let before = look()?;
    let reply = place.rrctl(&["rollback", "--session", &session, "--steps", &STEPS.to_string()]).await?;
    let after = look()?;
    let (lines, differs) = compare(place.repo(), &before, &after, &last);
    let others: Vec<Wrote> =
        wrote.iter().filter(|write| !last.iter().any(|l| std::ptr::eq(*l, *write))).cloned().collect();
    let lost = lost(place.repo(), &others).into_iter().chain(differs).collect();
    let names: Vec<&str> = reply["files"].as_array().into_iter().flatten().filter_map(|f| f["path"].as_str()).collect();
    let (session, names) = (short(&session), names.join(", "));
    news.line("you", &format!("rrctl rollback --session {session} --steps {STEPS}: {lines} lines out of {names}"))?;
    Ok(Undone { replayed: calls, lines, lost })
}

/// The first agent whose last writes raised no number, with these: a number that others have raised since is a true conflict.
fn chosen(wrote: &[Wrote]) -> Option<(&str, Vec<&Wrote>)> {
    let chosen = |write: &Wrote| {
        let last = last_of(wrote, &write.agent);
        (last.len() == STEPS && last.iter().all(|w| w.count.is_empty())).then_some(last)
    };
    wrote.iter().find_map(|write| chosen(write).map(|last| (write.agent.as_str(), last)))
}

/// The last writes of one agent, in their order.
fn last_of<'a>(wrote: &'a [Wrote], of: &str) -> Vec<&'a Wrote> {
    let mut own: Vec<&Wrote> = wrote.iter().filter(|write| write.agent == of).collect();
    own.sort_by_key(|write| write.at_unix_ms);
    own.split_off(own.len().saturating_sub(STEPS))
}

/// One more agent, with one edit of a file that is about to be rolled back.
async fn review(place: &Place, file: &str) -> Result<(), Failure> {
    let step =
        Step::Shell { command: format!("sed -i '1i {LINE}' {file}"), path: file.to_owned(), line: LINE.to_owned() };
    let script = Script { prompt: format!("review {file}"), think_ms: vec![], steps: vec![step] };
    let mut child = place.agent(REVIEWER, &script)?;
    let mut wrote = false;
    if let Some(out) = child.stdout.take() {
        let mut lines = BufReader::new(out).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            wrote |= serde_json::from_str(&line).is_ok_and(|told: Value| told["what"] == "wrote");
        }
    }
    let status = child.wait().await.map_err(|e| Failure::at("wait for an agent", &e))?;
    if status.success() && wrote {
        return Ok(());
    }
    Err(Failure::new(Kind::Failed, format!("agent {REVIEWER} did not finish its work ({status})")))
}

/// The agent's calls out of the journal, the last changes among them shown.
async fn replay(place: &Place, of: &str, news: &News) -> Result<Replayed, Failure> {
    let played = place.rrctl(&["replay", "--session", of]).await?;
    let scenes: Vec<&Value> = played["scenes"].as_array().into_iter().flatten().collect();
    let calls = scenes.iter().filter(|scene| !scene["end"].is_null() || !scene["verdict"].is_null()).count();
    let changes = |scene: &&&Value| scene["changes"].as_array().is_some_and(|changes| !changes.is_empty());
    let changing: Vec<&&Value> = scenes.iter().filter(changes).collect();
    news.line("you", &format!("rrctl replay --session {of}: {calls} changing or refused calls, the last changes:"))?;
    for scene in &changing[changing.len().saturating_sub(STEPS)..] {
        news.say(&format!("      #{} {}", scene["sequence"], scene["title"].as_str().unwrap_or_default()))?;
        let lines = scene["changes"].as_array().into_iter().flatten().filter_map(|change| change["diff"].as_array());
        let lines = lines.flatten().filter_map(Value::as_str).filter(|line| line.starts_with(['+', '-']));
        lines.take(SHOWN_MAX).try_for_each(|line| news.say(&format!("          {line}")))?;
    }
    Ok(Replayed { session: played["session"].as_str().unwrap_or_default().to_owned(), calls })
}

type Texts = BTreeMap<PathBuf, String>;

/// How many lines are gone as they should be, and a sentence for each file in which anything else is.
fn compare(repo: &Path, before: &Texts, after: &Texts, undone: &[&Wrote]) -> (usize, Vec<String>) {
    let mut expected = before.clone();
    let mut gone = 0;
    for write in undone {
        let Some(text) = expected.get_mut(&repo.join(&write.path)) else { continue };
        let less = text.replacen(&format!("{}\n", write.line), "", 1);
        let left = after.get(&repo.join(&write.path)).is_some_and(|now| now.lines().any(|l| l == write.line));
        gone += usize::from(less.len() < text.len() && !left);
        *text = less;
    }
    let paths: std::collections::BTreeSet<&PathBuf> = expected.keys().chain(after.keys()).collect();
    let differs = |path: &&&PathBuf| expected.get(**path) != after.get(**path);
    let name = |path: &Path| path.strip_prefix(repo).unwrap_or(path).display().to_string();
    let told = |path: &&PathBuf| format!("{}: not what it was less the lines that were rolled back", name(path));
    (gone, paths.iter().filter(differs).map(told).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrote(path: &str, line: &str, at_unix_ms: u64) -> Wrote {
        Wrote { agent: "a".into(), path: path.into(), line: line.into(), count: String::new(), at_unix_ms }
    }

    fn files(of: &[(&str, &str)]) -> Texts {
        of.iter().map(|(path, text)| (Path::new("/r").join(path), (*text).to_owned())).collect()
    }

    #[test]
    fn the_last_writes_are_those_by_the_clock_and_of_that_agent() {
        let other = Wrote { agent: "b".into(), ..wrote("f", "x", 9) };
        let all = [wrote("f", "4", 4), wrote("f", "1", 1), other, wrote("f", "3", 3), wrote("f", "2", 2)];
        let lines: Vec<&str> = last_of(&all, "a").iter().map(|w| w.line.as_str()).collect();
        assert_eq!(lines, ["2", "3", "4"]);
    }

    #[test]
    fn an_agent_whose_last_steps_raised_a_number_is_not_chosen() {
        let raised = Wrote { count: "N".into(), ..wrote("f", "", 9) };
        let own = |agent: &str| (1..4).map(|n| Wrote { agent: agent.into(), ..wrote("f", "x", n) }).collect::<Vec<_>>();
        let all = [own("a"), vec![raised], own("b")].concat();
        assert_eq!(chosen(&all).map(|(of, _)| of), Some("b"));
        assert!(chosen(&all[..4]).is_none());
    }

    #[test]
    fn a_line_of_another_that_is_gone_and_one_of_ours_that_stays_are_found() {
        let before = files(&[("f", "theirs\nours\n"), ("g", "g\n")]);
        let (undone, repo) = (wrote("f", "ours", 1), Path::new("/r"));
        let found = |after: &[(&str, &str)]| compare(repo, &before, &files(after), &[&undone]);
        assert_eq!(found(&[("f", "theirs\n"), ("g", "g\n")]), (1, vec![]));
        for wrong in [
            &[("f", ""), ("g", "g\n")][..],
            &[("f", "theirs"), ("g", "g\n")],
            &[("f", "theirs\n"), ("g", "")],
            &[("f", "theirs\n")],
            &[("f", "theirs\n"), ("g", "g\n"), ("h", "")],
        ] {
            let (_, lost) = found(wrong);
            assert_eq!(lost.len(), 1, "{wrong:?}: {lost:?}");
        }
        assert_eq!(found(&[("f", "theirs\nours\n"), ("g", "g\n")]).0, 0);
    }
}
