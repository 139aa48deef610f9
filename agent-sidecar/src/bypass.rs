//! Commands that go past the repository's git hooks, and so past the publish gate (D16): what is simple to know beforehand is
//! refused, the rest is noted in the session's record. Decided from words alone; the receiving end has a gate of its own.

use rr_shell::{Analysis, Invocation, Word};

use crate::service::Service;
use crate::table::AgentSession;

/// How the note of a bypass begins in a session's record.
const BYPASS: &str = "bypass";
/// The setting that points git at other hooks.
const HOOKS_PATH: &str = "core.hookspath";
/// Subcommands that send commits without asking the hooks of this repository.
const PLUMBING: [&str; 2] = ["send-pack", "http-push"];

/// A command that is known to publish, or to be about to, without the gate.
pub(crate) fn refused(analysis: &Analysis) -> Option<String> {
    let calls = analysis.invocations.iter().filter(|i| i.name() == Some("git"));
    calls.filter(|call| publishes_unseen(call)).map(shown).next()
}

/// A command that leaves a hook out, but not the gate.
pub(crate) fn noted(analysis: &Analysis) -> Option<String> {
    let leaves_out = |call: &&Invocation| {
        let words = words(call);
        call.name() == Some("git")
            && words.iter().any(|w| matches!(*w, "commit" | "merge" | "cherry-pick" | "am"))
            && words.iter().any(|w| *w == "--no-verify" || (words.contains(&"commit") && is_short(w, 'n')))
    };
    analysis.invocations.iter().find(leaves_out).map(shown)
}

fn publishes_unseen(call: &Invocation) -> bool {
    let words = words(call);
    let sets_hooks = words.iter().any(|w| names_hooks(w));
    let by_environment = call
        .assignments
        .iter()
        .any(|(name, value)| (name.starts_with("GIT_CONFIG") && names_hooks(value.text())) || name == "GIT_EXEC_PATH");
    let asks = words.contains(&"--get") || words.contains(&"get");
    let unverified = words.contains(&"push") && words.contains(&"--no-verify");
    unverified || by_environment || (sets_hooks && !asks) || words.iter().any(|w| PLUMBING.contains(w))
}

fn names_hooks(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    word.contains(HOOKS_PATH) && !word.contains(' ')
}

/// `-n`, alone or among other letters of one word; what follows `m`, `F`, `C` or `c` is a value.
fn is_short(word: &str, letter: char) -> bool {
    let Some(letters) = word.strip_prefix('-').filter(|l| !l.starts_with('-')) else { return false };
    letters.chars().take_while(|c| !matches!(c, 'm' | 'F' | 'C' | 'c' | 't')).any(|c| c == letter)
}

fn words(call: &Invocation) -> Vec<&str> {
    call.args.iter().map(Word::text).collect()
}

fn shown(call: &Invocation) -> String {
    format!("`git {}`", crate::messages::cut(&words(call).join(" "), 120))
}

impl Service {
    /// Says in the session's record that it went past the hooks. A warning about the gate itself matters more and stays.
    pub(crate) async fn report_bypass(&self, who: &AgentSession, what: &str) {
        tracing::warn!(sid = %who.sid(), what, "a command went past the git hooks");
        let is_free = {
            let inner = who.lock();
            inner.record.warning.is_empty() || inner.record.warning.starts_with(BYPASS)
        };
        if is_free {
            self.warn(who, &format!("{BYPASS}: {what} left git hooks out")).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rr_shell::Env;

    use super::*;

    fn analysis(command: &str) -> Analysis {
        rr_shell::analyse(command, &Env { cwd: Path::new("/r"), home: None })
    }

    #[test]
    fn what_publishes_past_the_hooks_is_refused_in_every_spelling() {
        for command in [
            "git push --no-verify",
            "git push origin main --no-verify",
            "git -C /r push --no-verify origin x",
            "sh -c 'git push --no-verify'",
            "git -c core.hooksPath=/dev/null commit -m x",
            "git -c CORE.HOOKSPATH=/tmp push",
            "git config core.hooksPath /tmp/none",
            "git config --unset core.hookspath",
            "git send-pack ../bare main",
            "GIT_CONFIG_PARAMETERS=\"'core.hooksPath=/dev/null'\" git push",
            "GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.hooksPath GIT_CONFIG_VALUE_0=/x git push",
        ] {
            assert!(refused(&analysis(command)).is_some(), "{command}");
        }
    }

    #[test]
    fn ordinary_git_is_neither_refused_nor_noted() {
        for command in [
            "git push",
            "git push -u origin HEAD",
            "git commit -m 'explain core.hooksPath and push --no-verify'",
            "git commit -mn",
            "git commit -am next",
            "git config --get core.hooksPath",
            "git push -n",
            "grep -n no-verify .",
        ] {
            assert!(refused(&analysis(command)).is_none() && noted(&analysis(command)).is_none(), "{command}");
        }
    }

    #[test]
    fn a_commit_that_leaves_its_hooks_out_is_noted() {
        for command in
            ["git commit --no-verify -m x", "git commit -n -m x", "git commit -anm x", "git merge --no-verify t"]
        {
            assert!(noted(&analysis(command)).is_some() && refused(&analysis(command)).is_none(), "{command}");
        }
    }
}
