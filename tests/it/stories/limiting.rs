//! Budgets that all nodes share: guesses at passwords and links, and mails. Nobody is locked out by a stranger.

use std::time::{Duration, Instant};

use bellhop::account::identity::address::Address;
use bellhop::app::{Parts, maintenance};
use bellhop::config::Rate;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use reqwest::header::RETRY_AFTER;
use serde_json::json;

use crate::support::app::{Answer, HttpClient, OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::chance::Chance;

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];
const ANN: &str = "ann@example.org";
const MINUTE: Duration = Duration::from_mins(1);

/// What is many on the small stack is a tenth of it on the large one: the statements are the same.
fn share(stack: Stack) -> usize {
    if stack == Stack::Small { 1 } else { 10 }
}

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

/// How many wrong passwords are compared of so many that are tried at this address, one from each of these networks in turn.
async fn compared(app: &TestApp, email: &str, tries: usize, networks: usize) -> usize {
    compared_by(app, email, (tries, 24), networks).await
}

/// As [`compared`], and then one after the other: tries that are under way beside others are counted as refused meanwhile.
async fn compared_in_all(app: &TestApp, email: &str, tries: usize, networks: usize) -> usize {
    compared(app, email, tries, networks).await + compared_by(app, email, (25, 1), networks).await
}

async fn compared_by(app: &TestApp, email: &str, (tries, at_once): (usize, usize), networks: usize) -> usize {
    let client = app.client();
    let answers = iter(0..tries).map(|nth| {
        let of = nth % networks;
        let ip = format!("2001:db8:{:x}:{:x}::7", 0x100 + of / 256, of % 256);
        let request = client.posting("/login").header("x-forwarded-for", ip);
        client.send(request.form(&[("email", email), ("password", OTHER_PASSWORD)]))
    });
    let statuses: Vec<u16> = answers.buffer_unordered(at_once).map(|answer| answer.status).collect().await;
    assert!(statuses.iter().all(|status| [422, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 422).count()
}

/// Counted for each account, for each network and in all; of one account no more than a hundred in a row, whoever guesses from
/// wherever, however long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_13_ten_thousand_guesses_are_no_more_than_the_budgets() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
        owner(&app, ANN).await;
        // ten of a pair, and one more each 90 seconds, should it take as long
        // one after the other first: of many at once those that are under way count as refused, and the limits in memory take the rest
        let of_one = compared_by(&app, "ben@example.org", (12, 1), 1).await
            + compared(&app, "ben@example.org", 3_000 / share(stack), 1).await;
        assert!((10..15).contains(&of_one), "{of_one}");
        assert_eq!(compared_in_all(&app, "eve@example.org", 3_000 / share(stack), 100).await, 100);
        assert_eq!(compared_in_all(&app, ANN, 4_000 / share(stack), 4_000).await, 100);
        // an hour later the account's budget is full again; a hundred in a row were refused all the same
        app.clock().advance(Duration::from_hours(1));
        assert_eq!([compared(&app, ANN, 50, 50).await, compared(&app, "eve@example.org", 50, 50).await], [0, 0]);
        let refused = login(&app, "192.0.2.1", ANN, PASSWORD).await;
        assert!(refused.status == 429 && refused.body.contains("try again in 23 hours"), "{}", refused.body);
        app.clock().advance(Duration::from_hours(23));
        app.purge().await;
        assert_eq!(compared(&app, ANN, 50, 50).await, 1, "one a day");
        // the mail is the other proof: who has it signs in, from a browser that never did
        let elsewhere = from(&app, "198.51.100.4");
        elsewhere.post("/forgot", &[("email", ANN)]).await;
        app.settle().await;
        let token = app.mails_to(ANN).await.last().unwrap().token().unwrap();
        let set = elsewhere.post("/reset", &[("token", &token), ("password", OTHER_PASSWORD)]).await;
        assert_eq!(set.status, 303, "{}", set.body);
        assert_eq!(elsewhere.login(ANN, OTHER_PASSWORD).await.status, 303);
        assert_eq!(login(&app, "198.51.100.5", ANN, OTHER_PASSWORD).await.status, 303, "the row is over");
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_13_a_success_ends_the_row_and_all_accounts_together_have_a_budget() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.login_account = rate(1_000, 60);
            options.config.limits.login_all = rate(250, 60);
        })
        .await;
        owner(&app, ANN).await;
        assert_eq!(compared(&app, ANN, 90, 90).await, 90);
        assert_eq!(login(&app, "192.0.2.1", ANN, PASSWORD).await.status, 303);
        assert_eq!(compared_in_all(&app, ANN, 400, 120).await, 100);
        // 190 of 250 are used
        let mut others = 0;
        for nth in 0..80 {
            let ip = format!("198.51.{nth}.1");
            others += usize::from(login(&app, &ip, &format!("p{nth}@example.org"), OTHER_PASSWORD).await.status == 422);
        }
        // one comes back in 14 seconds
        assert!((60..75).contains(&others), "{others}");
        app.settle().await;
    }
}

/// Whoever guesses is slowed down; its owner is not locked out by it, neither in a browser that signed in before, which has a
/// budget of its own, nor elsewhere, where a new password by mail works meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_18_guesses_at_an_account_are_slowed_down_and_its_owner_gets_in() {
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
        // however long they go on
        assert_eq!(compared(&app, ANN, 500, 100).await, 0);
        // the browser that signed in before has its own
        let since = Instant::now();
        assert_eq!(ann.login(ANN, PASSWORD).await.status, 303, "the owner gets in");
        assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
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
        assert_eq!(elsewhere.login(ANN, OTHER_PASSWORD).await.status, 303, "who reads the mail signs in at once");
        app.clock().advance(MINUTE * 10);
        assert_eq!(login(&app, "198.51.103.1", ANN, OTHER_PASSWORD).await.status, 303, "one comes back in ten minutes");
        app.settle().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_16_an_address_that_nobody_has_is_limited_like_one_that_somebody_has() {
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
async fn item_16_a_success_gives_back_its_own_pair_and_nothing_else() {
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

/// A network that signs in to an account of its own between its guesses at others is stopped as any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_16_a_success_gives_a_network_nothing_back() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.login_network = rate(30, 60);
        })
        .await;
        owner(&app, ANN).await;
        let mut guesses = Vec::new();
        for (ip, between) in [("192.0.2.1", true), ("198.51.100.1", false)] {
            let mut nth = 0;
            loop {
                if between && login(&app, ip, ANN, PASSWORD).await.status == 429 {
                    break;
                }
                if login(&app, ip, &format!("p{nth}@example.org"), OTHER_PASSWORD).await.status == 429 {
                    break;
                }
                nth += 1;
            }
            guesses.push(nth);
        }
        assert_eq!(guesses, [5, 5], "six for each account that the network had not tried");
        assert_eq!(login(&app, "192.0.2.1", ANN, PASSWORD).await.status, 429);
        app.settle().await;
    }
}

/// Many at once are no way around a budget: what is under way is counted, in each process, until it is known and counted for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_14_two_hundred_guesses_at_once_are_no_more_than_one_after_the_other() {
    for stack in STACKS {
        let app = app(stack).await;
        owner(&app, ANN).await;
        let tries = (0..100).map(|_| login(&app, "192.0.2.1", ANN, OTHER_PASSWORD));
        let answers = futures_util::future::join_all(tries).await;
        let guessed = answers.iter().filter(|answer| answer.status == 422).count();
        assert!((1..=3).contains(&guessed), "{guessed} of 100 were compared");
        assert!(answers.iter().all(|answer| [422, 429].contains(&answer.status)));
        let all = guessed + compared(&app, ANN, 100, 100).await;
        assert!((4..=6).contains(&all), "{all} of 200 were compared");
        // a process that has just started finds the budget as it was left
        let node = app.another_node(Parts::only(["web"]).unwrap()).await;
        assert!(all + compared(&node, ANN, 100, 100).await <= 6);
        // of two processes at once each may have a budget's worth under way, and no more
        let (here, there) =
            tokio::join!(compared(&app, "ben@example.org", 50, 50), compared(&node, "ben@example.org", 50, 50));
        assert!((6..=12).contains(&(here + there)), "{here} and {there}");
        app.settle().await;
    }
}

/// However an address is written, it is one address with one budget: in capitals, with spaces around it, in the letters of its own
/// script or as a mail server has it. What is refused as no address leads to no account either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_15_however_an_address_is_written_it_has_one_budget() {
    const OWN: &str = "ann.lee@b\u{fc}cher.example";
    let mut chance = Chance::new();
    for stack in STACKS {
        let app = app(stack).await;
        let registered = from(&app, "203.0.113.7");
        registered.register(OWN, PASSWORD, "Ann").await;
        app.settle().await;
        let token = app.mails().await.last().unwrap().token().unwrap();
        assert_eq!(registered.post("/confirm", &[("token", &token)]).await.status, 303);
        let canonical = Address::parse(OWN).unwrap().canonical().to_owned();
        let (mut guesses, mut refused, mut no_address) = (0, 0, 0);
        for nth in 0..40 {
            let typed = another_spelling(&mut chance, OWN);
            if let Ok(address) = Address::parse(&typed) {
                assert_eq!(address.canonical(), canonical, "{typed:?}");
                let status = login(&app, "192.0.2.1", &typed, OTHER_PASSWORD).await.status;
                let wanted = if guesses < 3 { 422 } else { 429 };
                assert_eq!(status, wanted, "guess {nth}, {typed:?}, TEST_SEED={}", chance.seed);
                guesses += 1;
                refused += usize::from(status == 429);
            } else {
                let status = login(&app, "198.51.100.1", &typed, PASSWORD).await.status;
                assert!([422, 429].contains(&status), "{typed:?} opens nothing");
                no_address += 1;
            }
        }
        println!("{guesses} spellings of one address, of which {refused} came too late; {no_address} of none");
        assert!(refused > 10, "TEST_SEED={}", chance.seed);
        app.settle().await;
    }
}

/// The same address for whoever types it, or what might be taken for it.
fn another_spelling(chance: &mut Chance, address: &str) -> String {
    let (local, domain) = address.split_once('@').unwrap();
    let domain = match chance.below(6) {
        0 => domain.replace('\u{fc}', "u\u{308}"),
        1 => domain.replace('.', "\u{ff0e}"),
        2 | 3 => "xn--bcher-kva.example".to_owned(),
        _ => domain.to_owned(),
    };
    let around =
        |chance: &mut Chance| ["", "", " ", "\t", "\r\n ", "\u{a0}"][usize::try_from(chance.below(6)).unwrap()];
    let mut typed = around(chance).to_owned();
    for letter in format!("{local}@{domain}").chars() {
        if chance.below(2) == 0 { typed.extend(letter.to_uppercase()) } else { typed.push(letter) }
    }
    typed + around(chance)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_19_a_network_that_goes_through_many_accounts_pays_more_and_so_do_its_neighbours() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            (options.config.limits.login_network, options.config.limits.login_pair) = (rate(18, 60), rate(50, 15));
        })
        .await;
        let stuff =
            async |ip: &str, nth: usize| login(&app, ip, &format!("p{nth}@example.org"), OTHER_PASSWORD).await.status;
        assert_eq!([stuff("192.0.2.1", 1).await, stuff("192.0.2.1", 2).await], [422; 2]);
        assert_eq!(stuff("192.0.2.1", 3).await, 422);
        assert_eq!(stuff("192.0.2.1", 4).await, 429, "three accounts cost eighteen");
        // one account: the first guess costs six, the others one
        for _ in 0..13 {
            assert_eq!(stuff("192.0.3.1", 1).await, 422);
        }
        assert_eq!(stuff("192.0.3.1", 1).await, 429);
        // a whole network of networks has four times as much
        let mut compared = 0;
        for nth in 1..=20 {
            let ip = format!("2001:db8:7:{nth:x}::1");
            compared += usize::from(stuff(&ip, nth).await == 422);
        }
        assert_eq!(compared, 12, "72 for the /48, six for each");
        assert_eq!(stuff("2001:db8:8:1::1", 30).await, 422, "its neighbour's are its own");
        app.settle().await;
    }
}

/// F70: a stranger at the allowed rate filled the disk with rows that say nothing to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_network_is_refused_of_addresses_that_nobody_has_is_one_row_for_a_minute() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
        owner(&app, ANN).await;
        for nth in 0..20 {
            let email = format!("p{nth}@example.org");
            assert_eq!(login(&app, "2001:db8:7:1::9", &email, OTHER_PASSWORD).await.status, 422);
        }
        // of an account that somebody has, for its owner
        assert_eq!(login(&app, "2001:db8:7:1::9", ANN, OTHER_PASSWORD).await.status, 422);
        assert_eq!(login(&app, "2001:db8:7:2::9", "p1@example.org", OTHER_PASSWORD).await.status, 422);
        app.settle().await;
        let rows = async || {
            let sql = "select ip, user_agent, attempted, refusals from login_log
                       where type = 'login.failed' and user_id is null order by refusals, id";
            app.db().query(sql).all::<(String, String, Option<String>, i64)>().await.unwrap()
        };
        let first = rows().await;
        assert!((7..=10).contains(&first.len()) && first.iter().all(|row| row.3 == 1), "{first:?}");
        maintenance::sum_up(&app.app.accounts).await;
        app.settle().await;
        assert_eq!(rows().await.len(), first.len(), "the minute is not over");
        app.clock().advance(MINUTE * 3);
        for _ in 0..2 {
            maintenance::sum_up(&app.app.accounts).await;
        }
        app.settle().await;
        let all = rows().await;
        // the tries may have been in two minutes
        let sums: Vec<_> = all.iter().filter(|row| row.3 > 1 || row.2.is_none()).collect();
        assert!((1..=2).contains(&sums.len()), "{all:?}");
        assert!(sums.iter().all(|(ip, agent, ..)| ip == "2001:db8:7:1::" && agent.is_empty()), "{all:?}");
        assert_eq!(all.iter().map(|row| row.3).sum::<i64>(), 21, "{all:?}");
        let (left, of_ann): (i64, i64) = app
            .db()
            .query(
                "select (select count(*) from refusal_sums),
                   (select count(*) from login_log where type = 'login.failed' and user_id is not null)",
            )
            .one()
            .await
            .unwrap();
        assert_eq!((left, of_ann), (0, 1));
        app.clock().advance(Duration::from_hours(400 * 24));
        app.purge().await;
        assert!(rows().await.is_empty(), "nothing stays for ever");
    }
}

/// With the budgets as they are: who goes through a list of accounts is stopped at the fiftieth, and fifty people behind one address
/// who know their passwords notice nothing of each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_19_a_list_of_accounts_is_stopped_and_fifty_neighbours_sign_in() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
        let mut config = (*app.app.config).clone();
        config.http.limits = false;
        let unlimited = app.node(Parts::only(["web"]).unwrap(), config).await;
        let people: Vec<String> = (0..50).map(|nth| format!("p{nth}@site{nth}.example")).collect();
        for (nth, email) in people.iter().enumerate() {
            let client = from(&unlimited, &format!("198.51.100.{nth}"));
            assert_eq!(client.register(email, PASSWORD, "Ann").await.status, 303);
        }
        app.settle().await;
        for email in &people {
            let token = app.mails_to(email).await[0].token().unwrap();
            let fields = [("token", token.as_str()), ("password", PASSWORD)];
            assert_eq!(unlimited.client().post("/confirm", &fields).await.status, 303);
        }
        for email in &people {
            assert_eq!(login(&app, "203.0.113.7", email, PASSWORD).await.status, 303, "{email}");
        }
        let mut guesses = 0;
        while login(&app, "192.0.2.1", &format!("list{guesses}@example.org"), OTHER_PASSWORD).await.status == 422 {
            guesses += 1;
        }
        // one comes back in 18 seconds
        assert!((50..54).contains(&guesses), "{guesses}");
        assert_eq!(login(&app, "192.0.2.1", "list500@example.org", OTHER_PASSWORD).await.status, 429);
        app.settle().await;
    }
}

/// Whoever asks, from wherever: three mails in an hour and ten in a day, and the same answer to all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_31_a_thousand_registrations_of_one_address_are_three_mails() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        })
        .await;
        let register = async |many: usize| {
            let client = app.client();
            let fields = [("email", ANN), ("password", PASSWORD), ("name", "Ann")];
            let answers = iter(0..many).map(|nth| {
                let ip = format!("2001:db8:{:x}:{:x}::7", nth / 256, nth % 256);
                // a browser of its own
                let request = client.posting("/register").header("x-forwarded-for", ip).header("cookie", "x=y");
                client.send(request.form(&fields))
            });
            let answers: Vec<Answer> = answers.buffer_unordered(16).collect().await;
            let is_the_same = |answer: &Answer| answer.status == 303 && answer.header("location") == "/register/sent";
            assert!(answers.iter().all(is_the_same), "{answers:?}");
            app.settle().await;
            app.mails_to(ANN).await.len()
        };
        assert_eq!(register(1_000 / share(stack)).await, 3);
        let mut sent = 3;
        for _ in 0..9 {
            app.clock().advance(Duration::from_mins(61));
            sent = register(5).await;
        }
        // ten of a day, and what has come back of them meanwhile
        assert!((10..=14).contains(&sent), "{sent}");
    }
}

/// As many /64s as somebody likes are one network around them; and who is over it uses up nobody else's mails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_31_a_wide_network_causes_no_more_mails_than_four_of_its_networks() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.mail_network = rate(2, 60);
            options.config.limits.mail_address_hour = rate(1, 60);
        })
        .await;
        for nth in 0..12 {
            let flooder = from(&app, &format!("2001:db8:7:{nth:x}::1"));
            flooder.register(&format!("p{nth}@example.org"), PASSWORD, "Eve").await;
            app.settle().await;
        }
        let mut sent = Vec::new();
        for nth in 0..12 {
            sent.push(app.mails_to(&format!("p{nth}@example.org")).await.len());
        }
        assert_eq!(sent.iter().sum::<usize>(), 8, "{sent:?}");
        let ann = from(&app, "192.0.2.1");
        ann.register("p11@example.org", PASSWORD, "Ann").await;
        app.settle().await;
        assert_eq!(app.mails_to("p11@example.org").await.len(), 1, "the address had none yet");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_31_a_network_causes_no_more_mails_than_its_budget_and_is_not_told() {
    for stack in STACKS {
        let app = TestApp::start_with(stack, |options| {
            options.config.http.limits = true;
            options.config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
            options.config.limits.mail_network = rate(2, 60);
            options.config.limits.mail_domain = rate(4, 60);
            options.config.limits.mail_all = rate(5, 60);
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
        let last = from(&app, "198.51.100.4").register("p8@example.com", PASSWORD, "Ann").await;
        assert_eq!((last.status, &last.body), (answers[0].0, &answers[0].1));
        app.settle().await;
        assert_eq!(app.mails_to("p8@example.com").await.len(), 0, "all together have had their five");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_45_a_network_that_guesses_at_links_is_to_wait() {
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
        // another site's pictures, which whoever looks at it asks for, are refused and count for nothing
        for _ in 0..10 {
            let picture = stranger.http.get(format!("{}/reset?token=x", app.url)).header("sec-fetch-dest", "image");
            assert_eq!(stranger.send(picture).await.status, 403);
        }
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
async fn item_8_a_session_that_guesses_at_the_password_is_to_wait() {
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
