//! How many agents fit, and where they can work apart: advice from facts, each number with its reason and its source (G18, P9).
//! `facts` gathers, `areas` reads the history, [`advise`] decides without looking at anything. What is typed is `cmd::plan`'s.

pub(crate) mod areas;
pub(crate) mod facts;

use serde::Serialize;

use self::areas::Areas;
use crate::view::FleetView;

/// Work that one person can review well at a time: more agents than this only make a heap.
pub(crate) const REVIEW_MAX: u32 = 6;
/// Of what is free: the rest is for the agents' own peaks and for everybody else.
const MEMORY_SHARE_PERCENT: u64 = 80;
/// Above this the line for checks grows faster than it is worked off.
const BUSY_PERCENT: u64 = 70;
/// Fewer commits say nothing about what belongs together.
const HISTORY_MIN: u32 = 20;
/// Where nothing is known of the code: one, and one more to learn from.
const AGENTS_UNKNOWN: u32 = 2;

/// What one agent uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Use {
    /// Thousandths of a core.
    pub(crate) cores_milli: u64,
    pub(crate) memory_bytes: u64,
    /// How many it was measured on; 0: assumed.
    pub(crate) measured_on: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    /// Free now, with what the agents that run already use.
    pub(crate) for_agents_bytes: u64,
    pub(crate) agent: Use,
}

/// The checks of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Checks {
    /// All of them, one after the other, as measured; none: not known.
    pub(crate) took_ms: Option<u64>,
    /// How many run at a time on a host.
    pub(crate) slots: u32,
    /// How often an agent has something to check.
    pub(crate) change_every_ms: u64,
}

/// One reason to have no more than so many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Limit {
    pub(crate) what: &'static str,
    pub(crate) agents: u32,
    pub(crate) why: String,
    pub(crate) source: String,
}

/// The advice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Advice {
    pub(crate) agents: u32,
    /// The tightest first.
    pub(crate) limits: Vec<Limit>,
}

impl Advice {
    fn of(mut limits: Vec<Limit>) -> Self {
        limits.iter_mut().for_each(|limit| limit.agents = limit.agents.max(1));
        limits.sort_by_key(|limit| limit.agents);
        Self { agents: limits.first().map_or(1, |limit| limit.agents), limits }
    }
}

/// What this machine and its people bear, whatever the work is.
pub(crate) fn of_machine(machine: &Machine, review: u32) -> Advice {
    Advice::of(machine_limits(machine, review))
}

/// What all of it together bears.
pub(crate) fn advise(machine: &Machine, checks: &Checks, areas: &Areas, review: u32) -> Advice {
    let mut limits = machine_limits(machine, review);
    limits.extend(check_limit(checks));
    limits.extend(work_limits(areas));
    Advice::of(limits)
}

fn machine_limits(machine: &Machine, review: u32) -> Vec<Limit> {
    let Use { cores_milli, memory_bytes, measured_on } = machine.agent;
    let source = match measured_on {
        0 => "assumed: no agent runs here to be measured".to_owned(),
        n => format!("measured on {n} running agent(s)"),
    };
    let by_cores = u64::from(machine.cores) * 1_000 / cores_milli.max(1);
    let by_memory = machine.for_agents_bytes * MEMORY_SHARE_PERCENT / 100 / memory_bytes.max(1);
    vec![
        Limit {
            what: "processor",
            agents: narrow(by_cores),
            why: format!(
                "{} cores, {}.{:02} of one for each agent",
                machine.cores,
                cores_milli / 1_000,
                cores_milli % 1_000 / 10
            ),
            source: source.clone(),
        },
        Limit {
            what: "memory",
            agents: narrow(by_memory),
            why: format!(
                "{} for agents, of which {MEMORY_SHARE_PERCENT} % are used; {} for each",
                size(machine.for_agents_bytes),
                size(memory_bytes)
            ),
            source,
        },
        Limit {
            what: "review",
            agents: review,
            why: format!("one person reviews the work of {review} agents well"),
            source: if review == REVIEW_MAX { "a rule of thumb: --review".to_owned() } else { "--review".to_owned() },
        },
    ]
}

/// Changes come as often as they do; checks take as long as they do; the line must not grow.
fn check_limit(checks: &Checks) -> Option<Limit> {
    let took = checks.took_ms.filter(|ms| *ms > 0)?;
    let agents = checks.change_every_ms * BUSY_PERCENT / 100 * u64::from(checks.slots) / took;
    Some(Limit {
        what: "checks",
        agents: narrow(agents),
        why: format!(
            "a check takes {}, {} at a time, and each agent has a change every {}: above {BUSY_PERCENT} % the line only grows",
            time(took),
            checks.slots,
            time(checks.change_every_ms)
        ),
        source: "median of passed checks (rrctl health); --change-every".to_owned(),
    })
}

fn work_limits(areas: &Areas) -> Vec<Limit> {
    let source = format!("{} commits of the last {} days", areas.commits, areas::DAYS);
    if areas.commits < HISTORY_MIN {
        let why =
            format!("too few commits ({}) to say what belongs together: begin with {AGENTS_UNKNOWN}", areas.commits);
        return vec![Limit { what: "history", agents: AGENTS_UNKNOWN, why, source }];
    }
    let apart = narrow(areas.apart.len() as u64);
    let why = match areas.apart.as_slice() {
        [] | [_] => "the folders change together: there is one piece of work".to_owned(),
        some => format!("{} groups of folders that hardly ever change together", some.len()),
    };
    let mut limits = vec![Limit { what: "coupling", agents: apart, why, source: source.clone() }];
    if areas.contested > 0 {
        let share = areas.contested * 100 / areas.commits;
        limits.push(Limit {
            what: "hot files",
            agents: areas.commits / areas.contested,
            why: format!(
                "{share} % of the commits change one of the files that everybody edits: two agents meet there"
            ),
            source,
        });
    }
    limits
}

/// A line for `rrctl status` where more run on this machine than it and its people bear.
pub(crate) fn warning(view: &FleetView, host: &str) -> Option<String> {
    let agents = facts::agents_on(view, host);
    // Fewer than any advice: nothing need be measured.
    if agents.len() <= 1 {
        return None;
    }
    let advice = of_machine(&facts::machine(&agents), REVIEW_MAX);
    let (running, tightest) = (agents.len(), advice.limits.first()?);
    (running > advice.agents as usize).then(|| {
        format!(
            "Agents    {running} run on this machine, {} are advised ({}): rrctl plan\n",
            advice.agents, tightest.what
        )
    })
}

/// When to let them run side by side, and when not, in this repository.
pub(crate) fn when(areas: &Areas) -> (Vec<String>, Vec<String>) {
    let (mut side_by_side, mut one_by_one) = (Vec::new(), Vec::new());
    if areas.apart.len() > 1 && areas.commits >= HISTORY_MIN {
        side_by_side
            .push("tasks that stay within one group of folders each; write the groups down as `scopes`".to_owned());
    }
    side_by_side.push("work that only reads: reviews, searches, questions".to_owned());
    if !areas.shared.is_empty() {
        let files: Vec<&str> = areas.shared.iter().take(3).map(|file| file.path.as_str()).collect();
        one_by_one.push(format!("what changes {}: give those to one owner", files.join(", ")));
    }
    if areas.apart.len() <= 1 || areas.commits < HISTORY_MIN {
        one_by_one.push("tasks in the same folders: each lands before the next begins".to_owned());
    }
    one_by_one.push("dependencies, migrations and renames: first, and alone".to_owned());
    (side_by_side, one_by_one)
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn size(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    match bytes {
        b if b >= GIB => format!("{}.{} GiB", b / GIB, b % GIB * 10 / GIB),
        b => format!("{} MiB", b >> 20),
    }
}

fn time(ms: u64) -> String {
    match ms {
        ms @ 0..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        ms @ 10_000..120_000 => format!("{} s", ms / 1_000),
        ms => format!("{} min", ms / 60_000),
    }
}

#[cfg(test)]
mod tests {
    use rr_core::live::GitPath;

    use super::*;

    fn machine() -> Machine {
        let agent = Use { cores_milli: 250, memory_bytes: 1 << 30, measured_on: 2 };
        Machine { cores: 8, memory_bytes: 64 << 30, for_agents_bytes: 40 << 30, agent }
    }

    fn checks(took_ms: Option<u64>) -> Checks {
        Checks { took_ms, slots: 1, change_every_ms: 900_000 }
    }

    /// So many commits, each with the files that it changes.
    fn past(commits: u32, files: impl Fn(u32) -> Vec<String>) -> Areas {
        let paths = |n| files(n).into_iter().map(|file| GitPath::new(file.into_bytes())).collect();
        areas::read(&(0..commits).map(paths).collect::<Vec<_>>(), &|_| false)
    }

    fn advice(areas: &Areas) -> Advice {
        advise(&machine(), &checks(None), areas, REVIEW_MAX)
    }

    #[test]
    fn the_tightest_limit_counts_and_each_has_its_reason() {
        let modular = past(100, |n| vec![format!("src/part{}/a.rs", n % 10)]);
        assert_eq!((advice(&modular).agents, advice(&modular).limits[0].what), (6, "review"));
        let slow = advise(&machine(), &checks(Some(300_000)), &modular, REVIEW_MAX);
        assert_eq!((slow.agents, slow.limits[0].what), (2, "checks"));
        let small = Machine { for_agents_bytes: 2 << 30, ..machine() };
        assert_eq!(advise(&small, &checks(None), &modular, 99).limits[0].what, "memory");
        let busy = Machine { cores: 1, ..machine() };
        assert_eq!((of_machine(&busy, 99).agents, of_machine(&busy, 99).limits[0].what), (4, "processor"));
        assert!(advice(&modular).limits.iter().all(|limit| !limit.why.is_empty() && !limit.source.is_empty()));
    }

    #[test]
    fn what_everybody_edits_and_what_changes_together_bear_few() {
        let hot = past(100, |n| vec![format!("src/part{}/a.rs", n % 10), "routes.rs".to_owned()]);
        assert_eq!((advice(&hot).agents, advice(&hot).limits[0].what), (1, "hot files"));
        let coupled = past(100, |n| (0..3).map(|part| format!("src/part{part}/f{}.rs", n % 50)).collect());
        assert_eq!((advice(&coupled).agents, advice(&coupled).limits[0].what), (1, "coupling"));
        assert!(when(&coupled).1.iter().any(|text| text.contains("same folders")));
    }

    #[test]
    fn without_a_past_nothing_is_claimed_of_the_code() {
        let new = past(5, |n| vec![format!("src/part{n}/a.rs")]);
        assert_eq!((advice(&new).agents, advice(&new).limits[0].what), (2, "history"));
    }

    #[test]
    fn no_limit_is_below_one_agent() {
        let nothing = Machine { for_agents_bytes: 0, ..machine() };
        assert_eq!(of_machine(&nothing, 0).agents, 1);
    }
}
