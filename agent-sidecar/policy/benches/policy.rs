//! What one judgement costs: a thousand entries and the default set against a command of 4 KiB, in process. The parse is
//! not part of it and is printed beside it. One line a figure, with its bar.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rr_core::policy::{Entry, PathPattern, PolicySource, Words};
use rr_policy::{Call, Foreseen, Judgement, Policy};
use rr_shell::{Env, analyse};

const RULES: usize = 1_000;
const COMMAND_BYTES: usize = 4 << 10;
const ROUNDS: usize = 20_000;
const PARSES: usize = 500;
const WARM_UP: usize = 500;
const P99_MAX: Duration = Duration::from_micros(100);

fn main() {
    let policy = Policy::compile(&rules()).policy;
    println!("policy.rules={}", policy.rules().count());
    measure("one_line", &policy, &one_line());
    measure("many_commands", &policy, &many_commands());
    measure("here_document", &policy, &here_document());
    measure("sql", &policy, &sql());
}

/// As a large team would have them: mostly commands, some with parts of their own, some of paths, some SQL.
fn rules() -> PolicySource {
    let programs = ["terraform", "kubectl", "docker", "git", "npm", "aws", "gcloud", "cargo", "psql", "make"];
    let entry = |at: usize| {
        let line = u32::try_from(at).unwrap_or_default();
        let words = match at % 10 {
            0..=5 => format!("{} verb{at} --flag{at}", programs[at % programs.len()]),
            6 => format!("tool{at} -x{at}"),
            7 => format!("DROP TABLE t{at}"),
            8 => format!("git push origin branch{at}"),
            _ => {
                let paths = vec![PathPattern::parse(&format!("area{at}/**/*.rs")).expect("glob")];
                return Entry { line, paths, ..Entry::default() };
            }
        };
        Entry { line, words: Some(Words::command(&words).expect("words")), ..Entry::default() }
    };
    let list = |from: usize, to: usize| (from..to).map(entry).collect();
    PolicySource {
        blocklist: list(0, RULES / 2),
        approve: list(RULES / 2, RULES - RULES / 10),
        allow: list(RULES - RULES / 10, RULES),
        ..PolicySource::default()
    }
}

fn filled(mut text: String, with: impl Fn(usize) -> String) -> String {
    let mut at = 0;
    while text.len() < COMMAND_BYTES {
        text.push_str(&with(at));
        at += 1;
    }
    text
}

fn one_line() -> String {
    filled("kubectl --context dev apply".to_owned(), |at| format!(" -f k8s/part{at}.yaml"))
}

fn many_commands() -> String {
    filled("set -e".to_owned(), |at| format!("; git add src/file{at}.rs && cargo test -p crate{at} -- --nocapture"))
}

fn here_document() -> String {
    filled("cat > docs/notes.md <<'EOF'\n".to_owned(), |at| format!("Line {at} says rm -rf / and DROP TABLE.\n"))
        + "EOF\n"
}

fn sql() -> String {
    filled("psql app <<'SQL'\n".to_owned(), |at| format!("SELECT a{at}, b FROM t{at} WHERE c = 'drop table x';\n"))
        + "SQL\n"
}

fn measure(name: &str, policy: &Policy, command: &str) {
    let env = Env { cwd: Path::new("/home/dev/shop"), home: Some(Path::new("/home/dev")) };
    let mut parses = Vec::new();
    for _ in 0..PARSES {
        let start = Instant::now();
        black_box(analyse(black_box(command), &env));
        parses.push(start.elapsed());
    }
    let analysis = analyse(command, &env);
    let foreseen = Foreseen::of(&analysis);
    let temporary: [PathBuf; 0] = [];
    let call = Call {
        agent: "claude",
        tool: "Bash",
        command: Some(command),
        analysis: Some(&analysis),
        reads: &foreseen.reads,
        writes: &foreseen.writes,
        root: Some(Path::new("/home/dev/shop")),
        home: Some(Path::new("/home/dev")),
        temporary: &temporary,
    };
    assert_eq!(policy.judge(&call), Judgement::Pass, "{name}: the whole way is measured");
    let mut judged = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let start = Instant::now();
        black_box(policy.judge(black_box(&call)));
        if round >= WARM_UP {
            judged.push(start.elapsed());
        }
    }
    let p99 = percentile(&mut judged, 99);
    let verdict = if p99 <= P99_MAX { "ok" } else { "MISSED" };
    println!(
        "policy.judge_{name}_p99_us={:.1} p50_us={:.1} bar={} {verdict} parse_p50_us={:.0} parse_p99_us={:.0} bytes={} commands={}",
        micros(p99),
        micros(percentile(&mut judged, 50)),
        P99_MAX.as_micros(),
        micros(percentile(&mut parses, 50)),
        micros(percentile(&mut parses, 99)),
        command.len(),
        analysis.invocations.len()
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
