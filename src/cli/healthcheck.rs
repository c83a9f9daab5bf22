//! `healthcheck`: for images that have no other program inside.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::output;

pub(super) const AFTER_HELP: &str = "Exit codes: 0 it can; 1 it cannot, or nobody answers.";

/// How long a health check waits for each step of the answer. Readiness itself takes two seconds at most.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Bytes of a health check's answer that are read.
const MAX_ANSWER: u64 = 64 * 1_024;

/// Asks `/readyz`, and shows what it says.
pub(super) fn run(listen: SocketAddr) -> anyhow::Result<()> {
    let port = listen.port();
    let address = match listen {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, port).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, port).into(),
        other => other,
    };
    let answer = ask(address).with_context(|| format!("no answer from {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        bail!("{status} {body}");
    }
    output::write(&format!("{body}\n"))
}

fn ask(address: SocketAddr) -> std::io::Result<String> {
    // the loopback's names are always among those we answer to, with the port unless it is the usual one
    let host = match address.port() {
        80 => "localhost".to_owned(),
        port => format!("localhost:{port}"),
    };
    let mut connection = TcpStream::connect_timeout(&address, TIMEOUT)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    write!(connection, "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    connection.take(MAX_ANSWER).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// What a health check makes of a server that answers `answer`, and what it asked.
    fn check(answer: &'static str) -> (anyhow::Result<()>, Vec<String>) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let everywhere = SocketAddr::from(([0, 0, 0, 0], socket.local_addr().unwrap().port()));
        let served = std::thread::spawn(move || {
            let (mut client, _) = socket.accept().unwrap();
            let lines = BufReader::new(client.try_clone().unwrap()).lines().map(Result::unwrap);
            let request = lines.take_while(|line| !line.is_empty()).collect();
            client.write_all(answer.as_bytes()).unwrap();
            request
        });
        (run(everywhere), served.join().unwrap())
    }

    #[test]
    fn a_server_is_healthy_when_it_says_that_it_is_ready() {
        let (healthy, request) = check("HTTP/1.1 200 OK\r\n\r\n{\"ready\":true}");
        healthy.unwrap();
        assert_eq!(request[0], "GET /readyz HTTP/1.1");
        assert!(request[1].starts_with("Host: localhost:"), "{request:?}");
        for (answer, told) in [("HTTP/1.1 503 Service Unavailable\r\n\r\n{\"ready\":false}", "503"), ("", "")] {
            let unhealthy = check(answer).0.unwrap_err().to_string();
            assert!(unhealthy.contains(told), "{unhealthy}");
        }
    }

    #[test]
    fn where_nobody_listens_nothing_is_healthy() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(run(address).unwrap_err().to_string().contains("no answer"));
    }
}
