//! How a figure is printed: both sides, the bar, and whether it holds. It knows no measurement.

use std::time::Duration;

pub(crate) fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

pub(crate) fn ratio(name: &str, value: Duration, floor_name: &str, floor: Duration, bar: f64) {
    let ratio = value.as_secs_f64() / floor.as_secs_f64();
    let (value, floor) = (value.as_micros(), floor.as_micros());
    println!("{name}={value} {floor_name}={floor} ratio={ratio:.2} bar={bar:.2} {}", verdict(ratio <= bar));
}

pub(crate) fn verdict(holds: bool) -> &'static str {
    if holds { "ok" } else { "MISSED" }
}
