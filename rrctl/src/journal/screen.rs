//! What the player shows, as lines of a screen of some size; and, without a terminal, all scenes one after the other. Pure:
//! the terminal is `cmd::replay`'s.

use jiff::tz::TimeZone;
use rr_journal::Contents;

use crate::journal::diff::Mark;
use crate::journal::player::Player;
use crate::journal::story::Scene;
use crate::journal::when;
use crate::table::{fit, plain as without_controls, wrapped};

/// One line, and its colour.
pub(crate) type Line = (Mark, String);

const KEYS: &str = "space pause · n/b step · +/- speed · g jump · d diff · j/k scroll · q quit";

/// Where it is, scene and keys: exactly `rows` lines of at most `columns`. What is longer goes on below: nothing of a command is left
/// out. What is scrolled beyond the end comes back to it.
pub(crate) fn screen(
    player: &mut Player,
    contents: &dyn Contents,
    zone: &TimeZone,
    columns: usize,
    rows: usize,
) -> Vec<Line> {
    let mut lines = vec![(Mark::Same, status(player, zone))];
    if let Some(scene) = player.scenes.get(player.at) {
        let below = if player.diffs { scene.lines(contents) } else { scene.short_lines() };
        let below = below.into_iter().map(|(mark, line)| (mark, format!("  {}{line}", mark.sign())));
        let body = std::iter::once((Mark::Head, scene.title.clone())).chain(below);
        let body = body.flat_map(|(mark, line)| wrapped(&line, columns).into_iter().map(move |part| (mark, part)));
        let body: Vec<Line> = body.collect();
        // At least the last line stays.
        player.scrolled = player.scrolled.min(body.len().saturating_sub(1));
        lines.extend(body.into_iter().skip(player.scrolled));
    }
    lines.truncate(rows.saturating_sub(1));
    lines.resize(rows.saturating_sub(1), (Mark::Same, String::new()));
    let asked = player.asked.as_ref().map(|typed| format!("to the entry with number: {typed}_"));
    lines.push((Mark::Same, asked.unwrap_or_else(|| KEYS.to_owned())));
    lines.into_iter().map(|(mark, line)| (mark, fit(&line, columns))).collect()
}

fn status(player: &Player, zone: &TimeZone) -> String {
    let Some(scene) = player.scenes.get(player.at) else { return "nothing happened in this session".to_owned() };
    let (at, how) = (when::show(scene.at_unix_ms, zone), if player.plays { "plays" } else { "stands" });
    let (n, of) = (player.at + 1, player.scenes.len());
    let agent = scene.agent_id.as_ref().map_or_else(String::new, |id| format!("  sub-agent {}", without_controls(id)));
    format!("{n}/{of}  #{}  {at}  {how} at speed {}{agent}", scene.first, player.speed)
}

/// One scene of all of them, for reading or for a file.
pub(crate) fn plain(scene: &Scene, contents: &dyn Contents, zone: &TimeZone) -> String {
    let agent = scene.agent_id.as_ref().map_or_else(String::new, |id| format!(" [{}]", without_controls(id)));
    let mut text = format!("#{} {}{agent} {}\n", scene.first, when::show(scene.at_unix_ms, zone), scene.title);
    for (mark, line) in scene.lines(contents) {
        text.push_str(format!("    {}{line}", mark.sign()).trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::player::Key;
    use crate::journal::story::scenes;
    use crate::journal::tests::{Shelf, edit};

    fn filled() -> (Player, Shelf) {
        let mut shelf = Shelf::default();
        let (a, b) = (shelf.put("one\n"), shelf.put("two\n"));
        let entries = edit(1, "t1", "a.rs", a, b).into_iter().chain(edit(1, "t2", "b.rs", b, a));
        (Player::new(scenes((1..).zip(entries)), 2.0), shelf)
    }

    fn shown(player: &mut Player, shelf: &Shelf, columns: usize, rows: usize) -> Vec<String> {
        screen(player, &shelf.0, &TimeZone::UTC, columns, rows).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn a_screen_has_the_scene_its_place_and_the_keys() {
        let (mut player, shelf) = filled();
        player.key(Key::Next);
        let lines = shown(&mut player, &shelf, 80, 10);
        let expected = [
            "2/2  #6  2023-11-14 22:13:20  stands at speed 2",
            "Edit b.rs",
            "  passed",
            "  b.rs (changed)",
            "  @@ -1 +1 @@",
            "  -two",
            "  +one",
            "  done",
            "",
            KEYS,
        ];
        assert_eq!(lines, expected);
        player.key(Key::Diff);
        assert_eq!(shown(&mut player, &shelf, 80, 7)[2..5], ["  passed", "  b.rs (changed)", "  done"]);
        player.key(Key::Jump);
        player.key(Key::Digit('4'));
        assert_eq!(shown(&mut player, &shelf, 80, 7)[6], "to the entry with number: 4_");
    }

    #[test]
    fn a_screen_of_any_size_is_filled_and_not_more() {
        let (mut player, shelf) = filled();
        for (columns, rows) in [(0, 0), (1, 1), (5, 2), (200, 60)] {
            for _ in 0..12 {
                player.key(Key::Down);
            }
            let lines = shown(&mut player, &shelf, columns, rows);
            assert_eq!(lines.len(), rows.max(1));
            assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
        let mut empty = Player::new(vec![], 1.0);
        assert_eq!(shown(&mut empty, &shelf, 80, 3)[0], "nothing happened in this session");
    }

    #[test]
    fn without_a_terminal_a_scene_is_a_paragraph() {
        let (player, shelf) = filled();
        let text = plain(&player.scenes[0], &shelf.0, &TimeZone::UTC);
        let expected = "#1 2023-11-14 22:13:20 Edit a.rs\n    passed\n    a.rs (changed)\n    @@ -1 +1 @@\n    -one\n    +two\n    done\n";
        assert_eq!(text, expected);
    }
}
