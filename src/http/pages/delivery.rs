//! How far a mail has come, said to who waits for it: on the page, to its script, and on the stream that it follows.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use uuid::Uuid;

use crate::account::delivery::{Delivery as Progress, DeliveryStatus};
use crate::clock::{Clock, Timestamp};
use crate::http::delivery_state::DeliveryState;
use crate::http::extract::visitor::Visitor;
use crate::http::live::{self, Look, Source};
use crate::http::pages::format;
use crate::http::problem::Problem;
use crate::http::state::AppState;
use crate::locale::Text;

/// When a mail was to be tried again is a guess: it is looked a little later how that went.
const TRIED: Duration = Duration::from_secs(2);
/// … and now and then, if nothing has come of it.
const OVERDUE: Duration = Duration::from_secs(15);

/// A mail that a page waits for.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) words: Words,
    /// Where the page's script asks how far it has come.
    pub(super) url: &'static str,
    /// Where it is told.
    pub(super) events: &'static str,
    /// How far it has come, if this browser caused one.
    pub(super) progress: Option<Progress>,
}

/// What is said about mails here, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) t: Text,
    /// Whether mails leave this machine.
    pub(super) mail_server: bool,
    /// Whether the reader may open the local mailbox.
    pub(super) mailbox: bool,
}

impl Words {
    pub(super) fn new(state: &AppState, visitor: &Visitor, t: Text) -> Self {
        Words { t, mail_server: state.has_mail_server(), mailbox: state.mailbox().is_some() && visitor.is_local }
    }

    /// What the waiting person is told. A mail in the local mailbox has gone to no mail server, and no other inbox will get it.
    pub(super) fn sentence(self, progress: Option<&Progress>) -> String {
        let t = self.t;
        let Some(Progress { status, at, trouble, next_try }) = progress else { return t.get("delivery-unknown") };
        match status {
            DeliveryStatus::Queued => t.get("delivery-queued"),
            DeliveryStatus::Sent if self.mailbox => t.get("delivery-sent-here"),
            DeliveryStatus::Sent if !self.mail_server => t.get("delivery-sent-nowhere"),
            DeliveryStatus::Sent => t.args("delivery-sent", &[("time", &format::time(*at))]),
            DeliveryStatus::Delayed => {
                let why = match trouble.as_deref() {
                    Some("unreachable") => t.get("delivery-delayed-unreachable"),
                    // what an operator must mend
                    Some("sender" | "login" | "policy" | "quota" | "message" | "protocol") => {
                        t.get("delivery-delayed-ours")
                    }
                    _ => t.get("delivery-delayed-later"),
                };
                let next = match next_try {
                    Some(next) => t.args("delivery-next-try", &[("time", &format::time(*next))]),
                    None => t.get("delivery-keep-trying"),
                };
                t.args("delivery-delayed", &[("why", &why), ("next", &next)])
            }
            DeliveryStatus::Rejected => t.get("delivery-rejected"),
            DeliveryStatus::Confirmed => t.get("delivery-confirmed"),
        }
    }

    /// The same for the page's script.
    fn said(self, progress: Option<&Progress>) -> Said {
        Said { state: DeliveryState::of(progress), text: self.sentence(progress) }
    }
}

impl Delivery {
    pub(super) fn status_text(&self) -> &'static str {
        self.progress.as_ref().map_or("unknown", |progress| progress.status.as_str())
    }

    /// Whether looking again can show something else.
    pub(super) fn may_change(&self) -> bool {
        use DeliveryStatus::{Delayed, Queued, Sent};
        self.progress.as_ref().is_some_and(|progress| matches!(progress.status, Queued | Sent | Delayed))
    }

    /// What the waiting person is told.
    pub(super) fn sentence(&self) -> String {
        self.words.sentence(self.progress.as_ref())
    }
}

/// How far a mail has come, with the sentence for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Said {
    #[serde(flatten)]
    state: DeliveryState,
    text: String,
}

/// The answer to a page's script that asks.
pub(super) fn status(state: &AppState, visitor: &Visitor, progress: Option<&Progress>) -> Response {
    axum::Json(Words::new(state, visitor, visitor.locale.text()).said(progress)).into_response()
}

/// The stream of `status` for a page that waits for a mail: `read` finds the mail, by the id that events have for it. Without one, or
/// without a place, 204.
pub(super) async fn events<R, F>(state: &AppState, visitor: &Visitor, read: R) -> Result<Response, Problem>
where
    R: Fn() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<Option<(Uuid, Progress)>>> + Send + 'static,
{
    let Some(place) = state.live.admit(visitor.client) else { return Ok(live::nothing()) };
    let looked = state.live.watchers().before_look();
    let Some((id, progress)) = read().await? else { return Ok(live::nothing()) };
    let watcher = state.live.watchers().watch(id, looked);
    let words = Words::new(state, visitor, visitor.locale.text());
    let mut told = Told { read, words, last: None, clock: state.accounts.clock.clone() };
    let first = told.tell(Some(&progress))?;
    Ok(live::stream(&state.live, place, watcher, first, told))
}

/// What a page has been told.
struct Told<R> {
    read: R,
    words: Words,
    last: Option<Said>,
    clock: Clock,
}

impl<R> Told<R> {
    fn tell(&mut self, progress: Option<&Progress>) -> anyhow::Result<Look> {
        let said = self.words.said(progress);
        let is_news = self.last.as_ref() != Some(&said);
        let events = if is_news { vec![live::event("status", &said)?] } else { Vec::new() };
        self.last = Some(said);
        let until = |at: Timestamp| (at - self.clock.now()).to_std().map_or(OVERDUE, |wait| wait + TRIED);
        Ok(Look {
            events,
            again_in: progress.and_then(|progress| progress.next_try).map(until),
            is_last: progress.is_none_or(|progress| progress.status == DeliveryStatus::Confirmed),
        })
    }
}

impl<R, F> Source for Told<R>
where
    R: Fn() -> F + Send + 'static,
    F: Future<Output = anyhow::Result<Option<(Uuid, Progress)>>> + Send + 'static,
{
    async fn look(&mut self) -> anyhow::Result<Look> {
        let found = (self.read)().await?;
        self.tell(found.map(|(_, progress)| progress).as_ref())
    }
}
