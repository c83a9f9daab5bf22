use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;

fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::from_sources(BTreeMap::new(), environment.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))))
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
        ("BELLHOP_HSTS", "all", "host, subdomains"),
        ("BELLHOP_MAILBOX", "yes", "auto, on, off"),
        ("BELLHOP_LISTEN", "nowhere", "BELLHOP_LISTEN"),
        ("BELLHOP_PUBLIC_URL", "ftp://a", "http"),
        ("BELLHOP_PUBLIC_URL", "https://a.example/path", "scheme, host and port"),
        ("BELLHOP_TRUSTED_PROXIES", "10.0.0.0/8, x", "\"x\""),
        ("BELLHOP_PROXY_CONNECTIONS", "0", "from 1 to 10000"),
        ("BELLHOP_HASH_MEMORY", "8192", "19456"),
        ("BELLHOP_HASH_PASSES", "1", "from 2"),
        ("BELLHOP_HASH_KERNEL", "fast", "not one of auto, portable"),
        ("BELLHOP_HASH_THREADS", "0", "BELLHOP_HASH_THREADS"),
        ("BELLHOP_TOPOLOGY", "maybe", "apply, verify"),
        ("BELLHOP_PREFETCH_CONFIRMATION", "0", "at least 1"),
        ("BELLHOP_LIMITS", "no", "on, off"),
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
fn every_row_is_read_by_its_section_and_every_default_can_be() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let samples = [
        ("PUBLIC_URL", "https://id.example"),
        ("TRUSTED_PROXIES", "10.0.0.0/8"),
        ("METRICS_LISTEN", "127.0.0.1:9090"),
        ("SITE_SECURITY_CONTACT", "mailto:security@id.example"),
        ("DATABASE_URL", "sqlite:x"),
        ("DATABASE_DIRECT_URL", "postgres://localhost/x"),
        ("BROKER_URL", "amqp://localhost"),
        ("PREFETCH", "3"),
        ("LISTENER_CONCURRENCY", "3"),
        ("SMTP_URL", "smtp://localhost"),
        ("SMTP_CA", "/etc/ca.pem"),
        ("MAIL_RATE", "60"),
        ("SECRET_KEY", "9f8e7d6c5b4a39281706f5e4d3c2b1a0aabbccdd"),
        ("HASH_THREADS", "2"),
        ("HASH_QUEUE", "2"),
        ("BREACHED_PASSWORDS", file.path().to_str().unwrap()),
        ("LOG", "debug"),
    ];
    let mut values = Values::new(SECTIONS);
    let mut names = std::collections::BTreeSet::new();
    for setting in settings() {
        assert!(names.insert(setting.name), "{} is there twice", setting.name);
        let value = match setting.default {
            Fallback::Value(text) => text,
            Fallback::Described(_) => samples.iter().find(|(name, _)| *name == setting.name).expect(setting.name).1,
        };
        values.set(setting.name, value.to_owned()).unwrap();
        if setting.per_queue {
            values.set(&format!("{}_CONFIRMATION", setting.name), value.to_owned()).unwrap();
        }
    }
    Config::parse(&mut values).unwrap();
    assert_eq!(values.left(), Vec::<&str>::new(), "rows that no section reads");
}
