//! `rrctl demo-link`: a wire between two addresses that can be cut, as a process of its own. Not for people: `rrctl demo` and
//! the tests of several hosts start it, one for each wire. What a cut is, is `crate::demo::link`'s.

use std::io::{self, BufRead as _};
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::demo::link::{self, Wire};
use crate::exit::Failure;
use crate::out;

/// Orders that wait: whoever steers waits for each answer.
const ORDERS_MAX: usize = 1;

/// Pass connections on, and hold them up when told to
///
/// Standard input says, line by line: `cut both`, `cut up` (towards --to), `cut down`, `delay MS`, `heal`. Each is answered with
/// `done` or what is wrong with it. The first line of standard output is the address that is listened on. It ends with
/// its input.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to take connections; port 0 chooses one
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where they lead
    #[arg(long, value_name = "ADDR")]
    to: SocketAddr,
}

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::at(format!("listen on {}", args.listen), &e);
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    out::text(&format!("{}\n", listener.local_addr().map_err(failed)?))?;
    let (steer, wire) = watch::channel(Wire::default());
    let mut orders = orders();
    tokio::spawn(link::run(listener, args.to, wire));
    while let Some(order) = orders.recv().await {
        let told = steer.borrow().told(&order);
        // Whoever hears the answer may rely on it: first the deed, then the word.
        let answer = match told {
            Ok(wire) => {
                steer.send_replace(wire);
                "done".to_owned()
            }
            Err(wrong) => wrong,
        };
        out::text(&format!("{answer}\n"))?;
    }
    Ok(())
}

/// The lines of standard input, until it ends.
fn orders() -> mpsc::Receiver<String> {
    let (send, orders) = mpsc::channel(ORDERS_MAX);
    std::thread::spawn(move || {
        let lines = io::stdin().lock().lines().map_while(Result::ok);
        for line in lines {
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    orders
}
