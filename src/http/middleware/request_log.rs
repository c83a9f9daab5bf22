//! What the log says of requests, each line of a fixed shape: one for a request that was refused as a guess, a stray or one too
//! many, for whoever bans addresses by the log, and one for every request where that is asked for.
//!
//! But for the address nothing that a stranger chose stands in them: no path, no host, no name. So nobody writes into the log what
//! reads as somebody else's line.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use axum::response::Response;
use ipnet::IpNet;
use tokio::time::Instant;
use tracing::Level;
use uuid::Uuid;

use crate::http::middleware::client_ip::Client;
use crate::telemetry::{REFUSED, REQUESTS};

/// In the extensions of an answer: a login was refused. Its status alone does not tell.
#[derive(Clone, Copy, Debug)]
pub struct LoginFailed;

/// How long refusals are counted before they are summed up.
const WINDOW: Duration = Duration::from_secs(10);

/// Lines about refusals within a window: those of one network …
const MAX_OF_NETWORK: u64 = 10;
/// … and all. Past that they are only counted, so that no flood fills a disk.
const MAX_LINES: u64 = 100;

/// Networks that are told apart within a window.
const MAX_NETWORKS: usize = 1_000;
/// Networks that are summed up in a line of their own: those with most.
const MAX_SUMS: usize = 20;

/// A request and its answer, as far as they are logged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) method: &'a Method,
    /// The template of the route, or `none`.
    pub(super) route: &'a str,
    pub(super) client: Option<Client>,
    pub(super) id: Uuid,
    pub(super) took: Duration,
}

/// Writes the lines. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestLog(Arc<Refusals>);

impl RequestLog {
    /// Says how a request was answered, as far as somebody wants to know. In no span: its fields would stand on the lines too.
    pub(super) fn answered(&self, request: Answered<'_>, response: &Response) {
        let status = response.status().as_u16();
        let Answered { method, route, client, id, took } = request;
        let address = client.map(|client| tracing::field::display(client.ip));
        if tracing::enabled!(target: REQUESTS, Level::INFO) {
            let method = standard(method);
            // to the microsecond
            let took_ms = (took.as_secs_f64() * 1e6).round() / 1e3;
            tracing::info!(
                target: REQUESTS,
                %method, %route, status, took_ms, client = address, request_id = %id, "answered"
            );
        }
        if let Some(outcome) = outcome(response)
            && self.0.count(client.map(|client| client.network))
        {
            tracing::info!(
                target: REFUSED,
                %outcome, client = address, %route, status, request_id = %id, "refused"
            );
        }
    }
}

/// Why a request was refused, in the word that the API has for it; none for one that was not, or by its own mistake.
fn outcome(response: &Response) -> Option<&'static str> {
    match response.status() {
        StatusCode::MISDIRECTED_REQUEST => Some("misdirected"),
        StatusCode::TOO_MANY_REQUESTS => Some("too-many-requests"),
        _ => response.extensions().get::<LoginFailed>().map(|LoginFailed| "wrong-credentials"),
    }
}

/// The method, unless it is a stranger's invention.
fn standard(method: &Method) -> &str {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS
        | Method::CONNECT
        | Method::TRACE => method.as_str(),
        _ => "other",
    }
}

/// The refusals of the window that is open. What was not told is summed up at its end.
#[derive(Debug, Default)]
struct Refusals(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    /// None while nothing was refused.
    opened: Option<Instant>,
    lines: u64,
    networks: HashMap<IpNet, Count>,
    /// Untold, of networks that there was no room for.
    others: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    told: u64,
    untold: u64,
}

impl Refusals {
    /// Counts a refusal; whether it is to be told.
    fn count(self: &Arc<Self>, network: Option<IpNet>) -> bool {
        // usually done by then
        self.close_when_due();
        let mut window = self.window();
        if window.opened.is_none() {
            window.opened = Some(Instant::now());
            self.close_later();
        }
        window.count(network)
    }

    fn close_later(self: &Arc<Self>) {
        let refusals = Arc::downgrade(self);
        let close = async move {
            tokio::time::sleep(WINDOW).await;
            if let Some(refusals) = refusals.upgrade() {
                refusals.close_when_due();
            }
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "a stop does not wait for it, and says what there is to say itself"
        )]
        tokio::spawn(close);
    }

    fn close_when_due(&self) {
        let mut window = self.window();
        if window.opened.is_some_and(|at| at.elapsed() >= WINDOW) {
            let window = std::mem::take(&mut *window);
            window.sum_up();
        }
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Refusals {
    fn drop(&mut self) {
        std::mem::take(&mut *self.window()).sum_up();
    }
}

impl Window {
    fn count(&mut self, network: Option<IpNet>) -> bool {
        let has_room = self.networks.len() < MAX_NETWORKS;
        let count = match network {
            Some(network) if has_room => Some(self.networks.entry(network).or_default()),
            Some(network) => self.networks.get_mut(&network),
            None => None,
        };
        match count {
            Some(count) if count.told < MAX_OF_NETWORK && self.lines < MAX_LINES => {
                count.told += 1;
                self.lines += 1;
                return true;
            }
            Some(count) => count.untold += 1,
            None => self.others += 1,
        }
        false
    }

    /// Says what was not told.
    fn sum_up(self) {
        let seconds = WINDOW.as_secs();
        let (sums, others) = self.sums();
        for (network, requests) in sums {
            tracing::info!(target: REFUSED, %network, requests, seconds, "more were refused");
        }
        if others > 0 {
            let network = "others";
            tracing::info!(target: REFUSED, %network, requests = others, seconds, "more were refused");
        }
    }

    /// What was not told: of the networks with most of it, and of all others together.
    fn sums(self) -> (Vec<(IpNet, u64)>, u64) {
        let untold = self.networks.into_iter().map(|(network, count)| (network, count.untold));
        let mut sums: Vec<(IpNet, u64)> = untold.filter(|(_, untold)| *untold > 0).collect();
        sums.sort_unstable_by_key(|(network, untold)| (std::cmp::Reverse(*untold), *network));
        let rest = sums.split_off(sums.len().min(MAX_SUMS));
        (sums, self.others + rest.iter().map(|(_, untold)| untold).sum::<u64>())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn network(number: u32) -> IpNet {
        IpNet::from(std::net::IpAddr::from(Ipv4Addr::from_bits(number)))
    }

    /// F39.
    #[test]
    fn a_flood_is_told_in_a_few_lines_whoever_sends_it() {
        let mut window = Window::default();
        let told = (0..100_000).filter(|_| window.count(Some(network(1)))).count();
        assert_eq!(told, 10);
        assert!(window.count(Some(network(2))), "another network is told beside it");
        let (sums, others) = window.sums();
        assert_eq!((sums, others), (vec![(network(1), 99_990)], 0));

        let mut window = Window::default();
        let told = (0..100_000).filter(|number| window.count(Some(network(number % 50_000)))).count();
        assert_eq!((told, window.networks.len()), (100, 1_000));
        let (sums, others) = window.sums();
        assert_eq!(sums.len(), 20);
        assert_eq!(sums.iter().map(|(_, untold)| untold).sum::<u64>() + others, 99_900, "none is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn a_window_ends_and_the_next_one_begins_at_nothing() {
        let refusals = Arc::new(Refusals::default());
        for _ in 0..3 {
            let told = (0..50).filter(|_| refusals.count(Some(network(1)))).count();
            assert_eq!(told, 10);
            tokio::time::sleep(WINDOW + Duration::from_millis(1)).await;
            let window = refusals.window();
            assert!(window.opened.is_none() && window.networks.is_empty());
        }
    }

    #[test]
    fn a_method_that_there_is_not_is_not_repeated() {
        assert_eq!(standard(&Method::GET), "GET");
        assert_eq!(standard(&"hunter2".parse().unwrap()), "other");
    }
}
