//! Secrets out of texts before anything is written: tokens whose shape is known, what stands where a password stands, and
//! values that look random behind a name that says key, token or secret. It prefers to take too much of a value over too
//! little, and leaves the name, so that a reader sees what was there. It knows no entry; `clean` says where it is used.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex, RegexSet};

/// Stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// A value shorter than this is guessed sooner than read here.
const RANDOM_BYTES_MIN: usize = 12;
/// Bits a character: English words have less, base64 and hex of keys more.
const RANDOM_BITS_MIN: f64 = 3.0;

/// Group `keep` stays in front. What follows it goes.
const SHAPES: [&str; 13] = [
    // Private key blocks, also those whose end is missing.
    r"(?s-u)-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?u:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)",
    // AWS.
    r"(?-u:\b)(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}(?-u:\b)",
    // GitHub, GitLab, npm, PyPI.
    r"(?:gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{16,})",
    // Slack.
    r"(?:xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|(?P<keep>hooks\.slack\.com/services/)[A-Za-z0-9/_-]+)",
    // Services that mark their keys: OpenAI, Anthropic, Stripe, Google, SendGrid.
    r"(?-u:\b)(?:sk-[A-Za-z0-9_-]{16,}|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|AIza[A-Za-z0-9_-]{30,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,})",
    // JWT.
    r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?",
    // `Authorization: Bearer x`, and `Bearer x` alone.
    r#"(?P<keep>(?i-u:authorization)["']?[ \t]*[:=][ \t]*["']?(?:(?i-u:bearer|basic|token|digest|negotiate|apikey)[ \t]+)?)[^ \t\r\n"']+"#,
    r"(?P<keep>(?-u:\b)(?i-u:bearer)[ \t]+)[A-Za-z0-9._~+/=-]{8,}",
    // Headers of a key.
    r#"(?P<keep>(?-u:\b)(?i-u:x-[a-z0-9-]*(?:key|token|secret)|private-token)["']?[ \t]*:[ \t]*["']?)[^ \t\r\n"']+"#,
    // `password=x`, `--password x`, `"password": "x"`, `PGPASSWORD=x`: quoted values to their closing quote.
    r#"(?P<keep>(?i-u:pass(?:word|wd|phrase)|[_-]pass|[_-]pwd)["']?[ \t]*[=:][ \t]*)(?:"[^"\r\n]*"?|'[^'\r\n]*'?|[^ \t\r\n"'&;|]+)"#,
    r#"(?P<keep>--?(?i-u:[a-z-]*(?:password|passwd|passphrase|token|secret|api-key|apikey|access-key|secret-key))[ \t]+)(?:"[^"\r\n]*"?|'[^'\r\n]*'?|[^ \t\r\n"'&;|-][^ \t\r\n"'&;|]*)"#,
    // User and password in a URL: the password may hold an `@`.
    r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://[^ \t\r\n/:@]*:)[^ \t\r\n/]+(?P<tail>@)",
    r#"(?P<keep>(?-u:\b)curl(?-u:\b)[^|;&\r\n]*?[ \t](?:-[A-Za-z]*u|--user)[= \t]*["']?[^ \t\r\n:"']+:)[^ \t\r\n"']+"#,
];

/// A name that says that its value is a secret, and the value.
const ASSIGNMENT: &str = r#"(?P<keep>(?i-u:[A-Za-z0-9_.-]*(?:key|token|secret|credential|credentials|auth|pat)[A-Za-z0-9_]*)["']?[ \t]*[=:][ \t]*)(?P<value>"[^"\r\n]*"?|'[^'\r\n]*'?|[^ \t\r\n"'&;|)]+)"#;

static ALL: LazyLock<Vec<Regex>> = LazyLock::new(|| SHAPES.iter().map(|shape| compiled(shape)).collect());
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| compiled(ASSIGNMENT));
/// All of them in one pass: nearly every text has none, and it is looked at before its call may run.
static ANY: LazyLock<RegexSet> = LazyLock::new(|| {
    let shapes = SHAPES.iter().chain([&ASSIGNMENT]);
    RegexSet::new(shapes).expect("the shapes of secrets")
});

/// The text without what looks like a secret.
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    if !ANY.is_match(text) {
        return clean;
    }
    for shape in ALL.iter() {
        replace(&mut clean, shape, |found| {
            let part = |name: &str| found.name(name).map_or("", |part| part.as_str());
            Some(format!("{}{REDACTED}{}", part("keep"), part("tail")))
        });
    }
    replace(&mut clean, &ASSIGNED, |found| {
        let value = found["value"].trim_matches(['"', '\'']);
        looks_random(value).then(|| format!("{}{REDACTED}", &found["keep"]))
    });
    clean
}

/// Puts something else where the shape is found; `None` leaves it.
fn replace(text: &mut Cow<'_, str>, shape: &Regex, with: impl Fn(&Captures<'_>) -> Option<String>) {
    if !shape.is_match(text) {
        return;
    }
    let replaced = shape.replace_all(text, |found: &Captures<'_>| {
        if is_redacted(found) {
            return found[0].to_owned();
        }
        with(found).unwrap_or_else(|| found[0].to_owned())
    });
    *text = Cow::Owned(replaced.into_owned());
}

/// Taken out by an earlier shape.
fn is_redacted(found: &Captures<'_>) -> bool {
    let keep = found.name("keep").map_or(0, |keep| keep.len());
    found[0][keep..].trim_start_matches(['"', '\'']).starts_with(REDACTED)
}

/// Whether a value is rather made by a machine than by a person: long, of one word, and with many different characters.
fn looks_random(value: &str) -> bool {
    let refers = value.starts_with(['$', '/', '.', '~', '<', '`']) || value.contains("://");
    let is_one_word = value.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=_-.:".contains(&b));
    let has_digit = value.bytes().any(|b| b.is_ascii_digit());
    !refers && is_one_word && has_digit && value.len() >= RANDOM_BYTES_MIN && bits_a_character(value) >= RANDOM_BITS_MIN
}

/// Shannon's entropy over the characters of the value itself.
fn bits_a_character(value: &str) -> f64 {
    let mut counts = [0_u32; 256];
    value.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let whole = f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX));
    counts.iter().filter(|count| **count > 0).fold(0.0, |bits, count| {
        let share = f64::from(*count) / whole;
        bits - share * share.log2()
    })
}

/// A shape that does not compile is a mistake of this file, which its tests find.
fn compiled(shape: &str) -> Regex {
    Regex::new(shape).expect("a shape of a secret")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (text, what must not be left of it)
    const SECRETS: &[(&str, &str)] = &[
        ("aws s3 ls --profile AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("export AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalr"),
        ("git push https://x:ghp_0123456789abcdefghijABCDEFGHIJ012345@github.com/a/b", "ghp_0123"),
        ("GITHUB_TOKEN=github_pat_11ABCDEFG0aBcDeFgHiJkL_mnop gh pr list", "11ABCDEFG"),
        ("curl -H 'Authorization: Bearer abc.DEF-123_456' https://api", "abc.DEF"),
        ("curl -H \"authorization: Basic dXNlcjpwYXNz\" https://api", "dXNlcjpw"),
        ("curl -H 'Authorization: s3cretvalue' https://api", "s3cretvalue"),
        ("curl -H 'X-Api-Key: 12345' https://api", "12345"),
        ("curl -su admin:hunter2 https://api", "hunter2"),
        ("curl --user admin:hunter2 https://api", "hunter2"),
        ("slack xoxb-123456789012-abcdefABCDEF", "123456789012"),
        ("post https://hooks.slack.com/services/T000/B000/XXXXyyyy", "T000/B000"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123 is it", "eyJzdWI"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY----- and on", "MIIEow"),
        ("echo '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1", "b3Blbn"),
        ("mysql --password=hunter2 -e 'select 1'", "hunter2"),
        ("mysql --password 'hunter 2' -e 'select 1'", "hunter"),
        ("PGPASSWORD=hunter2 psql", "hunter2"),
        ("{\"password\": \"hunter2\"}", "hunter2"),
        ("DB_PASS=\"two words\" ./run", "words"),
        ("psql postgres://me:p@ss@db/x", "p@ss"),
        ("psql postgres://me:hunter2@db/x", "hunter2"),
        ("redis-cli -u redis://:hunter2@cache:6379", "hunter2"),
        ("STRIPE_KEY=sk_live_abcdefghij0123456789", "abcdefghij"),
        ("OPENAI_API_KEY=sk-proj-abcdef0123456789ABCDEF", "abcdef0123"),
        ("SESSION_SECRET='9f86d081884c7d659a2feaa0c55ad015'", "9f86d081"),
        ("api_token: 7c4a8d09ca3762af61e59520943dc264", "7c4a8d09"),
        ("vault login --token s.1234567890abcdef", "1234567890"),
        ("glab auth --token glpat-abcdefghijklmnop1234", "abcdefghij"),
    ];

    #[test]
    fn every_known_shape_of_a_secret_is_taken_out_and_its_name_stays() {
        for (text, secret) in SECRETS {
            let clean = redact(text);
            assert!(!clean.contains(secret) && clean.contains(REDACTED), "{text} -> {clean}");
            assert_eq!(redact(&clean), clean, "twice is as once");
        }
        assert_eq!(redact("mysql --password=hunter2 -e 'x'"), "mysql --password=[redacted] -e 'x'");
        assert_eq!(redact("curl https://u:p@h/x?y=1"), "curl https://u:[redacted]@h/x?y=1");
        assert_eq!(redact("A_TOKEN=9f86d081884c7d659a2feaa0c55ad015 run"), "A_TOKEN=[redacted] run");
    }

    #[test]
    fn everyday_commands_stay_as_they_are() {
        for text in [
            "cargo nextest run -p rr-journal a_key_is_found",
            "git commit -m 'fix the token refresh: it was late'",
            "grep -rn password src/ | head",
            "export KEY=$(cat key.pem) TOKEN=$TOKEN",
            "ssh-keygen -t ed25519 -f ~/.ssh/id",
            "docker run -u 1000:1000 image",
            "sort --key=2,3 file",
            "primary_key: id",
            "curl -sSf https://example.org/a:b@c/d",
            "git@github.com:org/repo.git",
            "sed -i 's/monkey: patch/x/' a",
            "author: someone",
            "kubectl get secret my-secret -o yaml",
            "cache-key=linux-stable",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
