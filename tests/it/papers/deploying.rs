//! What README.md says about running it for good: behind a proxy, as a service, with backups.

use std::collections::BTreeSet;

use bellhop::config;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use super::{block, paper, setting};
use crate::support::app::PASSWORD;
use crate::support::process::Bellhop;

/// A request as nginx passes it on when it is configured so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_proxies_of_the_readme_send_is_taken_for_the_clients_request() {
    let nginx = block("README.md", "nginx");
    let headers: Vec<(String, String)> = nginx
        .lines()
        .filter_map(|line| line.trim().strip_prefix("proxy_set_header ")?.split(';').next()?.split_once(' '))
        .map(|(name, value)| {
            let value = value.replace("$host", "id.example.org").replace("$scheme", "https");
            (name.to_lowercase(), value.replace("$remote_addr", "203.0.113.9").replace('"', ""))
        })
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let names: BTreeSet<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, BTreeSet::from(["host", "x-forwarded-for", "x-forwarded-proto"]));
    // nginx speaks HTTP/1.0 otherwise, and Caddy sends these three by itself
    assert!(nginx.contains("proxy_http_version 1.1;"));
    assert!(block("README.md", "caddy").contains("reverse_proxy 127.0.0.1:8080"));
    assert!(nginx.contains("proxy_pass http://127.0.0.1:8080;"));

    let mut app = Bellhop::new()
        .await
        .with("PUBLIC_URL", &setting("BELLHOP_PUBLIC_URL"))
        .with("TRUSTED_PROXIES", &setting("BELLHOP_TRUSTED_PROXIES"));
    app.start().await;
    let client = app.client();
    let by_proxy = |request: reqwest::RequestBuilder| {
        headers.iter().fold(request, |request, (name, value)| request.header(name.as_str(), value.as_str()))
    };
    let page = client.send(by_proxy(client.http.get(format!("{}/login", app.url)))).await;
    assert_eq!(page.status, 200, "{}", page.body);
    let form = [("email", "ann@example.org"), ("password", PASSWORD)];
    let login = client.http.post(format!("{}/login", app.url)).header("origin", "https://id.example.org").form(&form);
    assert_eq!(client.send(by_proxy(login)).await.status, 422);
    assert_eq!(client.send(by_proxy(client.http.get(format!("{}/mailbox", app.url)))).await.status, 404);
    app.until_it_says("client=203.0.113.9").await;
    let log = app.log();
    assert!(!log.contains("BELLHOP_PUBLIC_URL"), "nothing to be told about its settings: {log}");
}

#[test]
fn the_unit_names_settings_that_there_are_and_a_command_that_there_is() {
    let unit = paper("examples/bellhop.service");
    let named = unit.split("BELLHOP_").skip(1).map(|rest| rest.split(['=', ' ', ',']).next().expect("a name"));
    let named: BTreeSet<&str> = named.collect();
    assert!(named.len() >= 4, "{named:?}");
    for name in named {
        assert!(config::settings().any(|setting| setting.name == name), "{name}");
    }
    for line in [
        "ExecStart=/usr/local/bin/bellhop serve",
        // the exit code of a setting that is wrong
        "RestartPreventExitStatus=78",
        "StateDirectory=bellhop",
        "Environment=BELLHOP_DATA_DIR=/var/lib/bellhop",
        "WantedBy=multi-user.target",
    ] {
        assert!(unit.lines().any(|own| own == line), "{line}");
    }
}

/// The statement of the backup, run while the service runs; the copies are enough to go on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_that_is_made_while_it_runs_is_all_that_is_needed() {
    let readme = paper("README.md");
    let (_, rest) = readme.split_once("sqlite3 data/bellhop.sqlite \"").expect("the command");
    let statement = rest.split('"').next().expect("its end");
    let mut app = Bellhop::new().await;
    app.start().await;
    app.signed_in_client("ann@example.org").await;
    let waiting = app.client();
    waiting.register("bob@example.org", PASSWORD, "Bob").await;
    let token = app.token("bob@example.org").await;

    let restored = Bellhop::new().await;
    std::fs::create_dir_all(restored.data()).expect("the folder is ours");
    let file = app.data().join("bellhop.sqlite");
    let mut running = SqliteConnection::connect(&format!("sqlite:{}", file.display())).await.expect("the database");
    let to = restored.data().join("bellhop.sqlite").display().to_string();
    running.execute(AssertSqlSafe(statement.replace("backup.sqlite", &to))).await.expect("a copy");
    std::fs::copy(app.data().join("secret.key"), restored.data().join("secret.key")).expect("the key");
    app.client().register("late@example.org", PASSWORD, "Late").await;

    let mut restored = restored;
    restored.start().await;
    assert_eq!(restored.client().login("ann@example.org", PASSWORD).await.status, 303);
    let confirmed = restored.client().post("/confirm", &[("token", &token), ("password", PASSWORD)]).await;
    assert_eq!(confirmed.status, 303, "a link from before: {}", confirmed.body);
}
