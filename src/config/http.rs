//! How people and programs reach it.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::Url;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;
use crate::net::is_within;
use crate::text::loggable;

pub(super) const SECTION: Section = Section {
    title: "HTTP",
    settings: &[
        Setting::new("LISTEN", Fallback::Value("127.0.0.1:8080"), "where HTTP listens"),
        Setting::new(
            "PUBLIC_URL",
            Fallback::Described("http://<listen>"),
            "base of every link in a mail; https turns on Secure, __Host- and HSTS",
        )
        .example("https://id.example.org"),
        Setting::new(
            "TRUSTED_PROXIES",
            Fallback::Described("none"),
            "networks whose X-Forwarded-For counts, separated by commas",
        )
        .example("10.0.0.0/8,fd00::/8"),
        Setting::new(
            "PROXY_CONNECTIONS",
            Fallback::Value("8192"),
            "connections that each trusted proxy, and this machine, may have open; a network has 512",
        ),
        Setting::new(
            "HSTS",
            Fallback::Value("host"),
            "with https: host, or subdomains: browsers keep to https for every name below it too",
        ),
        Setting::new(
            "COOKIE_DOMAIN",
            Fallback::Described("none"),
            "one sign-in for all hosts on this domain and below, behind forward-auth: each of them sees the session's cookie",
        )
        .example("example.org"),
        Setting::new(
            "METRICS_LISTEN",
            Fallback::Described("off"),
            "an address of its own for /livez and /readyz of this process, with or without the web",
        )
        .example("127.0.0.1:9090"),
        Setting::new(
            "SITE_SECURITY_CONTACT",
            Fallback::Described("none"),
            "mailto: or https: address for reports of weaknesses, told at /.well-known/security.txt",
        )
        .example("mailto:security@example.org"),
        Setting::new("LIMITS", Fallback::Value("on"), "on, or off: no limits on requests (load tests)"),
    ],
};

/// How people and programs reach it.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// `BELLHOP_LISTEN`
    pub listen: SocketAddr,
    /// `BELLHOP_PUBLIC_URL`, without a path, or what follows from where it listens.
    pub public_url: Url,
    /// Whether it was set. Where it was not, and every address is listened on, nobody knows which one people use.
    pub public_url_is_set: bool,
    /// `BELLHOP_HSTS`: whether browsers keep to https for the names below the public URL's too.
    pub hsts_subdomains: bool,
    /// `BELLHOP_COOKIE_DOMAIN`: whose hosts share the sign-in.
    pub cookie_domain: Option<String>,
    /// `BELLHOP_TRUSTED_PROXIES`
    pub trusted_proxies: Vec<IpNet>,
    /// `BELLHOP_PROXY_CONNECTIONS`: connections that an address of a trusted proxy or of the loopback may have open.
    pub proxy_connections: usize,
    /// `BELLHOP_METRICS_LISTEN`: where this process says how it fares, beside the web.
    pub metrics_listen: Option<SocketAddr>,
    /// `BELLHOP_SITE_SECURITY_CONTACT`
    pub security_contact: Option<Url>,
    /// `BELLHOP_LIMITS`: whether requests are limited.
    pub limits: bool,
}

impl HttpConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let listen = values.take("LISTEN")?;
        let given = values.take_text("PUBLIC_URL");
        let public_url_is_set = given.is_some();
        let public_url = public_url(given, listen)?;
        Ok(HttpConfig {
            listen,
            public_url_is_set,
            cookie_domain: cookie_domain(values.take_text("COOKIE_DOMAIN"), &public_url)?,
            public_url,
            hsts_subdomains: values.take_word("HSTS", &[("host", false), ("subdomains", true)])?,
            trusted_proxies: trusted_proxies(values.take_text("TRUSTED_PROXIES").as_deref().unwrap_or_default())?,
            proxy_connections: values.take_in("PROXY_CONNECTIONS", 1..=10_000, "")?,
            metrics_listen: metrics_listen(values.take_optional("METRICS_LISTEN")?, listen)?,
            security_contact: security_contact(values.take_text("SITE_SECURITY_CONTACT"))?,
            limits: values.take_word("LIMITS", &[("on", true), ("off", false)])?,
        })
    }

    /// Takes over where it listens in truth: port 0 is any free one.
    ///
    /// # Errors
    /// Never for an address of a socket.
    pub fn listens_on(&mut self, address: SocketAddr) -> Result<(), ConfigError> {
        self.listen = address;
        if !self.public_url_is_set {
            self.public_url = public_url(None, address)?;
        }
        Ok(())
    }

    /// Whether people may come by any address of this machine, because none was named.
    #[must_use]
    pub fn is_reached_by_any_address(&self) -> bool {
        !self.public_url_is_set && self.listen.ip().is_unspecified()
    }
}

fn public_url(value: Option<String>, listen: SocketAddr) -> Result<Url, ConfigError> {
    let wrong = |problem: &str| ConfigError::value("PUBLIC_URL", problem);
    let own = || {
        // every address is none that a link could lead to
        if listen.ip().is_unspecified() {
            format!("http://localhost:{}", listen.port())
        } else {
            format!("http://{listen}")
        }
    };
    let text = value.unwrap_or_else(own);
    // what was typed is not repeated: there may be a password in it
    let form = "is not http:// or https:// with a host";
    let url = Url::parse(&text).map_err(|_| wrong(form))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(form));
    }
    let bare = url.username().is_empty() && url.password().is_none();
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || !bare {
        return Err(wrong("must be scheme, host and port alone"));
    }
    Ok(url)
}

/// A domain that the public URL's host is on or below. Browsers refuse one that everybody is below, such as `org`.
fn cookie_domain(value: Option<String>, public_url: &Url) -> Result<Option<String>, ConfigError> {
    let Some(text) = value else { return Ok(None) };
    let wrong = |problem: &str| ConfigError::value("COOKIE_DOMAIN", problem);
    let domain = text.to_ascii_lowercase();
    let is_name = domain.split('.').count() > 1
        && domain.split('.').all(|label| !label.is_empty())
        && domain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
        && domain.parse::<IpAddr>().is_err();
    if !is_name {
        return Err(wrong("is not a domain with a dot in it"));
    }
    if !public_url.domain().is_some_and(|host| is_within(host, &domain)) {
        return Err(wrong("is not what BELLHOP_PUBLIC_URL's host is on or below"));
    }
    Ok(Some(domain))
}

/// The health's address, which is another one than the web's; two ports that the system chooses are different.
fn metrics_listen(address: Option<SocketAddr>, web: SocketAddr) -> Result<Option<SocketAddr>, ConfigError> {
    if address.is_some_and(|address| address == web && web.port() != 0) {
        let problem =
            "is where BELLHOP_LISTEN is, which answers /livez and /readyz too: leave it out, or take another port";
        return Err(ConfigError::value("METRICS_LISTEN", problem));
    }
    Ok(address)
}

fn security_contact(value: Option<String>) -> Result<Option<Url>, ConfigError> {
    let Some(text) = value else { return Ok(None) };
    // RFC 9116 section 2.5.3 lets no other web address than https
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "mailto" | "https" | "tel"));
    let wrong = || ConfigError::value("SITE_SECURITY_CONTACT", "is not mailto:, https:// or tel: with an address");
    url.map(Some).ok_or_else(wrong)
}

fn trusted_proxies(value: &str) -> Result<Vec<IpNet>, ConfigError> {
    let entries = value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                ConfigError::value("TRUSTED_PROXIES", format!("{:?} is not a network or an address", loggable(entry)))
            })
        })
        .collect()
}
