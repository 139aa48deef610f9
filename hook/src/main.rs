//! `rr-hook`, the courier between an agent and the sidecar: it carries the agent's words to the sidecar's socket and
//! prints what comes back. It owns the time limit and the refusal when nobody answers; it refuses to know what any
//! tool call means. Next: `courier.rs` for the way of one call, `wire.rs` for the bytes, the sidecar's socket beyond.

mod args;
mod courier;
mod daemon;
mod fallback;
mod guard;
mod input;
mod messages;
mod planted;
mod scan;
mod socket;
mod trouble;
mod wire;

fn main() {
    let budget = guard::Budget::start();
    if !planted::bug("B13") {
        guard::refuse_on_panic();
    }
    planted::fault();
    let answer = courier::run(budget, std::env::args_os().skip(1));
    std::process::exit(guard::emit(&answer));
}
