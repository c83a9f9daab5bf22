//! The server over real sockets, with the whole stack of layers and shorter times.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use futures_util::{StreamExt as _, stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use url::Url;

use super::*;
use crate::clock::Clock;
use crate::http::extract::form::Fields;
use crate::http::extract::json::Json;
use crate::http::middleware::body_limit::BodyLimits;
use crate::http::middleware::client_ip::{Client, Proxies};
use crate::http::middleware::render_problem::PageRequest;
use crate::http::middleware::site::Site;
use crate::http::middleware::{self, MiddlewareConfig};
use crate::http::problem::Problem;
use crate::http::rate_limit::RetryAfter;
use crate::http::response::NO_REFERRER;

mod answers;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
    /// A request to /wait says that it is there, and stays until it gets a permit.
    arrived: mpsc::UnboundedReceiver<()>,
    release: Arc<Semaphore>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    a: String,
}

type Waiting = (mpsc::UnboundedSender<()>, Arc<Semaphore>);

async fn wait((arrived, release): Waiting) -> &'static str {
    arrived.send(()).unwrap();
    release.acquire().await.unwrap().forget();
    "done"
}

fn page(problem: &Problem, request: &PageRequest) -> String {
    format!("<p>{} {} {}", problem.code, request.locale, request.request_id.is_some())
}

fn start(limits: ConnectionLimits) -> Server {
    start_at("http://127.0.0.1", limits)
}

fn start_at(url: &str, limits: ConnectionLimits) -> Server {
    start_with(url, limits, Duration::from_secs(1))
}

/// `body` is how long a body may take.
fn start_with(url: &str, limits: ConnectionLimits, body: Duration) -> Server {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, arrived) = mpsc::unbounded_channel();
    let release = Arc::new(Semaphore::new(0));
    let app = Router::new()
        .route("/", get(|client: Client| async move { client.ip.to_string() }))
        .route("/wait", get(|State(waiting): State<Waiting>| wait(waiting)))
        .route("/form", post(|fields: Fields| async { fields.take(["email"]).map(|[email]| email) }))
        .route("/json", post(|Json(document): Json<Document>| async move { document.a }))
        .route("/go", get(|| async { Redirect::to("/") }))
        .route("/panic", get(|| async { explode() }))
        .route("/error", get(|| async { Err::<(), Problem>(std::io::Error::other("select 1").into()) }))
        .route("/busy", get(|| async { Problem::unavailable(Duration::from_secs(3)) }))
        .route("/often", get(|| async { Problem::from(RetryAfter(Duration::from_millis(1_500))) }))
        .route("/token", get(|| async { [(header::REFERRER_POLICY, NO_REFERRER)] }))
        .route("/mistake", get(|| async { (StatusCode::UNPROCESSABLE_ENTITY, axum::response::Html("<form>")) }))
        .route("/static/app.css", get(|| async { [(header::CONTENT_TYPE, "text/css; charset=utf-8")] }))
        .route("/endless", get(endless))
        .with_state((sender, Arc::clone(&release)));
    let site = Site::new(&Url::parse(url).unwrap(), address.port()).unwrap();
    let config = MiddlewareConfig {
        site: Arc::new(site),
        proxies: Arc::clone(&limits.proxies),
        body_limits: BodyLimits { total: body, grace: body.max(BodyLimits::default().grace), ..BodyLimits::default() },
        clock: Clock::default(),
        problem_page: page,
        tasks: TaskTracker::new(),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve(listener, middleware::apply(app, config), limits, stop.clone()));
    Server { address, stop, task, arrived, release }
}

fn explode() -> Response {
    panic!("kaboom in /srv/secret")
}

/// An answer without end; the waiter is told when it is dropped.
async fn endless(State((dropped, _)): State<Waiting>) -> Response {
    struct Tell(mpsc::UnboundedSender<()>);
    impl Drop for Tell {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let tell = Tell(dropped);
    let pieces = stream::repeat(vec![0_u8; 64 * 1_024]).map(move |piece| {
        let _held = &tell;
        Ok::<_, io::Error>(piece)
    });
    Body::from_stream(pieces).into_response()
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks for `path` on a connection that stays open.
    async fn get(&self, socket: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        socket.write_all(request.as_bytes()).await.unwrap();
    }

    /// Sends a request on a connection of its own and reads to the end. `head` lacks Host and the empty line.
    async fn ask(&self, head: &str, body: &[u8]) -> String {
        let head = format!("{head}\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        self.send(&[head.as_bytes(), body].concat()).await
    }

    async fn send(&self, bytes: &[u8]) -> String {
        let mut socket = self.connect().await;
        socket.write_all(bytes).await.unwrap();
        rest(&mut socket).await
    }
}

/// All that comes until the other side closes.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    within(socket.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// One answer of a connection that stays open, up to the end of the text `last`.
async fn up_to(socket: &mut TcpStream, last: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(last.as_bytes()) {
        bytes.push(within(socket.read_u8()).await.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it does not come to an end")
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut lines = head.lines().filter_map(|line| line.split_once(": ")).filter(|(found, _)| *found == name);
    let (_, value) = lines.next()?;
    assert!(lines.next().is_none(), "{name} comes twice");
    Some(value)
}

fn short(header: u64) -> ConnectionLimits {
    ConnectionLimits { header: Duration::from_millis(header), ..ConnectionLimits::default() }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_in_time() {
    let server = start(short(200));
    let start = Instant::now();
    assert_eq!(rest(&mut server.connect().await).await, "");
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_head_that_dribbles_in_is_closed_in_time() {
    let server = start(short(200));
    let (mut reader, mut writer) = server.connect().await.into_split();
    let dribble = async {
        writer.write_all(b"GET / HTTP/1.1\r\n").await?;
        let mut beat = tokio::time::interval(Duration::from_millis(10));
        loop {
            beat.tick().await;
            writer.write_all(b"X: y\r\n").await?;
        }
    };
    let mut answer = Vec::new();
    let closed = async {
        tokio::select! {
            _ = reader.read_to_end(&mut answer) => {}
            ended = dribble => { let _: io::Result<()> = ended; }
        }
    };
    within(closed).await;
    assert!(answer.is_empty());
}

#[tokio::test]
async fn a_connection_that_stays_idle_after_an_answer_is_closed() {
    let server = start(short(200));
    let answer = server.send(format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address).as_bytes()).await;
    assert_eq!(status(&answer), 200);
    assert!(answer.ends_with("\r\n\r\n127.0.0.1"));
}

#[tokio::test]
async fn a_head_past_its_bounds_is_431_without_a_body() {
    let server = start(ConnectionLimits::default());
    for (bytes, expected) in [(15_000, 200), (16_400, 431), (64 * 1_024, 431)] {
        let answer = server.ask(&format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(bytes)), b"").await;
        assert_eq!(status(&answer), expected, "{bytes}");
        assert!(expected == 200 || answer.ends_with("\r\n\r\n"));
    }
    // Host and Connection make two more.
    for (count, expected) in [(62, 200), (63, 431), (150, 431)] {
        let answer = server.ask(&format!("GET / HTTP/1.1{}", "\r\nX: y".repeat(count)), b"").await;
        assert_eq!(status(&answer), expected, "{count}");
    }
}

#[tokio::test]
async fn a_body_past_16_kib_is_413_however_it_is_sent() {
    let server = start(ConnectionLimits::default());
    let form = "POST /form HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let body = format!("email={}", "a".repeat(16 * 1_024 - 6));
    let chunked = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (body, expected) in [(body.clone(), 200), (body + "a", 413)] {
        let told = server.ask(&format!("{form}Content-Length: {}", body.len()), body.as_bytes()).await;
        assert_eq!(status(&told), expected);
        let untold = server.ask(&format!("{form}Transfer-Encoding: chunked"), chunked(&body).as_bytes()).await;
        assert_eq!(status(&untold), expected);
    }
}

#[tokio::test]
async fn a_body_without_end_gets_its_413_while_it_is_being_sent() {
    let server = start(ConnectionLimits::default());
    let (mut reader, mut writer) = server.connect().await.into_split();
    let head = format!(
        "POST /form HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n",
        server.address
    );
    let flood = tokio::spawn(async move {
        writer.write_all(head.as_bytes()).await?;
        loop {
            writer.write_all(format!("1000\r\n{}\r\n", "a".repeat(0x1000)).as_bytes()).await?;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        io::Result::Ok(())
    });
    let mut first = [0; 12];
    within(reader.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    drop(reader);
    assert!(within(flood).await.unwrap().is_err());
}

#[tokio::test]
async fn a_client_may_send_on_for_a_while_after_an_early_refusal() {
    let server = start(ConnectionLimits::default());
    let mut socket = server.connect().await;
    let head = format!("POST /form HTTP/1.1\r\nHost: {}\r\nContent-Length: 524288\r\n\r\n", server.address);
    socket.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(status(&rest(&mut socket).await), 413);
    for _ in 0..128 {
        within(socket.write_all(&[b'a'; 4_096])).await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_408() {
    let server = start(ConnectionLimits::default());
    let answer = server
        .ask("POST /form HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10", b"em")
        .await;
    assert_eq!(status(&answer), 408);
    assert_eq!(header(&answer, "connection"), Some("close"));
}

#[tokio::test]
async fn a_panic_is_a_500_of_its_request_alone() {
    let server = start(ConnectionLimits::default());
    let mut socket = server.connect().await;
    server.get(&mut socket, "/panic").await;
    let answer = up_to(&mut socket, "true").await;
    assert_eq!(status(&answer), 500);
    assert!(answer.ends_with("\r\n\r\n<p>internal en true"), "{answer}");
    server.get(&mut socket, "/").await;
    assert_eq!(status(&up_to(&mut socket, "127.0.0.1").await), 200);
}

#[tokio::test]
async fn a_reader_who_takes_nothing_is_dropped() {
    let mut server = start(ConnectionLimits { write: Duration::from_millis(200), ..ConnectionLimits::default() });
    let mut socket = server.connect().await;
    server.get(&mut socket, "/endless").await;
    within(server.arrived.recv()).await.unwrap();
}

#[tokio::test]
async fn stopping_lets_a_request_under_way_finish() {
    let mut server = start(ConnectionLimits::default());
    let mut idle = server.connect().await;
    let mut socket = server.connect().await;
    server.get(&mut socket, "/wait").await;
    within(server.arrived.recv()).await.unwrap();
    server.stop.cancel();
    assert_eq!(rest(&mut idle).await, "");
    assert!(!server.task.is_finished());
    server.release.add_permits(1);
    let answer = rest(&mut socket).await;
    assert_eq!((status(&answer), answer.ends_with("done")), (200, true));
    within(server.task).await.unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn stopping_does_not_wait_for_a_request_without_end() {
    let mut server = start(ConnectionLimits { drain: Duration::from_millis(100), ..ConnectionLimits::default() });
    let mut socket = server.connect().await;
    server.get(&mut socket, "/wait").await;
    within(server.arrived.recv()).await.unwrap();
    server.stop.cancel();
    within(server.task).await.unwrap();
    assert_eq!(rest(&mut socket).await, "");
}

#[tokio::test]
async fn past_the_cap_newcomers_wait_until_a_connection_closes() {
    let server = start(ConnectionLimits { connections: 2, ..ConnectionLimits::default() });
    let first = server.connect().await;
    let _second = server.connect().await;
    let third = server.ask("GET / HTTP/1.1", b"");
    tokio::pin!(third);
    let mut socket = first;
    // One round would be enough for the third to come in between, if it could.
    for _ in 0..50 {
        server.get(&mut socket, "/").await;
        tokio::select! {
            biased;
            _ = &mut third => panic!("the third came in"),
            answer = up_to(&mut socket, "127.0.0.1") => assert_eq!(status(&answer), 200),
        }
    }
    drop(socket);
    assert_eq!(status(&within(third).await), 200);
}

/// F74: through a proxy, or from this machine, anybody could take all connections there are.
#[tokio::test]
async fn past_its_cap_a_proxy_is_refused_until_one_of_its_connections_closes() {
    let (connections_per_proxy, header) = (2, Duration::from_mins(1));
    let server = start(ConnectionLimits { connections_per_proxy, header, ..ConnectionLimits::default() });
    let mut first = server.connect().await;
    let _second = server.connect().await;
    server.get(&mut first, "/").await;
    assert_eq!(status(&up_to(&mut first, "127.0.0.1").await), 200);
    assert_eq!(rest(&mut server.connect().await).await, "", "closed at once");
    drop(first);
    let mut answer = String::new();
    let answered = async {
        while answer.is_empty() {
            let mut socket = server.connect().await;
            let request = format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address);
            // one that is refused may be so before it has said anything
            let _ = socket.write_all(request.as_bytes()).await;
            let _ = socket.read_to_string(&mut answer).await;
        }
    };
    within(answered).await;
    assert_eq!(status(&answer), 200);
}

type Begun<'a> = &'a dyn Fn(&Server) -> String;

/// F74: memory for what never comes whole had no bound in sum.
#[tokio::test]
async fn of_requests_that_do_not_arrive_whole_only_so_many_are_waited_for() {
    let half_head = |server: &Server| format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nX: ", server.address);
    let long_head = |server: &Server| half_head(server) + &"a".repeat(15_000);
    let half_body = |server: &Server| {
        let kind = "Content-Type: application/x-www-form-urlencoded";
        let head = format!("POST /form HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{kind}", server.address);
        format!("{head}\r\nContent-Length: 16000\r\n\r\nemail={}", "a".repeat(15_000))
    };
    // the first one is whole, and what lies behind it is not
    let second = |server: &Server| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", server.address) + &long_head(server);
    // what each begins with, what it lacks, and how many of twenty may stay
    let kinds: [(Begun<'_>, String, usize); 4] = [
        (&half_head, "\r\n\r\n".to_owned(), 8),
        (&long_head, "\r\n\r\n".to_owned(), 4),
        (&half_body, "a".repeat(16_000 - 15_006), 4),
        (&second, "\r\n\r\n".to_owned(), 4),
    ];
    for (begun, end, stay) in kinds {
        let (arriving_bytes, minute) = (64 * 1_024, Duration::from_mins(1));
        let limits = ConnectionLimits { arriving_bytes, header: minute, ..ConnectionLimits::default() };
        let server = start_with("http://127.0.0.1", limits, minute);
        let mut idle = server.connect().await;
        server.get(&mut idle, "/").await;
        up_to(&mut idle, "127.0.0.1").await;
        let (mut writers, mut readers) = (Vec::new(), JoinSet::new());
        for _ in 0..20 {
            let (mut reader, mut writer) = server.connect().await.into_split();
            writer.write_all(begun(&server).as_bytes()).await.unwrap();
            writers.push(writer);
            readers.spawn(async move {
                let mut answer = Vec::new();
                // a reset is an end as well
                let _ = reader.read_to_end(&mut answer).await;
                String::from_utf8(answer).unwrap()
            });
        }
        // who asks for something whole meanwhile is answered
        assert_eq!(status(&server.ask("GET / HTTP/1.1", b"").await), 200);
        let finished =
            |answer: &str| answer.matches("HTTP/1.1 200").count() == begun(&server).matches("HTTP/1.1").count();
        for _ in 0..20 - stay {
            let answer = within(readers.join_next()).await.unwrap().unwrap();
            assert!(!finished(&answer), "{answer}");
        }
        for writer in &mut writers {
            let _ = writer.write_all(end.as_bytes()).await;
        }
        while let Some(answer) = within(readers.join_next()).await {
            let answer = answer.unwrap();
            assert!(finished(&answer), "{answer}");
        }
        server.get(&mut idle, "/").await;
        assert_eq!(status(&up_to(&mut idle, "127.0.0.1").await), 200, "one that has begun nothing is left alone");
    }
}

#[tokio::test]
async fn five_hundred_newcomers_get_through_while_nobody_accepts() {
    let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..500 {
        waiting.push(within(TcpStream::connect(listener.local_addr().unwrap())).await.unwrap());
    }
}

#[tokio::test]
async fn four_hundred_connections_are_answered_at_once() {
    let mut server = start(ConnectionLimits::default());
    let mut sockets = Vec::new();
    for _ in 0..400 {
        let mut socket = server.connect().await;
        server.get(&mut socket, "/wait").await;
        sockets.push(socket);
    }
    for _ in 0..400 {
        within(server.arrived.recv()).await.unwrap();
    }
    server.release.add_permits(400);
    for socket in &mut sockets {
        assert_eq!(status(&up_to(socket, "done").await), 200);
    }
}
