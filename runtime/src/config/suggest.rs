//! The nearest known word to one that is not known: "did you mean". Plain edit distance with swapped neighbours counted
//! as one slip; far words are not offered, since a wrong guess is worse than none.

/// The known word that is fewest slips away, if it is near enough: one slip in three letters.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = word.to_lowercase();
    let near = |k: &&'a str| (distance(&word, k), *k);
    let (slips, found) = known.iter().map(near).min_by_key(|(slips, _)| *slips)?;
    let allowed = (found.chars().count().max(3)) / 3;
    (slips <= allowed).then_some(found)
}

fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut two_up: Vec<usize> = vec![];
    let mut up: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = up[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(up[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(two_up[j - 2] + 1);
            }
            row.push(best);
        }
        two_up = std::mem::replace(&mut up, row);
    }
    up[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_the_word_and_a_stranger_finds_none() {
        let known = ["fleet", "locks", "on_unavailable", "idle_release"];
        for (word, meant) in [
            ("lock", Some("locks")),
            ("lcoks", Some("locks")),
            ("Fleet", Some("fleet")),
            ("on-unavailable", Some("on_unavailable")),
            ("idle_relaese", Some("idle_release")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
        assert_eq!(nearest("x", &[]), None);
    }

    #[test]
    fn the_distance_is_the_number_of_slips() {
        for (a, b, slips) in [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)]
        {
            assert_eq!((distance(a, b), distance(b, a)), (slips, slips), "{a} {b}");
        }
    }
}
