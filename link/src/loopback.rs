//! Whose a connection over loopback is: the kernel's own table of connections names the user at the other end. Without
//! certificates that is all that tells this user's programs from those of others on the same machine.

use std::fs;
use std::net::{IpAddr, SocketAddr};

const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// Columns of a row: number, this end, other end, state, queues, timer, retransmissions, user.
const USER_COLUMN: usize = 7;

/// Whether the program at the other end of a loopback connection runs as this program's own user. Not known counts as no.
pub(crate) fn is_own(here: SocketAddr, there: SocketAddr) -> bool {
    let own = rustix::process::geteuid().as_raw();
    // The other end's row has the two addresses the other way round.
    TABLES.iter().any(|table| fs::read_to_string(table).is_ok_and(|text| user_of(&text, there, here) == Some(own)))
}

fn user_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (spellings(local), spellings(remote));
    table.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let is =
            |column: usize, wanted: &[String; 2]| columns.get(column).is_some_and(|c| wanted.iter().any(|w| w == c));
        if is(1, &local) && is(2, &remote) { columns.get(USER_COLUMN)?.parse().ok() } else { None }
    })
}

/// As the kernel writes an address, in the table of its family and in that of version 6.
fn spellings(address: SocketAddr) -> [String; 2] {
    let port = address.port();
    let six = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let words = six.octets();
    let words = words.chunks_exact(4).map(|w| format!("{:08X}", u32::from_ne_bytes([w[0], w[1], w[2], w[3]])));
    let long = format!("{}:{port:04X}", words.collect::<String>());
    let short = six.to_ipv4_mapped().map(|ip| format!("{:08X}:{port:04X}", u32::from_ne_bytes(ip.octets())));
    [short.unwrap_or_else(|| long.clone()), long]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn the_user_of_a_connection_is_found_in_either_table() {
        for at in ["127.0.0.1:0", "127.3.2.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(at).unwrap();
            let _caller = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, there) = listener.accept().unwrap();
            assert!(is_own(accepted.local_addr().unwrap(), there), "{at}");
        }
    }

    #[test]
    fn another_users_connection_is_told_from_ones_own() {
        let row = "   3: 0100007F:D431 0100007F:1CFC 01 00000000:00000000 00:00000000 00000000  1001        0 77 1";
        let here: SocketAddr = "127.0.0.1:7420".parse().unwrap();
        let there: SocketAddr = "127.0.0.1:54321".parse().unwrap();
        assert_eq!(user_of(row, there, here), Some(1_001));
        assert_eq!(user_of(row, here, there), None, "our own end's row says nothing of theirs");
        assert!(!is_own(here, there), "a connection that is not there belongs to nobody");
    }
}
