//! Which changed lines of two sides touch: they overlap, or no unchanged line stands between them. That is when git's merge cannot
//! put the two beside each other by itself. The lines must be those of the merge's own diff, or a real conflict is missed.

use crate::live::Lines;

/// The same ranges with those that adjoin made one, in order.
pub(super) fn tidy(mut ranges: Vec<Lines>) -> Vec<Lines> {
    ranges.sort_unstable();
    join(ranges)
}

/// Where the two touch, each place as the lines that one or the other changed. Both must be [`tidy`].
pub(super) fn touching(a: &[Lines], b: &[Lines]) -> Vec<Lines> {
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        if touch(*x, *y) {
            found.push(hull(*x, *y));
        }
        if end(*x) <= end(*y) {
            i += 1;
        } else {
            j += 1;
        }
    }
    join(found)
}

pub(super) fn touch(a: Lines, b: Lines) -> bool {
    u64::from(a.start) <= end(b) && u64::from(b.start) <= end(a)
}

fn end(lines: Lines) -> u64 {
    u64::from(lines.start) + u64::from(lines.count)
}

fn hull(a: Lines, b: Lines) -> Lines {
    let start = a.start.min(b.start);
    let count = end(a).max(end(b)) - u64::from(start);
    Lines { start, count: u32::try_from(count).unwrap_or(u32::MAX) }
}

fn join(ranges: Vec<Lines>) -> Vec<Lines> {
    let mut out: Vec<Lines> = Vec::with_capacity(ranges.len());
    for next in ranges {
        match out.last_mut() {
            Some(last) if touch(*last, next) => *last = hull(*last, next),
            _ => out.push(next),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn l(start: u32, count: u32) -> Lines {
        Lines { start, count }
    }

    #[test]
    fn lines_touch_when_no_unchanged_line_is_between_them() {
        for (a, b, touches) in [
            (l(5, 2), l(6, 1), true),
            (l(5, 2), l(7, 1), true),
            (l(5, 2), l(8, 1), false),
            (l(5, 0), l(5, 0), true),
            (l(5, 0), l(5, 3), true),
            (l(5, 0), l(4, 1), true),
            (l(5, 0), l(6, 1), false),
            (l(0, 1), l(1, 0), true),
            (l(u32::MAX, u32::MAX), l(3, 1), false),
        ] {
            assert_eq!(touch(a, b), touches, "{a:?} {b:?}");
            assert_eq!(touch(b, a), touches, "{b:?} {a:?}");
        }
    }

    fn some_ranges() -> impl Strategy<Value = Vec<Lines>> {
        prop::collection::vec((0_u32..40, 0_u32..4).prop_map(|(start, count)| l(start, count)), 0..8).prop_map(tidy)
    }

    proptest! {
        #[test]
        fn the_join_finds_what_comparing_each_with_each_finds(a in some_ranges(), b in some_ranges()) {
            let found = touching(&a, &b);
            let each = |x: &Lines| b.iter().any(|y| touch(*x, *y));
            for x in &a {
                prop_assert_eq!(each(x), found.iter().any(|f| f.start <= x.start && end(*x) <= end(*f)), "{:?}", x);
            }
            prop_assert_eq!(found.clone(), touching(&b, &a));
            prop_assert_eq!(found.clone(), tidy(found), "in order, none touching the next");
        }
    }
}
