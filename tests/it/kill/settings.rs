//! Wrong settings: exit code 78 (`EX_CONFIG`) and one line that names the setting and shows no secret.

use std::net::TcpListener;

use crate::support::process::Bellhop;

/// Settings, arguments, and what the line must name.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a str);

#[tokio::test]
async fn a_wrong_setting_ends_the_start_with_one_line_that_names_it() {
    let equal = "k".repeat(40);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("it listens").to_string();
    let cases: &[Case<'_>] = &[
        (&[("LISTNE", "x")], &[], "BELLHOP_LISTNE"),
        (&[("COLOUR", "red")], &[], "BELLHOP_COLOUR"),
        (&[("LISTEN", "nowhere")], &[], "BELLHOP_LISTEN"),
        (&[("LISTEN", &taken)], &[], "BELLHOP_LISTEN"),
        (&[("PUBLIC_URL", "ftp://a.example")], &[], "BELLHOP_PUBLIC_URL"),
        (&[("PUBLIC_URL", "https://user:CANARY@a.example/")], &[], "BELLHOP_PUBLIC_URL"),
        (&[("PUBLIC_URL", "https://:CANARY@a.example/")], &[], "BELLHOP_PUBLIC_URL"),
        (&[("PUBLIC_URL", "https://user:CANARY@a.example:port/")], &[], "BELLHOP_PUBLIC_URL"),
        (&[("SECRET_KEY", "CANARY")], &[], "BELLHOP_SECRET_KEY"),
        (&[("SECRET_KEY", "CANARY example key that is long enough")], &[], "BELLHOP_SECRET_KEY"),
        (&[("SECRET_KEY", &equal)], &[], "BELLHOP_SECRET_KEY"),
        (&[("SECRET_KEY_FILE", "/nonexistent")], &[], "BELLHOP_SECRET_KEY_FILE"),
        (&[("HASH_MEMORY", "8192")], &[], "BELLHOP_HASH_MEMORY"),
        (&[("HASH_PASSES", "1")], &[], "BELLHOP_HASH_PASSES"),
        (&[("HASH_THREADS", "0")], &[], "BELLHOP_HASH_THREADS"),
        (&[("DATABASE_URL", "mysql://user:CANARY@127.0.0.1/x")], &[], "BELLHOP_DATABASE_URL"),
        (&[("DATABASE_URL", "postgres://user:CANARY@127.0.0.1:port/x")], &[], "BELLHOP_DATABASE_URL"),
        (&[("BROKER_URL", "http://user:CANARY@127.0.0.1/")], &[], "BELLHOP_BROKER_URL"),
        (&[("BROKER_URL", "amqp://user:CANARY@127.0.0.1:port/")], &[], "BELLHOP_BROKER_URL"),
        (&[("SMTP_URL", "imap://user:CANARY@127.0.0.1/")], &[], "BELLHOP_SMTP_URL"),
        (&[("SMTP_URL", "smtp://user:CANARY@127.0.0.1:25?tls=perhaps")], &[], "BELLHOP_SMTP_URL"),
        (&[("SMTP_URL", "smtp://user:CANARY@127.0.0.1:port")], &[], "BELLHOP_SMTP_URL"),
        (&[("SMTP_CA", "/nonexistent.pem")], &[], "BELLHOP_SMTP_CA"),
        (&[("SMTP_CA", "/proc/self/environ")], &[], "BELLHOP_SMTP_CA"),
        (&[("MAIL_FROM", "nobody")], &[], "BELLHOP_MAIL_FROM"),
        (&[("MAIL_RATE", "0")], &[], "BELLHOP_MAIL_RATE"),
        (&[("TRUSTED_PROXIES", "10.0.0.0/8, x")], &[], "BELLHOP_TRUSTED_PROXIES"),
        (&[("BREACHED_PASSWORDS", "/nonexistent")], &[], "BELLHOP_BREACHED_PASSWORDS"),
        (&[("BREACHED_PASSWORDS", "/proc/self/environ")], &[], "BELLHOP_BREACHED_PASSWORDS"),
        (&[("MIGRATE", "perhaps")], &[], "BELLHOP_MIGRATE"),
        (&[("TOPOLOGY", "perhaps")], &[], "BELLHOP_TOPOLOGY"),
        (&[("PREFETCH", "0")], &[], "BELLHOP_PREFETCH"),
        (&[("PREFETCH_CONFIRMATIONS", "3")], &[], "BELLHOP_PREFETCH_CONFIRMATIONS"),
        (&[("LISTENER_CONCURRENCY_LOGIN_LOG", "many")], &[], "BELLHOP_LISTENER_CONCURRENCY_LOGIN_LOG"),
        (&[("RETRY_HOURS", "12")], &[], "BELLHOP_RETRY_HOURS"),
        (&[("RETRY_HOURS", "two")], &[], "BELLHOP_RETRY_HOURS"),
        (&[("LIMITS", "no")], &[], "BELLHOP_LIMITS"),
        (&[("LOG", "info,=,[")], &[], "BELLHOP_LOG"),
        (&[("LOG_FORMAT", "xml")], &[], "BELLHOP_LOG_FORMAT"),
        (&[("CONFIG", "/nonexistent.toml")], &[], "BELLHOP_CONFIG"),
        (&[("DATA_DIR", "/dev/null/data")], &[], "BELLHOP_DATA_DIR"),
        (&[], &["--only", "kitchen"], "--only kitchen"),
        (&[], &["serve", "--only", "listener:kitchen"], "--only listener:kitchen"),
        (&[], &["--hash-memory", "8192"], "BELLHOP_HASH_MEMORY"),
    ];
    let mut wrong = Vec::new();
    for (settings, arguments, named) in cases {
        let mut app = Bellhop::new().await;
        for (name, value) in *settings {
            app = app.with(name, value);
        }
        let output = app.call(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let one_line = said.ends_with('\n') && said.matches('\n').count() == 1;
        let shows = said.contains("CANARY") || said.contains(&equal) || !output.stdout.is_empty();
        if output.status.code() != Some(78) || !one_line || !said.contains(named) || shows {
            wrong.push(format!("{settings:?} {arguments:?}: {:?}: {said}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_port_that_is_taken_ends_the_start_before_anything_is_made() {
    let mut first = Bellhop::new().await;
    first.start().await;
    for setting in ["LISTEN", "METRICS_LISTEN"] {
        let second = Bellhop::new().await.with(setting, first.url.trim_start_matches("http://"));
        let output = second.call(&[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.matches('\n').count()), (Some(78), 1), "{said}");
        assert!(said.contains(&format!("BELLHOP_{setting}: ")) && said.contains("in use"), "{said}");
        assert!(!second.data().exists() && output.stdout.is_empty(), "nothing was begun");
    }
}

#[tokio::test]
async fn a_secret_is_no_argument() {
    let app = Bellhop::new().await;
    for flag in ["--secret-key", "--database-url", "--broker-url", "--smtp-url"] {
        let output = app.call(&[flag, "smtp://user:CANARY@127.0.0.1"]).await;
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert!(!String::from_utf8_lossy(&output.stderr).contains("CANARY"), "{flag}");
    }
}
