//! Users of the broker who may do what their part does and no more: made by scripts/rabbitmq-users, listed in
//! docs/messaging.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use bellhop::app::Parts;
use bellhop::config::TopologyMode;
use bellhop::listeners;
use bellhop::messaging::broker::{BrokerHealth, Publication, Published};
use bellhop::messaging::message::Message;
use bellhop::messaging::operator::DeadLetterFilter;
use bellhop::messaging::topology::{EVENTS, Queue, QueueKind, Topology, dead};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeBindOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ErrorKind};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use super::{beside, until};
use crate::support::app::{PASSWORD, Stack, TestApp};
use crate::support::{rabbit, servers};

/// Who makes the topology.
const SET_UP: &str = "bellhop-setup";

/// A vhost with Bellhop's topology in it, and what its users may do there.
struct Setup {
    vhost: Url,
    /// By user.
    passwords: BTreeMap<String, String>,
}

impl Setup {
    /// Users belong to the whole broker: whoever comes second gives them the passwords that they have.
    async fn new() -> Self {
        static PASSWORDS: Mutex<String> = Mutex::const_new(String::new());
        let vhost = Url::parse(&rabbit::vhost().await).expect("a URL");
        let mut known = PASSWORDS.lock().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("passwords");
        if !known.is_empty() {
            std::fs::write(&file, &*known).expect("the folder is ours");
        }
        let (name, into) = (vhost.path().trim_start_matches('/').to_owned(), file.clone());
        let said = tokio::task::spawn_blocking(move || make_users(&into, &name)).await.expect("no panic");
        *known = std::fs::read_to_string(&file).expect("the script wrote it");
        let passwords: BTreeMap<String, String> = known
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(user, password)| (user.to_owned(), password.to_owned()))
            .collect();
        assert!(passwords.values().all(|password| password.len() >= 32 && !said.contains(password)), "{said}");

        let setup = Self { vhost, passwords };
        setup.set_up().await;
        setup
    }

    fn url(&self, user: &str) -> String {
        let mut url = self.vhost.clone();
        url.set_username(user).expect("it has a host");
        url.set_password(Some(&self.passwords[user])).expect("it has a host");
        url.into()
    }

    /// What `bellhop queues` does with the URL of the user for it: makes the topology, and looks.
    async fn set_up(&self) {
        let app = TestApp::start_with(Stack::Small, |options| {
            options.parts = Parts { web: false, relay: false, queues: [].into() };
            options.config.messaging.broker_url = Some(SecretString::from(self.url(SET_UP)));
        })
        .await;
        app.app.depths().await.expect("connected");
        assert_eq!(app.app.broker.health().await, BrokerHealth::Up);
    }
}

/// Runs the script; what it said.
fn make_users(file: &Path, vhost: &str) -> String {
    let scripts = Path::new("scripts");
    let output = Command::new(scripts.join("rabbitmq-users"))
        .args([file, Path::new(vhost), &scripts.join("servers/rabbitmq")])
        .args(["ctl", &servers::setting("TEST_BROKER_DIR")])
        .stdin(Stdio::null())
        .output()
        .expect("the script runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_part_does_its_work_as_a_user_who_may_do_no_more() {
    let setup = Setup::new().await;
    let settings = |user: &str, config: &mut bellhop::config::Config| {
        config.messaging.broker_url = Some(SecretString::from(setup.url(user)));
        config.messaging.topology = TopologyMode::Verify;
    };
    let mut web = TestApp::start_with(Stack::Large, |options| {
        options.parts = Parts::only(["web"]).expect("a part");
        settings("bellhop-web", &mut options.config);
    })
    .await;
    let mut others = BTreeMap::new();
    let listeners = listeners::LISTENERS.iter().map(|listener| format!("listener:{}", listener.queue));
    for part in listeners.chain(["relay".to_owned()]) {
        let mut config = (*web.app.config).clone();
        settings(&format!("bellhop-{}", part.trim_start_matches("listener:")), &mut config);
        others.insert(part.clone(), web.node(Parts::only([part.as_str()]).expect("a part"), config).await);
    }

    // a mail that fails first, so that its message waits in a tier
    let mut sink = web.sink.take().expect("the large stack has one");
    sink.stop().await;
    let ann = web.client();
    assert_eq!(ann.register("ann@example.org", PASSWORD, "Ann").await.status, 303);
    until("the first try to fail", async || {
        ann.get("/register/status").await.json()["state"] == serde_json::json!("delayed")
    })
    .await;
    sink.restart().await;
    web.sink = Some(sink);
    web.settle().await;
    let token = web.mails_to("ann@example.org").await[0].token().expect("a link");
    assert_eq!(ann.post("/confirm", &[("token", &token)]).await.status, 303);
    assert_eq!(web.client().login("ann@example.org", PASSWORD).await.status, 303);
    web.settle().await;
    let log = ann.get("/api/v1/me/activity").await.json();
    assert_eq!(log["items"][0]["type"], "login.succeeded", "{log}");

    // what no listener can read rests
    for (key, queue) in [("user.registered", "confirmation"), ("login.failed", "login-log")] {
        let id = Uuid::now_v7();
        let message =
            Message { id, kind: key.into(), body: b"{}".into(), traceparent: None, attempt: 0, failure: None };
        let publication = Publication { exchange: EVENTS, routing_key: key.into(), message };
        assert_eq!(others["relay"].app.broker.publish(vec![publication]).await, [Published::Confirmed]);
        until("a dead letter", async || {
            let depths = web.app.depths().await.expect("connected");
            depths.iter().any(|depth| depth.queue == dead(queue) && depth.messages == 1)
        })
        .await;
    }

    // an operator sees what rests, puts one back, and gives one up
    let mut config = (*web.app.config).clone();
    settings("bellhop-operator", &mut config);
    let idle = Parts { web: false, relay: false, queues: [].into() };
    let operator = web.node(idle, config).await.unfinished();
    operator.app.depths().await.expect("connected");
    let hands = operator.app.operator();
    assert_eq!(hands.dead_letters(&DeadLetterFilter::default()).await.expect("seen").len(), 2);
    let of = |queue: &str| DeadLetterFilter { queue: Some(queue.into()), ..DeadLetterFilter::default() };
    assert_eq!(hands.redrive(&of("login-log")).await.expect("put back").len(), 1);
    until("it to rest again", async || hands.dead_letters(&of("login-log")).await.expect("seen").len() == 1).await;
    assert_eq!(hands.discard(&of("confirmation")).await.expect("given up").len(), 1);
    // the relay may bring to a queue what its listener has missed
    let since = web.clock().now() - std::time::Duration::from_hours(1);
    others["relay"].app.reconciler().replay(since, None).await.expect("looked");

    // a node hears
    let node = Queue { name: "node.another".into(), kind: QueueKind::Node };
    let hears = web.app.broker.consume(&node, 1, tokio_util::sync::CancellationToken::new()).await.expect("running");
    hears.subscribed().wait_for(Option::is_some).await.expect("a subscription");
    for (part, node) in &others {
        assert_eq!(node.app.broker.health().await, BrokerHealth::Up, "{part}");
    }
    assert_eq!(web.app.broker.health().await, BrokerHealth::Up);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_missing_is_told_until_it_is_given() {
    let setup = Setup::new().await;
    let app = TestApp::start_with(Stack::Small, |options| {
        options.parts = Parts::only(["web"]).expect("a part");
        options.config.messaging.broker_url = Some(SecretString::from(setup.url("bellhop-web")));
        options.config.messaging.topology = TopologyMode::Verify;
    })
    .await;
    let broker = &app.app.broker;
    until("connected", async || broker.health().await == BrokerHealth::Up).await;
    let publish = async || {
        let message = super::message("login.succeeded");
        let publication = Publication { exchange: EVENTS, routing_key: message.kind.clone(), message };
        broker.publish(vec![publication]).await.remove(0)
    };
    let Published::Failed(reason) = publish().await else { panic!("it may not") };
    assert!(reason.contains("ACCESS_REFUSED"), "{reason}");
    let BrokerHealth::Degraded(told) = broker.health().await else { panic!("not told") };
    assert!(told.contains(r#"nothing can be published to "events""#) && told.contains(&reason), "{told}");

    let vhost = setup.vhost.path().trim_start_matches('/');
    rabbit::ctl(&["set_permissions", "-p", vhost, "bellhop-web", "^bellhop", "^bellhop", "^bellhop"]).await;
    until("published", async || publish().await == Published::Confirmed).await;
    assert_eq!(broker.health().await, BrokerHealth::Up);
}

/// Something that somebody may try on the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Deed {
    /// Makes an exclusive queue of this name.
    Make(String),
    /// Makes an exchange.
    MakeExchange(String),
    /// Binds a queue to an exchange.
    Bind(String, String),
    /// Binds an exchange to another.
    BindExchange(String, String),
    /// Publishes to an exchange. Nobody is bound for the key.
    Publish(String),
    Consume(String),
    Purge(String),
    Delete(String),
    /// Looks whether a queue is there.
    Look(String),
}

impl Deed {
    /// Whether the broker let it happen; on a channel of its own, for a refusal closes it.
    async fn is_allowed(&self, connection: &lapin::Connection) -> bool {
        let channel = connection.create_channel().await.expect("a channel");
        let Err(error) = self.attempt(&channel).await else {
            channel.close(200, "done".into()).await.expect("it lives");
            return true;
        };
        let ErrorKind::ProtocolError(refusal) = error.kind() else { panic!("{self:?}: {error}") };
        assert_eq!(refusal.get_id(), 403, "{self:?}: {error}");
        false
    }

    async fn attempt(&self, channel: &Channel) -> lapin::Result<()> {
        let nothing = FieldTable::default;
        match self {
            Deed::Make(queue) => {
                let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(queue.as_str().into(), options, nothing()).await.map(drop)
            }
            Deed::MakeExchange(exchange) => {
                let (kind, options) = (lapin::ExchangeKind::Fanout, ExchangeDeclareOptions::default());
                channel.exchange_declare(exchange.as_str().into(), kind, options, nothing()).await
            }
            Deed::Bind(queue, exchange) => {
                let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
                channel.queue_bind(queue, exchange, "nobody".into(), QueueBindOptions::default(), nothing()).await
            }
            Deed::BindExchange(to, from) => {
                let (to, from, options) = (to.as_str().into(), from.as_str().into(), ExchangeBindOptions::default());
                channel.exchange_bind(to, from, "nobody".into(), options, nothing()).await
            }
            Deed::Publish(exchange) => {
                channel.confirm_select(ConfirmSelectOptions::default()).await?;
                let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
                let sent =
                    channel.basic_publish(exchange.as_str().into(), "nobody".into(), options, b"", properties).await?;
                // a refusal comes in place of the confirm
                sent.await.map(drop)
            }
            Deed::Consume(queue) => {
                let tag = "".into();
                channel.basic_consume(queue.as_str().into(), tag, BasicConsumeOptions::default(), nothing()).await?;
                Ok(())
            }
            Deed::Purge(queue) => {
                channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await.map(drop)
            }
            Deed::Delete(queue) => {
                channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await.map(drop)
            }
            Deed::Look(queue) => {
                let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
                channel.queue_declare(queue.as_str().into(), passive, nothing()).await.map(drop)
            }
        }
    }
}

fn full(short: &str) -> String {
    format!("bellhop.{short}")
}

/// Everything that could be tried with the topology, and around it. What deletes comes last.
fn deeds(topology: &Topology) -> Vec<Deed> {
    let mut deeds = vec![
        Deed::Make("elsewhere".into()),
        Deed::Make(full("node.mine")),
        Deed::Make(full("mine")),
        Deed::MakeExchange("elsewhere".into()),
        Deed::MakeExchange(full("node.mine")),
        Deed::MakeExchange(full("mine")),
        Deed::Publish(String::new()),
        Deed::Publish("amq.topic".into()),
    ];
    for exchange in &topology.exchanges {
        deeds.push(Deed::Publish(full(exchange.name)));
        deeds.push(Deed::Bind(full("node.mine"), full(exchange.name)));
        deeds.push(Deed::BindExchange(full(exchange.name), full("events")));
    }
    for queue in &topology.queues {
        let name = full(&queue.name);
        deeds.extend([Deed::Look(name.clone()), Deed::Bind(name.clone(), full("events")), Deed::Consume(name.clone())]);
        deeds.extend([Deed::Purge(name.clone()), Deed::Delete(name)]);
    }
    deeds.extend([Deed::Consume(full("node.mine")), Deed::Delete(full("node.mine"))]);
    deeds
}

/// Whether a user is meant to be able to do it.
fn is_meant(user: &str, deed: &Deed) -> bool {
    let is_tier = |exchange: &str| exchange.starts_with("bellhop.wait.");
    let is_mine = |name: &str| name.starts_with("bellhop.node.");
    match (user, deed) {
        (SET_UP, Deed::Make(name) | Deed::MakeExchange(name)) => name != "elsewhere",
        (SET_UP, Deed::Publish(exchange)) => exchange != "amq.topic",
        (SET_UP, _) | (_, Deed::Look(_)) => true,
        ("bellhop-relay", Deed::Publish(exchange)) => ["bellhop.events", "bellhop.retry"].contains(&exchange.as_str()),
        ("bellhop-operator", Deed::Publish(exchange)) => ["", "bellhop.retry"].contains(&exchange.as_str()),
        ("bellhop-operator", Deed::Consume(queue) | Deed::Purge(queue)) => {
            queue.ends_with(".dead") || queue.starts_with("bellhop.wait.")
        }
        ("bellhop-web", Deed::Bind(queue, exchange)) => is_mine(queue) && exchange == "bellhop.broadcast",
        // it might as well call an exchange so, which nothing is bound to
        ("bellhop-web", Deed::Make(name) | Deed::MakeExchange(name) | Deed::Consume(name) | Deed::Delete(name)) => {
            is_mine(name)
        }
        ("bellhop-relay" | "bellhop-operator" | "bellhop-web", _) => false,
        // not the default exchange, which leads to every queue at once; a tier does so in the end
        (_, Deed::Publish(exchange)) => exchange == "bellhop.dead" || is_tier(exchange),
        (listener, Deed::Consume(queue) | Deed::Purge(queue)) => {
            *queue == full(listener.trim_start_matches("bellhop-"))
        }
        _ => false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_may_do_more_than_their_part_does() {
    let setup = Setup::new().await;
    let topology = Topology::new(listeners::bindings(), &listeners::node::KEYS, [std::time::Duration::ZERO; 5]);
    let users: Vec<&str> = setup.passwords.keys().map(String::as_str).collect();
    let queues = listeners::LISTENERS.map(|listener| listener.queue);
    let mut wanted: Vec<String> =
        ["setup", "relay", "operator", "web"].iter().chain(&queues).map(|part| format!("bellhop-{part}")).collect();
    wanted.sort();
    assert_eq!(users, wanted, "a user for each part and each listener: scripts/rabbitmq-users");

    // who may delete comes last
    for user in users.iter().filter(|user| **user != SET_UP).chain([&SET_UP]) {
        let (connection, channel) = beside(&setup.url(user)).await;
        if *user == "bellhop-web" || *user == SET_UP {
            Deed::Make(full("node.mine")).attempt(&channel).await.expect("allowed");
        }
        let (mut allowed, mut refused) = (0, 0);
        for deed in deeds(&topology) {
            let is_allowed = deed.is_allowed(&connection).await;
            assert_eq!(is_allowed, is_meant(user, &deed), "{user}: {deed:?}");
            if is_allowed { allowed += 1 } else { refused += 1 }
        }
        println!("{user}: {allowed} deeds allowed, {refused} refused");
    }
}

/// The rows of the table of users in docs/messaging.md: user, configure, write, read.
fn documented() -> BTreeMap<String, [String; 3]> {
    let paper = std::fs::read_to_string("docs/messaging.md");
    let paper = paper.expect("the paper is there").replace(r"\|", "\u{1}");
    let rows = paper.lines().filter(|line| line.starts_with("| `bellhop-"));
    rows.map(|row| {
        let cells: Vec<String> =
            row.split('|').map(|cell| cell.trim().trim_matches('`').replace('\u{1}', "|")).collect();
        (cells[1].clone(), [cells[2].clone(), cells[3].clone(), cells[4].clone()])
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_users_are_those_that_the_paper_lists() {
    let setup = Setup::new().await;
    let name = setup.vhost.path().trim_start_matches('/');
    let granted: Value =
        serde_json::from_str(&rabbit::ctl(&["list_permissions", "-p", name, "--formatter", "json"]).await)
            .expect("JSON");
    let text = |row: &Value, key: &str| row[key].as_str().expect("a text").to_owned();
    let granted: BTreeMap<String, [String; 3]> = granted
        .as_array()
        .expect("rows")
        .iter()
        .filter(|row| row["user"] != "guest")
        .map(|row| (text(row, "user"), ["configure", "write", "read"].map(|right| text(row, right))))
        .collect();
    assert_eq!(documented(), granted);

    let tags: Value = serde_json::from_str(&rabbit::ctl(&["list_users", "--formatter", "json"]).await).expect("JSON");
    let ours = tags.as_array().expect("rows").iter().filter(|row| text(row, "user").starts_with("bellhop-"));
    assert!(ours.clone().count() > 0 && ours.clone().all(|row| row["tags"] == serde_json::json!([])), "{tags}");
}
