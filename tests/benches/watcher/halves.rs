//! B7: a writer pauses in mid-file while its tree is looked at. Whoever calls such a tree settled would have it checked, and blame
//! somebody for the red. Whole files must be called settled, or nothing is ever checked.

use rr_core::live::{Rest, Resting, Seen};

use crate::dice::Dice;
use crate::report::Table;
use crate::stage::Stage;
use crate::world::{TEXT, Tree};

const LOOKS: usize = 1_000;
const FILES: usize = 4;

/// How the writer pauses, and what is known of it.
const WAYS: [&str; 4] = ["in a call", "in a call, for long", "in no call", "in no call, for long, and does not parse"];

#[derive(Default)]
struct Tally {
    halves: usize,
    halves_settled: usize,
    wholes: usize,
    wholes_settled: usize,
}

impl Tally {
    fn half(&mut self, rest: Rest) {
        self.halves += 1;
        self.halves_settled += usize::from(rest == Rest::Settled);
    }

    fn whole(&mut self, rest: Rest) {
        self.wholes += 1;
        self.wholes_settled += usize::from(rest == Rest::Settled);
    }

    fn passes(&self) -> bool {
        self.halves >= LOOKS && self.halves_settled == 0 && self.wholes_settled == self.wholes
    }

    fn shown(&self) -> String {
        let Self { halves, halves_settled, wholes, wholes_settled } = self;
        format!("{halves_settled} of {halves} half-written settled, {wholes_settled} of {wholes} whole ones")
    }
}

/// What the writers of one work tree did, and what each judge said of it.
#[derive(Default)]
struct Watched {
    ours: Tally,
    clean: Tally,
    conflict: Tally,
    parse_only: Tally,
    by_way: [usize; WAYS.len()],
    /// Lies still, is a program, and no call is known: nobody could tell that there is more to come.
    untold: usize,
}

pub(crate) fn run(table: &mut Table) {
    let both = std::thread::scope(|scope| {
        let writers = [7, 8].map(|seed| scope.spawn(move || watched(seed)));
        writers.map(|writer| writer.join().expect("a writer ends"))
    });
    let mut all = Watched::default();
    for one in both {
        let into = [&mut all.ours, &mut all.clean, &mut all.conflict, &mut all.parse_only];
        for (sum, tally) in into.into_iter().zip([one.ours, one.clean, one.conflict, one.parse_only]) {
            sum.halves += tally.halves;
            sum.halves_settled += tally.halves_settled;
            sum.wholes += tally.wholes;
            sum.wholes_settled += tally.wholes_settled;
        }
        all.by_way.iter_mut().zip(one.by_way).for_each(|(sum, count)| *sum += count);
        all.untold += one.untold;
    }
    let ways: Vec<String> = WAYS.iter().zip(all.by_way).map(|(way, count)| format!("{count} {way}")).collect();
    println!(
        "B7 looked at {}; left out: {} looks at what lies still, parses, and is in no call (nobody could tell)",
        ways.join(", "),
        all.untold
    );
    let floor = format!("{} settled by parsing alone", all.parse_only.halves_settled);
    table.row("B7", "half-written", &all.ours.shown(), &floor, "0 of 1000; all whole ones", all.ours.passes());
    table.blind("B7", "clean", &all.clean.shown(), all.clean.passes());
    table.blind("B7", "conflict", &all.conflict.shown(), all.conflict.passes());
}

fn watched(seed: u64) -> Watched {
    let dice = &mut Dice::new(seed);
    let base: Tree = (0..FILES).map(|at| (path(at), (TEXT, program(dice).into_bytes()))).collect();
    let mut stage = Stage::of(&base);
    let root = stage.add_side();
    stage.see(0, Rest::InFlux);
    let (mut all, mut resting) = (Watched::default(), Resting::default());
    for round in 0.. {
        if all.ours.halves >= LOOKS / 2 {
            break;
        }
        let way = round % WAYS.len();
        let file = root.join(path(dice.below(FILES)));
        let whole = program(dice);
        let cut = 1 + dice.below(whole.len() - 1);
        std::fs::write(&file, &whole.as_bytes()[..cut]).expect("write");
        let busy = way < 2;
        for _ in 0..[1, 2, 1, 2][way] {
            let same = stage.see(0, Rest::InFlux);
            let parses = stage.sides[0].parses;
            let rest = resting.step(Seen { parses, same, busy, call_over: false });
            if way == 3 && parses {
                all.untold += 1;
                continue;
            }
            all.by_way[way] += 1;
            all.ours.half(rest);
            all.clean.half(Rest::Settled);
            all.conflict.half(Rest::InFlux);
            all.parse_only.half(if parses { Rest::Settled } else { Rest::InFlux });
        }
        std::fs::write(&file, &whole).expect("write");
        let same = stage.see(0, Rest::InFlux);
        let mut seen = Seen { parses: stage.sides[0].parses, same, busy: false, call_over: busy };
        let mut rest = resting.step(seen);
        if !busy {
            // Without the end of a call it takes a second look.
            seen.same = stage.see(0, Rest::InFlux);
            rest = resting.step(seen);
        }
        all.ours.whole(rest);
        all.clean.whole(Rest::Settled);
        all.conflict.whole(Rest::InFlux);
    }
    all
}

fn path(at: usize) -> String {
    format!("src/part{at}.rs")
}

/// Some functions, each with a body; what is cut between two of them still parses.
fn program(dice: &mut Dice) -> String {
    let function = |dice: &mut Dice| {
        let (name, number) = (dice.below(10_000), dice.below(1_000));
        format!(
            "pub fn f{name}(x: u32) -> u32 {{\n    if x > {number} {{\n        return x;\n    }}\n    x + {number}\n}}\n\n"
        )
    };
    (0..3 + dice.below(6)).map(|_| function(dice)).collect()
}
