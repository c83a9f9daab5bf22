use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_sources(BTreeMap::new(), environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
}

const KEY: &str = "9f8e7d6c5b4a39281706f5e4d3c2b1a0aabbccdd";

/// What every setting refuses, and what it takes instead.
const REFUSED: &[(&str, &[&str], &str)] = &[
    ("LISTEN", &["8080", "localhost:8080", ":8080", "127.0.0.1", "nowhere"], "is not an address and a port"),
    (
        "PUBLIC_URL",
        &["nonsense", "ftp://a", "//a.example", "https://", "id.example.org"],
        "is not http:// or https:// with a host",
    ),
    ("TRUSTED_PROXIES", &["x", "10.0.0.0/8, 10.0.0.0/33", "proxy.example"], "is not a network or an address"),
    ("PROXY_CONNECTIONS", &["0", "10001"], "is not from 1 to 10000"),
    ("HSTS", &["all"], "is not one of host, subdomains"),
    (
        "COOKIE_DOMAIN",
        &["org", ".example.org", "a..b", "10.0.0.1", "https://a.example"],
        "is not a domain with a dot in it",
    ),
    ("METRICS_LISTEN", &["9090", "on"], "is not an address and a port"),
    ("SITE_SECURITY_CONTACT", &["security@example.org", "http://a.example"], "is not mailto:, https:// or tel:"),
    ("LIMITS", &["no", "ON"], "is not one of on, off"),
    ("MIGRATE", &["yes", "1"], "is not true or false"),
    ("TOPOLOGY", &["maybe"], "is not one of apply, verify"),
    ("PREFETCH", &["0", "-1", "many", "1.5", "70000"], ""),
    ("LISTENER_CONCURRENCY", &["0", "x"], ""),
    ("RETRY_HOURS", &["23", "337"], "is not from 24 to 336"),
    ("MAILBOX", &["yes"], "is not one of auto, on, off"),
    ("MAIL_RATE", &["0", "60/min", "-1"], "is not a whole number from 1"),
    ("HASH_THREADS", &["0", "-2", "two"], "is not a whole number from 1"),
    ("HASH_QUEUE", &["-1", "x"], "is not a whole number"),
    ("HASH_MEMORY", &["8192", "4194305"], "is not from 19456 to 4194304 KiB"),
    ("HASH_PASSES", &["1", "101"], "is not from 2 to 100"),
    ("HASH_KERNEL", &["fast"], "is not one of auto, portable"),
    ("CONFIRM_LIFETIME", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("RESET_LIFETIME", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("EMAIL_UNDO", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("REMINDER_AFTER", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("PURGE_AFTER", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("DELETION_GRACE", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("SESSION_IDLE", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("SESSION_LIFETIME", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("FRESH_FOR", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    ("LOG_RETENTION", &["0s", "3661d", "24", "a day", "-1h", "1.5h"], ""),
    (
        "LIMIT_LOGIN_PAIR",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_LOGIN_ACCOUNT",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_LOGIN_DEVICE",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_LOGIN_NETWORK",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_LOGIN_ALL",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_MAIL_ADDRESS_HOUR",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_MAIL_ADDRESS_DAY",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_MAIL_DOMAIN",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_MAIL_NETWORK",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_MAIL_ALL",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    (
        "LIMIT_TOKEN_NETWORK",
        &["0/15m", "10", "10/25h", "ten/1h", "-1/1h", "10/0s"],
        "is not a number from 1 in a span up to a day",
    ),
    ("LOG", &["loud", "info,loud", "bellhop=loud", "=info", "bellhop[", "warning"], ""),
    ("LOG_FORMAT", &["xml"], "is not one of text, json"),
];
/// Those that any text may be until it is used: the app's `transports`, `endpoints` and the passwords' own tests refuse those.
const ANY_TEXT: [&str; 9] = [
    "DATA_DIR",
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "BROKER_URL",
    "SMTP_URL",
    "SMTP_CA",
    "MAIL_FROM",
    "BREACHED_PASSWORDS",
    "SECRET_KEY",
];

/// What was wrong was said in the words of Rust, or not at all.
#[test]
fn every_setting_refuses_what_it_cannot_use_in_one_line_with_the_fault_and_an_example() {
    for setting in settings() {
        let row = REFUSED.iter().find(|(name, ..)| *name == setting.name);
        assert_eq!(row.is_none(), ANY_TEXT.contains(&setting.name), "{} needs a row", setting.name);
        let Some((_, values, fault)) = row else { continue };
        for value in *values {
            let said = load(&[(&setting.variable(), value)]).expect_err(value).to_string();
            assert!(said.starts_with(&format!("{}: ", setting.variable())), "{value}: {said}");
            assert!(
                said.contains(fault) && said.ends_with(&format!(", for example {}", setting.sample())),
                "{value}: {said}"
            );
            for rusty in ["invalid", "parse", "relative URL", "digit", "syntax", "\n"] {
                assert!(!said.contains(rusty), "{value}: {said}");
            }
        }
    }
}

#[test]
fn an_error_in_the_settings_file_says_in_which_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellhop.toml");
    for (text, said) in [
        ("# ours\nlisten = \"8080\"\n", "line 2: BELLHOP_LISTEN: \"8080\" is not an address and a port"),
        ("trusted_proxies = [\"10.0.0.0/8\", 3]\n", "line 1: BELLHOP_TRUSTED_PROXIES: must be a text"),
        (
            "limits = \"on\"\n\nlitsen = \"x\"\n",
            "line 3: BELLHOP_LITSEN: there is no such setting (did you mean BELLHOP_LISTEN?)",
        ),
        ("limits = \"on\"\nlisten = \n", "line 2: "),
        ("limits = \"on\"\nlimits = \"off\"\n", "line 2: "),
        ("hash_passes = 2.5\n", "line 1: BELLHOP_HASH_PASSES: must be a text"),
        ("[http]\nlisten = \"127.0.0.1:1\"\n", "line 1: BELLHOP_HTTP: must be a text"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = load(&[("BELLHOP_CONFIG", file.to_str().unwrap())]).expect_err(text).to_string();
        let place = format!("{}, {said}", file.display());
        assert!(error.contains(&place) && !error.contains('\n'), "{text}{error}");
    }
    // what is stronger than the file is not in it
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\n").unwrap();
    let error =
        load(&[("BELLHOP_CONFIG", file.to_str().unwrap()), ("BELLHOP_LISTEN", "8080")]).unwrap_err().to_string();
    assert!(error.starts_with("BELLHOP_LISTEN: "), "{error}");
}

#[test]
fn the_health_has_an_address_of_its_own() {
    let load = |listen, health| load(&[("BELLHOP_LISTEN", listen), ("BELLHOP_METRICS_LISTEN", health)]).map(drop);
    let error = load("127.0.0.1:8081", "127.0.0.1:8081").unwrap_err().to_string();
    assert!(error.starts_with("BELLHOP_METRICS_LISTEN: ") && error.contains("BELLHOP_LISTEN"), "{error}");
    load("127.0.0.1:8081", "127.0.0.1:8082").unwrap();
    load("127.0.0.1:0", "127.0.0.1:0").unwrap();
}

#[test]
fn nothing_configured_is_enough() {
    let config = load(&[("PATH", "/bin")]).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.public_url.as_str(), "http://127.0.0.1:8080/");
    assert!(
        config.data.database_url.is_none() && config.messaging.broker_url.is_none() && config.mail.smtp_url.is_none()
    );
    assert_eq!(config.passwords.hash_queue, 64 * config.passwords.hash_threads.get());
}

#[test]
fn a_wrong_setting_is_named_in_one_line() {
    let key = "k".repeat(40);
    for (name, value, expected) in [
        ("BELLHOP_LISTNE", "x", "did you mean BELLHOP_LISTEN?"),
        ("BELLHOP_NONSENSE", "x", "no such setting"),
        ("BELLHOP_SMPT_URL", "smtp://localhost", "did you mean BELLHOP_SMTP_URL?"),
        ("BELLHOP_PORT", "8080", "no such setting"),
        ("BELLHOP_PUBLIC_URL", "https://a.example/path", "scheme, host and port"),
        ("BELLHOP_TRUSTED_PROXIES", "10.0.0.0/8, x", "\"x\""),
        ("BELLHOP_PREFETCH_CONFIRMATION", "0", "at least 1"),
        ("BELLHOP_SECRET_KEY", "short", "32 characters"),
        ("BELLHOP_SECRET_KEY", key.as_str(), "few different"),
        ("BELLHOP_SECRET_KEY_FILE", "/nonexistent", "BELLHOP_SECRET_KEY_FILE"),
        ("BELLHOP_CONFIG", "/nonexistent.toml", "BELLHOP_CONFIG"),
    ] {
        let error = load(&[(name, value)]).expect_err(name).to_string();
        assert!(error.contains(expected), "{name}={value}: {error}");
        assert!(!error.contains('\n'), "{error}");
        assert!(!error.contains(&key), "the key is shown: {error}");
    }
}

/// F1: a service named `bellhop` kept Bellhop from starting.
#[test]
fn the_variables_of_a_service_of_our_name_are_left_alone() {
    let config = load(&[("BELLHOP_PORT", "tcp://10.0.0.7:8080"), ("BELLHOP_SERVICE_HOST", "10.0.0.7")]).unwrap();
    assert_eq!(config.service_links, ["BELLHOP_PORT", "BELLHOP_SERVICE_HOST"]);
}

/// F37: links led to 0.0.0.0. F9: a port that the system chooses is known once it is bound.
#[test]
fn the_public_url_follows_from_where_it_listens_unless_it_is_set() {
    for (listen, bound, url) in [
        ("127.0.0.1:0", "127.0.0.1:4711", "http://127.0.0.1:4711/"),
        ("[::1]:8080", "[::1]:8080", "http://[::1]:8080/"),
        ("0.0.0.0:8080", "0.0.0.0:8080", "http://localhost:8080/"),
        ("[::]:0", "[::]:4711", "http://localhost:4711/"),
    ] {
        let mut http = load(&[("BELLHOP_LISTEN", listen)]).unwrap().http;
        http.listens_on(bound.parse().unwrap()).unwrap();
        assert_eq!((http.public_url.as_str(), http.listen.to_string().as_str()), (url, bound));
        assert_eq!(http.is_reached_by_any_address(), url.contains("localhost"));
    }
    let mut set = load(&[("BELLHOP_LISTEN", "0.0.0.0:0"), ("BELLHOP_PUBLIC_URL", "https://id.example")]).unwrap().http;
    set.listens_on("0.0.0.0:4711".parse().unwrap()).unwrap();
    assert_eq!((set.public_url.as_str(), set.is_reached_by_any_address()), ("https://id.example/", false));
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_beats_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bellhop.toml");
    std::fs::write(&file, "listen = \"127.0.0.1:1\"\nhash_threads = 3\nprefetch_login_log = 7\nlimits = \"off\"\n")
        .unwrap();
    let environment =
        [("BELLHOP_CONFIG", file.to_str().unwrap()), ("BELLHOP_LISTEN", "127.0.0.1:2"), ("BELLHOP_HASH_QUEUE", "5")];
    let flags = BTreeMap::from([("HASH_QUEUE".to_owned(), "9".to_owned())]);
    let config =
        Config::from_sources(flags, environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v)))).unwrap();
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!((config.passwords.hash_threads.get(), config.passwords.hash_queue), (3, 9));
    assert_eq!(
        (config.messaging.prefetch.of("login-log", 50), config.messaging.prefetch.of("confirmation", 1)),
        (7, 1)
    );
    assert!(!config.http.limits);
}

#[test]
fn a_message_is_tried_for_two_days_unless_it_is_said_otherwise_and_never_less_than_one() {
    let hours = |hours| load(&[("BELLHOP_RETRY_HOURS", hours)]).map(|config| config.messaging.retry.total);
    assert_eq!(hours("").unwrap(), Duration::from_hours(48));
    assert_eq!(hours("72").unwrap(), Duration::from_hours(72));
    for wrong in ["23", "337", "-1", "1d"] {
        assert!(hours(wrong).unwrap_err().to_string().contains("BELLHOP_RETRY_HOURS"), "{wrong}");
    }
}

#[test]
fn a_secret_may_come_from_a_file_and_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    let key = "9f8e7d6c5b4a39281706f5e4d3c2b1a0aabbccdd";
    std::fs::write(&file, format!("{key}\n")).unwrap();
    let config = load(&[("BELLHOP_SECRET_KEY_FILE", file.to_str().unwrap())]).unwrap();
    assert_eq!(config.secrets.key.as_ref().unwrap().expose_secret(), key);
    assert!(!format!("{config:?}").contains(key));
}

#[test]
fn every_row_is_read_by_its_section_and_every_default_and_example_can_be() {
    let mut values = Values::new(SECTIONS);
    let mut names = std::collections::BTreeSet::new();
    for setting in settings() {
        assert!(names.insert(setting.name), "{} is there twice", setting.name);
        // the example of a key is how to make one: one that is written down would be used
        let value = if setting.name == "SECRET_KEY" { KEY } else { setting.sample() };
        values.set(setting.name, value.to_owned()).unwrap();
        if setting.per_queue {
            values.set(&format!("{}_CONFIRMATION", setting.name), value.to_owned()).unwrap();
        }
    }
    Config::parse(&mut values).unwrap();
    assert_eq!(values.left(), Vec::<&str>::new(), "rows that no section reads");
    Config::parse(&mut Values::new(SECTIONS)).unwrap();
}
