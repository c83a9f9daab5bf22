//! Budgets that all nodes share: guesses at passwords and links, and mails. Nobody is locked out by a stranger.

use std::time::Duration;

use bellhop::app::Parts;
use bellhop::config::Rate;
use reqwest::header::RETRY_AFTER;
use serde_json::json;

use crate::support::app::{Answer, HttpClient, OTHER_PASSWORD, PASSWORD, Stack, TestApp};

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];
const ANN: &str = "ann@example.org";
const MINUTE: Duration = Duration::from_mins(1);

fn rate(number: u32, minutes: u64) -> Rate {
    Rate { number, span: MINUTE * u32::try_from(minutes).unwrap() }
}

/// With small budgets; the loopback is a proxy, so that a client says from where it comes.
async fn app(stack: Stack) -> TestApp {
    TestApp::start_with(stack, |options| {
        options.config.http.limits = true;
        options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let limits = &mut options.config.limits;
        (limits.login_pair, limits.login_account, limits.login_device) = (rate(3, 15), rate(6, 60), rate(3, 15));
    })
    .await
}

/// A client of this address.
fn from(app: &TestApp, ip: &str) -> HttpClient {
    let headers = [("x-forwarded-for".parse().unwrap(), ip.parse().unwrap())].into_iter().collect();
    let http = reqwest::Client::builder()
        .cookie_store(true)
        .default_headers(headers)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    HttpClient { http, url: app.url.clone() }
}

/// A fresh browser at this address tries.
async fn login(app: &TestApp, ip: &str, email: &str, password: &str) -> Answer {
    from(app, ip).login(email, password).await
}

/// Has the account made, and returns its owner's browser, which has signed in.
async fn owner(app: &TestApp, email: &str) -> HttpClient {
    let client = from(app, "203.0.113.7");
    client.register(email, PASSWORD, "Ann").await;
    app.settle().await;
    let token = app.mails_to(email).await.last().unwrap().token().unwrap();
    assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303);
    client.post("/logout", &[]).await;
    assert_eq!(client.login(email, PASSWORD).await.status, 303);
    client.post("/logout", &[]).await;
    client
}

/// SECURITY: guesses are slowed down for each account, and a stranger cannot lock its owner out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_at_an_account_are_slowed_down_and_its_owner_gets_in() {
    for stack in STACKS {
        let app = app(stack).await;
        let ann = owner(&app, ANN).await;
        for _ in 0..3 {
            assert_eq!(login(&app, "192.0.2.1", ANN, OTHER_PASSWORD).await.status, 422);
        }
        let over = login(&app, "192.0.2.1", "Ann@Example.org", PASSWORD).await;
        assert_eq!(over.status, 429, "also with the right password, and however it is written");
        let wait: u64 = over.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((240..=300).contains(&wait), "{wait}");
        assert!(over.body.contains("try again in 5 minutes") && over.body.contains("Ann@Example.org"), "{}", over.body);
        let program =
            from(&app, "192.0.2.1").post_json("/api/v1/login", &json!({ "email": ANN, "password": "x" })).await;
        assert_eq!((program.status, &program.json()["code"]), (429, &json!("too-many-requests")));
        // from all over the world
        for ip in ["198.51.100.1", "198.51.101.1", "2001:db8:1:1::1"] {
            assert_eq!(login(&app, ip, ANN, OTHER_PASSWORD).await.status, 422);
        }
        assert_eq!(login(&app, "198.51.103.1", ANN, PASSWORD).await.status, 429, "the account's are used up");
        // another process, and one that has just started, knows it too
        let node = app.another_node(Parts::only(["web"]).unwrap()).await;
        assert_eq!(login(&node, "198.51.103.1", ANN, PASSWORD).await.status, 429);
        // the browser that signed in before has its own
        assert_eq!(ann.login(ANN, PASSWORD).await.status, 303, "the owner gets in");
        ann.post("/logout", &[]).await;
        for _ in 0..3 {
            assert_eq!(ann.login(ANN, OTHER_PASSWORD).await.status, 422);
        }
        assert_eq!(ann.login(ANN, PASSWORD).await.status, 429, "a stolen cookie guesses no more than anybody");
        // and a reset works meanwhile
        let elsewhere = from(&app, "198.51.104.1");
        assert_eq!(elsewhere.post("/forgot", &[("email", ANN)]).await.status, 303);
        app.settle().await;
        let token = app.mails_to(ANN).await.last().unwrap().token().unwrap();
        let set = elsewhere.post("/reset", &[("token", &token), ("password", OTHER_PASSWORD)]).await;
        assert_eq!(set.status, 303, "{}", set.body);
        app.clock().advance(MINUTE * 10);
        assert_eq!(login(&app, "198.51.103.1", ANN, OTHER_PASSWORD).await.status, 303, "one comes back in ten minutes");
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_nobody_has_is_limited_like_one_that_somebody_has() {
    for stack in STACKS {
        let app = app(stack).await;
        owner(&app, ANN).await;
        let mut seen = Vec::new();
        for email in [ANN, "nobody@example.org"] {
            let mut answers = Vec::new();
            for _ in 0..5 {
                let answer = login(&app, "192.0.2.9", email, OTHER_PASSWORD).await;
                answers.push((answer.status, answer.body.replace(email, "ADDRESS")));
            }
            seen.push(answers);
        }
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0].iter().map(|(status, _)| *status).collect::<Vec<_>>(), [422, 422, 422, 429, 429]);
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_gives_back_its_own_pair_and_nothing_else() {
    for stack in STACKS {
        let app = app(stack).await;
        owner(&app, ANN).await;
        for _ in 0..2 {
            for _ in 0..2 {
                assert_eq!(login(&app, "192.0.2.1", ANN, OTHER_PASSWORD).await.status, 422);
            }
            assert_eq!(login(&app, "192.0.2.1", ANN, PASSWORD).await.status, 303);
        }
        // four of six are the account's still
        for ip in ["192.0.2.2", "192.0.2.3"] {
            assert_eq!(login(&app, ip, ANN, OTHER_PASSWORD).await.status, 422);
        }
        assert_eq!(login(&app, "192.0.2.4", ANN, PASSWORD).await.status, 429);
        app.settle().await;
    }
}

/// Many at once are no way around a budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_guesses_at_once_are_no_more_than_one_after_the_other() {
    for stack in STACKS {
        let app = app(stack).await;
        owner(&app, ANN).await;
        let tries = (0..30).map(|_| login(&app, "192.0.2.1", ANN, OTHER_PASSWORD));
        let answers = futures_util::future::join_all(tries).await;
        let guessed = answers.iter().filter(|answer| answer.status == 422).count();
        assert!((1..=3).contains(&guessed), "{guessed} of 30 were compared");
        assert!(answers.iter().all(|answer| [422, 429].contains(&answer.status)));
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_goes_through_many_accounts_pays_more_and_so_do_its_neighbours() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.login_network = rate(9, 60);
        })
        .await;
        let stuff =
            async |ip: &str, nth: usize| login(&app, ip, &format!("p{nth}@example.org"), OTHER_PASSWORD).await.status;
        assert_eq!([stuff("192.0.2.1", 1).await, stuff("192.0.2.1", 2).await], [422; 2]);
        assert_eq!(stuff("192.0.2.1", 3).await, 422);
        assert_eq!(stuff("192.0.2.1", 4).await, 429, "three accounts cost nine");
        // one account: the first guess costs three, the others one
        for _ in 0..7 {
            assert_eq!(stuff("192.0.3.1", 1).await, 422);
        }
        assert_eq!(stuff("192.0.3.1", 1).await, 429);
        // a whole network of networks has four times as much
        let mut compared = 0;
        for nth in 1..=20 {
            let ip = format!("2001:db8:7:{nth:x}::1");
            compared += usize::from(stuff(&ip, nth).await == 422);
        }
        assert_eq!(compared, 12, "36 for the /48, three for each");
        assert_eq!(stuff("2001:db8:8:1::1", 30).await, 422, "its neighbour's are its own");
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_causes_no_more_mails_than_its_budget_and_is_not_told() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.mail_network = rate(2, 60);
            options.config.limits.mail_domain = rate(4, 60);
        })
        .await;
        let mut answers = Vec::new();
        for nth in 1..=3 {
            let answer = from(&app, "192.0.2.1").register(&format!("p{nth}@example.org"), PASSWORD, "Ann").await;
            answers.push((answer.status, answer.body));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        app.settle().await;
        let sent = async |of: std::ops::RangeInclusive<u32>| {
            let mut sent = 0;
            for nth in of {
                sent += app.mails_to(&format!("p{nth}@example.org")).await.len();
            }
            sent
        };
        assert_eq!(sent(1..=3).await, 2);
        for (nth, ip) in [(4, "198.51.100.1"), (5, "198.51.100.2"), (6, "198.51.100.3")] {
            from(&app, ip).register(&format!("p{nth}@example.org"), PASSWORD, "Ann").await;
        }
        app.settle().await;
        assert_eq!(sent(4..=6).await, 2, "the domain has had its four");
        from(&app, "198.51.100.3").register("p7@example.net", PASSWORD, "Ann").await;
        app.settle().await;
        assert_eq!(app.mails_to("p7@example.net").await.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_guesses_at_links_is_to_wait() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.token_network = rate(7, 70);
        })
        .await;
        let client = from(&app, "203.0.113.7");
        client.register(ANN, PASSWORD, "Ann").await;
        app.settle().await;
        let token = app.mails_to(ANN).await[0].token().unwrap();
        let stranger = from(&app, "192.0.2.1");
        for path in ["/confirm", "/reset", "/email/confirm", "/email/undo", "/account/restore", "/login/not-me"] {
            assert_eq!(stranger.get(&format!("{path}?token={}", "A".repeat(66))).await.status, 404, "{path}");
        }
        let garbled = json!({ "token": "A".repeat(66), "password": PASSWORD });
        assert_eq!(stranger.post_json("/api/v1/reset", &garbled).await.status, 422);
        let over = stranger.get(&format!("/confirm?token={token}")).await;
        assert!(over.status == 429 && over.headers.contains_key(RETRY_AFTER), "{}", over.body);
        assert!(over.body.contains("Please try again in 10 minutes"), "{}", over.body);
        assert_eq!(stranger.post_json("/api/v1/email/undo", &json!({ "token": "x" })).await.status, 429);
        assert_eq!(client.post("/confirm", &[("token", &token)]).await.status, 303, "nobody else waits");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_guesses_at_the_password_is_to_wait() {
    for stack in STACKS {
        let app = app(stack).await;
        let ann = owner(&app, ANN).await;
        assert_eq!(ann.login(ANN, PASSWORD).await.status, 303);
        for _ in 0..3 {
            let wrong = [("current_password", OTHER_PASSWORD), ("password", "copper lantern orchid meadow")];
            assert_eq!(ann.post("/account/password", &wrong).await.status, 422);
        }
        let right = [("current_password", PASSWORD), ("email", "ann@example.net")];
        assert_eq!(ann.post("/account/email", &right).await.status, 429);
        app.clock().advance(MINUTE * 5);
        assert_eq!(ann.post("/account/email", &right).await.status, 303);
        app.settle().await;
    }
}
