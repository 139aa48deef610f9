//! One call against one policy. Block before approve before pass; an allowance lifts an approval it is as narrow as, and a
//! built-in rule whose command it names, and never an entry of the blocklist.

use rr_core::policy::{Defaults, Effect};
use rr_shell::Certainty;

use crate::call::{Call, Hit, Judgement, Origin};
use crate::compile::{Policy, RuleKind, because};
use crate::contradictions::is_within;
use crate::defaults::{self, Found, Scene};
use crate::lists::Matched;
use crate::paths::{Named, touched};
use crate::pattern::Pattern;
use crate::seen::Seen;

/// Hits told of in shadow: more would repeat themselves.
const SHADOWED_MAX: usize = 16;

impl Policy {
    /// Judges one call. Never panics, whatever the call.
    #[must_use]
    pub fn judge(&self, call: &Call<'_>) -> Judgement {
        let invocations = call.analysis.map(|analysis| analysis.invocations.as_slice()).unwrap_or_default();
        let seen: Vec<Seen<'_>> = invocations.iter().enumerate().map(|(at, call)| Seen::new(at, call)).collect();
        let paths = touched(call);
        let mut denied: Vec<Hit> = self.blocked(call, &seen, &paths);
        denied.extend(self.built_in(call, &seen, &paths));
        denied.extend(unreadable(call));
        let asked = self.asked(call, &seen, &paths);
        match self.effect {
            Effect::Shadow if denied.is_empty() && asked.is_empty() => Judgement::Pass,
            Effect::Shadow => Judgement::Shadowed(denied.into_iter().chain(asked).take(SHADOWED_MAX).collect()),
            Effect::Enforced => match (denied.into_iter().next(), asked.into_iter().next()) {
                (Some(hit), _) => Judgement::Deny(hit),
                (None, Some(hit)) => Judgement::Approve(hit),
                (None, None) => Judgement::Pass,
            },
        }
    }

    fn blocked(&self, call: &Call<'_>, seen: &[Seen<'_>], paths: &[Named<'_>]) -> Vec<Hit> {
        let matched = self.blocklist.matches(call, seen, paths);
        matched.iter().map(|matched| told(matched, RuleKind::Block)).collect()
    }

    fn asked(&self, call: &Call<'_>, seen: &[Seen<'_>], paths: &[Named<'_>]) -> Vec<Hit> {
        let matched = self.approve.matches(call, seen, paths);
        if matched.is_empty() {
            return Vec::new();
        }
        let allowed = self.allow.matches(call, seen, paths);
        let lifted = |asked: &Matched<'_>| {
            allowed.iter().any(|allow| allow.at == asked.at && is_within(allow.listed, asked.listed))
        };
        matched.iter().filter(|asked| !lifted(asked)).map(|matched| told(matched, RuleKind::Approve)).collect()
    }

    fn built_in(&self, call: &Call<'_>, seen: &[Seen<'_>], paths: &[Named<'_>]) -> Vec<Hit> {
        if self.defaults == Defaults::Off {
            return Vec::new();
        }
        let scene = Scene::new(call, seen);
        let found = defaults::find(&scene);
        if found.is_empty() {
            return Vec::new();
        }
        let allowed = self.allow.matches(call, seen, paths);
        let lifted = |found: &Found| {
            let by_name = self
                .allow
                .entries()
                .iter()
                .any(|listed| matches!(&listed.pattern, Some(Pattern::Builtin(name)) if name == found.rule.name));
            let by_command = allowed.iter().any(|allow| {
                let names_command = allow.at.is_some() && allow.at == found.at;
                let patterns = &allow.listed.entry.paths;
                let names_path = allow.at.is_none()
                    && paths.iter().any(|path| {
                        found.path.as_deref() == Some(path.path) && patterns.iter().any(|pattern| path.is_in(pattern))
                    });
                names_path || names_command && allow.listed.pattern.as_ref().is_some_and(Pattern::is_narrow)
            });
            by_name || by_command
        };
        found.into_iter().filter(|found| !lifted(found)).map(Found::hit).collect()
    }
}

fn told(matched: &Matched<'_>, kind: RuleKind) -> Hit {
    let entry = &matched.listed.entry;
    Hit {
        rule: matched.listed.shown(),
        origin: Origin::Line(entry.line),
        what: matched.what.clone(),
        because: because(kind, entry.because.as_deref()),
        instead: None,
    }
}

/// A command that cannot be read cannot be judged, and it could change anything.
fn unreadable(call: &Call<'_>) -> Option<Hit> {
    let why = match (call.command, call.analysis) {
        (_, Some(analysis)) => match &analysis.certainty {
            Certainty::Unparsable(why) => why.as_str(),
            _ => return None,
        },
        (Some(_), None) => "it was not parsed",
        (None, None) => return None,
    };
    Some(Hit {
        rule: "default/unreadable".to_owned(),
        origin: Origin::DefaultSet,
        what: why.to_owned(),
        because: "a command that cannot be parsed cannot be judged".to_owned(),
        instead: Some("split it into plain commands, or put it in a script file and run that".to_owned()),
    })
}
