//! Pages that stay open and are told what happens: server-sent events (HTML standard, section 9.2).
//!
//! A page is no task: its stream is polled by its connection, looks at the rows when it is woken, and rests otherwise. Whoever
//! connects is told the present state first, so a cut loses nothing. There are fewer places than connections, and beyond them a
//! page asks now and then instead.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use ipnet::IpNet;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::account::watchers::{Watcher, Watchers};
use crate::backoff::jitter;
use crate::http::middleware::client_ip::Client;

/// Open streams: of all, and of one network. Beyond them 204, upon which a browser does not come back by itself.
const MAX_STREAMS: usize = 4_096;
const MAX_STREAMS_OF_NETWORK: usize = 128;

/// A comment as often keeps proxies from closing a silent stream, and shows us who is gone. While nothing is heard, rows are looked
/// at as often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// After this long a browser comes back: who it is is asked again, and what was lost in ways nobody thought of is found.
const LIFETIME: Duration = Duration::from_mins(10);

/// Looks under way at a time: when a gap wakes all pages, requests do not wait behind them for the database.
const LOOKS_AT_ONCE: usize = 4;

/// A browser comes back after a second, and up to as much more, so that not all come at once to a node that has just started.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_SPREAD: Duration = Duration::from_secs(4);

/// nginx passes on at once what has this.
const UNBUFFERED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));

/// The live pages of this node.
#[derive(Debug)]
pub struct LivePages {
    watchers: Arc<Watchers>,
    places: Arc<Places>,
    looks: Semaphore,
    stop: CancellationToken,
}

impl LivePages {
    /// Their streams end at once when `stop` comes. Without `limits` a network may have all places.
    #[must_use]
    pub fn new(watchers: Arc<Watchers>, limits: bool, stop: CancellationToken) -> Self {
        let of_network = if limits { MAX_STREAMS_OF_NETWORK } else { MAX_STREAMS };
        let places = Arc::new(Places { all: MAX_STREAMS, of_network, taken: Mutex::default() });
        LivePages { watchers, places, looks: Semaphore::new(LOOKS_AT_ONCE), stop }
    }

    /// A place for a client, if there is one. On the loopback may be a proxy with many people behind it.
    #[must_use]
    pub fn admit(&self, client: Client) -> Option<Place> {
        self.places.take((!client.ip.is_loopback()).then_some(client.network))
    }

    /// Who is woken.
    #[must_use]
    pub fn watchers(&self) -> &Arc<Watchers> {
        &self.watchers
    }
}

/// What a look at the rows has found.
#[derive(Debug, Default)]
pub struct Look {
    /// News, each with its name.
    pub events: Vec<Event>,
    /// When something will be otherwise without anybody saying so.
    pub again_in: Option<Duration>,
    /// Whether nothing more will come.
    pub is_last: bool,
}

/// An event of a name with data in JSON.
///
/// # Errors
/// Never for data of ours.
pub fn event(name: &'static str, data: &impl Serialize) -> anyhow::Result<Event> {
    Ok(Event::default().event(name).data(serde_json::to_string(data)?))
}

/// What is answered where there is nothing to be told, or no place.
#[must_use]
pub fn nothing() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// Where a page's news come from.
pub trait Source: Send + 'static {
    /// What is new since the last look.
    ///
    /// # Errors
    /// When the database is away: the page looks again later.
    fn look(&mut self) -> impl Future<Output = anyhow::Result<Look>> + Send;
}

/// The stream of a page: what the `first` look has found, and then whatever the source has each time that it is woken.
pub fn stream(pages: &Arc<LivePages>, place: Place, watcher: Watcher, first: Look, source: impl Source) -> Response {
    let now = Instant::now();
    let retry = Event::default().retry(RETRY + jitter(RETRY_SPREAD));
    let mut page = Page {
        pages: Arc::clone(pages),
        _place: place,
        watcher,
        source,
        news: VecDeque::from([retry]),
        look_at: None,
        heartbeat: now + HEARTBEAT,
        end: now + LIFETIME,
        is_last: false,
    };
    page.take(first);
    let events =
        stream::unfold(
            page,
            |mut page| async move { Some((Ok::<_, std::convert::Infallible>(page.next().await?), page)) },
        );
    let mut response = Sse::new(events).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().extend([UNBUFFERED]);
    response
}

/// An open page.
struct Page<S> {
    pages: Arc<LivePages>,
    _place: Place,
    watcher: Watcher,
    source: S,
    news: VecDeque<Event>,
    look_at: Option<Instant>,
    heartbeat: Instant,
    end: Instant,
    is_last: bool,
}

impl<S: Source> Page<S> {
    /// What the page is told next; none at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.news.pop_front() {
                return Some(event);
            }
            if self.is_last {
                return None;
            }
            let due = self.look_at.map_or(self.heartbeat, |at| at.min(self.heartbeat)).min(self.end);
            tokio::select! {
                biased;
                () = self.pages.stop.cancelled() => return None,
                () = self.watcher.woken() => self.look().await,
                () = sleep_until(due) => {
                    let now = Instant::now();
                    if now >= self.end {
                        return None;
                    }
                    if self.look_at.is_some_and(|at| at <= now) || !self.pages.watchers.hears() {
                        self.look().await;
                    }
                    if now >= self.heartbeat {
                        self.heartbeat = now + HEARTBEAT;
                        self.news.push_back(Event::default().comment(""));
                    }
                }
            }
        }
    }

    async fn look(&mut self) {
        let pages = Arc::clone(&self.pages);
        // never closed
        let Ok(_permit) = pages.looks.acquire().await else { return };
        // on the heap, and only for as long as it takes: a page that waits is small
        match Box::pin(self.source.look()).await {
            Ok(found) => self.take(found),
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "cannot look for a page that waits");
                self.look_at = Some(Instant::now() + HEARTBEAT);
            }
        }
    }

    fn take(&mut self, found: Look) {
        let Look { events, again_in, is_last } = found;
        self.news.extend(events);
        self.look_at = again_in.and_then(|wait| Instant::now().checked_add(wait));
        self.is_last = is_last;
    }
}

/// How many streams are open, and whose they are.
#[derive(Debug)]
struct Places {
    all: usize,
    of_network: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    networks: HashMap<IpNet, usize>,
}

/// Held by an open stream; dropped, another one may have it.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    network: Option<IpNet>,
}

impl Places {
    fn take(self: &Arc<Self>, network: Option<IpNet>) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.all >= self.all {
            return None;
        }
        if let Some(network) = network {
            let of_network = taken.networks.entry(network).or_default();
            if *of_network >= self.of_network {
                return None;
            }
            *of_network += 1;
        }
        taken.all += 1;
        Some(Place { places: Arc::clone(self), network })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        let Some(network) = self.network else { return };
        if let Some(of_network) = taken.networks.get_mut(&network) {
            *of_network -= 1;
            if *of_network == 0 {
                taken.networks.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests;
