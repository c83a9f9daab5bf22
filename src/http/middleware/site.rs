//! Who we are to a browser: the hosts we answer to and the origins that are ours.
//!
//! Both are lists of texts that are made once at the start and compared whole, so there is no second parser of `Host`
//! or `Origin` that could disagree with the browser's.

use std::net::IpAddr;

use anyhow::{Context, ensure};
use axum::http::HeaderValue;
use url::Url;

use crate::http::middleware::hints::Hints;
use crate::http::sign_on::SignOn;
use crate::net::is_loopback_host;

/// Our names on the loopback.
pub(in crate::http) const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; manifest-src 'self'; connect-src 'self'; \
    base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'";
const HSTS: &str = "max-age=31536000";
/// The names below may be other people's, and without https: only who asks for it gets this.
const HSTS_SUBDOMAINS: &str = "max-age=31536000; includeSubDomains";

/// The public URL and the port we listen on, as far as requests are held against them.
#[derive(Clone, Debug)]
pub struct Site {
    https: bool,
    trustworthy: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
    any_address: bool,
    hsts: &'static str,
    hints: Hints,
    sign_on: SignOn,
    content_policy: HeaderValue,
}

impl Site {
    /// Works out hosts and origins. The loopback always counts as a host (for health checks and proxies on this
    /// machine); as an origin only if the public URL is on the loopback itself.
    ///
    /// # Errors
    /// When the URL is not `http` or `https`, or has no host.
    pub fn new(public_url: &Url, listen_port: u16) -> anyhow::Result<Self> {
        ensure!(matches!(public_url.scheme(), "http" | "https"), "the public URL must be http or https");
        let https = public_url.scheme() == "https";
        let name = public_url.host_str().context("the public URL has no host")?;
        let port = public_url.port_or_known_default().context("the public URL has no port")?;
        let on_loopback = is_loopback_host(name);

        let mut hosts = vec![format!("{name}:{port}")];
        if public_url.port().is_none() {
            hosts.push(name.to_owned());
        }
        let mut origins = vec![public_url.origin().ascii_serialization()];
        for name in LOOPBACK {
            let host = if listen_port == 80 { name.to_owned() } else { format!("{name}:{listen_port}") };
            if on_loopback {
                origins.push(format!("http://{host}"));
            }
            hosts.push(host);
        }
        let (trustworthy, sign_on) = (https || on_loopback, SignOn::new(public_url.clone(), None));
        let content_policy = HeaderValue::from_static(POLICY);
        Ok(Self {
            https,
            trustworthy,
            hosts,
            origins,
            any_address: false,
            hsts: HSTS,
            hints: Hints::default(),
            sign_on,
            content_policy,
        })
    }

    /// The same where every address is listened on and none was named: people come by whichever leads here, through whichever
    /// port. A page that an attacker's name leads to (DNS rebinding) has that name in `Host` and not an address.
    #[must_use]
    pub fn reached_by_any_address(self) -> Self {
        Self { any_address: true, trustworthy: false, ..self }
    }

    /// The same with HSTS for the names below ours too, or without.
    #[must_use]
    pub fn with_hsts_subdomains(self, subdomains: bool) -> Self {
        Self { hsts: if subdomains { HSTS_SUBDOMAINS } else { HSTS }, ..self }
    }

    /// The same where others share the sign-in. Browsers hold `form-action` against where a form's answer leads, too: a login may
    /// lead to them.
    #[must_use]
    pub fn with_sign_on(self, sign_on: SignOn) -> Self {
        let shared = sign_on.form_targets().and_then(|to| HeaderValue::try_from(format!("{POLICY} {to}")).ok());
        let content_policy = shared.unwrap_or(HeaderValue::from_static(POLICY));
        Self { sign_on, content_policy, ..self }
    }

    /// `Content-Security-Policy` of every answer.
    #[must_use]
    pub fn content_policy(&self) -> &HeaderValue {
        &self.content_policy
    }

    /// Who shares the sign-in.
    #[must_use]
    pub fn sign_on(&self) -> &SignOn {
        &self.sign_on
    }

    /// `Strict-Transport-Security` for a site that browsers reach by https.
    #[must_use]
    pub fn hsts(&self) -> &'static str {
        self.hsts
    }

    /// Whether browsers reach us by https: turns on `Secure`, the `__Host-` prefix and HSTS.
    #[must_use]
    pub fn https(&self) -> bool {
        self.https
    }

    /// Whether browsers count us as potentially trustworthy (W3C Secure Contexts section 3.1). Only then do they send
    /// `Sec-Fetch-Site`.
    #[must_use]
    pub fn trustworthy(&self) -> bool {
        self.trustworthy
    }

    /// Whether `host` (the `Host` header, with its port) is one of ours. Host names ignore case (RFC 9110 section 4.2.3).
    #[must_use]
    pub fn answers_to(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host)) || self.any_address && is_address(host)
    }

    /// Whether `origin` (the `Origin` header) is one of ours, byte for byte: browsers send it in lower case. `null`
    /// never is. `host` is one that we answer to.
    #[must_use]
    pub fn owns(&self, origin: &[u8], host: &str) -> bool {
        let of_host = || self.any_address && origin.strip_prefix(b"http://") == Some(host.as_bytes());
        self.origins.iter().any(|ours| ours.as_bytes() == origin) || of_host()
    }

    /// What requests say about the settings.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// The origin that people are to come by, for the log.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.origins.first().map_or("", String::as_str)
    }
}

/// Whether it is an address or a name of the loopback, with a port or without.
pub(super) fn is_address(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    is_loopback_host(name) || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str, port: u16) -> Site {
        Site::new(&Url::parse(url).unwrap(), port).unwrap()
    }

    #[test]
    fn a_public_site_answers_to_its_name_and_to_the_loopback_at_its_port() {
        let site = site("https://id.example.org", 8080);
        for host in ["id.example.org", "ID.example.ORG", "id.example.org:443", "localhost:8080", "[::1]:8080"] {
            assert!(site.answers_to(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "id.example.org:80",
            "id.example.org.",
            "localhost",
            "127.0.0.1:80",
            "a@id.example.org",
        ] {
            assert!(!site.answers_to(host), "{host}");
        }
    }

    #[test]
    fn only_a_site_on_the_loopback_owns_loopback_origins() {
        let public = site("https://id.example.org", 8080);
        assert!(public.owns(b"https://id.example.org", "id.example.org"));
        for origin in
            [&b"http://id.example.org"[..], b"null", b"", b"http://localhost:8080", b"https://id.example.org/"]
        {
            assert!(!public.owns(origin, "id.example.org"), "{}", origin.escape_ascii());
        }
        let local = site("http://127.0.0.1:8080", 8080);
        assert!(local.owns(b"http://localhost:8080", "localhost:8080"));
        assert!(!local.owns(b"http://localhost:8081", "localhost:8080"));
        assert!(!local.owns(b"https://localhost:8080", "localhost:8080"));
    }

    /// F37: every real Host was answered 421.
    #[test]
    fn without_a_public_url_every_address_is_ours_and_no_name_but_the_loopbacks() {
        let site = site("http://localhost:8080", 8080).reached_by_any_address();
        for host in ["localhost:9000", "127.0.0.1:8080", "192.168.1.5:9000", "10.0.0.7", "[2001:db8::1]:80", "[::1]"] {
            assert!(site.answers_to(host), "{host}");
            assert!(site.owns(format!("http://{host}").as_bytes(), host), "{host}");
            assert!(!site.owns(b"http://evil.example", host) && !site.owns(b"null", host), "{host}");
        }
        for host in ["", "evil.example", "evil.example:8080", "192.168.1.5.evil.example", "localhost.evil.example"] {
            assert!(!site.answers_to(host), "{host}");
        }
        assert!(!site.trustworthy(), "by an address of a network browsers send no Sec-Fetch-Site");
    }

    #[test]
    fn only_https_and_the_loopback_are_trustworthy() {
        assert!(site("https://id.example.org", 8080).trustworthy());
        assert!(site("http://bellhop.localhost:8080", 8080).trustworthy());
        assert!(!site("http://192.168.1.5:8080", 8080).trustworthy());
        assert!(!site("http://192.168.1.5:8080", 8080).https());
    }

    #[test]
    fn a_url_that_is_no_web_site_is_refused() {
        assert!(Site::new(&Url::parse("ftp://id.example.org").unwrap(), 8080).is_err());
        assert!(Site::new(&Url::parse("data:text/plain,x").unwrap(), 8080).is_err());
    }
}
