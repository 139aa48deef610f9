//! What the watcher counts: findings, checks, breaks and what became of them. As everywhere, every label has a few known values;
//! a check's name is one only while there are few.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::{Inner, Metrics, counter, counters, gauge, gauges, options, whole};

/// From a cached verdict to the longest check before a merge.
const SECONDS: [f64; 12] = [0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0];
/// Builds that one search used.
const BUILDS: [f64; 9] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0];
/// Names of checks that become labels; the rest is `other`.
const CHECKS_MAX: usize = 32;

pub(super) struct Watching {
    findings: IntGaugeVec,
    found: IntCounterVec,
    cleared: IntCounterVec,
    checks: HistogramVec,
    waiting: IntGauge,
    to_red: Histogram,
    to_culprit: Histogram,
    builds: Histogram,
    pauses: IntCounter,
    paused: Histogram,
    incidents: IntCounterVec,
    reverts: IntCounterVec,
    flakes: IntCounterVec,
    errors: IntCounterVec,
    names: Mutex<BTreeSet<String>>,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckWord {
    Green,
    Red,
    Infrastructure,
    /// Known from an earlier run on the same tree.
    Cached,
}

/// How a break ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IncidentWord {
    Flake,
    Reverted,
    Repaired,
    Dismissed,
    Escalated,
}

/// What became of a revert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevertWord {
    Landed,
    Proposed,
    /// The branch moved on meanwhile; it was made again.
    Moved,
}

/// Which part of the watcher failed at something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchWord {
    Overlap,
    Health,
    Response,
}

impl Watching {
    pub(super) fn new() -> Self {
        Self {
            findings: gauges("overlap_findings", "Findings that stand, by level", &["level"]),
            found: counters("overlap_found_total", "Findings so far, by level", &["level"]),
            cleared: counters("overlap_cleared_total", "Findings that went away again, by level", &["level"]),
            checks: seconds_by("check_seconds", "How long checks took, by how they ended", "outcome"),
            waiting: gauge("checks_waiting", "Checks that wait for their turn"),
            to_red: seconds("break_seen_seconds", "From a commit on a watched branch to its first red check"),
            to_culprit: seconds("culprit_seconds", "From a confirmed break to its proven culprit"),
            builds: histogram("culprit_builds", "Builds that one search used", &BUILDS),
            pauses: counter("watcher_pauses_total", "Times the watcher has paused the fleet because of a break"),
            paused: seconds("watcher_paused_seconds", "How long pauses of the watcher lasted"),
            incidents: counters("incidents_total", "Breaks of watched branches, by how they ended", &["end"]),
            reverts: counters("reverts_total", "Reverts by the watcher, by what became of them", &["outcome"]),
            flakes: counters("check_flakes_total", "Checks both red and green on one tree, by check", &["check"]),
            errors: counters("watcher_errors_total", "What the watcher failed at and tries again, by part", &["part"]),
            names: Mutex::default(),
        }
    }

    pub(super) fn register(&self, all: &Inner) {
        all.register(self.findings.clone());
        all.register(self.found.clone());
        all.register(self.cleared.clone());
        all.register(self.checks.clone());
        all.register(self.waiting.clone());
        all.register(self.to_red.clone());
        all.register(self.to_culprit.clone());
        all.register(self.builds.clone());
        all.register(self.pauses.clone());
        all.register(self.paused.clone());
        all.register(self.incidents.clone());
        all.register(self.reverts.clone());
        all.register(self.flakes.clone());
        all.register(self.errors.clone());
    }

    fn label(&self, check: &str) -> String {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.contains(check) || names.len() < CHECKS_MAX {
            names.insert(check.to_owned());
            return check.to_owned();
        }
        "other".to_owned()
    }
}

impl Metrics {
    /// How many findings of each level stand, level 0 first.
    pub fn findings(&self, by_level: [usize; 4]) {
        for (level, count) in by_level.into_iter().enumerate() {
            self.watching().findings.with_label_values(&[level_word(level)]).set(whole(count));
        }
    }

    pub fn found(&self, level: u8) {
        self.watching().found.with_label_values(&[level_word(level.into())]).inc();
    }

    pub fn cleared(&self, level: u8) {
        self.watching().cleared.with_label_values(&[level_word(level.into())]).inc();
    }

    pub fn check(&self, outcome: CheckWord, took: Duration) {
        let word = match outcome {
            CheckWord::Green => "green",
            CheckWord::Red => "red",
            CheckWord::Infrastructure => "infrastructure",
            CheckWord::Cached => "cached",
        };
        self.watching().checks.with_label_values(&[word]).observe(took.as_secs_f64());
    }

    pub fn checks_waiting(&self, waiting: usize) {
        self.watching().waiting.set(whole(waiting));
    }

    pub fn break_seen(&self, after: Duration) {
        self.watching().to_red.observe(after.as_secs_f64());
    }

    #[allow(clippy::cast_precision_loss)]
    pub fn culprit_found(&self, after: Duration, builds: usize) {
        self.watching().to_culprit.observe(after.as_secs_f64());
        self.watching().builds.observe(builds as f64);
    }

    pub fn paused_for_a_break(&self) {
        self.watching().pauses.inc();
    }

    pub fn resumed_after_a_break(&self, after: Duration) {
        self.watching().paused.observe(after.as_secs_f64());
    }

    pub fn incident_over(&self, end: IncidentWord) {
        let word = match end {
            IncidentWord::Flake => "flake",
            IncidentWord::Reverted => "reverted",
            IncidentWord::Repaired => "repaired",
            IncidentWord::Dismissed => "dismissed",
            IncidentWord::Escalated => "escalated",
        };
        self.watching().incidents.with_label_values(&[word]).inc();
    }

    pub fn revert(&self, outcome: RevertWord) {
        let word = match outcome {
            RevertWord::Landed => "landed",
            RevertWord::Proposed => "proposed",
            RevertWord::Moved => "moved",
        };
        self.watching().reverts.with_label_values(&[word]).inc();
    }

    pub fn flake(&self, check: &str) {
        self.watching().flakes.with_label_values(&[&self.watching().label(check)]).inc();
    }

    pub fn watch_error(&self, part: WatchWord) {
        let word = match part {
            WatchWord::Overlap => "overlap",
            WatchWord::Health => "health",
            WatchWord::Response => "response",
        };
        self.watching().errors.with_label_values(&[word]).inc();
    }

    fn watching(&self) -> &Watching {
        &self.inner.watching
    }
}

const fn level_word(level: usize) -> &'static str {
    match level {
        0 => "0",
        1 => "1",
        2 => "2",
        _ => "3",
    }
}

fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
    Histogram::with_opts(options).expect(super::LEGAL)
}

fn seconds(name: &str, help: &str) -> Histogram {
    histogram(name, help, &SECONDS)
}

fn seconds_by(name: &str, help: &str, label: &str) -> HistogramVec {
    let options = HistogramOpts::from(options(name, help)).buckets(SECONDS.to_vec());
    HistogramVec::new(options, &[label]).expect(super::LEGAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_check_names_makes_no_flood_of_labels() {
        let metrics = Metrics::of("rr-watcher");
        for n in 0..CHECKS_MAX + 50 {
            metrics.flake(&format!("check {n}"));
        }
        let text = metrics.text().await;
        let labels = text.lines().filter(|l| l.starts_with("railroad_check_flakes_total{")).count();
        assert_eq!(labels, CHECKS_MAX + 1, "{text}");
        assert!(text.contains("railroad_check_flakes_total{check=\"other\"} 50"), "{text}");
    }

    #[tokio::test]
    async fn a_break_is_told_in_numbers() {
        let metrics = Metrics::of("rr-watcher");
        metrics.findings([3, 2, 1, 0]);
        metrics.check(CheckWord::Red, Duration::from_secs(2));
        metrics.culprit_found(Duration::from_secs(9), 5);
        metrics.paused_for_a_break();
        metrics.resumed_after_a_break(Duration::from_secs(11));
        metrics.revert(RevertWord::Landed);
        metrics.incident_over(IncidentWord::Reverted);
        let text = metrics.text().await;
        for line in [
            "railroad_overlap_findings{level=\"2\"} 1",
            "railroad_check_seconds_count{outcome=\"red\"} 1",
            "railroad_culprit_builds_sum 5",
            "railroad_watcher_pauses_total 1",
            "railroad_watcher_paused_seconds_sum 11",
            "railroad_reverts_total{outcome=\"landed\"} 1",
            "railroad_incidents_total{end=\"reverted\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
