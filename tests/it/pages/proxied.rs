//! Behind the proxies of README.md, as it configures them: real ones, with TLS, and a browser that knows nothing of them.

use crate::papers::{block, setting};
use crate::support::app::PASSWORD;
use crate::support::browser::Options;
use crate::support::process::Bellhop;
use crate::support::reverse_proxy::ReverseProxy;

use super::visit::Visit;

const HOST: &str = "id.example.org";
const EMAIL: &str = "ann@example.org";

async fn started() -> Bellhop {
    let settings = ["PUBLIC_URL", "TRUSTED_PROXIES"].map(|name| (name, setting(&format!("BELLHOP_{name}"))));
    let mut app = settings.iter().fold(Bellhop::new().await, |app, (name, value)| app.with(name, value));
    app.start().await;
    app
}

/// Registers, confirms, sees a sign-in from elsewhere while looking, and signs out.
async fn a_person_comes_and_goes(app: &Bellhop, proxy: &ReverseProxy) {
    let hosts = vec![(HOST, proxy.port)];
    let visit = Visit::at(&format!("https://{HOST}"), Options { hosts, ..Options::default() }).await;
    visit.open("/register").await;
    visit.fill(&[("name", "Ann"), ("email", EMAIL), ("password", PASSWORD)]).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/register/sent").await;
    // live, without reloading
    visit.see("[data-delivery=sent]").await;
    visit.open(&format!("/confirm?token={}", app.token(EMAIL).await)).await;
    visit.press("main form button[type=submit]").await;
    visit.arrive("/account").await;

    let cookies = visit.devtools("Network.getCookies", serde_json::json!({})).await;
    for cookie in cookies["cookies"].as_array().expect("a list") {
        assert_eq!(cookie["secure"], true, "{cookie}");
        assert!(cookie["name"].as_str().is_some_and(|name| name.starts_with("__Host-")), "{cookie}");
    }
    let elsewhere = app.client();
    let login = elsewhere.http.post(format!("{}/login", app.url)).header("host", HOST);
    let login = login.header("origin", format!("https://{HOST}")).header("x-forwarded-proto", "https");
    let login = login.header("x-forwarded-for", "203.0.113.9");
    assert_eq!(elsewhere.send(login.form(&[("email", EMAIL), ("password", PASSWORD)])).await.status, 303);
    // the stream comes through unbuffered
    crate::support::app::within("the sign-in to be shown", async || visit.text("main").await.contains("203.0.113.9"))
        .await;
    visit.open("/mailbox").await;
    assert!(visit.text("body").await.contains("404"), "everybody's links");
    visit.open("/account").await;
    visit.sign_out().await;
    let log = app.log();
    assert!(!log.contains("BELLHOP_PUBLIC_URL"), "nothing to be told about its settings: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_comes_and_goes_by_way_of_nginx() {
    let app = started().await;
    let address = app.url.trim_start_matches("http://");
    let proxy = ReverseProxy::nginx(&block("README.md", "nginx"), &[HOST], address).await;
    a_person_comes_and_goes(&app, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_comes_and_goes_by_way_of_caddy() {
    let app = started().await;
    let address = app.url.trim_start_matches("http://");
    let proxy = ReverseProxy::caddy(&block("README.md", "caddy"), address).await;
    a_person_comes_and_goes(&app, &proxy).await;
}
