//! The same story on the stacks in between: each of the three settings alone.

use secrecy::SecretString;

use crate::support::app::{PASSWORD, Stack, TestApp, within};
use crate::support::smtp::Sink;
use crate::support::{postgres, rabbit};

async fn the_story(app: &TestApp) {
    app.signed_in_client("ann@example.org").await;
    let client = app.client();
    assert_eq!(client.login("ann@example.org", PASSWORD).await.status, 303);
    app.settle().await;
    let activity = client.get("/api/v1/me/activity").await.json();
    assert_eq!(activity["items"].as_array().map(Vec::len), Some(2), "{activity}");
    within("all to be well", async || client.get("/readyz").await.json()["degraded"] == serde_json::json!([])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_with_queues_in_the_database() {
    let database = postgres::database().await;
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.data.database_url = Some(SecretString::from(database));
    });
    the_story(&app.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_with_rabbitmq() {
    let vhost = rabbit::vhost().await;
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.messaging.broker_url = Some(SecretString::from(vhost));
    });
    the_story(&app.await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_with_a_mail_server() {
    let sink = Sink::start().await;
    let url = sink.url();
    let mut app = TestApp::start_with(Stack::Small, |options| {
        options.config.mail.smtp_url = Some(SecretString::from(url));
    })
    .await;
    app.sink = Some(sink);
    the_story(&app).await;
}
