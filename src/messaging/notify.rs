//! "There is something to do": from whoever wrote to whoever waits, in this process at once, in others by
//! `PostgreSQL`'s notifications. A signal may be missed, so everybody who waits also polls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::db::{self, Db};
use crate::failpoint;

/// The channel on which `PostgreSQL` tells relays of other processes that there is something in the outbox.
pub const OUTBOX_CHANNEL: &str = "bellhop_outbox";

/// The channel on which `PostgreSQL` tells consumers of other processes that a queue has something.
pub const QUEUES_CHANNEL: &str = "bellhop_queues";

/// How often one polls without a signal.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The signals of this process. Clones send the same ones.
#[derive(Clone, Debug)]
pub struct Notifier {
    outbox: watch::Sender<()>,
    queues: watch::Sender<()>,
    /// By queue, for those that somebody here has subscribed to.
    of_queue: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// Receives one kind of signal. Subscribe before you look: a signal while you look is not missed.
#[derive(Clone, Debug)]
pub struct Subscription {
    all: watch::Receiver<()>,
    own: Option<Arc<Notify>>,
}

impl Default for Notifier {
    fn default() -> Self {
        Notifier { outbox: watch::Sender::new(()), queues: watch::Sender::new(()), of_queue: Arc::default() }
    }
}

impl Notifier {
    /// Something was written into the outbox.
    pub fn signal_outbox(&self) {
        self.outbox.send_replace(());
    }

    /// Something may be in any queue of the embedded broker: everybody looks.
    pub fn signal_queues(&self) {
        self.queues.send_replace(());
    }

    /// One message was put into this queue of the embedded broker: one of those who wait for it looks.
    pub fn signal_queue(&self, name: &str) {
        let queues = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(name) {
            queue.notify_one();
        }
    }

    /// Subscribes to [`Notifier::signal_outbox`].
    #[must_use]
    pub fn subscribe_outbox(&self) -> Subscription {
        Subscription { all: self.outbox.subscribe(), own: None }
    }

    /// Subscribes to [`Notifier::signal_queues`] and to [`Notifier::signal_queue`] of this queue.
    #[must_use]
    pub fn subscribe_queue(&self, name: &str) -> Subscription {
        let mut queues = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Arc::clone(queues.entry(name.to_owned()).or_default());
        Subscription { all: self.queues.subscribe(), own: Some(own) }
    }

    /// Signals what other processes write, until `stop`. Returns at once where there are none (`SQLite`).
    pub async fn listen(self, db: Db, stop: CancellationToken) {
        while !stop.is_cancelled() {
            failpoint::reach("notifications.turn");
            let ended = stop.run_until_cancelled(self.try_listen(&db)).await;
            match ended {
                Some(Ok(())) | None => return,
                Some(Err(error)) => {
                    db::report_failed_poll("listening to other processes (polling instead)", &error.into());
                    stop.run_until_cancelled(tokio::time::sleep(5 * POLL_INTERVAL)).await;
                }
            }
        }
    }

    async fn try_listen(&self, db: &Db) -> sqlx::Result<()> {
        let Some(mut listener) = db.listener().await? else { return Ok(()) };
        listener.listen_all([OUTBOX_CHANNEL, QUEUES_CHANNEL]).await?;
        loop {
            // what was written before we listened, or while the connection was away
            self.signal_outbox();
            self.signal_queues();
            while let Some(notification) = listener.try_recv().await? {
                if notification.channel() == OUTBOX_CHANNEL { self.signal_outbox() } else { self.signal_queues() }
            }
        }
    }
}

impl Subscription {
    /// Waits for a signal, at most `limit`.
    pub async fn wait(&mut self, limit: Duration) {
        let own = async {
            match &self.own {
                Some(own) => own.notified().await,
                None => std::future::pending().await,
            }
        };
        let signal = async {
            tokio::select! { _ = self.all.changed() => (), () = own => () }
        };
        let _ = tokio::time::timeout(limit, signal).await;
    }
}
