//! Batches on one confirm channel, one batch under way at a time.
//!
//! lapin hands a returned message out with the confirm that it settles next, which need not be the confirm of that
//! message: the broker confirms in groups. So returns are collected over the whole batch and matched by message id,
//! exchange and key; and a channel that did not settle its batch completely is never used again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::connection::Live;
use super::{ANSWER, Fault, Shared, wire, within};
use crate::messaging::broker::{Publication, Published};
use crate::messaging::topology::EVENTS;

/// Confirms under way at once: more raise the latency and what is in doubt after a crash, but not the throughput.
const WINDOW: usize = 250;
/// From the first byte of a batch to its last confirm. Under the broker's memory or disk alarm a confirm never comes.
pub(super) const CONFIRM: Duration = Duration::from_secs(10);

/// A confirm channel with nothing under way, and the connection it belongs to.
pub(super) struct Outgoing {
    live: Arc<Live>,
    channel: Channel,
}

pub(super) async fn publish(shared: &Shared, publications: &[Publication]) -> Vec<Published> {
    let mut answers = Vec::with_capacity(publications.len());
    let mut outgoing = shared.outgoing.lock().await;
    for window in publications.chunks(WINDOW) {
        match ready(shared, outgoing.take()).await {
            Ok(ready) => {
                let (published, settled) = batch(shared, &ready, window).await;
                if published.iter().zip(window).any(|(answer, publication)| is_missed(shared, answer, publication)) {
                    shared.redeclare.notify_one();
                }
                answers.extend(published);
                *outgoing = settled.then_some(ready);
            }
            Err(reason) => answers.extend(window.iter().map(|_| Published::Failed(reason.clone()))),
        }
    }
    answers
}

/// Whether somebody may have deleted an exchange or a queue. An event that nobody here wants is returned in all honour.
fn is_missed(shared: &Shared, answer: &Published, publication: &Publication) -> bool {
    match answer {
        Published::Confirmed => false,
        Published::Failed(_) => true,
        Published::Returned => publication.exchange != EVENTS || shared.topology.is_wanted(&publication.routing_key),
    }
}

/// A channel to publish on, or why there is none; waits for nothing that is known to be away.
async fn ready(shared: &Shared, last: Option<Outgoing>) -> Result<Outgoing, String> {
    let Some(live) = shared.publisher.now() else { return Err("the broker is away".into()) };
    if live.connection.status().blocked() {
        return Err("the broker takes no messages for now (its memory or disk alarm)".into());
    }
    if let Some(last) = last
        && Arc::ptr_eq(&last.live, &live)
        && last.channel.status().connected()
    {
        return Ok(last);
    }
    match confirming(&live).await {
        Ok(channel) => Ok(Outgoing { live, channel }),
        Err(fault) => {
            if matches!(fault, Fault::TimedOut(_)) {
                live.over.cancel();
            }
            Err(fault.to_string())
        }
    }
}

async fn confirming(live: &Live) -> Result<Channel, Fault> {
    let channel = within(ANSWER, "opening a channel", live.connection.create_channel()).await?;
    within(ANSWER, "asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// A message as a return names it: id, exchange, key.
type Key = (ShortString, ShortString, ShortString);

/// What the broker said about one publication.
enum Said {
    /// It is stored, or it was returned; `carried` if the confirm brought a return, of whichever message.
    Acked { carried: bool },
    /// It could not be stored.
    Nacked,
    /// Nothing, for this reason.
    Nothing(String),
}

/// Publishes at most [`WINDOW`] messages and waits for their confirms; `false` when the channel still owes some.
async fn batch(shared: &Shared, outgoing: &Outgoing, window: &[Publication]) -> (Vec<Published>, bool) {
    let deadline = Instant::now() + CONFIRM;
    let mut pending = Vec::with_capacity(window.len());
    for publication in window {
        pending.push(send(shared, &outgoing.channel, publication, deadline).await);
    }
    let mut returned: HashSet<Key> = HashSet::new();
    let mut said = Vec::with_capacity(window.len());
    let (mut settled, mut late) = (true, false);
    for sent in pending {
        let (key, confirm) = match sent {
            Ok(sent) => sent,
            Err(fault) => {
                late |= matches!(fault, Fault::TimedOut(_));
                // what is too long was never sent, so the channel owes nothing for it
                settled &= matches!(fault, Fault::TooLong(_));
                said.push((None, Said::Nothing(fault.to_string())));
                continue;
            }
        };
        // past the deadline, this still takes what has already come
        let (verdict, message) = match timeout_at(deadline, confirm).await {
            Ok(Ok(Confirmation::Ack(message))) => (Said::Acked { carried: message.is_some() }, message),
            Ok(Ok(Confirmation::Nack(message))) => (Said::Nacked, message),
            Ok(Ok(Confirmation::NotRequested)) => {
                settled = false;
                (Said::Nothing("the channel does not confirm".into()), None)
            }
            Ok(Err(error)) => {
                settled = false;
                (Said::Nothing(error.to_string()), None)
            }
            Err(_) => {
                (settled, late) = (false, true);
                (Said::Nothing("not confirmed in time".into()), None)
            }
        };
        if let Some(message) = message {
            let id = message.delivery.properties.message_id().clone().unwrap_or_default();
            returned.insert((id, message.delivery.exchange, message.delivery.routing_key));
        }
        said.push((Some(key), verdict));
    }
    // a blocked connection is sound, and unblocks with what is written to it; any other that is late is not
    if late && !outgoing.live.connection.status().blocked() {
        outgoing.live.over.cancel();
    }
    let answers =
        said.into_iter().map(|(key, said)| answer(key.is_some_and(|key| returned.contains(&key)), said, settled));
    (answers.collect(), settled)
}

fn answer(returned: bool, said: Said, settled: bool) -> Published {
    match said {
        _ if returned => Published::Returned,
        // its own return may be with a confirm that did not come
        Said::Acked { carried: true } if !settled => Published::Failed("in doubt: the batch was cut off".into()),
        Said::Acked { .. } => Published::Confirmed,
        Said::Nacked => Published::Failed("the broker could not store it".into()),
        Said::Nothing(reason) => Published::Failed(reason),
    }
}

async fn send(
    shared: &Shared,
    channel: &Channel,
    publication: &Publication,
    deadline: Instant,
) -> Result<(Key, PublisherConfirm), Fault> {
    let properties = wire::properties(&publication.message)?;
    let exchange = shared.names.exchange(publication.exchange.name)?;
    let key = shared.names.key(&publication.exchange, &publication.routing_key)?;
    let id = properties.message_id().clone().unwrap_or_default();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let body = &publication.message.body;
    let sent = channel.basic_publish(exchange.clone(), key.clone(), options, body, properties);
    match timeout_at(deadline, sent).await {
        Ok(confirm) => Ok(((id, exchange, key), confirm?)),
        Err(_) => Err(Fault::TimedOut("publishing")),
    }
}
