//! Our cookies: the session, the one that tells the registering browser from others, and the language that was chosen.
//!
//! Reading never fails: what is malformed, doubled or over-long is no cookie at all (RFC 6265bis section 5.6 is lenient on
//! purpose; a session is not, so that no middle box and no sibling domain can make us pick theirs). What is wrong with other
//! people's cookies in the same line is not our affair.

use std::time::Duration;

use anyhow::ensure;
use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};

/// The longest value that is looked at, in bytes: ours have 43.
const MAX_VALUE_BYTES: usize = 128;

/// One of our cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cookie {
    /// Carries the session token.
    Session,
    /// The same where other hosts of the domain share the sign-in: no cookie with a `Domain` may begin with `__Host-`.
    SharedSession,
    /// Stays with the browser that registered until the address is confirmed.
    Registration,
    /// Stays with the browser that asked for a new password until it is set.
    Reset,
    /// Says of which account a browser knew the password before.
    Device,
    /// What was just done, for the next page to say.
    Notice,
    /// The tag of a language.
    Language,
}

impl Cookie {
    /// Its name. Over https the `__Host-` prefix makes browsers insist on `Secure`, `Path=/` and no `Domain`; over plain
    /// http they would drop such a cookie.
    #[must_use]
    pub fn name(self, https: bool) -> &'static str {
        match (self, https) {
            (Self::Session, true) => "__Host-bellhop",
            (Self::SharedSession, true) => "__Secure-bellhop",
            (Self::Session | Self::SharedSession, false) => "bellhop",
            (Self::Registration, true) => "__Host-bellhop-reg",
            (Self::Registration, false) => "bellhop-reg",
            (Self::Reset, true) => "__Host-bellhop-reset",
            (Self::Reset, false) => "bellhop-reset",
            (Self::Notice, true) => "__Host-bellhop-notice",
            (Self::Notice, false) => "bellhop-notice",
            (Self::Language, _) => "bellhop-lang",
            (Self::Device, true) => "__Host-bellhop-device",
            (Self::Device, false) => "bellhop-device",
        }
    }

    /// Its value, if the request has it exactly once and in the form we give it (base64url, at most 128 bytes).
    #[must_use]
    pub fn read(self, headers: &HeaderMap, https: bool) -> Option<&str> {
        let name = self.name(https).as_bytes();
        let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        let mut ours = pairs.filter_map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=')?;
            let (found, value) = pair.split_at_checked(at)?;
            (found.trim_ascii() == name).then(|| value.strip_prefix(b"=").unwrap_or_default().trim_ascii())
        });
        let (Some(value), None) = (ours.next(), ours.next()) else { return None };
        let value = std::str::from_utf8(value).ok()?;
        ((1..=MAX_VALUE_BYTES).contains(&value.len()) && value.bytes().all(is_token)).then_some(value)
    }

    /// Whether the request carries anything that could be meant as this cookie, readable or not: for checks that must
    /// fail closed.
    #[must_use]
    pub fn is_mentioned(self, headers: &HeaderMap, https: bool) -> bool {
        let name = self.name(https).as_bytes();
        let pairs = headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        let mut names = pairs.filter_map(|pair| pair.split(|&byte| byte == b'=').next());
        names.any(|found| found.trim_ascii() == name)
    }

    /// The `Set-Cookie` value that hands it to the browser for `max_age` (whole seconds).
    ///
    /// # Errors
    /// When `value` has characters that a token of ours never has.
    pub fn set(self, value: &str, max_age: Duration, https: bool) -> anyhow::Result<HeaderValue> {
        self.line_of(value, Some(max_age.as_secs()), https)
    }

    /// The same until the browser is closed.
    ///
    /// # Errors
    /// As [`Cookie::set`].
    pub fn set_until_closed(self, value: &str, https: bool) -> anyhow::Result<HeaderValue> {
        self.line_of(value, None, https)
    }

    fn line_of(self, value: &str, max_age: Option<u64>, https: bool) -> anyhow::Result<HeaderValue> {
        ensure!(
            (1..=MAX_VALUE_BYTES).contains(&value.len()) && value.bytes().all(is_token),
            "this is no cookie value of ours"
        );
        let mut header = HeaderValue::try_from(self.line(value, max_age, https))?;
        header.set_sensitive(true);
        Ok(header)
    }

    /// The `Set-Cookie` value that takes it away.
    #[must_use]
    pub fn delete(self, https: bool) -> HeaderValue {
        HeaderValue::try_from(self.line("", Some(0), https)).unwrap_or(HeaderValue::from_static(""))
    }

    fn line(self, value: &str, max_age: Option<u64>, https: bool) -> String {
        let secure = if https { "; Secure" } else { "" };
        let lasting = max_age.map_or_else(String::new, |seconds| format!("; Max-Age={seconds}"));
        format!("{}={value}; Path=/{lasting}; HttpOnly; SameSite=Lax{secure}", self.name(https))
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        for line in
            [&b"bellhop=abc_-9"[..], b"a=b; bellhop=abc_-9; c=d", b"a;b;;=;bellhop=abc_-9", b" bellhop = abc_-9 "]
        {
            assert_eq!(Cookie::Session.read(&headers(&[line]), false), Some("abc_-9"));
        }
        let both = headers(&[b"bellhop=one", b"bellhop-reg=two"]);
        assert_eq!(Cookie::Session.read(&both, false), Some("one"));
        assert_eq!(Cookie::Registration.read(&both, false), Some("two"));
        assert_eq!(Cookie::Session.read(&both, true), None);
        assert_eq!(Cookie::Session.read(&headers(&[b"__Host-bellhop=x"]), true), Some("x"));
    }

    /// F69.
    #[test]
    fn a_broken_cookie_of_somebody_else_takes_nobodys_session() {
        for lines in [&[&b"x=\xff; bellhop=a"[..]][..], &[b"bellhop=a; \xe9=1"], &[b"\xff", b"bellhop=a"]] {
            assert_eq!(Cookie::Session.read(&headers(lines), false), Some("a"), "{lines:?}");
        }
    }

    #[test]
    fn what_is_not_quite_a_cookie_of_ours_means_nobody() {
        let long = format!("bellhop={}", "a".repeat(MAX_VALUE_BYTES + 1));
        for lines in [
            &[&b"bellhop=a; bellhop=b"[..]][..],
            &[b"bellhop=a; bellhop=a"],
            &[b"bellhop=a", b"bellhop=b"],
            &[b"bellhop=a; bellhop=\xff"],
            &[b"bellhop=\xff"],
            &[b"bellhop="],
            &[b"bellhop"],
            &[b"Bellhop=a"],
            &[b"xbellhop=a"],
            &[b"bellhop=\"a\""],
            &[b"bellhop=a b"],
            &[b"bellhop=a%41"],
            &[long.as_bytes()],
            &[],
        ] {
            assert_eq!(Cookie::Session.read(&headers(lines), false), None, "{lines:?}");
        }
    }

    #[test]
    fn a_mention_is_seen_even_where_nothing_can_be_read() {
        for line in [&b"bellhop=a; bellhop=b"[..], b"\xff; bellhop=a", b"bellhop"] {
            assert!(Cookie::Session.is_mentioned(&headers(&[line]), false));
        }
        assert!(!Cookie::Session.is_mentioned(&headers(&[b"theme=dark"]), false));
    }

    #[test]
    fn attributes_keep_the_cookie_with_us() {
        let month = Duration::from_hours(720);
        assert_eq!(
            Cookie::Session.set("tok", month, true).unwrap(),
            "__Host-bellhop=tok; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            Cookie::Registration.set("tok", month, false).unwrap(),
            "bellhop-reg=tok; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
        );
        assert_eq!(Cookie::Session.delete(true), "__Host-bellhop=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax; Secure");
        for value in ["", "a;b", "a b", "a\r\nSet-Cookie: x=y", "ü"] {
            assert!(Cookie::Session.set(value, month, true).is_err(), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_header_gives_a_token_or_nobody(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let headers = HeaderMap::from_iter([(COOKIE, value)]);
            if let Some(token) = Cookie::Session.read(&headers, false) {
                prop_assert!(token.bytes().all(is_token));
            }
        }

        #[test]
        fn what_is_set_is_read_again_unless_it_is_doubled(
            token in "[A-Za-z0-9_-]{1,128}",
            before in "[a-z]{1,4}=[ -:<-~]{0,9}",
            doubled in any::<bool>(),
        ) {
            let set = Cookie::Session.set(&token, Duration::from_secs(9), false).unwrap();
            let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
            let line = if doubled { format!("{before}; {pair}; {pair}") } else { format!("{before}; {pair}") };
            let headers = headers(&[line.as_bytes()]);
            prop_assert_eq!(Cookie::Session.read(&headers, false), (!doubled).then_some(token.as_str()));
            prop_assert!(Cookie::Session.is_mentioned(&headers, false));
        }
    }
}
