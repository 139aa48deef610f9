//! The table that a run ends with: part, measure, value, floor, bar, verdict. A blind detector's row is right if it fails.

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 6]>,
    missed: usize,
}

impl Table {
    pub(crate) fn row(&mut self, part: &str, measure: &str, value: &str, floor: &str, bar: &str, is_met: bool) {
        self.missed += usize::from(!is_met);
        let verdict = if is_met { "ok" } else { "MISSED" };
        self.rows.push([part, measure, value, floor, bar, verdict].map(str::to_owned));
        println!("{part} {measure}: {value} (floor {floor}; bar {bar}) {verdict}");
    }

    /// What the judge says of a detector that looks at nothing.
    pub(crate) fn blind(&mut self, part: &str, name: &str, value: &str, passes: bool) {
        self.row(part, &format!("always {name}"), value, "-", "must fail", !passes);
    }

    pub(crate) fn missed(&self) -> usize {
        self.missed
    }

    pub(crate) fn print(&self) {
        let head = ["part", "measure", "value", "floor", "bar", "verdict"].map(str::to_owned);
        let all: Vec<&[String; 6]> = std::iter::once(&head).chain(&self.rows).collect();
        let widths = [0, 1, 2, 3, 4].map(|at| all.iter().map(|row| row[at].chars().count()).max().unwrap_or(0));
        println!();
        for row in all {
            let cells = widths.iter().enumerate().map(|(at, width)| format!("{:width$}", row[at]));
            println!("{}  {}", cells.collect::<Vec<_>>().join("  "), row[5]);
        }
        println!("{} of {} rows miss their bar", self.missed, self.rows.len());
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts")]
pub(crate) fn share(part: usize, of: usize) -> f64 {
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}

pub(crate) fn percentile(times: &mut [std::time::Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get((times.len().max(1) - 1) * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1_000.0)
}
