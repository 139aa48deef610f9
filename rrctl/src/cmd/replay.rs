//! `rrctl replay`: what a session did, played on a terminal or told as text. It owns the terminal while it plays, and gives it
//! back however it ends; what is shown is decided in `journal::{player, screen}`.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Stdout, Write as _, stdin, stdout};
use std::time::{Duration, Instant};

use crossterm::event::{self as input, Event as Input, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::{Color, Print, ResetColor, SetForegroundColor};
use crossterm::{cursor, queue, terminal};
use jiff::tz::TimeZone;
use rr_core::id::SessionId;
use rr_journal::{Contents, Damage, Entry, Event, Filter, Kind as EntryKind, Reader};
use rr_runtime::clock::unix_ms;
use serde_json::json;

use crate::exit::{Failure, Kind};
use crate::hand::Hand;
use crate::journal::diff::Mark;
use crate::journal::player::{Key, Player, Turn};
use crate::journal::story::{Scene, scenes};
use crate::journal::{self, screen, when};
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
    let Found { entries, damage } = found(&reader, &session);
    let scenes = scenes(entries);
    let contents = journal::contents(&hand.dirs);
    if hand.wants_json() {
        let shown: Vec<_> = cut(&scenes, from).iter().map(|scene| scene.json(&*contents)).collect();
        let damage: Vec<_> = damage.iter().map(rr_journal::json::damage).collect();
        return out::json(&json!({ "session": session, "scenes": shown, "damage": damage }));
    }
    damage.iter().for_each(|damage| eprintln!("damaged: {damage}"));
    if args.plain || !stdout().is_terminal() || !stdin().is_terminal() {
        return cut(&scenes, from).iter().try_for_each(|scene| out::text(&screen::plain(scene, &*contents, &zone)));
    }
    let at = scenes.len() - cut(&scenes, from).len();
    let mut player = Player::new(scenes, args.speed);
    player.at = at.min(player.scenes.len().saturating_sub(1));
    play(&mut player, &*contents, &zone).map_err(|e| Failure::at("use the terminal", &e).hint("--plain"))
}

/// What is on record of a session.
struct Found {
    entries: BTreeMap<u64, Entry>,
    damage: Vec<Damage>,
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
    for (sequence, entry) in reader.query(&others).flatten() {
        let is_meant = match &entry.event {
            Event::RolledBack { of, .. } => of == session,
            _ => lived.contains(&sequence),
        };
        if is_meant && entry.session.as_ref() != Some(session) {
            // The call is another session's.
            entries.insert(sequence, Entry { call: None, ..entry });
        }
    }
    Found { entries, damage }
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

fn play(player: &mut Player, contents: &dyn Contents, zone: &TimeZone) -> std::io::Result<()> {
    let mut terminal = Terminal::take()?;
    let mut looked = Instant::now();
    terminal.show(player, contents, zone)?;
    loop {
        let turn = if input::poll(TICK)? { heard(player, &input::read()?) } else { Turn::Same };
        let passed = looked.elapsed();
        looked = Instant::now();
        match (turn, player.pass(passed)) {
            (Turn::Quit, _) => return Ok(()),
            (Turn::Same, Turn::Same) => {}
            _ => terminal.show(player, contents, zone)?,
        }
    }
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
    fn every_key_of_the_help_does_something() {
        for key in [' ', 'n', 'b', '+', '-', 'g', 'd', 'j', 'k', 'q', '7'] {
            assert!(key_of(KeyCode::Char(key)).is_some(), "{key}");
        }
        assert_eq!(key_of(KeyCode::Char('x')), None);
    }
}
