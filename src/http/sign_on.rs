//! One sign-in for several applications: whose session cookie it is, and where a login may lead.
//!
//! By default the session is ours alone, in a cookie that no other host sees, and a login leads to a place of ours. With
//! `BELLHOP_COOKIE_DOMAIN` it is that of every host on the domain or below, which a login may lead to as well.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use url::Url;

use crate::http::cookies::Cookie;
use crate::http::redirect::Target;
use crate::links;
use crate::net::is_within;

/// Who shares the sign-in.
#[derive(Clone, Debug)]
pub struct SignOn {
    public: Url,
    domain: Option<Arc<str>>,
}

impl SignOn {
    /// That of the public URL's host, or of everybody on a domain that it belongs to.
    #[must_use]
    pub fn new(public: Url, domain: Option<&str>) -> Self {
        SignOn { public, domain: domain.map(Arc::from) }
    }

    fn https(&self) -> bool {
        self.public.scheme() == "https"
    }

    /// The cookie that carries the session.
    #[must_use]
    pub fn cookie(&self) -> Cookie {
        if self.domain.is_some() { Cookie::SharedSession } else { Cookie::Session }
    }

    /// Hands it to the browser, for as long or until it is closed.
    ///
    /// # Errors
    /// When `value` has characters that a token of ours never has.
    pub fn set(&self, value: &str, max_age: Option<Duration>) -> anyhow::Result<HeaderValue> {
        let line = match max_age {
            Some(max_age) => self.cookie().set(value, max_age, self.https())?,
            None => self.cookie().set_until_closed(value, self.https())?,
        };
        Ok(self.on_the_domain(line))
    }

    /// Takes it away.
    #[must_use]
    pub fn delete(&self) -> HeaderValue {
        self.on_the_domain(self.cookie().delete(self.https()))
    }

    fn on_the_domain(&self, line: HeaderValue) -> HeaderValue {
        let Some(domain) = &self.domain else { return line };
        let text = line.to_str().map(|line| format!("{line}; Domain={domain}"));
        let on_it = text.ok().and_then(|text| HeaderValue::try_from(text).ok());
        on_it.map_or(line, |mut on_it| {
            on_it.set_sensitive(true);
            on_it
        })
    }

    /// Where to go afterwards, by what came as `next`: a place of ours, or a page of who shares the sign-in. Anything else is
    /// the start; nothing is nothing.
    #[must_use]
    pub fn target(&self, next: Option<&str>) -> Option<Target> {
        let next = next.filter(|next| !next.is_empty())?;
        Some(self.page(next).unwrap_or_else(|| Target::parse(next)))
    }

    /// The page at an absolute URL: of ours, as a path, or of who shares the sign-in.
    #[must_use]
    pub fn page(&self, url: &str) -> Option<Target> {
        let page = Target::absolute(url)?;
        let parsed = Url::parse(url).ok()?;
        if parsed.origin() == self.public.origin() {
            let query = parsed.query().map(|query| format!("?{query}")).unwrap_or_default();
            return Some(Target::parse(&format!("{}{query}", parsed.path())));
        }
        let domain = self.domain.as_deref()?;
        let shares = parsed.scheme() == self.public.scheme()
            && parsed.port() == self.public.port()
            && parsed.domain().is_some_and(|host| is_within(host, domain));
        shares.then_some(page)
    }

    /// The way to sign in and back to this page, if it may be gone back to; for whoever is at another host.
    #[must_use]
    pub fn login(&self, page: Option<&str>) -> String {
        let path = page.and_then(|page| self.page(page)).map(|page| page.after(links::LOGIN));
        let origin = self.public.origin().ascii_serialization();
        format!("{origin}{}", path.as_deref().unwrap_or(links::LOGIN))
    }

    /// What a form may lead to, beside ourselves, as a policy for content says it.
    #[must_use]
    pub fn form_targets(&self) -> Option<String> {
        let (scheme, domain) = (self.public.scheme(), self.domain.as_deref()?);
        let port = self.public.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{scheme}://{domain}{port} {scheme}://*.{domain}{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared() -> SignOn {
        SignOn::new(Url::parse("https://id.example.org").unwrap(), Some("example.org"))
    }

    #[test]
    fn the_cookie_is_ours_alone_or_that_of_the_domain() {
        let alone = SignOn::new(Url::parse("https://id.example.org").unwrap(), None);
        let hour = Duration::from_hours(1);
        assert_eq!(
            alone.set("tok", Some(hour)).unwrap(),
            "__Host-bellhop=tok; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            shared().set("tok", Some(hour)).unwrap(),
            "__Secure-bellhop=tok; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure; Domain=example.org"
        );
        assert_eq!(
            shared().set("tok", None).unwrap(),
            "__Secure-bellhop=tok; Path=/; HttpOnly; SameSite=Lax; Secure; Domain=example.org"
        );
        assert_eq!(
            shared().delete(),
            "__Secure-bellhop=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure; Domain=example.org"
        );
        assert!(shared().delete().is_sensitive());
        assert!(shared().set("a;b", None).is_err());
    }

    #[test]
    fn a_login_leads_to_who_shares_it_and_to_nobody_else() {
        for next in [
            "https://app.example.org/",
            "https://app.example.org/a/b?c=d&e=%2F",
            "https://example.org/",
            "https://a.b.example.org/x",
        ] {
            assert_eq!(shared().target(Some(next)).unwrap().as_str(), next);
            let alone = SignOn::new(Url::parse("https://id.example.org").unwrap(), None);
            assert_eq!(alone.target(Some(next)).unwrap().as_str(), "/", "nobody shares it");
        }
        for next in [
            "https://evil.example/",
            "https://example.org.evil.example/",
            "https://evilexample.org/",
            "https://app.example.org@evil.example/",
            "https://app.example.org:pw@evil.example/",
            "https://user@app.example.org/",
            "https://app.example.org:8443/",
            "http://app.example.org/",
            "//app.example.org/",
            "https:/app.example.org/",
            "https:app.example.org",
            "https:\\\\app.example.org\\",
            "https://app.example.org\\@evil.example/",
            "https://evil.example/?https://app.example.org/",
            "https://evil.example#.example.org/",
            "https://evil.example%2eexample.org/",
            "https://evil.example\u{3002}example.org/",
            "https://app.example.org\r\nset-cookie: a=b",
            " https://app.example.org/",
            "https://app.example.org/ ",
            "javascript://app.example.org/%0aalert(1)",
            "data:text/html,x",
            "https://[::1]/",
            "https://.example.org/",
            "https://..example.org/",
        ] {
            assert_eq!(shared().target(Some(next)).unwrap().as_str(), "/", "{next:?}");
        }
        assert_eq!(shared().target(Some("/account?a=1")).unwrap().as_str(), "/account?a=1");
        assert_eq!(shared().target(Some("https://id.example.org/account?a=1")).unwrap().as_str(), "/account?a=1");
        assert_eq!(shared().target(Some("")), None);
        assert_eq!(shared().target(None), None);
    }

    #[test]
    fn the_way_to_sign_in_leads_back() {
        assert_eq!(
            shared().login(Some("https://app.example.org/x?y=z")),
            "https://id.example.org/login?next=https%3A%2F%2Fapp.example.org%2Fx%3Fy%3Dz"
        );
        for page in [None, Some("https://evil.example/"), Some("/x")] {
            assert_eq!(shared().login(page), "https://id.example.org/login", "{page:?}");
        }
        assert_eq!(shared().form_targets().unwrap(), "https://example.org https://*.example.org");
    }
}
