//! H19: commits that come while a revert lands, and deaths in the middle of landing one. Nobody's commit is lost, no uncommitted
//! byte is, nothing is undone silently, and the next landing goes on from wherever the last one ended.

mod mirrors;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Barrier, mpsc};

use mirrors::{Room, command, files, git, id, put, revert, tried};
use rr_core::id::CommitId;
use rr_git::{Landing, Mirror, Place, Recovered, Refusal, Step, Worktree};
use rustix::process::{Signal, getpgrp, getpid, kill_process, kill_process_group};

const RACES: usize = 200;

/// When the other one commits, in turn: before the landing looks, at each of its steps, and after it.
const STEPS: [Option<Step>; 9] = [
    None,
    Some(Step::Copied),
    Some(Step::Staged),
    Some(Step::IndexHeld),
    Some(Step::RefHeld),
    Some(Step::FileMoved(1)),
    Some(Step::IndexMoved),
    Some(Step::RefMoved),
    Some(Step::IndexFree),
];

/// The ways in which people commit.
const WAYS: [&[&str]; 3] =
    [&["-q", "-m", "agent"], &["-q", "-a", "-m", "agent"], &["-q", "-m", "agent", "--", "agent.txt"]];

/// Writes, stages and commits `agent.txt`; returns the commit, if git said that it was made.
fn commits(root: &Path, race: usize) -> Option<CommitId> {
    put(root, "agent.txt", format!("{race}\n"));
    let before = git(root, &["rev-parse", "HEAD"]);
    tried(root, &["add", "agent.txt"]);
    let way = WAYS[race / STEPS.len() % WAYS.len()];
    let done = command(root, &["commit"]).args(way).output().expect("git runs");
    if !done.status.success() {
        return None;
    }
    // The newest commit of the agent's in the reflog: the branch may have moved on already.
    let log = git(root, &["log", "-g", "--format=%H %gs", "-n5", "HEAD"]);
    let made = log.lines().find(|line| line.contains("commit: agent")).expect("it is in the reflog");
    let made = made.split(' ').next().expect("an id");
    assert_ne!(made, before);
    Some(id(made))
}

#[test]
fn two_hundred_races_with_commits_in_the_same_work_tree_lose_nothing() {
    let room = Room::new();
    let root = room.root().to_owned();
    room.put("broken.txt", "good\n");
    room.put("other.txt", "other\n");
    room.put("agent.txt", "");
    room.commit("good");
    let (mut made, mut outcomes) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for race in 0..RACES {
        let stood = room.read("broken.txt");
        room.put("broken.txt", format!("bad {race}\n"));
        room.git(&["commit", "-q", "-m", "break", "--", "broken.txt"]);
        let tip = room.head();
        made.push(tip.clone());
        let revert = room.revert(&tip, &tip);
        room.put("other.txt", format!("unstaged {race}\n"));
        room.put("untracked.txt", format!("untracked {race}\n"));
        let (landing, theirs) = race_in(&room, &tip, &revert, race);
        made.extend(theirs.clone());
        let name = match &landing {
            Landing::Landed => "landed",
            Landing::Moved { .. } => "moved",
            Landing::Refused { why: Refusal::RefLocked { .. } | Refusal::IndexLocked { .. } } => "locked",
            other => panic!("race {race}: {other:?}"),
        };
        *outcomes.entry(name).or_default() += 1;
        if theirs.is_some() {
            *outcomes.entry("committed").or_default() += 1;
        }
        let landed = landing == Landing::Landed;
        let text = if landed { String::from_utf8(stood).expect("text") } else { format!("bad {race}\n") };
        // Nothing undone silently, in the commit, the index or the file; whether one of the agent's came after it or not.
        let about = format!("race {race} at {:?}: {landing:?}, {theirs:?}", STEPS[race % STEPS.len()]);
        assert_eq!(room.git(&["show", "HEAD:broken.txt"]), text.trim_end(), "{about}");
        assert_eq!(room.git(&["show", ":broken.txt"]), text.trim_end(), "{about}");
        assert_eq!(room.read("broken.txt"), text.as_bytes(), "{about}");
        if landed {
            assert_eq!(room.git(&["rev-parse", &format!("{revert}^")]), tip.as_str());
            made.push(revert);
        }
        let all = room.git(&["rev-list", "HEAD"]);
        let lost: Vec<_> = made.iter().filter(|c| !all.contains(c.as_str())).collect();
        assert!(lost.is_empty(), "{about}: lost {lost:?}");
        let other = [room.read("other.txt"), room.git(&["show", "HEAD:other.txt"]).into_bytes()];
        assert_eq!(other[0], format!("unstaged {race}\n").as_bytes(), "{about}");
        assert_eq!(room.read("untracked.txt"), format!("untracked {race}\n").as_bytes(), "{about}");
        assert_eq!(room.read("agent.txt"), format!("{race}\n").as_bytes(), "{about}");
        made = vec![room.head()];
        // What the commit could not take, it takes now.
        room.git(&["commit", "-q", "--allow-empty", "-m", "agent again", "--", "agent.txt"]);
        room.git(&["checkout", "-q", "HEAD", "--", "broken.txt"]);
    }
    println!("{RACES} races: {outcomes:?}");
    assert!(outcomes.get("landed").is_some_and(|n| *n >= RACES / 4), "{outcomes:?}");
    assert!(outcomes.get("moved").is_some_and(|n| *n >= RACES / 20), "{outcomes:?}");
    room.git(&["fsck", "--full", "--strict"]);
    assert!(root.join("untracked.txt").exists());
}

fn race_in(room: &Room, tip: &CommitId, revert: &CommitId, race: usize) -> (Landing, Option<CommitId>) {
    let at = STEPS[race % STEPS.len()];
    let (go, told) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let root = room.root();
        let agent = scope.spawn(move || {
            // Ends without a word if the landing never came to that step: then it commits afterwards.
            let _heard = told.recv();
            commits(root, race)
        });
        if at.is_none() {
            go.send(()).expect("heard");
        }
        let mut go = Some(go);
        let landing = room.mirror.land_watched(&room.place(), tip, revert, &mut |step| {
            if Some(step) == at {
                drop(go.take());
            }
        });
        drop(go);
        (landing.expect("answered"), agent.join().expect("ended"))
    })
}

#[test]
fn a_program_that_rewrites_the_reverted_file_loses_no_byte() {
    let room = Room::new();
    room.put("broken.txt", "good\n");
    room.commit("good");
    room.put("broken.txt", "bad\n");
    let culprit = room.commit("break");
    let revert = room.revert(&culprit, &culprit);
    let path = room.root().join("broken.txt");
    for (race, at) in STEPS.iter().enumerate() {
        room.git(&["reset", "-q", "--hard", culprit.as_str()]);
        let text = format!("work of race {race}\n");
        if at.is_none() {
            fs::write(&path, &text).expect("written");
        }
        let landing = room.mirror.land_watched(&room.place(), &culprit, &revert, &mut |step| {
            if Some(step) == *at {
                fs::write(&path, &text).expect("written");
            }
        });
        let landing = landing.expect("answered");
        assert_eq!(fs::read_to_string(&path).expect("read"), text, "{at:?}: {landing:?}");
        let before_it = at.is_none_or(|at| matches!(at, Step::Copied | Step::Staged | Step::IndexHeld | Step::RefHeld));
        assert_eq!(landing != Landing::Landed, before_it, "{at:?}: {landing:?}");
        assert_eq!(room.status(), " M broken.txt", "{at:?}: it shows as their own work");
    }
}

/// In this process only if it is the one that is to be killed; see [`cut_off`].
#[test]
fn a_landing_that_is_told_to_dies_at_its_step() {
    let Some(how) = std::env::var_os("LANDING_DIES") else { return };
    let how = how.into_string().expect("text");
    let [clone, mirror, tip, revert, at, group] = how.split('|').collect::<Vec<_>>().try_into().expect("six words");
    let clone = Worktree::discover(Path::new(clone)).expect("readable").expect("a work tree");
    let mirror = Mirror::open(Path::new(mirror), &clone).expect("opened");
    let place = Place::Local { clone, branch: "main".into() };
    let mut left: usize = at.parse().expect("a number");
    let landing = mirror.land_watched(&place, &id(tip), &id(revert), &mut |step| {
        if left == 0 {
            println!("died at {step:?}");
            if group == "group" {
                kill_process_group(getpgrp(), Signal::KILL).expect("killed");
            }
            kill_process(getpid(), Signal::KILL).expect("killed");
        }
        left -= 1;
    });
    println!("ended: {landing:?}");
}

/// Lands in another process, which is killed at its n-th step: whether it came to that.
fn cut_off(room: &Room, tip: &CommitId, revert: &CommitId, at: usize, group: &str) -> bool {
    let (clone, mirror) = (room.root().display(), room.mirror.dir().display());
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "a_landing_that_is_told_to_dies_at_its_step", "--nocapture"]).process_group(0);
    child.env("LANDING_DIES", format!("{clone}|{mirror}|{tip}|{revert}|{at}|{group}"));
    let done = child.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("started");
    done.status.signal() == Some(9)
}

#[test]
fn a_landing_killed_at_any_step_is_undone_or_done_by_the_next() {
    let mut at = 0;
    loop {
        let mut died = false;
        for group in ["alone", "group"] {
            let room = Room::new();
            room.put("first", "good\n");
            room.put("gone/first", "good\n");
            room.put("other", "as committed\n");
            room.commit("good");
            room.put("first", "bad\n");
            fs::remove_file(room.root().join("gone/first")).expect("removed");
            room.put("new/first", "bad\n");
            let tip = room.commit("break");
            let bad = files(room.root());
            let revert = room.revert(&tip, &tip);
            room.put("other", "staged\n");
            room.git(&["add", "other"]);
            room.put("other", "and edited further\n");
            died = cut_off(&room, &tip, &revert, at, group);
            let lock = room.clone.git_dir.join("index.lock").exists();
            // Whatever it left: nobody can commit half of it.
            let half = tried(room.root(), &["commit", "-q", "-m", "half"]).status.success();
            assert!(!(lock && half), "step {at}");
            let mut tip_now = room.head();
            if half {
                assert!(tip_now == tip || room.git(&["diff-tree", "-r", "--name-only", "HEAD^", "HEAD"]) == "other");
                room.git(&["reset", "-q", "--soft", "HEAD^"]);
                tip_now = room.head();
            }
            let recovered = room.mirror.recover(&room.clone).expect("recovered");
            if tip_now == tip {
                let mut expected = bad.clone();
                expected.insert("other".into(), b"and edited further\n".to_vec());
                assert_eq!(files(room.root()), expected, "step {at} {group}: {recovered:?}");
                assert_eq!(room.status(), "MM other", "step {at} {group}");
                assert_eq!(room.land(&tip, &revert), Landing::Landed, "step {at} {group}");
            } else {
                assert_eq!(room.land(&tip, &revert), Landing::AlreadyThere, "step {at} {group}");
            }
            assert_eq!((room.head(), room.status()), (revert, "MM other".to_owned()), "step {at} {group}");
            assert_eq!(room.git(&["show", ":other"]), "staged");
            assert_eq!(room.read("other"), b"and edited further\n");
            assert_eq!(room.mirror.recover(&room.clone).expect("recovered"), Recovered::Nothing);
            room.git(&["fsck", "--full", "--strict"]);
        }
        if !died {
            break;
        }
        at += 1;
    }
    assert_eq!(at, 10, "copied, staged, two locks, three files, index, branch, free");
}

#[test]
fn work_done_after_a_landing_was_killed_stays() {
    let room = Room::new();
    room.put("a", "good\n");
    room.put("b", "good\n");
    room.commit("good");
    room.put("a", "bad\n");
    room.put("b", "bad\n");
    let tip = room.commit("break");
    let revert = room.revert(&tip, &tip);
    // Killed when both files were moved.
    assert!(cut_off(&room, &tip, &revert, 5, "alone"));
    assert_eq!((room.read("a"), room.read("b")), (b"good\n".to_vec(), b"good\n".to_vec()));
    room.put("a", "mine\n");
    assert_eq!(room.mirror.recover(&room.clone).expect("recovered"), Recovered::Undone { trees: 1 });
    assert_eq!((room.read("a"), room.read("b"), room.status()), (b"mine\n".to_vec(), b"bad\n".to_vec(), " M a".into()));
    assert!(matches!(room.land(&tip, &revert), Landing::Refused { why: Refusal::Dirty { .. } }));
}

/// A bare repository, and clones of it.
struct Team {
    dir: tempfile::TempDir,
    url: String,
    room: Room,
}

impl Team {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let url = dir.path().join("team.git").to_string_lossy().into_owned();
        git(dir.path(), &["init", "-q", "--bare", "-b", "main", &url]);
        let room = Room::new();
        room.put("broken.txt", "good\n");
        room.commit("good");
        room.git(&["remote", "add", "origin", &url]);
        room.put("broken.txt", "bad\n");
        room.commit("break");
        room.git(&["push", "-q", "origin", "main"]);
        Self { dir, url, room }
    }

    fn clone(&self, name: &str) -> PathBuf {
        git(self.dir.path(), &["clone", "-q", &self.url, name]);
        self.dir.path().join(name)
    }

    fn place(&self) -> Place {
        Place::Remote { url: self.url.clone(), branch: "main".into() }
    }

    fn land(&self, tip: &CommitId, revert: &CommitId) -> Landing {
        self.room.mirror.land(&self.place(), tip, revert).expect("answered")
    }

    fn stands(&self) -> CommitId {
        self.room.mirror.stands(&self.place()).expect("answered").expect("a branch")
    }

    fn hook(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = Path::new(&self.url).join("hooks").join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
}

/// Commits on what the clone's remote has.
fn prepares(root: &Path, race: usize) -> String {
    git(root, &["fetch", "-q", "origin"]);
    git(root, &["reset", "-q", "--hard", "origin/main"]);
    put(root, "agent.txt", format!("{race} {}\n", root.display()));
    git(root, &["add", "."]);
    git(root, &["commit", "-q", "-m", "agent"]);
    git(root, &["rev-parse", "HEAD"])
}

/// Pushes that; whether git said that it is there.
fn pushes(root: &Path) -> bool {
    tried(root, &["push", "-q", "origin", "HEAD:main"]).status.success()
}

#[test]
fn two_hundred_races_with_pushes_from_two_clones_lose_nothing() {
    let team = Team::new();
    let clones = [team.clone("one"), team.clone("two")];
    let (mut pushed, mut outcomes) = (Vec::new(), BTreeMap::<&str, usize>::new());
    for race in 0..RACES {
        let tip = team.stands();
        git(team.room.mirror.dir(), &["fetch", "-q", &team.url, "main"]);
        let revert = revert(&team.room.mirror, &tip, &tip);
        let made = clones.each_ref().map(|clone| prepares(clone, race));
        let start = Barrier::new(clones.len() + 1);
        let landing = std::thread::scope(|scope| {
            let agents = clones.each_ref().map(|clone| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    // From nothing to longer than the landing takes before it pushes.
                    for _look in 0..race % 4 {
                        git(clone, &["ls-remote", "-q", "origin"]);
                    }
                    pushes(clone)
                })
            });
            let mut done: Vec<bool> = Vec::new();
            let mut agents = agents.into_iter();
            // Now and then the landing or one of them comes first, for sure; mostly nobody knows.
            let landing = if race % 8 == 3 {
                let landing = team.land(&tip, &revert);
                start.wait();
                landing
            } else {
                start.wait();
                if race % 8 == 7 {
                    done.extend(agents.next().map(|agent| agent.join().expect("ended")));
                }
                team.land(&tip, &revert)
            };
            done.extend(agents.map(|agent| agent.join().expect("ended")));
            pushed.extend(made.into_iter().zip(done).filter(|(_, done)| *done).map(|(made, _)| made));
            landing
        });
        match landing {
            Landing::Landed => {
                assert_eq!(git(team.room.mirror.dir(), &["rev-parse", &format!("{revert}^")]), tip.as_str());
                *outcomes.entry("landed").or_default() += 1;
                pushed.push(revert.to_string());
            }
            Landing::Moved { tip: now } => {
                assert_ne!(now, tip);
                *outcomes.entry("moved").or_default() += 1;
            }
            // Two hold the ref at once: the one that comes second is told so by the server.
            Landing::Refused { why: Refusal::Remote { .. } } => *outcomes.entry("refused").or_default() += 1,
            other => panic!("race {race}: {other:?}"),
        }
        let all = git(Path::new(&team.url), &["rev-list", "main"]);
        let lost: Vec<_> = pushed.iter().filter(|c| !all.contains(*c)).collect();
        assert!(lost.is_empty(), "race {race}: lost {lost:?}");
    }
    println!("{RACES} races: {outcomes:?}");
    assert!(outcomes.get("landed").is_some_and(|n| *n >= RACES / 20), "{outcomes:?}");
    assert!(outcomes.get("moved").is_some_and(|n| *n >= RACES / 20), "{outcomes:?}");
    git(Path::new(&team.url), &["fsck", "--full", "--strict"]);
}

#[test]
fn a_remote_lands_a_revert_once_and_keeps_the_reverted_work() {
    let team = Team::new();
    let tip = team.stands();
    let revert = team.room.revert(&tip, &tip);
    assert_eq!(team.land(&tip, &revert), Landing::Landed);
    assert_eq!(team.stands(), revert);
    assert_eq!(team.land(&tip, &revert), Landing::AlreadyThere);
    let clone = team.clone("one");
    assert_eq!(fs::read(clone.join("broken.txt")).expect("read"), b"good\n");
    let newer = prepares(&clone, 1);
    assert!(pushes(&clone));
    assert_eq!(team.land(&tip, &revert), Landing::AlreadyThere, "with newer work on it");
    let again = team.room.revert(&revert, &revert);
    assert_eq!(team.land(&revert, &again), Landing::Moved { tip: id(&newer) });
    let kept = team.room.mirror.keep_reverted(&team.place(), &tip).expect("kept");
    assert_eq!(kept, format!("railroad/reverted/{}", tip.short()));
    let at = || git(Path::new(&team.url), &["rev-parse", &kept]);
    assert_eq!(at(), tip.as_str());
    git(&clone, &["push", "-q", "-f", "origin", &format!("{newer}:refs/heads/{kept}")]);
    assert_eq!(team.room.mirror.keep_reverted(&team.place(), &tip).expect("kept"), kept, "gone on from");
    git(&clone, &["push", "-q", "-f", "origin", &format!("{tip}^:refs/heads/{kept}")]);
    assert_eq!(team.room.mirror.keep_reverted(&team.place(), &tip).expect("kept"), format!("{kept}-2"));
    let nowhere = Place::Remote { url: team.url.clone(), branch: "none".into() };
    assert_eq!(team.room.mirror.stands(&nowhere).expect("answered"), None);
}

#[test]
fn a_push_that_a_hook_declines_is_refused_with_its_words() {
    let team = Team::new();
    let tip = team.stands();
    let revert = team.room.revert(&tip, &tip);
    team.hook("pre-receive", "#!/bin/sh\necho 'main is frozen until Monday' >&2\nexit 1\n");
    let Landing::Refused { why: Refusal::Remote { said } } = team.land(&tip, &revert) else { panic!("not refused") };
    assert!(said.contains("main is frozen until Monday") && said.contains("pre-receive"), "{said}");
    assert_eq!(team.stands(), tip);
}

#[test]
fn a_remote_that_does_not_answer_is_unreachable_and_nobody_is_asked() {
    let team = Team::new();
    let tip = team.stands();
    let revert = team.room.revert(&tip, &tip);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("an address");
    for url in [format!("http://{closed}/team.git"), format!("git://{closed}/team.git"), "/nowhere/team.git".into()] {
        let place = Place::Remote { url, branch: "main".into() };
        let landing = team.room.mirror.land(&place, &tip, &revert).expect("answered");
        assert!(matches!(landing, Landing::Unreachable { .. }), "{landing:?}");
        assert!(team.room.mirror.stands(&place).is_err());
    }
}

#[test]
fn a_push_whose_answer_is_lost_has_landed_and_is_told_so() {
    let team = Team::new();
    let tip = team.stands();
    let revert = team.room.revert(&tip, &tip);
    // The server has taken it when this runs; whoever pushed never hears.
    team.hook("post-receive", "#!/bin/sh\nkill -9 $PPID\n");
    let landing = team.land(&tip, &revert);
    assert!(matches!(landing, Landing::AlreadyThere), "the push failed, the branch has it: {landing:?}");
    assert_eq!(team.stands(), revert);
}
