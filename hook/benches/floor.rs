//! The floor under the courier: a program that does nothing but write fixed bytes to a socket, read one answer and
//! print its first text. It neither reads stdin nor checks anything. Compiled by `courier.rs` like the hook itself.

use std::io::{Read, Write};

const REQUEST: &[u8] = include_bytes!(env!("RR_FLOOR_REQUEST"));

fn main() {
    let Some(path) = std::env::args_os().nth(1) else {
        std::process::exit(1)
    };
    let Ok(mut stream) = std::os::unix::net::UnixStream::connect(path) else {
        std::process::exit(1)
    };
    let mut answer = [0; 1024];
    if stream.write_all(REQUEST).is_err() {
        std::process::exit(1);
    }
    let Ok(len) = stream.read(&mut answer) else {
        std::process::exit(1)
    };
    let text = answer.get(5..len.saturating_sub(6)).unwrap_or_default();
    let code = std::io::stdout()
        .write_all(text)
        .and_then(|()| std::io::stdout().flush())
        .is_err();
    std::process::exit(i32::from(code));
}
