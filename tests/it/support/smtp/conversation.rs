//! One SMTP conversation (RFC 5321), with pipelining (RFC 2920): one command is read, one answer written, in order.

use std::io::{self, ErrorKind};
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::sleep;

use super::script::Answer;
use super::{Mail, Phase, Script, Seen};

/// Sender and accepted recipients of the mail that is under way.
#[derive(Default)]
struct Envelope {
    from: String,
    to: Vec<String>,
}

/// What a reply may repeat of a mail.
struct Quoted {
    to: String,
    link: String,
}

pub(super) struct Conversation {
    stream: BufReader<TcpStream>,
    number: usize,
    script: watch::Sender<Script>,
    seen: watch::Sender<Seen>,
    envelope: Option<Envelope>,
}

impl Conversation {
    pub(super) fn new(
        stream: TcpStream,
        number: usize,
        script: watch::Sender<Script>,
        seen: watch::Sender<Seen>,
    ) -> Self {
        Self { stream: BufReader::new(stream), number, script, seen, envelope: None }
    }

    /// Until QUIT, or until either side drops it.
    pub(super) async fn run(mut self) {
        // an error is the end of the connection, which is no news to a mail server
        let _ = self.talk().await;
    }

    async fn talk(&mut self) -> io::Result<()> {
        self.stream.get_ref().set_nodelay(true)?;
        if !self.step(Phase::Banner, None, "220 sink.test ESMTP").await? {
            return Ok(());
        }
        loop {
            let line = self.line().await?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "EHLO" => self.ehlo().await?,
                "HELO" => self.say("250 sink.test").await?,
                "STARTTLS" if self.script.borrow().advertises_starttls => self.say("454 4.7.0 no TLS now").await?,
                "MAIL" => self.mail(rest).await?,
                "RCPT" => self.rcpt(rest).await?,
                "DATA" => self.data().await?,
                "RSET" => {
                    self.envelope = None;
                    self.seen.send_modify(|seen| seen.taken_back += 1);
                    self.say("250 2.0.0 forgotten").await?;
                }
                "NOOP" => self.say("250 2.0.0 done").await?,
                "QUIT" => return self.say("221 2.0.0 goodbye").await,
                _ => self.say("502 5.5.1 unknown command").await?,
            }
        }
    }

    async fn ehlo(&mut self) -> io::Result<()> {
        self.envelope = None;
        let starttls = if self.script.borrow().advertises_starttls { "250-STARTTLS\r\n" } else { "" };
        let usual = format!(
            "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n{starttls}250 ENHANCEDSTATUSCODES"
        );
        self.step(Phase::Ehlo, None, &usual).await?;
        Ok(())
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        self.seen.send_modify(|seen| seen.attempts += 1);
        let Some(from) = path(rest) else { return self.say("501 5.5.4 MAIL FROM:<address>").await };
        self.envelope = None;
        if self.step(Phase::Mail, None, "250 2.1.0 sender noted").await? {
            self.envelope = Some(Envelope { from, to: Vec::new() });
        }
        Ok(())
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let Some(to) = path(rest) else { return self.say("501 5.5.4 RCPT TO:<address>").await };
        if self.envelope.is_none() {
            return self.say("503 5.5.1 MAIL first").await;
        }
        if self.step(Phase::Rcpt, Some(&to), "250 2.1.5 recipient noted").await?
            && let Some(envelope) = &mut self.envelope
        {
            envelope.to.push(to);
        }
        Ok(())
    }

    async fn data(&mut self) -> io::Result<()> {
        let Some(envelope) = self.envelope.take_if(|envelope| !envelope.to.is_empty()) else {
            return self.say("503 5.5.1 no recipient was accepted").await;
        };
        if !self.step(Phase::Data, None, "354 end with a dot").await? {
            return Ok(());
        }
        let mut raw = Vec::new();
        loop {
            let line = self.line().await?;
            match line.strip_prefix(b".") {
                Some(b"") => break,
                Some(unstuffed) => raw.extend_from_slice(unstuffed),
                None => raw.extend_from_slice(&line),
            }
            raw.extend_from_slice(b"\r\n");
        }
        self.dot(envelope, raw).await
    }

    /// The mail is noted before it is acknowledged, as in a real server: the other order would lose it in between.
    async fn dot(&mut self, envelope: Envelope, raw: Vec<u8>) -> io::Result<()> {
        let step = self.take(Phase::Dot, None);
        sleep(step.delay).await;
        let takes = match &step.answer {
            Answer::Usual => true,
            Answer::Reply(reply) => leads_on(reply),
            Answer::Hang | Answer::Drop => false,
        };
        let Envelope { from, to } = envelope;
        let mail = Mail { from, recipients: to, raw, at: Instant::now(), connection: self.number };
        let asks = matches!(&step.answer, Answer::Reply(reply) if reply.contains("{link}"));
        let link = if asks { mail.parsed().link().to_owned() } else { String::new() };
        let quoted = Quoted { to: mail.recipients.concat(), link };
        if takes || step.keeps_mail {
            self.seen.send_modify(|seen| seen.mails.push(mail));
        }
        self.answer(&step.answer, "250 2.0.0 taken", &quoted).await?;
        Ok(())
    }

    /// What the script says for a phase, and whether it leads on.
    async fn step(&mut self, phase: Phase, recipient: Option<&str>, usual: &str) -> io::Result<bool> {
        let step = self.take(phase, recipient);
        sleep(step.delay).await;
        let quoted = Quoted { to: recipient.unwrap_or_default().to_owned(), link: String::new() };
        self.answer(&step.answer, usual, &quoted).await
    }

    fn take(&self, phase: Phase, recipient: Option<&str>) -> super::Step {
        let mut step = None;
        self.script.send_modify(|script| step = Some(script.take(phase, recipient)));
        step.expect("send_modify calls its function")
    }

    async fn answer(&mut self, answer: &Answer, usual: &str, quoted: &Quoted) -> io::Result<bool> {
        match answer {
            Answer::Usual => self.say(usual).await.map(|()| true),
            Answer::Reply(reply) => {
                let reply = reply.replace("{to}", &quoted.to).replace("{link}", &quoted.link);
                self.say(&reply).await.map(|()| leads_on(&reply))
            }
            Answer::Hang => std::future::pending().await,
            Answer::Drop => Err(ErrorKind::ConnectionAborted.into()),
        }
    }

    async fn say(&mut self, reply: &str) -> io::Result<()> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await
    }

    /// Without its CRLF. A lone LF does not end a line: it would smuggle commands (CVE-2023-51764).
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if self.stream.read_until(b'\n', &mut line).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }
}

fn leads_on(reply: &str) -> bool {
    reply.starts_with(['2', '3'])
}

/// The address between the brackets; empty for the null sender.
fn path(rest: &str) -> Option<String> {
    let (_, behind) = rest.split_once('<')?;
    Some(behind.rsplit_once('>')?.0.to_owned())
}
