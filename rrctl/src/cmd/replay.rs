//! `rrctl replay`: what a session did, played on a terminal or told as text. It owns the terminal while it plays, and gives it
//! back however it ends; what is shown is decided in `journal::{player, screen}`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Stdout, Write as _, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossterm::event::{self as input, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Color, Print, ResetColor, SetForegroundColor};
use crossterm::{cursor, queue, terminal};
use jiff::tz::TimeZone;
use rr_core::id::SessionId;
use rr_journal::{Contents, Entry, Event, Filter, Kind as EntryKind, Reader};
use rr_runtime::clock::unix_ms;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::flag;
use signal_hook::low_level::emulate_default_handler;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::diff::Mark;
use crate::journal::player::{Key, Player, Turn};
use crate::journal::story::{Scene, scenes};
use crate::journal::{self, Missing, screen, when};
use crate::out;

/// Long enough to rest, short enough that time passes evenly.
const TICK: Duration = Duration::from_millis(40);

/// Play what a session did: each call with its verdict, and what it changed
///
/// On a terminal: space pauses, n and b step, + and - change the speed, g jumps to a number, d shows or hides the
/// diffs, j and k scroll, q ends. Elsewhere, or with --plain, all of it as text.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose (the begin of its id, or the agent's own name for it; rrctl sessions and rrctl log show them)
    #[arg(long, value_name = "S")]
    session: String,
    /// How many times as fast as it was
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    speed: f64,
    /// Begin at the entry with this number, or at this time (10m, 14:30, 2026-05-01T14:30:00Z)
    #[arg(long, value_name = "NUMBER|TIME")]
    from: Option<String>,
    /// As text, all at once
    #[arg(long)]
    plain: bool,
}

pub(crate) fn run(args: &Args, hand: &Hand) -> Result<(), Failure> {
    let (reader, zone) = (journal::reader(&hand.dirs), TimeZone::system());
    if !args.speed.is_finite() || args.speed <= 0.0 {
        return Err(Failure::new(Kind::Usage, "--speed is a number above 0"));
    }
    let from = args.from.as_deref().map(|typed| begin(typed, unix_ms(), &zone)).transpose()?;
    let session = journal::session(&reader, &args.session)?;
    let Found { entries, missing } = found(&reader, &session);
    let gaps = gaps(&entries, &missing, &zone);
    let scenes = scenes(entries);
    let contents = journal::contents(&hand.dirs);
    if hand.wants_json() {
        let shown: Vec<_> = cut(&scenes, from).iter().map(|scene| scene.json(&*contents)).collect();
        let (begins, damage) = (missing.begins(), missing.json());
        return out::json(&json!({ "session": session, "scenes": shown, "begins": begins, "damage": damage }));
    }
    let scenes = with_gaps(scenes, gaps);
    if args.plain || !stdout().is_terminal() || !stdin().is_terminal() {
        return cut(&scenes, from).iter().try_for_each(|scene| out::text(&screen::plain(scene, &*contents, &zone)));
    }
    let at = scenes.len() - cut(&scenes, from).len();
    let mut player = Player::new(scenes, args.speed);
    player.at = at.min(player.scenes.len().saturating_sub(1));
    let told = Told::to_end().map_err(|e| Failure::at("listen for signals", &e))?;
    play(&mut player, &*contents, &zone, &told).map_err(|e| Failure::at("use the terminal", &e).hint("--plain"))?;
    // The terminal is given back: now it ends as it was told to.
    told.obey().map_err(|e| Failure::at("end by the signal", &e))
}

/// Signals that end a program. Taken as they come they would leave the terminal as the player has it.
struct Told(Arc<AtomicUsize>);

impl Told {
    fn to_end() -> std::io::Result<Self> {
        let told = Arc::new(AtomicUsize::new(0));
        for signal in [SIGTERM, SIGHUP, SIGINT, SIGQUIT] {
            flag::register_usize(signal, told.clone(), signal.unsigned_abs() as usize)?;
        }
        Ok(Self(told))
    }

    fn signal(&self) -> Option<i32> {
        i32::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|signal| *signal != 0)
    }

    fn obey(&self) -> std::io::Result<()> {
        self.signal().map_or(Ok(()), emulate_default_handler)
    }
}

/// What is on record of a session.
struct Found {
    entries: BTreeMap<u64, Entry>,
    missing: Missing,
}

/// Its own entries; and what happened to it by others: pauses while it lived, and rollbacks of it.
fn found(reader: &Reader, session: &SessionId) -> Found {
    let (mut entries, mut damage) = (BTreeMap::new(), Vec::new());
    let own = Filter { session: Some(session.to_string()), ..Filter::default() };
    for find in reader.query(&own) {
        match find {
            Ok((sequence, entry)) => drop(entries.insert(sequence, entry)),
            Err(found) => damage.push(found),
        }
    }
    let lived = entries.first_key_value().map_or(0, |(first, _)| *first)
        ..=entries.last_key_value().map_or(0, |(last, _)| *last);
    let others =
        Filter { kinds: Some(vec![EntryKind::Paused, EntryKind::Resumed, EntryKind::RolledBack]), ..Filter::default() };
    for find in reader.query(&others) {
        let (sequence, entry) = match find {
            Ok(found) => found,
            Err(found) if damage.contains(&found) => continue,
            Err(found) => {
                damage.push(found);
                continue;
            }
        };
        let is_meant = match &entry.event {
            Event::RolledBack { of, .. } => of == session,
            _ => lived.contains(&sequence),
        };
        if is_meant && entry.session.as_ref() != Some(session) {
            // The call is another session's.
            entries.insert(sequence, Entry { call: None, ..entry });
        }
    }
    Found { entries, missing: Missing::of(reader, damage) }
}

/// Where something of this session may be missing: not before its start and not behind its end, if these are there.
fn gaps(entries: &BTreeMap<u64, Entry>, missing: &Missing, zone: &TimeZone) -> Vec<(u64, String)> {
    let of_kind = |kind| entries.iter().find(|(_, entry)| entry.event.kind() == kind).map(|(sequence, _)| *sequence);
    let start = of_kind(EntryKind::SessionStarted).unwrap_or(0);
    let end = of_kind(EntryKind::SessionEnded).unwrap_or(u64::MAX);
    let removed = missing.removed(zone).map(|words| (0, format!("what it did before is not here: {words}")));
    let damaged = missing.damage.iter().map(|damage| (damage.after, format!("calls may be missing here: {damage}")));
    removed.into_iter().chain(damaged).filter(|(after, _)| (start..end).contains(after)).collect()
}

/// Each gap behind the last scene that begins before it.
fn with_gaps(mut scenes: Vec<Scene>, gaps: Vec<(u64, String)>) -> Vec<Scene> {
    for (after, words) in gaps {
        let at = scenes.partition_point(|scene| scene.first <= after);
        let at_unix_ms = scenes.get(at.saturating_sub(1)).map_or(0, |scene| scene.at_unix_ms);
        scenes.insert(at, Scene::gap(after, at_unix_ms, words));
    }
    scenes
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Number(u64),
    Time(u64),
}

fn begin(typed: &str, now_unix_ms: u64, zone: &TimeZone) -> Result<From, Failure> {
    typed.parse().map(From::Number).or_else(|_| when::parse(typed, now_unix_ms, zone).map(From::Time))
}

/// The scenes from there on. A number within a scene means that scene.
fn cut(scenes: &[Scene], from: Option<From>) -> &[Scene] {
    let at = match from {
        None => 0,
        Some(From::Number(sequence)) => scenes.partition_point(|scene| scene.first <= sequence).saturating_sub(1),
        Some(From::Time(at)) => scenes.iter().position(|scene| scene.at_unix_ms >= at).unwrap_or(scenes.len()),
    };
    &scenes[at..]
}

fn play(player: &mut Player, contents: &dyn Contents, zone: &TimeZone, told: &Told) -> std::io::Result<()> {
    let mut terminal = Terminal::take()?;
    let mut looked = Instant::now();
    terminal.show(player, contents, zone)?;
    while told.signal().is_none() {
        let turn = if input::poll(TICK)? { heard(player, &input::read()?) } else { Turn::Same };
        let passed = looked.elapsed();
        looked = Instant::now();
        match (turn, player.pass(passed)) {
            (Turn::Quit, _) => return Ok(()),
            (Turn::Same, Turn::Same) => {}
            _ => terminal.show(player, contents, zone)?,
        }
    }
    Ok(())
}

fn heard(player: &mut Player, input: &Input) -> Turn {
    match input {
        Input::Resize(..) => Turn::Show,
        Input::Key(key) if key.kind == KeyEventKind::Press => {
            let interrupts = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if interrupts { Turn::Quit } else { key_of(key.code).map_or(Turn::Same, |key| player.key(key)) }
        }
        _ => Turn::Same,
    }
}

fn key_of(code: KeyCode) -> Option<Key> {
    Some(match code {
        KeyCode::Char(' ') => Key::Pause,
        KeyCode::Char('n') | KeyCode::Right => Key::Next,
        KeyCode::Char('b' | 'p') | KeyCode::Left => Key::Back,
        KeyCode::Char('+' | '=') => Key::Faster,
        KeyCode::Char('-') => Key::Slower,
        KeyCode::Char('g') => Key::Jump,
        KeyCode::Char('d') => Key::Diff,
        KeyCode::Char('j') | KeyCode::Down => Key::Down,
        KeyCode::Char('k') | KeyCode::Up => Key::Up,
        KeyCode::Char('q') => Key::Quit,
        KeyCode::Char(digit @ '0'..='9') => Key::Digit(digit),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Erase,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        _ => return None,
    })
}

/// The terminal while it is ours.
struct Terminal {
    out: Stdout,
    colours: bool,
}

impl Terminal {
    fn take() -> std::io::Result<Self> {
        terminal::enable_raw_mode()?;
        // From here on it is given back, whatever fails.
        let mut taken = Self { out: stdout(), colours: out::has_colours() };
        queue!(taken.out, terminal::EnterAlternateScreen, cursor::Hide)?;
        taken.out.flush()?;
        Ok(taken)
    }

    fn show(&mut self, player: &mut Player, contents: &dyn Contents, zone: &TimeZone) -> std::io::Result<()> {
        let (columns, rows) = terminal::size()?;
        let lines = screen::screen(player, contents, zone, usize::from(columns), usize::from(rows));
        for (row, (mark, line)) in (0..rows).zip(lines) {
            let clear = terminal::Clear(terminal::ClearType::CurrentLine);
            queue!(self.out, cursor::MoveTo(0, row), clear)?;
            match colour(mark).filter(|_| self.colours) {
                Some(colour) => queue!(self.out, SetForegroundColor(colour), Print(line), ResetColor)?,
                None => queue!(self.out, Print(line))?,
            }
        }
        self.out.flush()
    }
}

const fn colour(mark: Mark) -> Option<Color> {
    match mark {
        Mark::Head => Some(Color::Cyan),
        Mark::In => Some(Color::Green),
        Mark::Out => Some(Color::Red),
        Mark::Same => None,
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = queue!(self.out, cursor::Show, terminal::LeaveAlternateScreen).and_then(|()| self.out.flush());
        let _ = terminal::disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::tests::entry;
    use rr_journal::{Damage, Wrong};

    #[test]
    fn it_begins_where_it_was_asked_to() {
        let scenes = [(10, 100), (20, 200), (30, 300)].map(|(first, at)| Scene::bare(first, at));
        let first = |from| cut(&scenes, from).first().map(|scene| scene.first);
        assert_eq!(first(None), Some(10));
        assert_eq!((first(Some(From::Number(25))), first(Some(From::Number(1)))), (Some(20), Some(10)));
        assert_eq!((first(Some(From::Time(150))), first(Some(From::Time(301)))), (Some(20), None));
        assert_eq!(begin("17", 0, &TimeZone::UTC), Ok(From::Number(17)));
        assert_eq!(begin("1s", 5_000, &TimeZone::UTC), Ok(From::Time(4_000)));
    }

    #[test]
    fn a_gap_is_told_where_it_is_and_only_if_it_may_be_of_the_session() {
        let at = |after: u64| Damage { file: "j".into(), wrong: Wrong::Blanked, at: 0, len: 0, after };
        let empty = tempfile::tempdir().expect("folder");
        let missing =
            |afters: &[u64]| Missing::of(&Reader::open(empty.path()), afters.iter().map(|after| at(*after)).collect());
        let ended = entry(1, "", Event::SessionEnded { how: "over".into() });
        let told = |text: &str| entry(1, "", Event::Told { text: text.into() });
        let entries: BTreeMap<u64, Entry> = [(10, told("a")), (20, told("b")), (30, ended)].into();
        let found = gaps(&entries, &missing(&[5, 10, 29, 30]), &TimeZone::UTC);
        assert_eq!(
            found.iter().map(|(after, _)| *after).collect::<Vec<_>>(),
            [5, 10, 29],
            "behind its end is nothing of it"
        );
        let titles = |gaps| with_gaps(scenes(entries.clone()), gaps).into_iter().map(|scene| scene.title);
        let titles: Vec<String> = titles(found).map(|title| title.chars().take(7).collect()).collect();
        assert_eq!(titles, ["calls m", "told: a", "calls m", "told: b", "calls m", "session"]);
    }

    #[test]
    fn every_key_of_the_help_does_something() {
        for key in [' ', 'n', 'b', '+', '-', 'g', 'd', 'j', 'k', 'q', '7'] {
            assert!(key_of(KeyCode::Char(key)).is_some(), "{key}");
        }
        assert_eq!(key_of(KeyCode::Char('x')), None);
    }
}
