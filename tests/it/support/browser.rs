//! A real Chromium, driven through its driver. Each has an empty profile and ends with its value.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use axum::http::Method;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use url::{ParseError, Url};

use super::{processes, servers};

/// Who looks at the page.
#[derive(Clone, Debug)]
pub struct Options {
    pub javascript: bool,
    /// Width and height of the page, in CSS pixels.
    pub size: (u32, u32),
    /// Whether the person prefers a dark page.
    pub dark: bool,
    /// As in Accept-Language.
    pub language: &'static str,
    /// Where hosts are whose names mean nothing elsewhere; whoever signed their certificates is believed.
    pub hosts: Vec<(&'static str, u16)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { javascript: true, size: (1280, 900), dark: false, language: "en", hosts: Vec::new() }
    }
}

/// A browser with one tab; dereferences to the `WebDriver` client.
pub struct Browser {
    client: Client,
    // below the client: the driver ends after it
    driver: Driver,
}

impl Browser {
    /// Starts it on an empty page.
    pub async fn open(options: Options) -> Self {
        let mut driver =
            tokio::task::spawn_blocking(Driver::start).await.expect("the driver's thread is not cancelled");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(driver.capabilities(&options))
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("the driver starts Chromium");
        driver.session = client.session_id().await.expect("the client answers");
        let browser = Self { client, driver };
        let (width, height) = options.size;
        let screen = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        // a window cannot be as narrow as a telephone, its page can
        browser.devtools("Emulation.setDeviceMetricsOverride", screen).await;
        let scheme = if options.dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        browser.devtools("Emulation.setEmulatedMedia", media).await;
        browser
    }

    /// Writes what is to be seen of the page to a PNG file.
    pub async fn screenshot(&self, path: &Path) {
        let png = self.client.screenshot().await.expect("Chromium paints the page");
        tokio::fs::write(path, png).await.unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// A command of the `DevTools` protocol: its result.
    pub async fn devtools(&self, method: &'static str, parameters: Value) -> Value {
        let command = Extension { path: "goog/cdp/execute", body: json!({"cmd": method, "params": parameters}) };
        self.client.issue_cmd(command).await.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// What was logged since the last call: by `browser`, messages of the console; by `performance`, the events of the
    /// `DevTools` protocol, each a JSON text in `message`.
    pub async fn log(&self, kind: &'static str) -> Vec<Value> {
        let log = self.client.issue_cmd(Extension { path: "se/log", body: json!({ "type": kind }) });
        let log = log.await.unwrap_or_else(|error| panic!("the log {kind}: {error}"));
        log.as_array().expect("a log is a list").clone()
    }

    /// The driver and all processes of the browser.
    pub fn processes(&self) -> Vec<u32> {
        self.driver.processes()
    }
}

impl Deref for Browser {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The driver, its browser and the browser's profile.
struct Driver {
    child: Child,
    // open as long as the driver may write to it
    _output: BufReader<ChildStdout>,
    port: u16,
    session: Option<String>,
    profile: TempDir,
}

impl Driver {
    /// On a port that it picks itself and names on its output.
    fn start() -> Self {
        let mut child = Command::new(servers::setting("TEST_CHROMEDRIVER"))
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("chromedriver starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let port = loop {
            let mut line = String::new();
            let length = output.read_line(&mut line).expect("its output is readable");
            assert!(length > 0, "chromedriver ended without naming its port");
            if let Some((_, port)) = line.rsplit_once("started successfully on port ") {
                break port.trim().trim_end_matches('.').parse().expect("a port");
            }
        };
        let profile = tempfile::tempdir().expect("a temporary folder");
        Self { child, _output: output, port, session: None, profile }
    }

    fn capabilities(&self, options: &Options) -> Map<String, Value> {
        let mut arguments = [
            // the tests may run as root, where Chromium has no sandbox
            "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run",
            "--disable-background-networking --disable-component-update --disable-sync --disable-breakpad",
        ]
        .join(" ")
        .split(' ')
        .map(str::to_owned)
        .collect::<Vec<_>>();
        arguments.push(format!("--user-data-dir={}", self.profile.path().display()));
        arguments.push(format!("--accept-lang={}", options.language));
        if !options.hosts.is_empty() {
            let rule = |(name, port): &(&str, u16)| format!("MAP {name}:443 127.0.0.1:{port}");
            let rules: Vec<String> = options.hosts.iter().map(rule).collect();
            arguments.push(format!("--host-resolver-rules={}", rules.join(",")));
        }
        let mut preferences = Map::new();
        preferences.insert("intl.accept_languages".into(), options.language.into());
        if !options.javascript {
            preferences.insert("profile.managed_default_content_settings.javascript".into(), 2.into());
        }
        let chromium = json!({
            "binary": servers::setting("TEST_CHROMIUM"),
            "args": arguments,
            "prefs": preferences,
        });
        // milliseconds; the driver's own limit for a page is five minutes
        let limits = json!({"pageLoad": 60_000, "script": 60_000});
        Map::from_iter([
            ("acceptInsecureCerts".to_owned(), (!options.hosts.is_empty()).into()),
            ("goog:chromeOptions".to_owned(), chromium),
            ("goog:loggingPrefs".to_owned(), json!({"browser": "ALL", "performance": "ALL"})),
            ("timeouts".to_owned(), limits),
        ])
    }

    fn processes(&self) -> Vec<u32> {
        let mut all = processes::descendants(self.child.id());
        all.push(self.child.id());
        all
    }

    /// Asks the driver to end the browser: it reaps what it started, which a kill would leave to process 1.
    fn end_session(&self, session: &str) -> std::io::Result<()> {
        let limit = Some(Duration::from_secs(10));
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        let host = format!("127.0.0.1:{}", self.port);
        write!(stream, "DELETE /session/{session} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        // the answer comes when the browser is gone
        stream.read_exact(&mut [0])
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let browser = processes::descendants(self.child.id());
        if let Some(session) = &self.session
            && let Err(error) = self.end_session(session)
        {
            eprintln!("the browser does not end by itself: {error}");
        }
        if !processes::end(self.child.id(), &browser) {
            eprintln!("a process of the browser survives: {browser:?}");
        }
        if let Err(error) = self.child.wait() {
            eprintln!("cannot wait for chromedriver: {error}");
        }
    }
}

/// A command that chromedriver adds to the standard.
#[derive(Debug)]
struct Extension {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Extension {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        base.join(&format!("session/{}/{}", session.expect("the browser is open"), self.path))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
