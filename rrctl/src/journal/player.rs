//! The player of scenes as a machine: keys and time go in, which scene is shown and how comes out. It knows no terminal.

use std::time::Duration;

use crate::journal::story::Scene;

/// A pause of the session is no pause of the player.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Two scenes of the same moment are still seen one after the other.
const WAIT_MIN: Duration = Duration::from_millis(120);
const SPEED_MAX: f64 = 64.0;
const SPEED_MIN: f64 = 1.0 / 8.0;
/// Digits of a number to jump to.
const JUMP_DIGITS_MAX: usize = 12;

/// What a person wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Pause,
    Next,
    Back,
    Faster,
    Slower,
    /// Begins to ask for a number.
    Jump,
    Digit(char),
    /// The number is whole.
    Enter,
    /// The number is not wanted after all.
    Escape,
    Erase,
    Diff,
    Down,
    Up,
    First,
    Last,
    Quit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Show it.
    Show,
    /// Nothing changed.
    Same,
    Quit,
}

#[derive(Clone, Debug)]
pub(crate) struct Player {
    pub(crate) scenes: Vec<Scene>,
    pub(crate) at: usize,
    pub(crate) plays: bool,
    pub(crate) speed: f64,
    pub(crate) diffs: bool,
    /// Lines of the scene above the screen.
    pub(crate) scrolled: usize,
    /// The number as far as it is typed.
    pub(crate) asked: Option<String>,
    waited: Duration,
}

impl Player {
    pub(crate) fn new(scenes: Vec<Scene>, speed: f64) -> Self {
        let speed = speed.clamp(SPEED_MIN, SPEED_MAX);
        Self { scenes, at: 0, plays: true, speed, diffs: true, scrolled: 0, asked: None, waited: Duration::ZERO }
    }

    pub(crate) fn key(&mut self, key: Key) -> Turn {
        if self.asked.is_some() {
            return self.ask(key);
        }
        match key {
            Key::Quit | Key::Escape => return Turn::Quit,
            Key::Pause => self.plays = !self.plays && self.at + 1 < self.scenes.len(),
            Key::Next => self.step(self.at + 1),
            Key::Back => self.step(self.at.saturating_sub(1)),
            Key::First => self.step(0),
            Key::Last => self.step(usize::MAX),
            Key::Faster => self.speed = (self.speed * 2.0).min(SPEED_MAX),
            Key::Slower => self.speed = (self.speed / 2.0).max(SPEED_MIN),
            Key::Jump => self.asked = Some(String::new()),
            Key::Diff => (self.diffs, self.scrolled) = (!self.diffs, 0),
            Key::Down => self.scrolled += 1,
            Key::Up => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Digit(_) | Key::Enter | Key::Erase => return Turn::Same,
        }
        Turn::Show
    }

    /// A number is being typed: it is the sequence number of an entry.
    fn ask(&mut self, key: Key) -> Turn {
        let Some(typed) = &mut self.asked else { return Turn::Same };
        match key {
            Key::Digit(digit) if typed.len() < JUMP_DIGITS_MAX => typed.push(digit),
            Key::Erase => drop(typed.pop()),
            Key::Enter => {
                let sequence = typed.parse::<u64>().ok();
                self.asked = None;
                if let Some(sequence) = sequence {
                    self.jump(sequence);
                }
            }
            Key::Escape | Key::Quit => self.asked = None,
            _ => return Turn::Same,
        }
        Turn::Show
    }

    /// To the scene to which an entry belongs: the last that does not begin behind it.
    pub(crate) fn jump(&mut self, sequence: u64) {
        let behind = self.scenes.partition_point(|scene| scene.first <= sequence);
        self.step(behind.saturating_sub(1));
    }

    /// By hand: from here on nothing moves by itself.
    fn step(&mut self, to: usize) {
        self.show(to);
        self.plays = false;
    }

    fn show(&mut self, to: usize) {
        self.at = to.min(self.scenes.len().saturating_sub(1));
        (self.scrolled, self.waited) = (0, Duration::ZERO);
    }

    /// Time has passed.
    pub(crate) fn pass(&mut self, time: Duration) -> Turn {
        if !self.plays || self.asked.is_some() {
            return Turn::Same;
        }
        self.waited += time;
        let Some(wait) = self.wait() else {
            self.plays = false;
            return Turn::Show;
        };
        if self.waited < wait {
            return Turn::Same;
        }
        self.show(self.at + 1);
        Turn::Show
    }

    /// How long this scene is shown; none is the last.
    fn wait(&self) -> Option<Duration> {
        let (now, next) = (self.scenes.get(self.at)?, self.scenes.get(self.at + 1)?);
        let gap = Duration::from_millis(next.at_unix_ms.saturating_sub(now.at_unix_ms));
        Some(gap.div_f64(self.speed).clamp(WAIT_MIN, WAIT_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player() -> Player {
        let scenes = [(10, 0), (20, 1_000), (30, 1_000), (40, 900_000)].map(|(first, at)| Scene::bare(first, at));
        Player::new(scenes.into(), 1.0)
    }

    #[test]
    fn it_plays_in_the_time_of_the_session_and_stops_at_the_end() {
        let mut player = player();
        assert_eq!(player.pass(Duration::from_millis(900)), Turn::Same);
        assert_eq!((player.pass(Duration::from_millis(100)), player.at), (Turn::Show, 1));
        assert_eq!((player.pass(WAIT_MIN), player.at), (Turn::Show, 2), "the same moment");
        assert_eq!((player.pass(WAIT_MAX), player.at), (Turn::Show, 3), "a long silence is cut short");
        assert_eq!((player.pass(WAIT_MAX), player.at, player.plays), (Turn::Show, 3, false));
        assert_eq!(player.pass(WAIT_MAX), Turn::Same);
    }

    #[test]
    fn twice_the_speed_is_half_the_time() {
        let mut player = player();
        player.key(Key::Faster);
        assert_eq!((player.pass(Duration::from_millis(500)), player.at), (Turn::Show, 1));
        for _ in 0..20 {
            player.key(Key::Faster);
        }
        assert!((player.speed - SPEED_MAX).abs() < f64::EPSILON);
        for _ in 0..20 {
            player.key(Key::Slower);
        }
        assert!((player.speed - SPEED_MIN).abs() < f64::EPSILON);
    }

    #[test]
    fn a_step_by_hand_stops_it_and_stays_within_the_scenes() {
        let mut player = player();
        player.key(Key::Back);
        assert_eq!((player.at, player.plays), (0, false));
        assert_eq!(player.pass(WAIT_MAX), Turn::Same);
        for _ in 0..9 {
            player.key(Key::Next);
        }
        assert_eq!(player.at, 3);
        player.key(Key::First);
        player.key(Key::Pause);
        assert!(player.plays);
        assert_eq!(player.key(Key::Quit), Turn::Quit);
    }

    #[test]
    fn a_jump_goes_to_the_scene_that_an_entry_belongs_to() {
        let mut player = player();
        for (typed, at) in [("20", 1), ("29", 1), ("30", 2), ("5", 0), ("999", 3)] {
            player.key(Key::Jump);
            for digit in typed.chars() {
                player.key(Key::Digit(digit));
            }
            assert_eq!(player.pass(WAIT_MAX), Turn::Same, "it waits for the number");
            player.key(Key::Enter);
            assert_eq!(player.at, at, "{typed}");
        }
        player.key(Key::Jump);
        player.key(Key::Digit('1'));
        player.key(Key::Erase);
        assert_eq!((player.key(Key::Quit), player.asked.is_none(), player.at), (Turn::Show, true, 3));
    }

    #[test]
    fn a_session_without_scenes_harms_nothing() {
        let mut empty = Player::new(vec![], 1.0);
        for key in [Key::Next, Key::Back, Key::Last, Key::Pause, Key::Down, Key::Diff] {
            empty.key(key);
        }
        empty.pass(WAIT_MAX);
        assert_eq!((empty.at, empty.plays), (0, false));
    }
}
