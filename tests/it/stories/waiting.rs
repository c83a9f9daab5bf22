//! What the browser that registered is shown meanwhile: the same for every address, whoever has it.

use std::time::Duration;

use bellhop::app::Parts;

use crate::support::app::{HttpClient, Letter, OTHER_PASSWORD, PASSWORD, Stack, TestApp, within, without_times};
use crate::support::events::Events;
use crate::support::smtp::{Phase, Script, Step};

const STACKS: [Stack; 2] = [Stack::Small, Stack::Large];

async fn status(client: &HttpClient) -> String {
    client.get("/register/status").await.json()["state"].as_str().unwrap().to_owned()
}

/// What the waiting page and its API show, but for the address.
async fn shown(client: &HttpClient, email: &str) -> (String, String) {
    let told = without_times(&client.get("/register/status").await.body);
    (told, without_times(&client.get("/register/sent").await.body.replace(email, "ADDRESS")))
}

/// F42: the stranger's page runs on when the owner confirms a registration of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_registered_somebodys_address_cannot_see_the_owner_confirm() {
    for stack in STACKS {
        let app = TestApp::mailing(stack, |_| {}).await;
        let (victim, nobody) = ("victim@example.org", "nobody@example.org");
        let (stranger, control) = (app.client(), app.client());
        stranger.register(victim, OTHER_PASSWORD, "Eve").await;
        control.register(nobody, OTHER_PASSWORD, "Eve").await;
        app.settle().await;
        let stranger_link = app.mails_to(victim).await[0].token().unwrap();
        // two more whose mails have not come through when the owner confirms
        let (late, late_control) = (app.client(), app.client());
        app.signed_in_client(victim).await;
        late.register(victim, OTHER_PASSWORD, "Eve").await;
        late_control.register("late@example.org", OTHER_PASSWORD, "Eve").await;
        app.settle().await;
        let alike = async |what: &str| {
            assert_eq!(shown(&stranger, victim).await, shown(&control, nobody).await, "{what}");
            assert_eq!(shown(&late, victim).await, shown(&late_control, "late@example.org").await, "{what}");
            status(&stranger).await
        };
        assert_eq!(alike("when the owner has confirmed").await, "sent");
        // which only its reader can ask
        let told = app.client().get(&format!("/confirm?token={stranger_link}")).await;
        assert!(told.status == 200 && told.body.contains("Your address is confirmed"), "{}", told.body);
        let tried = [("token", stranger_link.as_str()), ("password", OTHER_PASSWORD)];
        let tried = stranger.post("/confirm", &tried).await;
        assert_eq!((tried.status, tried.headers.contains_key("set-cookie")), (200, false), "it opens nothing");
        app.clock().advance(app.app.accounts.lifetimes.purge_after.checked_sub(Duration::from_secs(30)).unwrap());
        app.purge().await;
        assert_eq!(alike("before its time is over").await, "sent");
        app.clock().advance(Duration::from_mins(1));
        assert_eq!(alike("after its time").await, "unknown");
        app.purge().await;
        assert_eq!(alike("when it is gone").await, "unknown");
        let (left,): (i64,) = app.db().query("select count(*) from registrations").one().await.unwrap();
        assert_eq!(left, 0);
    }
}

/// F48: nobody waits for the rivals of a confirmed address to be deleted; they go with what expires, in batches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirmation_touches_no_rival() {
    for stack in STACKS {
        let app = TestApp::start(stack).await;
        for _ in 0..5 {
            app.client().register("ann@example.org", OTHER_PASSWORD, "Eve").await;
        }
        app.settle().await;
        app.signed_in_client("ann@example.org").await;
        let left = async || app.db().query("select count(*) from registrations").one::<(i64,)>().await.unwrap().0;
        assert_eq!(left().await, 6, "the one that was confirmed stays too");
        app.clock().advance(app.app.accounts.lifetimes.purge_after * 2);
        let purge = bellhop::account::purge::purges(&app.app.accounts.lifetimes)[0];
        assert_eq!(purge.run(app.db(), app.clock(), 2).await.unwrap(), 2, "no more at once than asked for");
        app.purge().await;
        assert_eq!(left().await, 0);
    }
}

/// A state of the mail server.
struct State {
    name: &'static str,
    script: fn() -> Script,
    /// Nothing listens.
    down: bool,
    /// The listeners have just been started: no mail was tried yet.
    fresh: bool,
    /// One mail to the same domain hangs, which is as many as may.
    full: bool,
    /// What is shown in the end.
    shown: &'static str,
}

const UP: State = State { name: "up", script: Script::default, down: false, fresh: false, full: false, shown: "sent" };

/// F45: in every state of the mail server a free, a pending and a taken address are shown the same, as far as one look each can
/// tell. How long it takes is measured in `timing::delivery`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn item_43_free_pending_and_taken_addresses_are_shown_the_same_in_every_state_of_the_mail_server() {
    let states = [
        UP,
        State {
            name: "slow",
            script: || Script::default().on(Phase::Dot, Step::delay(Duration::from_millis(300))),
            ..UP
        },
        State { name: "down", down: true, shown: "delayed", ..UP },
        State { name: "down, never tried", down: true, fresh: true, shown: "delayed", ..UP },
        State { name: "never tried", fresh: true, ..UP },
        State {
            name: "RCPT 450",
            script: || Script::default().on(Phase::Rcpt, Step::reply("450 4.2.1 busy")),
            shown: "delayed",
            ..UP
        },
        State {
            name: "RCPT 550",
            script: || Script::default().on(Phase::Rcpt, Step::reply("550 5.1.1 unknown")),
            shown: "rejected",
            ..UP
        },
        State {
            name: "dot 451",
            script: || Script::default().on(Phase::Dot, Step::reply("451 4.3.0 later")),
            shown: "delayed",
            ..UP
        },
        State {
            name: "MAIL 550",
            script: || Script::default().on(Phase::Mail, Step::reply("550 5.1.8 sender")),
            shown: "delayed",
            ..UP
        },
        State { name: "domain cap", full: true, shown: "delayed", ..UP },
    ];
    for stack in STACKS {
        for state in &states {
            let looked = look(stack, state).await;
            let told = looked[0].1.clone();
            let wanted = CLASSES.map(|(class, _)| (class, told.clone()));
            assert_eq!(looked, wanted, "mail {} on {stack:?}", state.name);
            let told: serde_json::Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["state"], state.shown, "mail {} on {stack:?}", state.name);
        }
    }
}

/// Kinds of addresses. Two have had as many mails as an address may get.
const CLASSES: [(&str, &str); 5] = [
    ("free", "free@a.example"),
    ("pending", "pending@a.example"),
    ("taken", "taken@a.example"),
    ("free, over budget", "wanted@a.example"),
    ("taken, over budget", "told@a.example"),
];

/// What each kind of address is shown in a state.
async fn look(stack: Stack, state: &State) -> [(&'static str, String); 5] {
    let mut app = TestApp::mailing(stack, |options| options.config.http.limits = true).await.unfinished();
    for taken in ["taken@a.example", "told@a.example"] {
        app.signed_in_client(taken).await;
    }
    for email in ["told@a.example", "told@a.example", "wanted@a.example", "wanted@a.example", "wanted@a.example"] {
        app.client().register(email, PASSWORD, "Eve").await;
    }
    app.client().register("pending@a.example", PASSWORD, "Ann").await;
    app.settle().await;
    let mut sink = app.sink.take().unwrap();
    sink.set((state.script)());
    if state.down {
        sink.stop().await;
    }
    let fresh;
    let node = if state.fresh {
        app.end().await;
        fresh = app.another_node(Parts::all()).await.unfinished();
        &fresh
    } else {
        &app
    };
    if state.full {
        sink.set(Script::default().on_recipient("hangs@a.example", Step::hang()));
        let before = sink.attempts();
        node.client().register("hangs@a.example", PASSWORD, "Ann").await;
        sink.wait_for_attempts(before + 1).await;
    }
    if !state.fresh && !state.full {
        // one that goes the whole way
        let first = node.client();
        first.register("first@b.example", PASSWORD, "Ann").await;
        within("the first one", async || status(&first).await != "queued").await;
    }
    let mut looked = Vec::new();
    for (class, email) in CLASSES {
        let client = node.client();
        client.register(email, PASSWORD, "Eve").await;
        // as a page hears it, with the reason and the words
        let mut page = Events::open(&client, "/register/sent/events").await.unwrap();
        let said = loop {
            let (_, said) = page.next().await.unwrap();
            if said["state"] != "queued" {
                break said;
            }
        };
        looked.push((class, without_times(&said.to_string())));
    }
    let mails: Vec<Letter> = sink.mails().iter().map(Letter::from).collect();
    for email in ["told@a.example", "wanted@a.example"] {
        assert_eq!(mails.iter().filter(|mail| mail.to == email).count(), 3, "no more than three to {email}");
    }
    looked.try_into().unwrap()
}
