//! A pause that stops only whom a break concerns: the package that broke and those that build on it stand still, work elsewhere goes on,
//! and what is not known is stopped.

use rr_tests::daemon::{Daemon, Sandbox};
use serde_json::json;

use super::stage::{QUICK_TIMES, commits, config, in_state, is_green, is_paused, notes, over, until_long, with_rrctl};

/// As [`super::stage::QUICK`], of packages, and slow enough that a call can be begun during a search.
const CHECK: &str = "sleep 0.5; ! grep -rl BROKEN packages | sed \"s/$/(1,1): error TS1000: it is broken/\" | grep .";

fn packages(sandbox: &Sandbox, on_break: &str) {
    let config = config(CHECK, &format!("  on_break: {{ pause: affected{on_break} }}\n"));
    sandbox.commit(&[
        ("packages/price/package.json", "{ \"name\": \"price\" }\n"),
        ("packages/price/price.js", "one\n"),
        ("packages/cart/package.json", "{ \"name\": \"cart\", \"dependencies\": { \"price\": \"*\" } }\n"),
        ("packages/cart/cart.js", "two\n"),
        ("packages/blog/package.json", "{ \"name\": \"blog\" }\n"),
        ("packages/blog/blog.js", "three\n"),
        ("railroad.yaml", config.as_str()),
    ]);
}

#[test]
fn who_works_on_what_broke_stands_still_and_who_works_elsewhere_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK_TIMES);
    packages(&sandbox, ", revert: propose");
    let _daemon = Daemon::start(&sandbox);
    let (mut ann, mut ben) = (with_rrctl(&sandbox, "ann"), with_rrctl(&sandbox, "ben"));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    commits(&mut ann, "packages/price/price.js", "BROKEN\n", "price");
    until_long("a person is asked", &sandbox, || in_state(&sandbox, "escalated").is_some());
    assert!(is_paused(&sandbox));
    let status = String::from_utf8(sandbox.rrctl(&["status"]).stdout).expect("text");
    assert!(status.contains("only packages/cart, packages/price is concerned"), "{status}");

    ann.write("packages/price/price.js", "again\n").must_be_denied(&[
        "The fleet is paused",
        "packages/price",
        "It concerns",
    ]);
    ben.write("packages/cart/cart.js", "it builds on it\n").must_be_denied(&["It concerns", "packages/cart"]);
    ben.shell("cp packages/blog/blog.js packages/price/price.js").must_be_denied(&["It concerns"]);
    ben.shell("rm -r packages").must_be_denied(&["It concerns"]);
    ben.shell("node packages/blog/blog.js").must_be_denied(&["It concerns"]);
    ben.shell("git commit -q --allow-empty -m elsewhere").must_be_denied(&["It concerns"]);
    assert_eq!(sandbox.text("packages/price/price.js"), "BROKEN\n");

    ben.read("packages/price/price.js").must_pass();
    ben.write("packages/blog/blog.js", "three and more\n").must_pass();
    ben.shell("mkdir -p packages/blog/posts && cp packages/blog/blog.js packages/blog/posts/first.js").must_pass();
    ben.shell("cat packages/price/price.js | head").must_pass();
    ann.write("README.md", "# For all\n").must_pass();
    assert_eq!(sandbox.text("packages/blog/posts/first.js"), "three and more\n");

    // A person means everybody.
    assert!(sandbox.rrctl(&["pause-all", "--reason", "all of you"]).status.success());
    until_long("all stand still", &sandbox, || ben.read("packages/blog/blog.js").denied());
    ben.write("packages/blog/blog.js", "four\n").must_be_denied(&["all of you"]);
}

#[test]
fn a_revert_lands_beside_work_that_goes_on_and_waits_for_none_of_it() {
    let sandbox = Sandbox::new();
    sandbox.machine_config(QUICK_TIMES);
    packages(&sandbox, "");
    let _daemon = Daemon::start(&sandbox);
    let (mut ann, mut ben) = (with_rrctl(&sandbox, "ann"), with_rrctl(&sandbox, "ben"));
    until_long("the branch is known to be green", &sandbox, || is_green(&sandbox));
    ben.write("packages/blog/blog.js", "half a post\n").must_pass();
    commits(&mut ann, "packages/price/price.js", "BROKEN\n", "price");
    until_long("the fleet is paused", &sandbox, || is_paused(&sandbox));
    // Begun during the pause, and not over before the branch is whole again: the revert has nothing to fear from it.
    let post = json!({"file_path": "packages/blog/blog.js", "content": "a whole post\n"});
    let call = ben.pre("Write", &post).must_pass().id;
    until_long("the break is dealt with", &sandbox, || over(&sandbox).is_some());
    assert_eq!(ben.act(&call).ok, Some(true));
    ben.post(&call);
    until_long("the fleet goes on", &sandbox, || !is_paused(&sandbox));
    let told = notes(&over(&sandbox).expect("an incident"));
    assert!(told.contains("the fleet is paused") && !told.contains("not waited for any longer"), "{told}");
    assert_eq!(sandbox.text("packages/price/price.js"), "one\n");
    assert_eq!(sandbox.text("packages/blog/blog.js"), "a whole post\n");
    assert_eq!(sandbox.git(&["status", "--porcelain"]).trim(), "M packages/blog/blog.js");
}
