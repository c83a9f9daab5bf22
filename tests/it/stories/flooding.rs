//! More people than can be served, most of them from one place: the others get in, and wait little.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::RETRY_AFTER;
use serde_json::json;

use crate::support::app::{HttpClient, PASSWORD, Stack, TestApp, within};

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];
const ANN: &str = "ann@example.org";
/// One whose password is hashed, and those who may wait for it …
const ROOM: usize = 16;
/// … and those who want to.
const CLIENTS: usize = 32;

/// Many who sign in as nobody, each again a quarter of a second after the last time at the earliest.
#[derive(Default)]
struct Flood {
    ends: AtomicBool,
    tries: AtomicUsize,
    compared: AtomicUsize,
    sent_away: AtomicUsize,
}

impl Flood {
    /// Runs until `story` has ended. `address` is where each try of each client comes from.
    async fn during(&self, app: &TestApp, address: impl Fn(usize, usize) -> String, story: impl Future<Output = ()>) {
        let clients = (0..CLIENTS).map(async |client| {
            let browser = app.client();
            let mut tick = tokio::time::interval(Duration::from_millis(250));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !self.ends.load(Ordering::SeqCst) {
                tick.tick().await;
                let ip = address(client, self.tries.fetch_add(1, Ordering::SeqCst));
                let wrong = json!({ "email": "nobody@example.org", "password": PASSWORD });
                let request = browser.posting("/api/v1/login").header("x-forwarded-for", ip).json(&wrong);
                let answer = browser.send(request).await;
                let count = match answer.status {
                    401 => &self.compared,
                    503 if answer.headers.contains_key(RETRY_AFTER) => &self.sent_away,
                    status => panic!("{status}: {}", answer.body),
                };
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let story = async {
            within("a full room", async || self.sent_away.load(Ordering::SeqCst) > CLIENTS).await;
            story.await;
            self.ends.store(true, Ordering::SeqCst);
        };
        tokio::join!(join_all(clients), story);
    }

    /// Signs Ann in, and says how many of the flood were served meanwhile.
    async fn sign_in(&self, browser: &HttpClient, ip: &str) -> usize {
        let before = self.compared.load(Ordering::SeqCst);
        let form = [("email", ANN), ("password", PASSWORD)];
        let answer = browser.send(browser.posting("/login").header("x-forwarded-for", ip).form(&form)).await;
        assert_eq!(answer.status, 303, "from {ip}: {}", answer.body);
        self.compared.load(Ordering::SeqCst) - before
    }
}

/// With one thread, a hash that takes a while, and a proxy before it. Ann's browser has signed in before.
async fn start(stack: Stack) -> (TestApp, HttpClient) {
    let app = TestApp::start_with(stack, |options| {
        options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let passwords = &mut options.config.passwords;
        (passwords.hash_threads, passwords.hash_queue) = (NonZeroUsize::MIN, ROOM - 1);
        (passwords.hash_memory, passwords.hash_passes) = (65_536, 3);
    })
    .await;
    let ann = app.signed_in_client(ANN).await;
    assert_eq!(ann.post("/logout", &[]).await.status, 303);
    (app, ann)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_network_is_sent_away_and_who_comes_from_elsewhere_gets_in() {
    for stack in STACKS {
        let (app, ann) = start(stack).await;
        let flood = Flood::default();
        // ten thousand /64s of one /48
        let address = |_, nth: usize| format!("2001:db8:7:{:x}::1", nth * 7_919 % 10_000);
        let story = async {
            for nth in 1..=5 {
                let served = flood.sign_in(&app.client(), &format!("198.51.100.{nth}")).await;
                assert!(served <= ROOM / 2, "{served} of the flood came before");
            }
            // in the midst of it, but known to the account
            for nth in 1..=3 {
                let served = flood.sign_in(&ann, &format!("2001:db8:7:{nth}::1")).await;
                assert!(served <= ROOM / 2, "{served} of the flood came before");
            }
        };
        flood.during(&app, address, story).await;
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_everywhere_does_not_keep_out_a_browser_that_signed_in_before() {
    for stack in STACKS {
        let (app, ann) = start(stack).await;
        let flood = Flood::default();
        let address = |client, _| format!("2001:db8:{client:x}:1::1");
        let story = async {
            for nth in 1..=3 {
                // a network has one turn a round, so each time another
                let served = flood.sign_in(&ann, &format!("198.51.{nth}.1")).await;
                assert!(served <= ROOM / 2, "{served} of the flood came before");
            }
        };
        flood.during(&app, address, story).await;
        app.settle().await;
    }
}
