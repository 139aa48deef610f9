//! Cut-off hosts (H4, H5): who may write on each side of a cut, in each direction, and what is told after it is healed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use rr_tests::agent::Agent;
use rr_tests::daemon::until;
use rr_tests::hosts::{Apart, Direction};

use super::stage::{Asked, Fleet, GIVEN_ON_MAX, SLACK, Times, in_time, quick, write};

/// Calls of both sides from a cut to its end.
struct Sides {
    /// On the host that is cut off.
    one: Vec<Asked>,
    /// On another one, for the same file.
    two: Vec<Asked>,
    cut_at: Instant,
}

impl Sides {
    fn last_pass_of_one(&self) -> Option<&Asked> {
        self.one.iter().rev().find(|asked| asked.said.passed())
    }

    fn first_pass_of_two(&self) -> Option<&Asked> {
        self.two.iter().find(|asked| asked.said.passed())
    }

    /// The one that is cut off begins no write that passes later than its cut-off after the cut.
    #[track_caller]
    fn one_is_denied_in_time(&self) {
        assert!(self.one.iter().any(|asked| asked.said.denied()), "it was denied at all");
        if let Some(last) = self.last_pass_of_one() {
            // By when it was asked for: what a busy machine does with an answer cannot move that.
            let after = last.at.saturating_duration_since(self.cut_at);
            assert!(after < Times::now().cut_off, "a write passed that began {after:?} after the cut: {:?}", last.said);
        }
    }

    /// At no time both: whatever passed on one side was over before anything began on the other.
    #[track_caller]
    fn never_both(&self) {
        if let (Some(last), Some(first)) = (self.last_pass_of_one(), self.first_pass_of_two()) {
            assert!(last.over < first.at, "both wrote: {:?} and {:?}", last.said, first.said);
        }
    }
}

/// Cuts the first host off; both agents ask for the same file without a rest until `over`, asked with what is known then.
fn ask_through_a_cut(
    fleet: &Fleet,
    (one, two): (&mut Agent, &mut Agent),
    direction: Direction,
    over: impl Fn(Instant, bool) -> bool + Sync,
) -> Sides {
    fleet.host(0).cut(direction);
    let cut_at = Instant::now();
    let two_has_it = AtomicBool::new(false);
    let ask = |agent: &mut Agent, text: &str, is_two: bool| {
        let mut all = Vec::new();
        while !over(cut_at, two_has_it.load(Ordering::Relaxed)) {
            agent.prompt("try again");
            let asked = write(agent, "a.txt", text);
            if is_two && asked.said.passed() {
                two_has_it.store(true, Ordering::Relaxed);
            }
            all.push(asked);
            assert!(cut_at.elapsed() < GIVEN_ON_MAX, "the cut is to be over by now");
        }
        all
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| ask(one, "1\n", false));
        let second = ask(two, "2\n", true);
        Sides { one: first.join().expect("it asks to the end"), two: second, cut_at }
    })
}

/// Everything that an agent is told until a write passes or `other` is named as the holder.
fn told_before_it_goes_on(agent: &mut Agent, file: &str) -> String {
    let mut told = String::new();
    in_time("it is told what has become of its lock", || {
        told.push_str(&agent.prompt("go on").context);
        let said = agent.write(file, "1 after the cut\n");
        assert!(said.denied(), "it wrote without having been told: {said:?}\n{told}");
        told.push_str(&said.context);
        told.push_str(said.reason.as_deref().unwrap_or_default());
        told.contains("were lost with it: a.txt") && told.contains("is being edited by session")
    });
    told
}

pub(crate) fn a_cut_off_holder_is_denied_and_its_lock_goes_to_another_host_and_never_both(apart: Apart) {
    let fleet = Fleet::new(apart, 3, quick());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.write("a.txt", "1\n").must_pass();
    two.write("a.txt", "2\n").must_be_denied(&["a.txt is being edited by session"]);

    let sides = ask_through_a_cut(&fleet, (&mut one, &mut two), Direction::Both, |_, two_has_it| two_has_it);
    sides.one_is_denied_in_time();
    sides.never_both();
    let first = sides.first_pass_of_two().expect("the lock goes on");
    let waited = first.at.saturating_duration_since(sides.cut_at);
    // The last keep-alive before the cut was at most one period old (a quarter of the lease, or less).
    assert!(waited > Times::now().lease * 3 / 4 - SLACK, "before the lease was over: {waited:?}");
    assert_eq!(fleet.host(2).holder("a.txt").as_deref(), Some("two"));

    fleet.host(0).heal();
    let before = fleet.host(0).text("a.txt");
    let told = told_before_it_goes_on(&mut one, "a.txt");
    assert_eq!(fleet.host(0).text("a.txt"), before, "nothing was written on the strength of a lost lock");
    assert!(told.contains(&format!("on {}", fleet.host(1).name())), "{told}");
    two.stop();
    until("it gets the lock anew", || fleet.host(2).holder("a.txt").as_deref() == Some("one"));
    until("and goes on", || one.read("a.txt").passed() && one.write("a.txt", "1 anew\n").passed());
}

/// Up: what the host sends is lost. Its keep-alives do not arrive, so its lease runs out.
pub(crate) fn a_host_whose_word_does_not_arrive_is_denied_and_loses_its_lock(apart: Apart) {
    let fleet = Fleet::new(apart, 2, quick());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.write("a.txt", "1\n").must_pass();
    let sides = ask_through_a_cut(&fleet, (&mut one, &mut two), Direction::Up, |_, two_has_it| two_has_it);
    sides.one_is_denied_in_time();
    sides.never_both();
    fleet.host(0).heal();
    told_before_it_goes_on(&mut one, "a.txt");
}

/// Down: what is sent to the host is lost. Its keep-alives may arrive, so that its lock may stay for as long as it tries:
/// what counts is that it does not believe in it, and that nobody else gets it meanwhile unless it is lost.
pub(crate) fn a_host_that_hears_nothing_is_denied_and_no_second_holder_comes(apart: Apart) {
    let fleet = Fleet::new(apart, 2, quick());
    let (mut one, mut two) = (fleet.agent(0, "one"), fleet.agent(1, "two"));
    one.write("a.txt", "1\n").must_pass();
    let long_enough = Times::now().lease + SLACK;
    let sides =
        ask_through_a_cut(&fleet, (&mut one, &mut two), Direction::Down, |cut_at, _| cut_at.elapsed() > long_enough);
    sides.one_is_denied_in_time();
    sides.never_both();
    assert!(sides.one.last().is_some_and(|asked| asked.said.denied()), "still denied at the end");
    fleet.host(0).heal();
    if sides.first_pass_of_two().is_some() {
        told_before_it_goes_on(&mut one, "a.txt");
        return;
    }
    // Whose lock it is now, the store knows; exactly one of them can go on.
    in_time("one of them goes on", || {
        one.prompt("go on");
        two.prompt("go on");
        let passed =
            [&mut one, &mut two].map(|agent| agent.read("a.txt").passed() && agent.write("a.txt", "x").passed());
        assert_ne!(passed, [true, true], "both hold it");
        passed.contains(&true)
    });
}

/// Cut off from one member after the other, the leader among them: the others are as good (H5).
pub(crate) fn a_host_that_loses_one_member_goes_on_through_the_others(apart: Apart) {
    let fleet = Fleet::new(apart, 2, quick());
    let mut one = fleet.agent(0, "one");
    one.write("a.txt", "0\n").must_pass();
    let session = |fleet: &Fleet| fleet.host(1).locks().first().map(|lock| lock["session"].clone());
    let before = session(&fleet);
    for member in 0..fleet.world.etcd.len() {
        for direction in [Direction::Both, Direction::Up, Direction::Down] {
            fleet.host(0).cut_from(member, direction);
            in_time("it goes on", || {
                one.prompt("go on");
                one.read("a.txt");
                one.write("a.txt", &format!("{member} {direction:?}\n")).passed()
            });
            fleet.host(0).heal();
        }
    }
    assert_eq!(fleet.host(1).holder("a.txt").as_deref(), Some("one"));
    assert_eq!(session(&fleet), before, "one session, from the beginning to the end");
}
