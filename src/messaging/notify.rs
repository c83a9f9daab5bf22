//! "There is something to do": from whoever wrote to whoever waits, in this process at once, in others by
//! `PostgreSQL`'s notifications. A wake-up may be missed, so everybody who waits also polls.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::db::Db;
use crate::messaging::broker::embedded;
use crate::messaging::outbox;

/// How often one looks without having been woken.
pub const POLL: Duration = Duration::from_secs(1);

/// The bells of this process. Clones ring the same ones.
#[derive(Clone, Debug)]
pub struct Wake {
    outbox: watch::Sender<()>,
    queues: watch::Sender<()>,
    /// By queue, for those that somebody here has listened to.
    of_queue: Arc<Mutex<HashMap<String, Arc<Notify>>>>,
}

/// An ear at one of the bells. Listen before you look: what rings while you look is not missed.
#[derive(Clone, Debug)]
pub struct Ear {
    all: watch::Receiver<()>,
    own: Option<Arc<Notify>>,
}

impl Default for Wake {
    fn default() -> Self {
        Wake { outbox: watch::Sender::new(()), queues: watch::Sender::new(()), of_queue: Arc::default() }
    }
}

impl Wake {
    /// Something was written into the outbox.
    pub fn outbox(&self) {
        self.outbox.send_replace(());
    }

    /// Something may be in any queue of the embedded broker: everybody looks.
    pub fn queues(&self) {
        self.queues.send_replace(());
    }

    /// One message was put into this queue of the embedded broker: one of those who wait for it looks.
    pub fn queue(&self, name: &str) {
        let bells = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bell) = bells.get(name) {
            bell.notify_one();
        }
    }

    /// An ear for [`Wake::outbox`].
    #[must_use]
    pub fn on_outbox(&self) -> Ear {
        Ear { all: self.outbox.subscribe(), own: None }
    }

    /// An ear for [`Wake::queues`] and for [`Wake::queue`] of this queue.
    #[must_use]
    pub fn on_queue(&self, name: &str) -> Ear {
        let mut bells = self.of_queue.lock().unwrap_or_else(PoisonError::into_inner);
        let own = Arc::clone(bells.entry(name.to_owned()).or_default());
        Ear { all: self.queues.subscribe(), own: Some(own) }
    }

    /// Rings the bells for what other processes write, until `stop`. Returns at once where there are none (`SQLite`).
    pub async fn hear_others(self, db: Db, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let heard = stop.run_until_cancelled(self.hear(&db)).await;
            match heard {
                Some(Ok(())) | None => return,
                Some(Err(error)) => {
                    tracing::warn!(%error, "cannot hear other processes, polling instead");
                    stop.run_until_cancelled(tokio::time::sleep(5 * POLL)).await;
                }
            }
        }
    }

    async fn hear(&self, db: &Db) -> sqlx::Result<()> {
        let Some(mut listener) = db.listener().await? else { return Ok(()) };
        listener.listen_all([outbox::CHANNEL, embedded::CHANNEL]).await?;
        loop {
            // what was written before we listened, or while the connection was away
            self.outbox();
            self.queues();
            while let Some(notification) = listener.try_recv().await? {
                if notification.channel() == outbox::CHANNEL { self.outbox() } else { self.queues() }
            }
        }
    }
}

impl Ear {
    /// Waits for the bell, at most `limit`.
    pub async fn wait(&mut self, limit: Duration) {
        let own = async {
            match &self.own {
                Some(own) => own.notified().await,
                None => std::future::pending().await,
            }
        };
        let rung = async {
            tokio::select! { _ = self.all.changed() => (), () = own => () }
        };
        let _ = tokio::time::timeout(limit, rung).await;
    }
}
