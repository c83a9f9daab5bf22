//! Batches on one confirm channel, one batch under way at a time.
//!
//! lapin delivers a returned message with the confirm that it settles next, which need not be the confirm of that
//! message: the broker confirms in groups. So returns are collected over the whole batch and matched by message id,
//! exchange and key; and a channel that did not settle its batch completely is never used again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::fault::{ANSWER_TIMEOUT, Fault, within};
use super::link::{Address, LiveConnection, Outgoing, PublisherState, Shared, address, suspect_if_late};
use super::wire;
use crate::failpoint;
use crate::messaging::broker::types::{Publication, Published};
use crate::messaging::topology::EVENTS;

/// Confirms under way at once: more raise the latency and what is in doubt after a crash, but not the throughput.
const CONFIRM_WINDOW: usize = 250;
/// From the first byte of a batch to its last confirm. Under the broker's memory or disk alarm a confirm never comes.
pub(super) const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where the last message was waited for in vain.
const STALLED_CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) async fn publish(shared: &Shared, publications: &[Publication]) -> Vec<Published> {
    let mut answers = vec![Published::Failed("not sent".into()); publications.len()];
    let mut state = shared.publishing.lock().await;
    for (window, answers) in publications.chunks(CONFIRM_WINDOW).zip(answers.chunks_mut(CONFIRM_WINDOW)) {
        let mut prompt: Vec<_> = window.iter().zip(answers).collect();
        let stalled: Vec<_> =
            prompt.extract_if(.., |(publication, _)| state.stalled.contains(&address(publication))).collect();
        for (part, limit) in [(prompt, CONFIRM_TIMEOUT), (stalled, STALLED_CONFIRM_TIMEOUT)] {
            if !part.is_empty() {
                publish_part(shared, &mut state, part, limit).await;
            }
        }
    }
    answers
}

async fn publish_part(
    shared: &Shared,
    state: &mut PublisherState,
    part: Vec<(&Publication, &mut Published)>,
    limit: Duration,
) {
    let ready = match ready(shared, state.outgoing.take()).await {
        Ok(ready) => ready,
        Err(reason) => {
            return part.into_iter().for_each(|(_, answer)| *answer = Published::Failed(reason.clone()));
        }
    };
    let (publications, answers): (Vec<_>, Vec<_>) = part.into_iter().unzip();
    let Settled { published, first_late, completely } =
        batch(shared, &ready, &publications, Instant::now() + limit).await;
    state.outgoing = completely.then_some(ready);
    state.stalled.extend(first_late);
    for ((publication, answer), published) in publications.into_iter().zip(answers).zip(published) {
        if published == Published::Confirmed && !state.stalled.is_empty() {
            state.stalled.remove(&address(publication));
        }
        note_refusal(shared, &published, publication);
        if is_missed(shared, &published, publication) {
            shared.redeclare.notify_one();
        }
        *answer = published;
    }
}

/// A right that is missing is no outage: it is to be seen until it is given.
fn note_refusal(shared: &Shared, answer: &Published, publication: &Publication) {
    let exchange = publication.exchange.name;
    shared.report.send_if_modified(|report| match answer {
        Published::Failed(reason) if reason.contains("ACCESS_REFUSED") => {
            report.refused.insert(exchange, reason.clone()).as_ref() != Some(reason)
        }
        Published::Failed(_) => false,
        Published::Confirmed | Published::Returned => report.refused.remove(exchange).is_some(),
    });
}

/// Whether somebody may have deleted an exchange or a queue. An event that nobody here wants is returned in all honour.
fn is_missed(shared: &Shared, answer: &Published, publication: &Publication) -> bool {
    match answer {
        Published::Confirmed => false,
        Published::Failed(reason) => reason.contains("NOT_FOUND"),
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
    match suspect_if_late(&live, confirming(&live).await) {
        Ok(channel) => Ok(Outgoing { live, channel }),
        Err(fault) => Err(fault.to_string()),
    }
}

async fn confirming(live: &LiveConnection) -> Result<Channel, Fault> {
    let channel = within(ANSWER_TIMEOUT, "opening a channel", live.connection.create_channel()).await?;
    within(ANSWER_TIMEOUT, "asking for confirms", channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// A message as a return names it: id, exchange, key.
type Key = (ShortString, ShortString, ShortString);

/// The broker's answer to one publication.
enum Confirm {
    /// It is stored, or it was returned; `with_return` if the confirm brought one, of whichever message.
    Acked { with_return: bool },
    /// It could not be stored.
    Nacked,
    /// Nothing, for this reason.
    Nothing(String),
}

/// What became of a batch.
struct Settled {
    published: Vec<Published>,
    first_late: Option<Address>,
    /// The channel owes no confirm.
    completely: bool,
}

/// Publishes at most [`CONFIRM_WINDOW`] messages and waits for their confirms.
async fn batch(shared: &Shared, outgoing: &Outgoing, window: &[&Publication], deadline: Instant) -> Settled {
    let mut pending = Vec::with_capacity(window.len());
    for publication in window {
        pending.push(send(shared, &outgoing.channel, publication, deadline).await);
    }
    failpoint::reach("relay.published");
    let mut returned: HashSet<Key> = HashSet::new();
    let mut confirms = Vec::with_capacity(window.len());
    let (mut completely, mut first_late) = (true, None);
    for (sent, publication) in pending.into_iter().zip(window) {
        let (key, confirm) = match sent {
            Ok((key, confirm)) => (Some(key), Ok(confirm)),
            Err(fault) => (None, Err(fault)),
        };
        let confirmation = match confirm {
            // past the deadline, this still takes what has already come
            Ok(confirm) => match timeout_at(deadline, confirm).await {
                Ok(confirmation) => confirmation.map_err(Fault::from),
                Err(_) => Err(Fault::TimedOut("the confirm")),
            },
            Err(fault) => Err(fault),
        };
        let (confirm, message) = match confirmation {
            Ok(Confirmation::Ack(message)) => (Confirm::Acked { with_return: message.is_some() }, message),
            Ok(Confirmation::Nack(message)) => (Confirm::Nacked, message),
            Ok(Confirmation::NotRequested) => {
                completely = false;
                (Confirm::Nothing("the channel does not confirm".into()), None)
            }
            Err(fault) => {
                // what is too long was never sent, so the channel owes nothing for it
                completely &= matches!(fault, Fault::TooLong(_));
                if matches!(fault, Fault::TimedOut(_)) {
                    first_late.get_or_insert_with(|| address(publication));
                }
                (Confirm::Nothing(fault.to_string()), None)
            }
        };
        if let Some(message) = message {
            let id = message.delivery.properties.message_id().clone().unwrap_or_default();
            returned.insert((id, message.delivery.exchange, message.delivery.routing_key));
        }
        confirms.push((key, confirm));
    }
    // a blocked connection is sound, and sends what was written to it as soon as it is unblocked
    if first_late.is_some() && !outgoing.live.connection.status().blocked() {
        outgoing.live.suspect();
    }
    let is_returned = |key: Option<Key>| key.is_some_and(|key| returned.contains(&key));
    let published = confirms.into_iter().map(|(key, confirm)| answer(is_returned(key), confirm, completely)).collect();
    Settled { published, first_late, completely }
}

fn answer(returned: bool, confirm: Confirm, settled: bool) -> Published {
    match confirm {
        _ if returned => Published::Returned,
        // its own return may be with a confirm that did not come
        Confirm::Acked { with_return: true } if !settled => Published::Failed("in doubt: the batch was cut off".into()),
        Confirm::Acked { .. } => Published::Confirmed,
        Confirm::Nacked => Published::Failed("the broker could not store it".into()),
        Confirm::Nothing(reason) => Published::Failed(reason),
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
