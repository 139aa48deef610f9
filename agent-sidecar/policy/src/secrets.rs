//! Which files hold secrets, by their names and places. Examples, templates and public halves of keys are none. It reads
//! nothing; rules decide what may be done with such a file.

use std::path::Path;

use crate::seen::like;

/// Below a home folder. One that ends in `/` is a folder with all in it.
const IN_HOME: &[&str] = &[
    ".aws/credentials",
    ".aws/sso/cache/",
    ".aws/cli/cache/",
    ".kube/config",
    ".kube/cache/oidc-login/",
    ".netrc",
    "_netrc",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".gem/credentials",
    ".git-credentials",
    ".config/git/credentials",
    ".config/gh/hosts.yml",
    ".config/glab-cli/config.yml",
    ".config/hub",
    ".docker/config.json",
    ".config/gcloud/credentials.db",
    ".config/gcloud/access_tokens.db",
    ".config/gcloud/application_default_credentials.json",
    ".config/gcloud/legacy_credentials/",
    ".azure/accessTokens.json",
    ".azure/msal_token_cache.json",
    ".azure/msal_token_cache.bin",
    ".pgpass",
    ".my.cnf",
    ".mylogin.cnf",
    ".gnupg/",
    ".vault-token",
    ".terraform.d/credentials.tfrc.json",
    ".terraformrc",
    ".local/share/keyrings/",
    ".password-store/",
    "Library/Keychains/",
    ".claude/.credentials.json",
    ".codex/auth.json",
    ".gemini/oauth_creds.json",
    ".config/op/",
    ".config/rclone/rclone.conf",
    ".s3cfg",
    ".boto",
    ".config/doctl/config.yaml",
    ".fly/config.yml",
    ".config/heroku/credentials",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".config/sops/age/keys.txt",
    ".age/key.txt",
    ".mozilla/firefox/",
    ".config/google-chrome/",
    "Library/Application Support/Google/Chrome/",
    ".electrum/wallets/",
    ".ethereum/keystore/",
    ".config/solana/id.json",
];
const ANYWHERE: &[&str] = &[
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/krb5.keytab",
    "/etc/ssl/private",
    "/var/run/secrets",
    "/run/secrets",
];
/// In `~/.ssh`, what is no key.
const PUBLIC_SSH: &[&str] = &["known_hosts", "known_hosts.old", "config", "authorized_keys", "environment"];
const EXAMPLES: &[&str] = &[
    "example", "sample", "template", "dist", "defaults", "default", "schema", "tpl", "md", "d.ts", "ts", "js", "vault",
    "enc",
];
const KEY_NAMES: &[&str] = &[
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.ppk",
    "*.p8",
    "*.key",
    "*key*.pem",
    "*priv*.pem",
    "service-account*.json",
    "service_account*.json",
    "serviceaccount*.json",
    "gcp-key*.json",
    ".htpasswd",
    "*.kdbx",
    ".vault_pass*",
    "*.keytab",
    "*.agekey",
    "secrets.env",
    ".netrc",
];

/// Whether what the file holds must not be read into an agent's context.
pub(crate) fn is_secret(path: &Path, home: Option<&Path>) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return false;
    };
    let text = path.to_string_lossy();
    let lower = name.to_lowercase();
    let is_placed = || {
        ANYWHERE
            .iter()
            .any(|place| text.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
            || (text.starts_with("/proc/") && name == "environ")
            || below_home(path, home).is_some_and(|rest| in_home(&rest))
    };
    is_env_file(&lower)
        || is_key(&lower)
        // Only a whole path says where it is.
        || text.starts_with(['/', '~']) && is_placed()
}

/// The path below a home folder: the known one, `/root`, or somebody's in the usual place.
fn below_home(path: &Path, home: Option<&Path>) -> Option<String> {
    if let Some(rest) = home.and_then(|home| path.strip_prefix(home).ok()) {
        return Some(rest.to_string_lossy().into_owned());
    }
    let text = path.to_str()?;
    if let Some(rest) = text.strip_prefix("/root/").or_else(|| text.strip_prefix("~/")) {
        return Some(rest.to_owned());
    }
    let rest = text.strip_prefix("/home/").or_else(|| text.strip_prefix("/Users/"))?;
    rest.split_once('/').map(|(_, rest)| rest.to_owned())
}

fn in_home(rest: &str) -> bool {
    if let Some(name) = rest.strip_prefix(".ssh/") {
        return !name.ends_with(".pub") && !PUBLIC_SSH.contains(&name);
    }
    IN_HOME.iter().any(|known| rest == *known || (known.ends_with('/') && rest.starts_with(known)))
}

/// `.env`, `.env.local`, `prod.env`, and not `.env.example`.
fn is_env_file(lower: &str) -> bool {
    let is_one = lower == ".env"
        || lower.starts_with(".env.")
        || lower.starts_with(".env_")
        || lower.starts_with(".env-")
        || (lower.ends_with(".env") && lower.len() > 4);
    // Asked last: every word of a command is looked at, and hardly any comes this far.
    is_one && !EXAMPLES.iter().any(|end| lower.ends_with(&format!(".{end}")) || lower.contains(&format!("{end}.env")))
}

fn is_key(lower: &str) -> bool {
    let is_public =
        || lower.ends_with(".pub") || lower.contains("public") || lower.contains("pub.") || lower.contains("pubkey");
    KEY_NAMES.iter().any(|pattern| like(pattern, lower)) && !is_public()
}

/// Names that a pattern such as `.env*` or `id_*` is tried on.
const PROBES: &[&str] = &[
    ".env",
    ".env.local",
    ".env.production",
    "id_rsa",
    "id_ed25519",
    ".netrc",
    "credentials",
    ".npmrc",
    ".git-credentials",
    ".pgpass",
];

/// Whether a file name pattern plainly means such a file: begins like one, or stands in a folder of nothing else.
pub(crate) fn pattern_means_secret(pattern: &str) -> bool {
    let (folder, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let folder_name = folder.rsplit('/').next().unwrap_or_default();
    if matches!(folder_name, ".ssh" | ".aws" | ".gnupg") && !name.ends_with(".pub") {
        return true;
    }
    if KEY_NAMES.contains(&name) {
        return true;
    }
    let literal: String = name.chars().take_while(|c| !matches!(c, '*' | '?' | '[')).collect();
    let wide: String = name.replace(['[', ']'], "?");
    let short = name.starts_with('.') && literal.len() >= 2 || literal.len() >= 3;
    short && PROBES.iter().any(|probe| like(&wide, probe))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_their_examples_and_public_halves() {
        let home = Path::new("/home/u");
        let of = |text: &str| is_secret(Path::new(text), Some(home));
        for path in [
            "/w/.env",
            "/w/a/.env.production",
            "/w/prod.env",
            "/home/u/.aws/credentials",
            "/home/u/.ssh/id_rsa",
            "/home/u/.ssh/work",
            "/home/u/.kube/config",
            "/root/.netrc",
            "/home/other/.npmrc",
            "/proc/1/environ",
            "/w/server.key",
            "/w/tls/privkey.pem",
            "/home/u/.gnupg/private-keys-v1.d/x",
        ] {
            assert!(of(path), "{path}");
        }
        for path in [
            "/w/.env.example",
            "/w/.env.sample",
            "/w/example.env",
            "/w/src/env.ts",
            "/home/u/.ssh/id_rsa.pub",
            "/home/u/.ssh/known_hosts",
            "/w/.npmrc",
            "/w/cert.pem",
            "/w/public.key",
            "/home/u/.aws/config",
            "/w/environment",
            "/w/.envrc",
            "/w/src/.env.d.ts",
        ] {
            assert!(!of(path), "{path}");
        }
    }

    #[test]
    fn patterns_that_begin_like_a_secret_mean_it() {
        for pattern in [".env*", "/home/u/.ssh/*", "~/.aws/*", "a/.en?", "id_*"] {
            assert!(pattern_means_secret(pattern), "{pattern}");
        }
        for pattern in ["*", "src/*.ts", ".*", "*.md", "/home/u/.ssh/*.pub", ".eslint*"] {
            assert!(!pattern_means_secret(pattern), "{pattern}");
        }
    }
}
