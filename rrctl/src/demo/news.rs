//! The show's live text: who does what, who waits for whom. One line an event; on a terminal with colours, and with a bar below
//! them that is drawn in place. Owns wording only; silent when the result is wanted as JSON. Next: `play` says what happened.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Instant;

use serde_json::Value;

use crate::exit::Failure;
use crate::out;

/// Columns of the longest usual name.
const NAME_COLUMNS: usize = 12;
/// Columns before an event's text.
const INDENT: usize = NAME_COLUMNS + 12;
/// Longest piece of a reason that is shown where it names none of ours.
const REASON_CHARS: usize = 90;
/// Terminal colours that can be told apart on light and dark.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];
/// To the begin of the line, and clear it.
const CLEAR_LINE: &str = "\r\u{1b}[K";

pub(crate) struct News {
    silent: bool,
    on_terminal: bool,
    start: Instant,
    /// Our agents by pid, in the order of their appearance.
    cast: BTreeMap<u64, String>,
    order: Vec<String>,
    /// What is drawn below the last line, or was the last line about it; empty: nothing.
    bar: RefCell<String>,
}

impl News {
    pub(crate) fn new(silent: bool) -> Self {
        let on_terminal = std::io::stdout().is_terminal();
        Self {
            silent,
            on_terminal,
            start: Instant::now(),
            cast: BTreeMap::new(),
            order: Vec::new(),
            bar: RefCell::default(),
        }
    }

    pub(crate) fn restart(&mut self) {
        self.start = Instant::now();
    }

    /// A line of the show itself.
    pub(crate) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.silent {
            return Ok(());
        }
        let bar = self.bar.borrow();
        if self.is_drawn(&bar) {
            return out::text(&format!("{CLEAR_LINE}{text}\n{bar}"));
        }
        out::text(&format!("{text}\n"))
    }

    /// How far it is: in place on a terminal, elsewhere a line. What was said already is not said again.
    pub(crate) fn bar(&self, text: &str) -> Result<(), Failure> {
        let columns = out::columns().map_or(usize::MAX, |columns| usize::from(columns).saturating_sub(1));
        let bar: String = text.chars().take(columns).collect();
        if self.silent || self.bar.replace(bar.clone()) == bar {
            return Ok(());
        }
        if self.is_drawn(&bar) { out::text(&format!("{CLEAR_LINE}{bar}")) } else { self.line("", &bar) }
    }

    /// The bar has come to its end and goes.
    pub(crate) fn end_bar(&self) -> Result<(), Failure> {
        let bar = self.bar.take();
        if self.is_drawn(&bar) { out::text(CLEAR_LINE) } else { Ok(()) }
    }

    /// Whether it is below the last line now.
    fn is_drawn(&self, bar: &str) -> bool {
        self.on_terminal && !self.silent && !bar.is_empty()
    }

    /// What an agent told, if it is worth a line. `host`: its number, where there are several.
    pub(crate) fn agent(&mut self, name: &str, told: &Value, host: Option<usize>) -> Result<(), Failure> {
        if told["what"] == "started" {
            self.cast.insert(told["pid"].as_u64().unwrap_or(0), name.to_owned());
            self.order.push(name.to_owned());
        }
        let mut text = self.words(told);
        if let (Some(host), Some("started")) = (host, told["what"].as_str()) {
            text.push_str(&format!(" on host {host}"));
        }
        if text.is_empty() { Ok(()) } else { self.line(name, &text) }
    }

    pub(crate) fn line(&self, name: &str, text: &str) -> Result<(), Failure> {
        let seconds = self.start.elapsed().as_secs_f64();
        let padded = format!("{name:NAME_COLUMNS$}");
        let colour = self.order.iter().position(|n| n == name).map(|n| COLOURS[n % COLOURS.len()]);
        let shown = match colour {
            Some(colour) if self.on_terminal => format!("\u{1b}[{colour}m{padded}\u{1b}[0m"),
            _ => padded,
        };
        self.say(&format!("{seconds:6.2} s  {shown}  {text}"))
    }

    fn words(&self, told: &Value) -> String {
        let text = |name: &str| told[name].as_str().unwrap_or_default();
        let path = text("path");
        match text("what") {
            "started" => format!("starts: {} (pid {})", text("prompt"), told["pid"]),
            "wrote" if text("tool") == "Bash" => format!("writes {path} by a shell command"),
            "wrote" => format!("writes {path}"),
            "committed" => format!("commits {path}"),
            "holding" => "holds a lock".to_owned(),
            "refused" => format!("HELD BACK: {} {path}: {}", text("tool"), self.why(text("reason"))),
            "blocked" => refused(text("command"), text("reason")),
            "asked" => format!("ASKS: {}: waits for your approval, and goes on with other work", text("command")),
            "passed" => format!("{}: passes", text("command")),
            "asked_anew" => format!("{} again: has to ask again", text("command")),
            "standstill" => format!("STANDS STILL: {}", self.why(text("reason"))),
            "failed" => format!("fails: {} {path}: {}", text("tool"), text("error")),
            "stopped" => "is stopped, and asked to go on".to_owned(),
            "finished" => "is done".to_owned(),
            _ => String::new(),
        }
    }

    /// The one of ours whom a reason names, else the reason.
    fn why(&self, reason: &str) -> String {
        let named = |(pid, _): &(&u64, &String)| reason.contains(&format!("pid {pid} on"));
        match self.cast.iter().find(named) {
            Some((_, name)) if reason.contains("since you read it") => format!("{name} has changed it: reads it again"),
            Some((_, name)) => format!("waits for {name}"),
            None => reason.split(". ").next().unwrap_or_default().chars().take(REASON_CHARS).collect(),
        }
    }
}

impl Drop for News {
    /// What comes next, as the word that the show was ended, begins on a line of its own.
    fn drop(&mut self) {
        let _ = self.end_bar();
    }
}

/// The rule with its reason, and below it the safe way.
fn refused(command: &str, reason: &str) -> String {
    let (why, instead) = reason.split_once(" Instead: ").unwrap_or((reason, ""));
    let why = why.split(" It matched ").next().unwrap_or(why).trim_start_matches("Refused in every session by the ");
    format!("REFUSED: {command}: {why}\n{:INDENT$}Instead: {instead}", "")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_is_waited_for_is_named() {
        let mut news = News::new(true);
        news.agent("docs", &json!({"what": "started", "pid": 77}), None).expect("silent");
        let told =
            |reason: &str| news.words(&json!({"what": "refused", "tool": "Write", "path": "a.ts", "reason": reason}));
        let held = "a.ts is being edited by session ab (claude, pid 77 on box), since 1 s";
        assert_eq!(told(held), "HELD BACK: Write a.ts: waits for docs");
        assert!(told("a.ts was changed by session ab (claude, pid 77 on box) since you read it").contains("again"));
        assert!(told("The fleet is paused").ends_with("The fleet is paused"));
    }

    #[test]
    fn a_refusal_is_shown_with_its_rule_and_the_safe_way() {
        let shown =
            refused("rm x", "Refused in every session by the rule `r` (built in): why. It matched rm. Instead: mv.");
        assert!(shown.starts_with("REFUSED: rm x: rule `r` (built in): why.\n ") && shown.ends_with(" Instead: mv."));
    }
}
