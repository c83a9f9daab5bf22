//! A mail server of a few lines that does what a closure says. Blocking and on threads, so that nothing of the code
//! under test is used to judge it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

/// What the server does about one command. `CONNECT` stands for the greeting and `.` for the end of a message.
pub enum Answer {
    /// What a friendly server says.
    Usual,
    /// Exactly this line or these lines, without the last CRLF.
    Say(&'static str),
    /// These bytes.
    Bytes(&'static [u8]),
    /// Nothing, until the client has gone.
    Hang,
    /// The connection ends.
    Close,
    /// The usual, and then the connection ends.
    UsualThenClose,
}

/// What the server has seen: `connection number, command`, messages as they came.
#[derive(Default)]
pub struct Seen {
    pub commands: Vec<(usize, String)>,
    pub messages: Vec<String>,
    pub connections: usize,
}

pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Seen>>,
    gone: Mutex<Receiver<usize>>,
}

impl Server {
    pub fn start(script: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_tls(None, false, script)
    }

    /// With a certificate, by STARTTLS or from the first byte.
    pub fn with_tls(
        tls: Option<Arc<ServerConfig>>,
        implicit: bool,
        script: impl Fn(usize, &str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (leave, gone) = channel();
        let (script, seen_by_threads) = (Arc::new(script), seen.clone());
        thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (script, seen, tls, leave) = (script.clone(), seen_by_threads.clone(), tls.clone(), leave.clone());
                seen.lock().unwrap().connections += 1;
                thread::spawn(move || {
                    let socket = socket.unwrap();
                    socket.set_nodelay(true).unwrap();
                    // An error is a client that has gone, which tests look at from the client's side.
                    let _ = match tls {
                        Some(config) if implicit => encrypted(&socket, config, number + 1, &*script, &seen, true),
                        tls => plain(&socket, tls, number + 1, &*script, &seen),
                    };
                    drop(socket);
                    let _ = leave.send(number + 1);
                });
            }
        });
        Self { port, seen, gone: Mutex::new(gone) }
    }

    pub fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub fn messages(&self) -> Vec<String> {
        self.seen.lock().unwrap().messages.clone()
    }

    /// The verbs seen, over all connections.
    pub fn verbs(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.commands.iter().map(|(_, line)| line.split([' ', ':']).next().unwrap().to_owned()).collect()
    }

    /// Waits until the next connection is over, and gives its number.
    pub fn wait_for_an_end(&self) -> usize {
        self.gone.lock().unwrap().recv_timeout(std::time::Duration::from_secs(20)).unwrap()
    }
}

type Script = dyn Fn(usize, &str) -> Answer + Send + Sync;

fn plain(
    socket: &TcpStream,
    tls: Option<Arc<ServerConfig>>,
    number: usize,
    script: &Script,
    seen: &Mutex<Seen>,
) -> std::io::Result<()> {
    let mut stream = socket.try_clone()?;
    if talk(&mut stream, number, script, seen, tls.is_some(), true)? {
        match tls {
            Some(config) => encrypted(socket, config, number, script, seen, false)?,
            // Promised TLS without having a certificate: listens, says nothing.
            None => drop(stream.read_to_end(&mut Vec::new())?),
        }
    }
    Ok(())
}

fn encrypted(
    socket: &TcpStream,
    config: Arc<ServerConfig>,
    number: usize,
    script: &Script,
    seen: &Mutex<Seen>,
    greet: bool,
) -> std::io::Result<()> {
    let session = ServerConnection::new(config).unwrap();
    let mut stream = StreamOwned::new(session, socket.try_clone()?);
    talk(&mut stream, number, script, seen, false, greet).map(drop)
}

/// Holds the conversation; true if the client asked for TLS and was told to go on.
fn talk(
    stream: &mut (impl Read + Write),
    number: usize,
    script: &Script,
    seen: &Mutex<Seen>,
    offer_tls: bool,
    greet: bool,
) -> std::io::Result<bool> {
    let mut lines = BufReader::with_capacity(1, stream);
    let mut line = if greet { "CONNECT".to_owned() } else { next_line(&mut lines)? };
    loop {
        seen.lock().unwrap().commands.push((number, line.clone()));
        let verb = line.split([' ', ':']).next().unwrap().to_ascii_uppercase();
        let answer = script(number, &line);
        let usual = match verb.as_str() {
            "CONNECT" => "220 test ESMTP",
            "EHLO" if offer_tls => "250-test\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS",
            "EHLO" => "250-test\r\n250 AUTH PLAIN LOGIN",
            "DATA" => "354 go on",
            "QUIT" => "221 bye",
            "STARTTLS" => "220 go on",
            "AUTH" => "235 welcome",
            _ => "250 2.0.0 fine",
        };
        let mut end = verb == "QUIT";
        let said: Vec<u8> = match answer {
            Answer::Usual => format!("{usual}\r\n").into_bytes(),
            Answer::UsualThenClose => {
                end = true;
                format!("{usual}\r\n").into_bytes()
            }
            Answer::Say(text) => format!("{text}\r\n").into_bytes(),
            Answer::Bytes(bytes) => bytes.to_vec(),
            Answer::Close => return Ok(false),
            Answer::Hang => {
                let mut rest = Vec::new();
                lines.read_to_end(&mut rest)?;
                return Ok(false);
            }
        };
        lines.get_mut().write_all(&said)?;
        lines.get_mut().flush()?;
        if end {
            return Ok(false);
        }
        if verb == "STARTTLS" && said.starts_with(b"220") {
            return Ok(true);
        }
        if verb == "DATA" && said.starts_with(b"354") {
            let mut message = String::new();
            loop {
                let line = next_line(&mut lines)?;
                if line == "." {
                    break;
                }
                message.push_str(line.strip_prefix('.').unwrap_or(&line));
                message.push_str("\r\n");
            }
            seen.lock().unwrap().messages.push(message);
            line = ".".to_owned();
        } else {
            line = next_line(&mut lines)?;
        }
    }
}

fn next_line(lines: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line)?;
    let line = String::from_utf8(line).unwrap();
    line.strip_suffix("\r\n").map(ToOwned::to_owned).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}
