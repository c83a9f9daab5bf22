use std::net::IpAddr;

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::*;

fn places(all: usize, of_network: usize) -> Arc<Places> {
    Arc::new(Places { all, of_network, taken: Mutex::default() })
}

fn network(n: u8) -> IpNet {
    IpNet::from(IpAddr::from([192, 0, 2, n]))
}

#[test]
fn a_network_has_its_own_cap_all_have_one_and_places_are_given_back() {
    let places = places(3, 2);
    let first = places.take(Some(network(1))).unwrap();
    let second = places.take(Some(network(1))).unwrap();
    assert!(places.take(Some(network(1))).is_none());
    let third = places.take(Some(network(2))).unwrap();
    assert!(places.take(None).is_none(), "all are taken");
    drop(first);
    let fourth = places.take(Some(network(1))).unwrap();
    drop((second, third, fourth));
    let taken = places.taken.lock().unwrap();
    assert_eq!((taken.all, taken.networks.len()), (0, 0), "nothing is kept of who is gone");
}

/// What each look finds.
struct Script(mpsc::UnboundedReceiver<anyhow::Result<Look>>);

impl Source for Script {
    async fn look(&mut self) -> anyhow::Result<Look> {
        self.0.try_recv().unwrap_or_else(|_| Ok(Look::default()))
    }
}

struct Opened {
    pages: Arc<LivePages>,
    body: BodyDataStream,
    about: Uuid,
    finds: mpsc::UnboundedSender<anyhow::Result<Look>>,
    stop: CancellationToken,
}

fn told(word: &str) -> Look {
    Look { events: vec![event("said", &word).unwrap()], ..Look::default() }
}

/// A page whose first look found nothing.
fn open() -> Opened {
    let (stop, about) = (CancellationToken::new(), Uuid::new_v4());
    let pages = Arc::new(LivePages::new(Arc::default(), true, stop.clone()));
    pages.watchers().subscribed(Some(0));
    let (finds, script) = mpsc::unbounded_channel();
    let watcher = pages.watchers().watch(about, pages.watchers().before_look());
    let place = pages.places.take(None).unwrap();
    let response = stream(&pages, place, watcher, Look::default(), Script(script));
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["x-accel-buffering"], "no");
    Opened { pages, body: Body::into_data_stream(response.into_body()), about, finds, stop }
}

impl Opened {
    async fn next(&mut self) -> Option<String> {
        Some(String::from_utf8(self.body.next().await?.unwrap().to_vec()).unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_woken_looks_and_otherwise_only_shows_that_it_is_there() {
    let mut page = open();
    assert!(page.next().await.unwrap().starts_with("retry: "));
    let since = Instant::now();
    page.finds.send(Ok(told("not looked for"))).unwrap();
    assert_eq!(page.next().await.as_deref(), Some(": \n\n"));
    assert_eq!(since.elapsed(), HEARTBEAT);
    page.pages.watchers().wake(page.about);
    assert_eq!(page.next().await.as_deref(), Some("event: said\ndata: \"not looked for\"\n\n"));
    assert_eq!(since.elapsed(), HEARTBEAT, "at once");
    page.finds.send(Ok(told("by a gap"))).unwrap();
    page.pages.watchers().subscribed(None);
    assert!(page.next().await.unwrap().contains("by a gap"));
    page.finds.send(Ok(told("while nothing is heard"))).unwrap();
    assert!(page.next().await.unwrap().contains("while nothing is heard"));
    assert_eq!(since.elapsed(), 2 * HEARTBEAT);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_failed_and_one_that_is_due_come_by_themselves() {
    let mut page = open();
    page.next().await.unwrap();
    let since = Instant::now();
    let again_in = Some(Duration::from_secs(3));
    page.finds.send(Ok(Look { again_in, ..told("delayed") })).unwrap();
    page.finds.send(Err(anyhow::anyhow!("the database is away"))).unwrap();
    page.finds.send(Ok(Look { is_last: true, ..told("confirmed") })).unwrap();
    page.pages.watchers().wake(page.about);
    assert!(page.next().await.unwrap().contains("delayed"));
    loop {
        let next = page.next().await.unwrap();
        if next.contains("confirmed") {
            break;
        }
        assert_eq!(next, ": \n\n");
    }
    assert_eq!(since.elapsed(), Duration::from_secs(3) + HEARTBEAT);
    assert_eq!(page.next().await, None, "it was the last");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_time_and_at_the_stop_and_gives_its_place_back() {
    let mut page = open();
    let since = Instant::now();
    while page.next().await.is_some() {}
    assert_eq!(since.elapsed(), LIFETIME);
    let mut page = open();
    page.next().await.unwrap();
    let since = Instant::now();
    page.stop.cancel();
    assert_eq!((page.next().await, since.elapsed()), (None, Duration::ZERO));
    let Opened { pages, body, .. } = page;
    drop(body);
    assert_eq!(pages.places.taken.lock().unwrap().all, 0);
}
