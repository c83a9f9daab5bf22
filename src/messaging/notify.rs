//! "There is something to do": from whoever wrote to whoever waits, in this process at once, in others by
//! `PostgreSQL`'s notifications. A signal may be missed, so everybody who waits also polls.
//!
//! A notification is a transaction of its own, after the one it tells of: `PostgreSQL` commits transactions that notify one
//! after the other, each with its own wait for the disk (docs/performance.md).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::{self, Db};
use crate::failpoint;

/// The channel on which `PostgreSQL` tells relays of other processes that there is something in the outbox.
const OUTBOX_CHANNEL: &str = "bellhop_outbox";

/// The channel on which `PostgreSQL` tells consumers of other processes that a queue has something.
const QUEUES_CHANNEL: &str = "bellhop_queues";

/// From one notification of a channel to the next: what is written meanwhile shares it.
const NOTIFY_INTERVAL: Duration = Duration::from_millis(20);

/// How often one polls without a signal.
pub const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The signals of this process. Clones send the same ones.
#[derive(Clone, Debug)]
pub struct Notifier {
    outbox: Channel,
    queues: Channel,
    /// By queue, for those that somebody here has subscribed to.
    of_queue: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

#[derive(Clone, Debug)]
struct Channel {
    name: &'static str,
    /// For those who wait in this process.
    here: watch::Sender<()>,
    /// For those in others.
    elsewhere: watch::Sender<()>,
}

impl Channel {
    fn new(name: &'static str) -> Self {
        Channel { name, here: watch::Sender::new(()), elsewhere: watch::Sender::new(()) }
    }

    fn signal(&self) {
        self.here.send_replace(());
        self.elsewhere.send_replace(());
    }

    /// Notifies other processes of what is signalled in this one. Returns where there are none.
    async fn forward(&self, db: &Db, sender: &str) {
        let mut signals = self.elsewhere.subscribe();
        while signals.changed().await.is_ok() {
            match db.notify(self.name, sender).await {
                Ok(true) => {}
                Ok(false) => return,
                // they poll
                Err(error) => tracing::debug!(%error, channel = self.name, "cannot notify other processes"),
            }
            tokio::time::sleep(NOTIFY_INTERVAL).await;
        }
    }
}

/// Receives one kind of signal. Subscribe before you look: a signal while you look is not missed.
#[derive(Clone, Debug)]
pub struct Subscription {
    all: watch::Receiver<()>,
    own: Option<Arc<Notify>>,
}

impl Default for Notifier {
    fn default() -> Self {
        Notifier {
            outbox: Channel::new(OUTBOX_CHANNEL),
            queues: Channel::new(QUEUES_CHANNEL),
            of_queue: Arc::default(),
        }
    }
}

impl Notifier {
    /// Something was written into the outbox.
    pub fn signal_outbox(&self) {
        self.outbox.signal();
    }

    /// Something may be in any queue of the embedded broker: everybody looks.
    pub fn signal_queues(&self) {
        self.queues.signal();
    }

    /// One message was put into this queue of the embedded broker: one of those who wait for it looks.
    pub fn signal_queue(&self, name: &str) {
        let queues = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(name) {
            queue.notify_one();
        }
        self.queues.elsewhere.send_replace(());
    }

    /// Subscribes to [`Notifier::signal_outbox`].
    #[must_use]
    pub fn subscribe_outbox(&self) -> Subscription {
        Subscription { all: self.outbox.here.subscribe(), own: None }
    }

    /// Subscribes to [`Notifier::signal_queues`] and to [`Notifier::signal_queue`] of this queue.
    #[must_use]
    pub fn subscribe_queue(&self, name: &str) -> Subscription {
        let mut queues = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Arc::clone(queues.entry(name.to_owned()).or_default());
        Subscription { all: self.queues.here.subscribe(), own: Some(own) }
    }

    /// Exchanges signals with other processes, until `stop`. Returns at once where there are none (`SQLite`).
    pub async fn exchange(self, db: Db, stop: CancellationToken) {
        let sender = Uuid::new_v4().simple().to_string();
        let forward = async {
            tokio::join!(self.outbox.forward(&db, &sender), self.queues.forward(&db, &sender));
        };
        let exchange = async { tokio::join!(forward, self.listen(&db, &sender)) };
        stop.run_until_cancelled(Box::pin(exchange)).await;
    }

    async fn listen(&self, db: &Db, sender: &str) {
        loop {
            failpoint::reach("notifications.turn");
            let Err(error) = self.try_listen(db, sender).await else { return };
            db::report_failed_poll("listening to other processes (polling instead)", &error.into());
            tokio::time::sleep(5 * POLL_INTERVAL).await;
        }
    }

    async fn try_listen(&self, db: &Db, sender: &str) -> sqlx::Result<()> {
        let Some(mut listener) = db.listener().await? else { return Ok(()) };
        let channels = [&self.outbox, &self.queues];
        listener.listen_all(channels.map(|channel| channel.name)).await?;
        loop {
            // what was written before we listened, or while the connection was away
            for channel in channels {
                channel.here.send_replace(());
            }
            while let Some(notification) = listener.try_recv().await? {
                let heard = |channel: &&&Channel| channel.name == notification.channel();
                // our own come back to us
                if notification.payload() != sender
                    && let Some(channel) = channels.iter().find(heard)
                {
                    channel.here.send_replace(());
                }
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
