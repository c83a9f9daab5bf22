//! The picture in the README, taken from the running product.

use axum::http::header::{SET_COOKIE, USER_AGENT};
use bellhop::clock::Timestamp;
use serde_json::json;

use crate::support::app::{OTHER_PASSWORD, PASSWORD, Stack, TestApp};
use crate::support::browser::Options;

use super::visit::Visit;

/// The whole page, down to its footer.
const SIZE: (u32, u32) = (1280, 1700);
const EMAIL: &str = "ada@example.org";

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                      Version/18.5 Mobile/15E148 Safari/604.1";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 \
                       Mobile Safari/537.36";

/// Sign-ins, oldest first: when, from where, with what, whether the password was right.
const SIGN_INS: [(&str, &str, &str, bool); 4] = [
    ("2026-03-02T08:04:00Z", "203.0.113.24", FIREFOX, true),
    ("2026-03-06T17:31:00Z", "2001:db8:24::7", IPHONE, true),
    ("2026-03-09T02:48:00Z", "198.51.100.77", ANDROID, false),
    ("2026-03-09T08:12:00Z", "203.0.113.24", FIREFOX, true),
];

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The account page after a week, with its sign-ins at their times; writes it to the file named by `TEST_SCREENSHOT`, if
/// that is set: `TEST_SCREENSHOT=docs/screenshot.png scripts/test pages::screenshot`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_account_page_is_worth_a_picture() {
    let app = TestApp::start_with(Stack::Small, |options| {
        options.config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let client = app.client();
    client.register(EMAIL, PASSWORD, "Ada Lindgren").await;
    app.settle().await;
    let token = app.mails_to(EMAIL).await[0].token().unwrap();
    client.post("/confirm", &[("token", &token)]).await;
    let mut cookie = String::new();
    for (_, ip, agent, right) in SIGN_INS {
        let client = app.client();
        let password = if right { PASSWORD } else { OTHER_PASSWORD };
        let request = client.posting("/login").header("x-forwarded-for", ip).header(USER_AGENT, agent);
        let answer = client.send(request.form(&[("email", EMAIL), ("password", password)])).await;
        assert_eq!(answer.status, if right { 303 } else { 422 });
        cookie = answer.headers.get(SET_COOKIE).map_or("", |value| value.to_str().unwrap()).to_owned();
    }
    app.settle().await;
    let ids: Vec<(uuid::Uuid,)> =
        app.db().query("select id from login_log where type like 'login.%' order by at, id").all().await.unwrap();
    let mut tx = app.db().begin().await.unwrap();
    for ((id,), (at, ..)) in ids.into_iter().zip(SIGN_INS) {
        tx.query("update login_log set at = $1 where id = $2").bind(time(at)).bind(id).execute().await.unwrap();
    }
    let arrival = time("2026-03-02T08:00:00Z");
    tx.query("update users set created_at = $1").bind(arrival).execute().await.unwrap();
    let confirmed = tx.query("update login_log set at = $1, ip = $2, user_agent = $3 where type = 'user.confirmed'");
    confirmed.bind(arrival).bind("203.0.113.24").bind(FIREFOX).execute().await.unwrap();
    tx.commit().await.unwrap();
    // this node remembers the person as they were
    let fresh = app.another_node(bellhop::app::Parts::only(["web"]).unwrap()).await;

    let visit = Visit::begin(&fresh, Options { size: SIZE, ..Options::default() }).await;
    let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
    let cookie = json!({"name": name, "value": value, "url": fresh.url, "httpOnly": true});
    visit.devtools("Network.setCookie", cookie).await;
    visit.open("/account").await;
    visit.arrive("/account").await;
    let fits = "return document.documentElement.scrollHeight <= innerHeight";
    assert_eq!(visit.script(fits).await, true, "the picture shows all of it");
    assert_eq!(visit.find_all(fantoccini::Locator::Css(".rows tbody tr")).await.unwrap().len(), SIGN_INS.len() + 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("screenshot.png");
    visit.screenshot(&file).await;
    let png = std::fs::read(&file).unwrap();
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    // the first chunk is the header: width and height behind its length and name (PNG specification, section 11.2.2)
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    assert_eq!((number(16), number(20)), SIZE);
    assert!(png.len() <= 240 * 1024, "{} bytes are too many for a README", png.len());
    visit.end(&[]).await;
    if let Some(target) = std::env::var_os("TEST_SCREENSHOT") {
        std::fs::write(target, png).unwrap();
    }
}
