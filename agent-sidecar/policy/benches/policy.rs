//! What a verdict costs: a thousand entries and the default set against a command of 4 KiB, in process. First the judgement
//! alone, with its bar; then from the text to the verdict, beside what the tokenizer and grammar of the library take for the
//! same text, in turns with it. One line a figure.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use brush_parser::{ParserOptions, parse_tokens, uncached_tokenize_str};
use rr_core::policy::{Entry, PathPattern, PolicySource, Words};
use rr_policy::{Call, Foreseen, Judgement, Policy};
use rr_shell::{Analysis, Env, analyse};

const RULES: usize = 1_000;
const COMMAND_BYTES: usize = 4 << 10;
const ROUNDS: usize = 20_000;
const VERDICTS: usize = 2_000;
const WARM_UP: usize = 500;
const P99_MAX: Duration = Duration::from_micros(100);

fn main() {
    let policy = Policy::compile(&rules()).policy;
    println!("policy.rules={}", policy.rules().count());
    let commands = [
        ("one_line", one_line()),
        ("many_commands", many_commands()),
        ("here_document", here_document()),
        ("sql", sql()),
        ("everyday", "cd apps/web && npm test 2>&1 | tail -20".to_owned()),
    ];
    for (name, command) in &commands {
        measure(name, &policy, command);
    }
    for (name, command) in &commands {
        measure_from_text(name, &policy, command);
    }
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

fn judge(policy: &Policy, command: &str, analysis: &Analysis, foreseen: &Foreseen) -> Judgement {
    policy.judge(&Call {
        agent: "claude",
        tool: "Bash",
        command: Some(command),
        analysis: Some(analysis),
        reads: &foreseen.reads,
        writes: &foreseen.writes,
        root: Some(Path::new("/home/dev/shop")),
        home: Some(Path::new("/home/dev")),
        temporary: &[],
    })
}

fn read(command: &str) -> (Analysis, Foreseen) {
    let env = Env { cwd: Path::new("/home/dev/shop"), home: Some(Path::new("/home/dev")) };
    let analysis = analyse(command, &env);
    let foreseen = Foreseen::of(&analysis);
    (analysis, foreseen)
}

fn measure(name: &str, policy: &Policy, command: &str) {
    let (analysis, foreseen) = read(command);
    assert_eq!(judge(policy, command, &analysis, &foreseen), Judgement::Pass, "{name}: the whole way is measured");
    let mut judged = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        let start = Instant::now();
        black_box(judge(policy, black_box(command), &analysis, &foreseen));
        if round >= WARM_UP {
            judged.push(start.elapsed());
        }
    }
    let p99 = percentile(&mut judged, 99);
    let verdict = if p99 <= P99_MAX { "ok" } else { "MISSED" };
    println!(
        "policy.judge_{name}_p99_us={:.1} p50_us={:.1} bar={} {verdict} bytes={} commands={}",
        micros(p99),
        micros(percentile(&mut judged, 50)),
        P99_MAX.as_micros(),
        command.len(),
        analysis.invocations.len()
    );
}

/// From the text to the verdict, and the floor: what the library alone takes to make a syntax tree of the text.
fn measure_from_text(name: &str, policy: &Policy, command: &str) {
    let options = ParserOptions { enable_extended_globbing: false, ..ParserOptions::default() };
    let (mut whole, mut floor) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + VERDICTS {
        let start = Instant::now();
        let (analysis, foreseen) = read(black_box(command));
        black_box(judge(policy, command, &analysis, &foreseen));
        let verdict = start.elapsed();
        let start = Instant::now();
        let tokens = uncached_tokenize_str(black_box(command), &options.tokenizer_options()).expect("tokens");
        black_box(parse_tokens(&tokens, &options).expect("a program"));
        if round >= WARM_UP {
            whole.push(verdict);
            floor.push(start.elapsed());
        }
    }
    let ratio = |percent: usize, whole: &mut [Duration], floor: &mut [Duration]| {
        percentile(whole, percent).as_secs_f64() / percentile(floor, percent).as_secs_f64()
    };
    println!(
        "policy.from_text_{name}_p50_us={:.1} p99_us={:.1} floor_p50_us={:.1} floor_p99_us={:.1} ratio_p50={:.2} ratio_p99={:.2}",
        micros(percentile(&mut whole, 50)),
        micros(percentile(&mut whole, 99)),
        micros(percentile(&mut floor, 50)),
        micros(percentile(&mut floor, 99)),
        ratio(50, &mut whole, &mut floor),
        ratio(99, &mut whole, &mut floor)
    );
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
