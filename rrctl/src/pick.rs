//! Which lock, host, session, request, finding or incident was meant: a path, a pattern, a `!name` or a key is looked
//! up among those that are held, a name or the begin of an id among the hosts and sessions, the begin of an id among
//! all else. It only looks; what is done with the one found is the command's.

use rr_core::id::HostId;
use std::os::unix::ffi::OsStrExt as _;

use rr_core::path::{RepoPath, typed};
use rr_proto::v1;

use crate::exit::{Failure, Kind};
use crate::table::plain;
use crate::view::{LockView, short};
use crate::watch::finding::what;

/// The one lock that `wanted` names.
pub(crate) fn lock<'a>(locks: &'a [LockView], wanted: &str) -> Result<&'a LockView, Failure> {
    let found: Vec<&LockView> = locks.iter().filter(|l| is_meant(l, wanted)).collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(Failure::new(Kind::NotFound, format!("nobody holds {wanted}"))
            .hint("rrctl locks shows what is held; name it as it stands there, or by its key from rrctl locks --json")),
        many => {
            let lines: Vec<String> = many.iter().map(|l| describe(l)).collect();
            Err(Failure::new(Kind::NotFound, format!("{} locks are called {wanted}", many.len()))
                .because(lines.join("\n"))
                .hint("name one by its key"))
        }
    }
}

/// Digits of an id that are enough to name a host.
const ID_DIGITS_MIN: usize = 4;
/// Of things that a short id may mean, so many are listed.
const LISTED_MAX: usize = 10;

/// The one host that `wanted` names. A whole id need not be known: a host can be shut out before it was ever seen.
pub(crate) fn host(hosts: &[v1::Host], wanted: &str) -> Result<v1::Host, Failure> {
    let is_meant = |h: &&v1::Host| {
        let by_id = wanted.len() >= ID_DIGITS_MIN && h.id.starts_with(wanted);
        by_id || (!h.name.is_empty() && h.name == wanted)
    };
    let found: Vec<&v1::Host> = hosts.iter().filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => match HostId::parse(wanted) {
            Ok(id) => Ok(v1::Host { id: id.to_string(), ..Default::default() }),
            Err(_) => {
                let hint = "rrctl hosts shows their names and ids; four digits of an id are enough";
                Err(Failure::new(Kind::NotFound, format!("no host is called {wanted}")).hint(hint))
            }
        },
        many => {
            let lines: Vec<String> = many.iter().map(|h| format!("{} {}", h.id, h.name)).collect();
            let what = format!("{} hosts are called {wanted}", many.len());
            Err(Failure::new(Kind::NotFound, what).because(lines.join("\n")).hint("name one by its id"))
        }
    }
}

/// The one request for approval whose id begins with `wanted`.
pub(crate) fn approval<'a>(asked: &'a [v1::Approval], wanted: &str) -> Result<&'a v1::Approval, Failure> {
    let line = |a: &v1::Approval| format!("{} of session {}: {}", a.id, short(&a.session), plain(&a.command));
    let of =
        Of { what: "request", none: "no request for approval has the id", look: "rrctl approvals shows what waits" };
    of.begin(asked, wanted, |a| &a.id, line)
}

/// The one finding whose id begins with `wanted`.
pub(crate) fn finding<'a>(findings: &'a [v1::Finding], wanted: &str) -> Result<&'a v1::Finding, Failure> {
    let line = |f: &v1::Finding| format!("{} of level {}: {}", plain(&f.id), f.level, what(f));
    let look = "rrctl overlap --all shows what stands now; one that is settled is gone";
    Of { what: "finding", none: "no finding has the id", look }.begin(findings, wanted, |f| &f.id, line)
}

/// The one incident whose id begins with `wanted`.
pub(crate) fn incident<'a>(incidents: &'a [v1::Incident], wanted: &str) -> Result<&'a v1::Incident, Failure> {
    let line = |i: &v1::Incident| format!("{} {}: {}", plain(&i.id), plain(&i.state), plain(&i.check));
    let of = Of { what: "incident", none: "no incident has the id", look: "rrctl incident list" };
    of.begin(incidents, wanted, |i| &i.id, line)
}

/// The one session whose id begins with `wanted`, or that its agent calls so.
pub(crate) fn session<'a>(sessions: &'a [v1::Session], wanted: &str) -> Result<&'a v1::Session, Failure> {
    let named: Vec<&v1::Session> = sessions.iter().filter(|s| s.agent_session == wanted).collect();
    if let [one] = named.as_slice() {
        return Ok(one);
    }
    let line = |s: &v1::Session| plain(&format!("{} {} on {}: {}", s.id, s.agent, s.host_name, s.task));
    let of = Of { what: "session", none: "no session has the id or name", look: "rrctl sessions shows who is here" };
    of.begin(sessions, wanted, |s| &s.id, line)
}

/// What is picked by the begin of its id.
struct Of {
    what: &'static str,
    none: &'static str,
    /// Where ids are to be seen.
    look: &'static str,
}

impl Of {
    fn begin<'a, T>(
        &self,
        all: &'a [T],
        wanted: &str,
        id: fn(&T) -> &str,
        line: impl Fn(&T) -> String,
    ) -> Result<&'a T, Failure> {
        if wanted.len() < ID_DIGITS_MIN {
            let what = format!("{wanted:?} is too short to name one {}", self.what);
            return Err(Failure::new(Kind::NotFound, what).hint(format!("name at least {ID_DIGITS_MIN} digits of it")));
        }
        let begin = wanted.to_lowercase();
        let wanted = plain(wanted);
        let found: Vec<&T> = all.iter().filter(|one| id(one).starts_with(&begin)).collect();
        match found.as_slice() {
            [one] => Ok(one),
            [] => Err(Failure::new(Kind::NotFound, format!("{} {wanted}", self.none)).hint(self.look)),
            many => {
                let lines: Vec<String> = many.iter().take(LISTED_MAX).map(|one| line(one)).collect();
                let what = format!("{} {}s have an id that begins with {wanted}", many.len(), self.what);
                Err(Failure::new(Kind::NotFound, what).because(lines.join("\n")).hint("name more digits of it"))
            }
        }
    }
}

fn describe(lock: &LockView) -> String {
    format!("{} ({}) of session {}, key {}", lock.lock, lock.mode, short(&lock.session), lock.key)
}

fn is_meant(lock: &LockView, wanted: &str) -> bool {
    if lock.key == wanted || lock.lock == wanted {
        return true;
    }
    if wanted.starts_with('!') || lock.lock.starts_with('!') {
        return false;
    }
    // Two spellings that some file system takes for one file are one lock.
    let parse = |path: &str| {
        RepoPath::parse(typed(path.strip_prefix("./").unwrap_or(path).as_ref()).as_os_str().as_bytes()).ok()
    };
    matches!((parse(&lock.lock), parse(wanted)), (Some(held), Some(wanted)) if held == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::FleetView;

    fn locks() -> Vec<LockView> {
        FleetView::of(crate::view::tests::picture()).locks
    }

    #[test]
    fn a_host_is_found_by_name_or_by_the_begin_of_its_id_if_it_is_the_only_one() {
        let host_of = |id: &str, name: &str| v1::Host { id: id.repeat(8), name: name.into(), ..Default::default() };
        let hosts = [host_of("aaaa", "box"), host_of("aaab", "box"), host_of("bbbb", "desk"), host_of("cccc", "")];
        let found = |wanted: &str| host(&hosts, wanted).map(|h| h.id).map_err(|f| f.kind);
        for (wanted, id) in [("desk", "bbbb"), ("bbbbb", "bbbb"), ("aaabaaab", "aaab"), ("cccc", "cccc")] {
            assert_eq!(found(wanted), Ok(id.repeat(8)), "{wanted}");
        }
        let unknown = "0123456789abcdef".repeat(2);
        assert_eq!(found(&unknown), Ok(unknown.clone()));
        for wanted in ["box", "bbb", "", "des", "b*"] {
            assert_eq!(found(wanted), Err(Kind::NotFound), "{wanted:?}");
        }
    }

    #[test]
    fn a_request_is_found_by_the_begin_of_its_id_and_two_are_listed() {
        let asked = |id: &str| v1::Approval { id: id.repeat(8), command: format!("do {id}"), ..Default::default() };
        let all = [asked("aaaa"), asked("aaab"), asked("bbbb")];
        let found = |wanted: &str| approval(&all, wanted).map(|a| a.command.clone()).map_err(|f| f.text());
        assert_eq!(found("bbbb"), Ok("do bbbb".to_owned()));
        assert_eq!(found("AAABA"), Ok("do aaab".to_owned()));
        for (wanted, word) in [("aaa", "too short"), ("", "too short"), ("cccc", "no request"), ("bbbb*", "no request")]
        {
            let refused = found(wanted).expect_err(wanted);
            assert!(refused.contains(word), "{wanted}: {refused}");
        }
        let two = [asked("aaaa"), v1::Approval { id: format!("aaaa{}", "b".repeat(28)), ..asked("x") }];
        let refused = approval(&two, "aaaa").expect_err("two").text();
        assert!(refused.contains("do aaaa") && refused.contains("do x"), "{refused}");
    }

    #[test]
    fn a_finding_or_incident_is_found_by_the_begin_of_its_id_and_two_are_listed() {
        let finding_of =
            |id: &str| v1::Finding { id: id.repeat(4), kind: "merge".into(), level: 2, ..Default::default() };
        let findings = [finding_of("aaaa"), finding_of("aaab"), finding_of("bbbb")];
        assert_eq!(finding(&findings, "AAAB").map(|f| f.id.clone()), Ok("aaabaaabaaabaaab".to_owned()));
        let told = finding(&findings, "cccc").expect_err("none").text();
        assert!(told.contains("no finding has the id cccc") && told.contains("rrctl overlap --all"), "{told}");
        assert_eq!(finding(&findings, "aaa").expect_err("too short").kind, Kind::NotFound);
        let same = [finding_of("aaaa"), finding_of("aaaa")];
        assert!(finding(&same, "aaaa").expect_err("two").text().contains("level 2: git cannot merge them"));

        let incident_of = |id: &str| v1::Incident {
            id: id.repeat(8),
            state: "searching".into(),
            check: "types\u{1b}".into(),
            ..Default::default()
        };
        let two = [incident_of("aaaa"), v1::Incident { id: format!("aaaa{}", "c".repeat(28)), ..incident_of("x") }];
        let told = incident(&two, "aaaa").expect_err("two").text();
        assert!(
            told.contains("2 incidents") && told.contains("searching: types ") && !told.contains('\u{1b}'),
            "{told}"
        );
        assert!(incident(&two, "aaaac").is_ok());
    }

    #[test]
    fn a_session_is_found_by_its_agents_name_too() {
        let picture = crate::view::tests::picture();
        let mut sessions = picture.sessions;
        sessions[1].agent_session = "the-second".into();
        assert_eq!(session(&sessions, "the-second").map(|s| s.pid), Ok(8));
        assert_eq!(session(&sessions, "aaaaa").map(|s| s.pid), Ok(7));
        assert!(session(&sessions, "cccc").expect_err("none").text().contains("rrctl sessions"));
    }

    #[test]
    fn a_lock_is_found_by_path_name_or_key() {
        let locks = locks();
        for (wanted, token) in [("src/a.rs", 11), ("./src/a.rs", 11), ("SRC/A.rs", 11), ("!build", 12), ("k3", 13)] {
            assert_eq!(lock(&locks, wanted).expect("found").token, token, "{wanted}");
        }
    }

    #[test]
    fn what_nobody_holds_is_not_found() {
        for wanted in ["src", "src/a.rs/x", "build", "!src/a.rs", ""] {
            assert_eq!(lock(&locks(), wanted).expect_err("none").kind, Kind::NotFound, "{wanted}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_the_keys_to_choose_from() {
        let mut locks = locks();
        locks[2].lock = "src/a.rs".into();
        let refused = lock(&locks, "src/a.rs").expect_err("two");
        assert_eq!(refused.kind, Kind::NotFound);
        assert!(refused.text().contains("key k1") && refused.text().contains("key k3"), "{}", refused.text());
    }
}
