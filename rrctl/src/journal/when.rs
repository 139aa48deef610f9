//! Times as they are typed and shown: `10m` ago, a clock time of today, or a date; shown in the machine's own time zone.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::exit::{Failure, Kind};

/// Milliseconds since 1970 of what was typed.
pub(crate) fn parse(typed: &str, now_unix_ms: u64, zone: &TimeZone) -> Result<u64, Failure> {
    let now = timestamp(now_unix_ms);
    let ago = || {
        let span = typed.parse::<Span>().ok()?.abs();
        Some(now.to_zoned(zone.clone()).checked_sub(span).ok()?.timestamp())
    };
    let whole = || typed.parse::<Timestamp>().ok();
    let local = || {
        let at = typed.parse::<DateTime>().ok()?;
        Some(at.to_zoned(zone.clone()).ok()?.timestamp())
    };
    let today = || {
        let at = typed.contains(':').then(|| typed.parse::<Time>().ok()).flatten()?;
        let day = now.to_zoned(zone.clone()).date();
        Some(day.to_datetime(at).to_zoned(zone.clone()).ok()?.timestamp())
    };
    // A clock time comes before a span: `14:30` is not so long ago.
    let found = whole().or_else(today).or_else(local).or_else(ago);
    let found = found.and_then(|at| u64::try_from(at.as_millisecond()).ok());
    found.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("{typed:?} is no time")).hint(
            "10m, 2h30m, 3d (so long ago), 14:30, 2026-05-01, 2026-05-01T14:30, or with a zone 2026-05-01T14:30:00Z",
        )
    })
}

/// As people read it: seconds are enough.
pub(crate) fn show(at_unix_ms: u64, zone: &TimeZone) -> String {
    timestamp(at_unix_ms).to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn timestamp(unix_ms: u64) -> Timestamp {
    let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000; // 2023-11-14T22:13:20Z

    #[test]
    fn times_are_understood_as_people_type_them() {
        let at = |typed: &str| parse(typed, NOW, &TimeZone::UTC).map_err(|f| f.kind);
        assert_eq!(at("10m"), Ok(NOW - 600_000));
        assert_eq!(at("2h30m"), Ok(NOW - 9_000_000));
        assert_eq!(at("90s"), Ok(NOW - 90_000));
        assert_eq!(at("2023-11-14T22:13:20Z"), Ok(NOW));
        assert_eq!(at("2023-11-14T23:13:20+01:00"), Ok(NOW));
        assert_eq!(at("2023-11-14T22:13:20"), Ok(NOW));
        assert_eq!(at("2023-11-14"), Ok(NOW - 80_000_000));
        assert_eq!(at("22:13"), Ok(NOW - 20_000));
        assert_eq!(at("3d"), Ok(NOW - 259_200_000));
        for wrong in ["", "yesterday", "10", "25:00", "2023-13-01"] {
            assert_eq!(at(wrong), Err(Kind::Usage), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_in_the_zone() {
        let east = TimeZone::fixed(jiff::tz::offset(2));
        assert_eq!(show(NOW, &TimeZone::UTC), "2023-11-14 22:13:20");
        assert_eq!(show(NOW, &east), "2023-11-15 00:13:20");
        assert_eq!(parse("00:13:20", NOW, &east).expect("a time"), NOW);
    }
}
