//! Where to go after something else, such as a login: a place of ours, or the start (OWASP ASVS 3.7.2).

use axum::http::{HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use url::Url;

/// The longest target, in bytes.
const MAX_TARGET_BYTES: usize = 1_024;

/// A path of ours with its query, or a page of who shares the sign-in: safe to stand in a `Location` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Default for Target {
    fn default() -> Self {
        Self("/".to_owned())
    }
}

impl Target {
    /// Takes what came as `next`; anything but a plain path of ours becomes `/`.
    #[must_use]
    pub fn parse(next: &str) -> Self {
        if is_ours(next) { Self(next.to_owned()) } else { Self::default() }
    }

    /// A page of another host, which the caller has to know: an absolute URL of printable ASCII as a browser would write it, without
    /// anything that one parser could take for another host than the next.
    #[must_use]
    pub(in crate::http) fn absolute(url: &str) -> Option<Self> {
        let plain = url.len() <= MAX_TARGET_BYTES && url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        let parsed = Url::parse(url).ok().filter(|_| plain)?;
        let host = parsed.domain().filter(|host| !host.starts_with('.') && !host.contains(".."))?;
        let port = parsed.port().map(|port| format!(":{port}")).unwrap_or_default();
        let rest = url.strip_prefix(&format!("{}://{host}{port}", parsed.scheme()))?;
        let is_page =
            matches!(parsed.scheme(), "http" | "https") && (rest.is_empty() || rest.starts_with(['/', '?', '#']));
        is_page.then(|| Self(url.to_owned()))
    }

    /// Where a request is: its path with its query, or without it if it may change something.
    #[must_use]
    pub fn here(method: &Method, uri: &Uri) -> Self {
        let is_page = matches!(*method, Method::GET | Method::HEAD);
        Self::parse(if is_page { uri.path_and_query().map_or("/", |here| here.as_str()) } else { uri.path() })
    }

    /// What came as `next` in a form or a URL, where an empty one is none.
    #[must_use]
    pub fn optional(next: Option<&str>) -> Option<Self> {
        next.filter(|next| !next.is_empty()).map(Self::parse)
    }

    /// The path with its query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value of a `Location` header.
    #[must_use]
    pub fn location(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or(HeaderValue::from_static("/"))
    }

    /// `page` with this target as its encoded `next` parameter: `/login?next=%2Faccount`.
    #[must_use]
    pub fn after(&self, page: &str) -> String {
        let encoded: String = form_urlencoded::byte_serialize(self.0.as_bytes()).collect();
        format!("{page}?next={encoded}")
    }
}

/// A path that starts with one `/`, in printable ASCII, without `\`; and its path part without `//`, `\` or control
/// characters however often it is decoded, since proxies and browsers decode at times we do not know.
fn is_ours(next: &str) -> bool {
    if next.len() > MAX_TARGET_BYTES || !next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return false;
    }
    let mut path = next.split(['?', '#']).next().unwrap_or_default().to_owned();
    // Every decoding shortens the text, so this ends.
    loop {
        if !path.starts_with('/') || path.contains("//") || path.contains(|c: char| c == '\\' || c.is_control()) {
            return false;
        }
        let Ok(decoded) = percent_decode_str(&path).decode_utf8() else { return false };
        if decoded == path {
            return true;
        }
        path = decoded.into_owned();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn our_own_paths_are_kept() {
        for next in
            ["/", "/account", "/account/activity?before=1&limit=20", "/people/ann%C3%A9", "/a?x=//b#c", "/a/../b"]
        {
            assert_eq!(Target::parse(next).as_str(), next);
        }
    }

    #[test]
    fn other_places_become_the_start() {
        for next in [
            "",
            "account",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\\/evil.example",
            "https://evil.example",
            "https:evil.example",
            "javascript:alert(1)",
            "data:,x",
            "/\t/evil.example",
            "/\n/evil.example",
            "/%2fevil.example",
            "/%2Fevil.example",
            "/%5cevil.example",
            "/%255cevil.example",
            "/%25255cevil.example",
            "%2f%2fevil.example",
            "/a//b",
            "/..//evil.example",
            "/.%2f/evil.example",
            "/%09/evil.example",
            "/%00",
            "/a%0d%0aLocation:x",
            "/ü",
            "/ a",
            " /a",
            "/%ff",
            "@evil.example",
            ".evil.example",
        ] {
            assert_eq!(Target::parse(next).as_str(), "/", "{next:?}");
        }
        assert_eq!(Target::parse(&format!("/{}", "a".repeat(MAX_TARGET_BYTES))).as_str(), "/");
    }

    #[test]
    fn a_target_survives_as_a_parameter() {
        let page = Target::parse("/account?a=1&b=%26").after("/login");
        assert_eq!(page, "/login?next=%2Faccount%3Fa%3D1%26b%3D%2526");
        let url = Url::parse("http://x").unwrap().join(&page).unwrap();
        let (_, next) = url.query_pairs().next().unwrap();
        assert_eq!(Target::parse(&next).as_str(), "/account?a=1&b=%26");
    }

    proptest! {
        #[test]
        fn a_browser_never_leaves_us(next in "(/|//|\\\\|%2f|%5c|%25|[ -~]|\\PC|[\t\r\n]|https:|@|\\.|evil\\.example){0,12}") {
            let base = Url::parse("https://id.example.org/login").unwrap();
            let target = Target::parse(&next);
            let url = base.join(target.as_str()).unwrap();
            prop_assert_eq!(url.origin(), base.origin());
            let location = target.location();
            prop_assert_eq!(location.to_str().unwrap(), target.as_str());
            let once = percent_decode_str(target.as_str()).decode_utf8_lossy().into_owned();
            prop_assert!(!once.split(['?', '#']).next().unwrap().contains("//"));
        }

        #[test]
        fn any_text_gives_a_location_of_ours(next in any::<String>()) {
            let base = Url::parse("http://127.0.0.1:8080").unwrap();
            let url = base.join(Target::parse(&next).location().to_str().unwrap()).unwrap();
            prop_assert_eq!(url.origin(), base.origin());
        }
    }
}
