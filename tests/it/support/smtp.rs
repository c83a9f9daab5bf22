//! A mail server that records what it gets and answers as told.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use self::conversation::Conversation;
pub use self::mail::{Mail, Parsed};
pub use self::script::{Phase, Script, Step};
use super::ports;

mod conversation;
mod mail;
mod script;

/// How long a wait may take before the test fails: generous, for a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_mins(1);

/// What came in so far, over all restarts.
#[derive(Default)]
struct Seen {
    mails: Vec<Mail>,
    attempts: usize,
    taken_back: usize,
    connections: usize,
}

/// Listens on the loopback until it is stopped or dropped.
pub struct Sink {
    address: SocketAddr,
    script: watch::Sender<Script>,
    seen: watch::Sender<Seen>,
    task: JoinHandle<()>,
}

impl Sink {
    /// One that takes every mail.
    pub async fn start() -> Self {
        let listener = ports::listen().await;
        let address = listener.local_addr().expect("it listens");
        let script = watch::Sender::new(Script::default());
        let seen = watch::Sender::new(Seen::default());
        let task = tokio::spawn(accept(listener, script.clone(), seen.clone()));
        Self { address, script, seen, task }
    }

    /// For `BELLHOP_SMTP_URL`.
    pub fn url(&self) -> String {
        format!("smtp://{}?tls=none", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Follows this script from the next phase of every conversation on.
    pub fn set(&self, script: Script) {
        self.script.send_replace(script);
    }

    /// The mails it took, in the order in which it took them.
    pub fn mails(&self) -> Vec<Mail> {
        self.seen.borrow().mails.clone()
    }

    /// Those after the first so many.
    pub fn mails_from(&self, first: usize) -> Vec<Mail> {
        self.seen.borrow().mails[first..].to_vec()
    }

    /// How many mails were begun (MAIL commands), taken or not.
    pub fn attempts(&self) -> usize {
        self.seen.borrow().attempts
    }

    /// How often a client took a mail back that it had begun (RSET commands).
    pub fn taken_back(&self) -> usize {
        self.seen.borrow().taken_back
    }

    /// How many connections were opened.
    pub fn connections(&self) -> usize {
        self.seen.borrow().connections
    }

    /// The mails, once there are so many; panics after a minute.
    pub async fn wait_for(&self, mails: usize) -> Vec<Mail> {
        self.until(|seen| seen.mails.len() >= mails, &format!("{mails} mails")).await;
        self.mails()
    }

    /// Waits until so many mails were begun, taken or not; panics after a minute.
    pub async fn wait_for_attempts(&self, attempts: usize) {
        self.until(|seen| seen.attempts >= attempts, &format!("{attempts} attempts")).await;
    }

    async fn until(&self, reached: impl FnMut(&Seen) -> bool, what: &str) {
        let mut seen = self.seen.subscribe();
        if timeout(LIMIT, seen.wait_for(reached)).await.is_err() {
            let seen = self.seen.borrow();
            panic!("no {what} in {LIMIT:?}: {} attempts, {} mails: {:#?}", seen.attempts, seen.mails.len(), seen.mails);
        }
    }

    /// The mail server is away: its connections end, new ones are refused.
    pub async fn stop(&mut self) {
        if !self.task.is_finished() {
            self.task.abort();
            // until then the port is open
            let _ = (&mut self.task).await;
        }
    }

    /// Listens again on the same port; what it recorded stays.
    pub async fn restart(&mut self) {
        self.stop().await;
        let listener = TcpListener::bind(self.address).await.expect("the port is still free");
        self.task = tokio::spawn(accept(listener, self.script.clone(), self.seen.clone()));
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, script: watch::Sender<Script>, seen: watch::Sender<Seen>) {
    // ends its conversations when this task is aborted
    let mut conversations = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let mut number = 0;
        seen.send_modify(|seen| {
            seen.connections += 1;
            number = seen.connections;
        });
        let conversation = Conversation::new(stream, number, script.clone(), seen.clone());
        conversations.spawn(conversation.run());
        while conversations.try_join_next().is_some() {}
    }
}
