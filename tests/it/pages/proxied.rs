//! Behind the proxies of README.md and docs/forward-auth.md, as these configure them: real ones, with TLS, and a browser that knows
//! nothing of them.

use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse as _;
use axum::routing::get;
use base64::Engine as _;
use sha1::{Digest as _, Sha1};
use tokio::io::AsyncWriteExt as _;

use crate::papers::{block, setting};
use crate::support::app::{PASSWORD, within};
use crate::support::browser::Options;
use crate::support::process::Bellhop;
use crate::support::reverse_proxy::ReverseProxy;

use super::visit::Visit;

/// Where the papers say that Bellhop listens, and another application.
const BELLHOP: &str = "127.0.0.1:8080";
const APPLICATION: &str = "127.0.0.1:3000";

const HOST: &str = "id.example.org";
/// Two applications.
const OTHERS: [&str; 2] = ["app.example.org", "wiki.example.org"];
const EMAIL: &str = "ann@example.org";

/// With the settings of the paper, and these.
async fn started(also: &[(&str, &str)]) -> Bellhop {
    let settings = ["PUBLIC_URL", "TRUSTED_PROXIES"].map(|name| (name, setting(&format!("BELLHOP_{name}"))));
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str())).chain(also.iter().copied());
    let mut app = settings.fold(Bellhop::new().await, |app, (name, value)| app.with(name, value));
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
    within("the sign-in to be shown", async || visit.text("main").await.contains("203.0.113.9")).await;
    visit.open("/mailbox").await;
    assert!(visit.text("body").await.contains("404"), "everybody's links");
    visit.open("/account").await;
    visit.sign_out().await;
    let log = app.log();
    assert!(!log.contains("BELLHOP_PUBLIC_URL"), "nothing to be told about its settings: {log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_comes_and_goes_by_way_of_nginx() {
    let app = started(&[]).await;
    let address = app.url.trim_start_matches("http://");
    let proxy = ReverseProxy::nginx(&block("README.md", "nginx"), &[HOST], &[(BELLHOP, address)]).await;
    a_person_comes_and_goes(&app, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_comes_and_goes_by_way_of_caddy() {
    let app = started(&[]).await;
    let address = app.url.trim_start_matches("http://");
    let proxy = ReverseProxy::caddy(&block("README.md", "caddy"), &[(BELLHOP, address)]).await;
    a_person_comes_and_goes(&app, &proxy).await;
}

/// An application that knows nothing of passwords: it shows what it is told of who comes, on a page and by a WebSocket.
async fn application() -> String {
    let page = async |headers: HeaderMap| told(&headers);
    let socket = async |mut request: Request| {
        let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        // RFC 6455 section 4.2.2
        let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
        let accept = base64::engine::general_purpose::STANDARD.encode(digest);
        let text = told(request.headers());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut socket = hyper_util::rt::TokioIo::new(upgrade.await.expect("an upgrade"));
            // frames of text, each with its line; nothing more until the browser leaves
            for line in text.lines() {
                let length = u8::try_from(line.len()).ok().filter(|length| *length < 126).expect("a short line");
                socket.write_all(&[&[0x81, length], line.as_bytes()].concat()).await.expect("the browser is there");
            }
            std::future::pending::<()>().await;
        });
        let headers =
            [(UPGRADE, "websocket".to_owned()), (CONNECTION, "upgrade".to_owned()), (SEC_WEBSOCKET_ACCEPT, accept)];
        (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
    };
    let listener = crate::support::ports::listen().await;
    let address = listener.local_addr().expect("it listens").to_string();
    let router = Router::new().route("/socket", get(socket)).fallback(page);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What a request says of who sends it.
fn told(headers: &HeaderMap) -> String {
    let of_who = headers.iter().filter(|(name, _)| name.as_str().starts_with("remote"));
    let mut lines: Vec<String> =
        of_who.map(|(name, value)| format!("{name}: {}\n", value.to_str().expect("text"))).collect();
    lines.sort();
    lines.concat()
}

async fn is_at(visit: &Visit, url: &str) {
    within(url, async || {
        let now = visit.current_url().await.expect("the browser answers");
        now.as_str() == url && visit.script("return document.readyState").await == "complete"
    })
    .await;
}

/// Signs in once for two applications, whom nobody tells who it is but Bellhop.
async fn one_sign_in_is_for_all(app: &Bellhop, proxy: &ReverseProxy) {
    let person = app.client();
    let of_proxy = |request: reqwest::RequestBuilder| {
        let origin = format!("https://{HOST}");
        request.header("host", HOST).header("origin", origin).header("x-forwarded-for", "203.0.113.9")
    };
    let form = [("email", EMAIL), ("password", PASSWORD), ("name", "Jürgen")];
    let registered = of_proxy(person.http.post(format!("{}/register", app.url)).form(&form));
    assert_eq!(person.send(registered).await.status, 303);
    let form = [("token", app.token(EMAIL).await), ("password", PASSWORD.to_owned())];
    let confirmed = of_proxy(person.http.post(format!("{}/confirm", app.url)).form(&form));
    assert_eq!(person.send(confirmed).await.status, 303);

    let hosts = [HOST].into_iter().chain(OTHERS).map(|host| (host, proxy.port)).collect();
    let visit = Visit::at(&format!("https://{HOST}"), Options { hosts, ..Options::default() }).await;
    let page = format!("https://{}/notes?of=today", OTHERS[0]);
    visit.open(&page).await;
    visit.arrive("/login").await;
    visit.sign_in(EMAIL, PASSWORD).await;
    is_at(&visit, &page).await;
    let said = visit.text("body").await;
    assert!(said.contains("remote-email: ann@example.org") && said.contains("remote-name: J%C3%BCrgen"), "{said}");
    let id = said.lines().find_map(|line| line.strip_prefix("remote-user: ")).expect("an id");
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{said}");

    // a WebSocket comes through, and knows the same
    let heard = visit
        .execute_async(
            "const done = arguments[0];
             const heard = [];
             const socket = new WebSocket(`wss://${location.host}/socket`);
             socket.onmessage = (message) => { if (heard.push(message.data) === 3) done(heard.join('\\n')); };
             socket.onerror = () => done('no socket');",
            vec![],
        )
        .await
        .expect("the script ends");
    assert_eq!(heard.as_str(), Some(said.trim()));
    // what the client says of itself is dropped, however it is spelled
    let forged = visit
        .execute_async(
            "const headers = {'Remote-User': 'root', 'Remote_User': 'root', 'Remote_Email': 'root'};
             fetch('/', {headers}).then((answer) => answer.text()).then(arguments[0]);",
            vec![],
        )
        .await
        .expect("the script ends");
    assert_eq!(forged.as_str().map(str::trim), Some(said.trim()));

    visit.open(&format!("https://{}/", OTHERS[1])).await;
    assert_eq!(visit.text("body").await.trim(), said.trim(), "at once, and as the same");
    visit.open("/account").await;
    visit.arrive("/account").await;
    visit.sign_out().await;
    for host in OTHERS {
        visit.open(&format!("https://{host}/")).await;
        visit.arrive("/login").await;
    }
    visit.open("/login?next=https%3A%2F%2Fevil.example%2F").await;
    visit.sign_in(EMAIL, PASSWORD).await;
    visit.arrive("/").await;
}

/// The blocks for Bellhop and for both applications.
fn of_all(language: &str) -> String {
    let one = block("docs/forward-auth.md", language);
    let other = one.replace(OTHERS[0], OTHERS[1]);
    // what is above the server is said once
    let other = other.find("server {").map_or(other.as_str(), |server| &other[server..]);
    format!("{}\n{one}\n{other}", block("README.md", language))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sign_in_is_for_all_by_way_of_nginx() {
    let (app, other) = (started(&[("COOKIE_DOMAIN", "example.org")]).await, application().await);
    let moved = [(BELLHOP, app.url.trim_start_matches("http://")), (APPLICATION, other.as_str())];
    let proxy = ReverseProxy::nginx(&of_all("nginx"), &[HOST, OTHERS[0], OTHERS[1]], &moved).await;
    one_sign_in_is_for_all(&app, &proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sign_in_is_for_all_by_way_of_caddy() {
    let (app, other) = (started(&[("COOKIE_DOMAIN", "example.org")]).await, application().await);
    let moved = [(BELLHOP, app.url.trim_start_matches("http://")), (APPLICATION, other.as_str())];
    let proxy = ReverseProxy::caddy(&of_all("caddy"), &moved).await;
    one_sign_in_is_for_all(&app, &proxy).await;
}
