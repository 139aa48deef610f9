//! Who the agents of the show are and what each has to do: five with the tasks of a real team, more where more are asked
//! for. Owns scripts and the repository they start from; everything random comes from the seed. Next: `play` runs them.

use super::rules::RULES;
use super::script::{Script, Step};

/// The file that all of them need.
pub(crate) const SHARED: &str = "src/types/api.ts";
/// The number in it that each of them raises.
pub(crate) const COUNTER: &str = "API_TYPES";
/// In place of the model's thinking, before each step: tens of milliseconds, where a model takes seconds.
const THINK_MS: std::ops::Range<u64> = 60..120;
/// Changes that each agent makes to each of its own files.
const ROUNDS: usize = 3;

/// What is in the repository before the first agent starts.
pub(crate) const FILES: [(&str, &str); 7] = [
    ("railroad.yaml", RULES),
    ("README.md", "# A shop\n"),
    (SHARED, "// The types that everybody shares.\nexport const API_TYPES = 0;\n"),
    ("prisma/schema.prisma", "datasource db {\n  provider = \"sqlite\"\n}\n"),
    ("src/components/Cart.tsx", "// Cart\n"),
    ("docs/API.md", "# API\n"),
    ("tests/setup.ts", "// Set-up\n"),
];

/// One agent of the show.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) script: Script,
}

/// Numbers that are the same again for the same seed (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn from(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// An index below `len`, which is not zero.
    pub(crate) fn pick(&mut self, len: usize) -> usize {
        let len = u64::try_from(len).unwrap_or(1).max(1);
        usize::try_from(self.from(0..len)).unwrap_or(0)
    }
}

/// So many agents, the five with names first.
pub(crate) fn cast(count: usize, dice: &mut Dice) -> Vec<Role> {
    let known: [(&str, &str, &[&str]); 5] = [
        ("components", "build the cart's components", &["src/components/Cart.tsx", "src/components/Price.tsx"]),
        ("api", "add /api/v2 and its types", &["src/api/v2/orders.ts", "src/api/v2/index.ts"]),
        ("tests", "cover orders with tests", &["tests/orders.test.ts", "tests/setup.ts"]),
        ("schema", "add orders to the schema", &["prisma/schema.prisma", "prisma/seed.ts"]),
        ("docs", "write the API's pages", &["docs/API.md", "docs/orders.md"]),
    ];
    let mut roles: Vec<Role> = known.iter().take(count).map(|(n, p, own)| role(n, p, own, dice)).collect();
    for n in roles.len()..count {
        let name = format!("module{}", n + 1);
        let own = ["model", "view"].map(|part| format!("src/modules/{name}/{part}.ts"));
        roles.push(role(&name, &format!("build {name}"), &own.each_ref().map(String::as_str), dice));
    }
    roles
}

fn role(name: &str, prompt: &str, own: &[&str], dice: &mut Dice) -> Role {
    let mut steps = Vec::new();
    for round in 1..=ROUNDS {
        steps.extend(own.iter().map(|path| append(path, format!("// {name}: part {round} of {path}"))));
    }
    let line = format!("// {name}: by a shell command");
    let command = format!("echo '{line}' >> {}", own[0]);
    steps.push(Step::Shell { command, path: own[0].to_owned(), line });
    let type_of = format!("export interface {}Types {{ id: string }}", capital(name));
    let shared = [
        Step::Append { path: SHARED.to_owned(), line: type_of, count: COUNTER.to_owned() },
        commit(name, "types", &[SHARED]),
    ];
    // Early, and not at the same moment: that they meet there is the point of the show.
    let at = dice.pick(2);
    steps.splice(at..at, shared);
    steps.push(commit(name, prompt, own));
    let think_ms = (0..16).map(|_| dice.from(THINK_MS)).collect();
    Role { name: name.to_owned(), script: Script { prompt: prompt.to_owned(), think_ms, steps } }
}

fn append(path: &str, line: String) -> Step {
    Step::Append { path: path.to_owned(), line, count: String::new() }
}

fn commit(name: &str, what: &str, paths: &[&str]) -> Step {
    let paths = paths.iter().map(|&p| p.to_owned()).collect();
    Step::Commit { message: format!("{name}: {what}"), paths }
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// The same work done by two: the first is killed while it holds the shared file, the second does the rest.
pub(crate) fn broken_off(role: &Role) -> (Script, Script) {
    let steps = &role.script.steps;
    let written = steps.iter().position(|s| matches!(s, Step::Append { path, .. } if path == SHARED));
    let cut = written.map_or(steps.len(), |n| n + 1);
    let mut first = role.script.clone();
    first.steps.truncate(cut);
    first.steps.push(Step::HoldUntilKilled);
    let mut rest = role.script.clone();
    rest.prompt = format!("finish what was begun: {}", rest.prompt);
    // Whoever gets the shared file next commits it with this line.
    rest.steps = steps[cut..].iter().filter(|s| !is_commit_of_shared(s)).cloned().collect();
    (first, rest)
}

fn is_commit_of_shared(step: &Step) -> bool {
    matches!(step, Step::Commit { paths, .. } if paths.iter().any(|p| p == SHARED))
}

/// How many writes a script asks for.
pub(crate) fn writes(script: &Script) -> usize {
    script.steps.iter().filter(|s| matches!(s, Step::Append { .. } | Step::Shell { .. })).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_show_and_every_agent_needs_the_shared_file() {
        let show = |seed| cast(9, &mut Dice::new(seed));
        let (one, again, other) = (show(7), show(7), show(8));
        let steps = |roles: &[Role]| roles.iter().map(|r| format!("{:?}", r.script)).collect::<Vec<_>>();
        assert_eq!(steps(&one), steps(&again));
        assert_ne!(steps(&one), steps(&other));
        assert_eq!(one.len(), 9);
        for role in &one {
            let meets = role.script.steps.iter().any(|s| matches!(s, Step::Append { path, .. } if path == SHARED));
            assert!(meets, "{}", role.name);
        }
    }

    #[test]
    fn what_was_broken_off_is_finished_and_nothing_is_done_twice() {
        for seed in 0..8 {
            let role = &cast(1, &mut Dice::new(seed))[0];
            let (first, rest) = broken_off(role);
            assert_eq!(writes(&first) + writes(&rest), writes(&role.script));
            assert!(first.steps.iter().all(|s| !rest.steps.contains(s)));
        }
    }
}
