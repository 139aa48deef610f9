//! Breaks played through against a world in which one commit did it: the record goes through the store's text between any two
//! steps, as it does when a watcher dies and another goes on.

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn commit(n: usize) -> CommitId {
    CommitId::parse(&format!("{n:040x}")).expect("an id")
}

fn tree(n: usize) -> ObjectId {
    ObjectId::parse(&format!("{n:040x}")).expect("an id")
}

fn incident(commits: usize, nature: Nature) -> Incident {
    let suspect = |n: usize| Suspect {
        commit: commit(n),
        session: None,
        author: format!("agent {n}"),
        subject: format!("change {n}"),
        at_unix_s: NOW / 1_000,
        weight: 1.0,
    };
    Incident {
        id: IncidentId::from_random([7; 16]),
        line: Line {
            repo: RepoId::parse("0123456789abcdef").expect("an id"),
            place: Place::Remote { url: "file:///origin".into() },
            branch: "main".into(),
        },
        state: State::Seen,
        check: "types".into(),
        command: "cargo check".into(),
        nature,
        green: commit(999),
        red: commit(commits),
        suspects: (1..=commits).map(suspect).collect(),
        runs: vec![Run { build: Build::Prefix(commits), verdict: Verdict::Red }],
        output: String::new(),
        files: vec![],
        pause: None,
        culprits: vec![],
        proven: None,
        revert: None,
        kept: None,
        escalated: None,
        accepted: false,
        drained: false,
        hindered: 0,
        tries: 0,
        opened_unix_ms: NOW,
        paused_at_unix_ms: None,
        notes: vec![],
    }
}

/// Commit `culprit` of the queue, counted from 1, breaks everything that it is in.
struct World {
    culprit: usize,
    /// The branch moves on under this many reverts.
    moves: usize,
    checks: usize,
}

impl World {
    fn verdict(&mut self, build: &Build) -> Verdict {
        self.checks += 1;
        if build.commits().contains(&self.culprit) { Verdict::Red } else { Verdict::Green }
    }

    fn answer(&mut self, todo: Todo, last: &CommitId) -> Done {
        match todo {
            Todo::Rerun => {
                self.checks += 1;
                Done::Reran(Verdict::Red)
            }
            Todo::Pause => Done::Paused(Some(Pause { epoch: Epoch(2), hold: "h".into() })),
            Todo::Build(builds) => {
                let mut run = |build: Build| Run { verdict: self.verdict(&build), build };
                Done::Built(builds.into_iter().map(&mut run).collect())
            }
            Todo::Prepare { culprits } => {
                self.checks += 1;
                let verdict = if culprits == [commit(self.culprit)] { Verdict::Green } else { Verdict::Red };
                Done::Prepared { tip: last.clone(), tree: tree(5), verdict }
            }
            Todo::Drain => Done::Drained(vec![]),
            Todo::Land { .. } if self.moves > 0 => {
                self.moves -= 1;
                Done::Moved
            }
            Todo::Land { .. } => Done::Landed { commit: commit(500), kept: Some("railroad/reverted/x".into()) },
            // The very tree that was checked before it was landed: its verdict is known.
            Todo::Verify => Done::Verified { tip: commit(500), verdict: Verdict::Green },
            Todo::Resume => Done::Resumed,
            Todo::AskPerson => panic!("nobody has to be asked here"),
        }
    }
}

fn stored(incident: &Incident) -> Incident {
    let text = serde_json::to_string(incident).expect("writes");
    serde_json::from_str(&text).expect("reads back")
}

/// Until nothing is due. The states it went through.
fn play(mut incident: Incident, world: &mut World) -> (Incident, Vec<State>) {
    let mut states = vec![incident.state];
    for _ in 0..500 {
        let Some(todo) = stored(&incident).todo(1) else { return (incident, states) };
        let done = world.answer(todo, &incident.red);
        incident = stored(&incident.after(done, NOW));
        if states.last() != Some(&incident.state) {
            states.push(incident.state);
        }
    }
    panic!("it does not end: {incident:#?}");
}

#[test]
fn a_break_goes_all_the_way_to_a_resumed_fleet_whoever_did_it() {
    use State::{Confirmed, Paused, Resumed, Reverting, Searching, Seen, Verifying};
    for commits in [1, 2, 5, 16, 40] {
        for culprit in 1..=commits {
            let mut world = World { culprit, moves: 0, checks: 0 };
            let (over, states) = play(incident(commits, Nature::Compile), &mut world);
            assert_eq!(over.culprit_commits(), [commit(culprit)], "{commits} commits");
            assert_eq!(states, [Seen, Paused, Searching, Reverting, Verifying, Resumed], "{commits} commits");
            assert_eq!((over.pause, over.revert.and_then(|r| r.commit)), (None, Some(commit(500))));
        }
    }
    let mut world = World { culprit: 3, moves: 0, checks: 0 };
    let (over, states) = play(incident(8, Nature::Test { flake: 0.01 }), &mut world);
    assert_eq!(states[..3], [Seen, Confirmed, Paused], "a test is run again before anybody is stopped");
    assert_eq!(over.culprit_commits(), [commit(3)]);
}

/// The bar of a pause: halving, red with it and green without it once more, and the branch without it.
#[test]
fn nobody_stands_still_for_longer_than_halving_and_the_proof_take() {
    for commits in 1_usize..=64 {
        let bar = commits.next_power_of_two().trailing_zeros() as usize + 3;
        for culprit in 1..=commits {
            let mut world = World { culprit, moves: 0, checks: 0 };
            let mut at = incident(commits, Nature::Compile);
            while let Some(todo) = at.todo(1) {
                let done = world.answer(todo, &commit(commits));
                at = at.after(done, NOW);
                assert!(world.checks <= bar, "{bar} are enough for number {culprit} of {commits}: {:?}", at.runs);
            }
            let proof = at.proven.clone().expect("a proof").proof;
            let seen = [proof.with, proof.without].map(|run| (at.runs[run].build.clone(), at.runs[run].verdict));
            let proven = [(Build::Prefix(culprit), Verdict::Red), (Build::Prefix(culprit - 1), Verdict::Green)];
            assert_eq!((at.culprits, seen), (vec![culprit - 1], proven), "number {culprit} of {commits}");
            assert!(proof.with > 0 && proof.without > 0, "the red that began it proves nothing");
        }
    }
}

#[test]
fn a_red_that_does_not_come_again_stops_nobody() {
    let flaky = incident(4, Nature::Test { flake: 0.02 });
    assert_eq!(flaky.todo(1), Some(Todo::Rerun));
    let over = flaky.after(Done::Reran(Verdict::Green), NOW);
    assert_eq!((over.state, over.todo(1)), (State::Resumed, None));
    assert!(over.notes.last().is_some_and(|n| n.text.contains("flaked")));
}

#[test]
fn a_branch_that_moves_on_gets_a_new_revert_and_after_too_many_a_person() {
    let mut world = World { culprit: 2, moves: 3, checks: 0 };
    let (over, _) = play(incident(4, Nature::Compile), &mut world);
    assert_eq!((over.state, over.tries), (State::Resumed, 3));
    let mut at = incident(4, Nature::Compile);
    (at.state, at.culprits) = (State::Reverting, vec![1]);
    for _ in 0..TRIES_MAX {
        at = at.after(Done::Prepared { tip: commit(4), tree: tree(5), verdict: Verdict::Green }, NOW);
        at = at.after(Done::Moved, NOW);
    }
    assert_eq!((at.state, at.todo(1)), (State::Escalated, Some(Todo::AskPerson)));
}

fn reverting() -> Incident {
    let mut at = incident(4, Nature::Compile);
    (at.state, at.culprits) = (State::Reverting, vec![1]);
    at.pause = Some(Pause { epoch: Epoch(2), hold: "h".into() });
    at
}

#[test]
fn what_is_not_allowed_or_refused_is_proposed_and_a_person_can_accept_it() {
    for refused in [Done::NotAllowed("too old".into()), Done::Refused("dirty files".into())] {
        let proposed = reverting().after(refused, NOW);
        assert_eq!(proposed.state, State::Escalated);
        assert!(
            proposed.escalated.as_deref().is_some_and(|why| why.contains("rrctl incident resolve")),
            "{proposed:?}"
        );
        assert!(proposed.pause.is_some(), "nobody goes on because of a proposal");
        assert!(proposed.is_for_others() && !reverting().is_for_others());
        let accepted = proposed.after(Done::Accepted, NOW);
        assert_eq!((accepted.state, accepted.is_for_others()), (State::Reverting, false));
        assert_eq!(accepted.todo(1), Some(Todo::Prepare { culprits: vec![commit(2)] }));
    }
    let red = Done::Prepared { tip: commit(4), tree: tree(5), verdict: Verdict::Red };
    assert_eq!(reverting().after(red, NOW).state, State::Escalated, "a revert that mends nothing is none");
}

#[test]
fn a_revert_is_landed_only_when_calls_from_before_the_pause_were_waited_for() {
    let green = Done::Prepared { tip: commit(4), tree: tree(5), verdict: Verdict::Green };
    let at = reverting().after(green.clone(), NOW);
    assert_eq!(at.todo(1), Some(Todo::Drain));
    let notes = at.notes.len();
    let quiet = at.clone().after(Done::Drained(vec![]), NOW);
    assert_eq!((quiet.todo(1), quiet.notes.len()), (Some(Todo::Land { tip: commit(4), tree: tree(5) }), notes));
    let late = at.after(Done::Drained(vec!["session 1a2b".into()]), NOW);
    assert!(matches!(late.todo(1), Some(Todo::Land { .. })), "it is waited for once");
    assert!(late.notes.last().is_some_and(|n| n.text.contains("session 1a2b")), "{:?}", late.notes);
    let again = late.after(Done::Moved, NOW).after(green.clone(), NOW);
    assert!(matches!(again.todo(1), Some(Todo::Land { .. })), "nothing new was let through since");
    let unpaused = Incident { pause: None, ..reverting() }.after(green, NOW);
    assert!(matches!(unpaused.todo(1), Some(Todo::Land { .. })), "nobody was stopped: nobody is waited for");
}

#[test]
fn people_and_time_overrule_it_and_it_never_closes_the_fleet_again() {
    let overruled = reverting().after(Done::Overruled, NOW);
    assert_eq!((overruled.state, &overruled.pause), (State::Escalated, &None));
    let late = reverting().after(Done::Late, NOW);
    assert_eq!((late.state, &late.pause), (State::Escalated, &None));
    assert!(late.escalated.is_some_and(|why| why.contains("agents go on") && why.contains("change 2")));
    let dismissed = reverting().after(Done::Dismissed("not worth it".into()), NOW);
    assert_eq!((dismissed.state, dismissed.todo(1)), (State::Resumed, Some(Todo::Resume)));
    let repaired = overruled.after(Done::Verified { tip: commit(9), verdict: Verdict::Green }, NOW);
    assert_eq!((repaired.state, repaired.todo(1)), (State::Resumed, None));
}

#[test]
fn what_was_said_of_another_state_changes_nothing() {
    let late_answers = [
        Done::Reran(Verdict::Green),
        Done::Paused(None),
        Done::Verified { tip: commit(1), verdict: Verdict::Green },
        Done::Resumed,
    ];
    for done in late_answers {
        assert_eq!(reverting().after(done.clone(), NOW), reverting(), "{done:?}");
    }
    let over = play(incident(2, Nature::Compile), &mut World { culprit: 1, moves: 0, checks: 0 }).0;
    assert_eq!(over.clone().after(Done::Late, NOW), over);
}

#[test]
fn the_machines_own_faults_are_tried_again_and_then_told() {
    let mut at = incident(2, Nature::Test { flake: 0.01 });
    for n in 1..HINDERED_MAX {
        at = at.after(Done::Hindered("no space".into()), NOW);
        assert_eq!((at.state, at.hindered), (State::Seen, n));
    }
    at = at.after(Done::Hindered("no space".into()), NOW);
    assert_eq!(at.state, State::Escalated);
}
