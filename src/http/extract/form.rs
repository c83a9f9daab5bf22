//! An HTML form as it was posted, read strictly: what browsers never send is refused.

use std::fmt;

use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode;

use crate::http::middleware::body_limit;
use crate::http::problem::Problem;

/// More fields than any form of ours has.
const MOST: usize = 64;

/// Why a form or a JSON document was refused, before its meaning was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Another content type (415).
    Type,
    /// Too large, too slow or broken off (413, 408, 400).
    Body(body_limit::Refusal),
    /// Not UTF-8, or not JSON at all (400).
    Malformed,
    /// NUL in a text, which `PostgreSQL` cannot store (422).
    Nul,
    /// A field given twice (422).
    Repeated,
    /// A field that is not asked for (422).
    Unknown,
    /// JSON of another shape than asked for, or nested too deeply (422).
    Shape,
}

impl From<Reject> for Problem {
    fn from(reject: Reject) -> Self {
        let unprocessable = |code, detail| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        match reject {
            Reject::Type => Self::of(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Reject::Body(refusal) => refusal.into(),
            Reject::Malformed => Self::new(StatusCode::BAD_REQUEST, "malformed", "The body is not well-formed."),
            Reject::Nul => unprocessable("nul", "A text contains the character NUL."),
            Reject::Repeated => unprocessable("repeated-field", "A field is given more than once."),
            Reject::Unknown => unprocessable("unknown-field", "A field is not known here."),
            Reject::Shape => unprocessable("wrong-shape", "The fields are not of the expected types."),
        }
    }
}

impl axum::response::IntoResponse for Reject {
    fn into_response(self) -> axum::response::Response {
        Problem::from(self).into_response()
    }
}

/// The fields of a form, each at most once, as an extractor.
///
/// ```
/// # use bellhop::http::extract::form::{Fields, Reject};
/// # fn handle(fields: Fields) -> Result<(), Reject> {
/// let [email, password, name] = fields.take(["email", "password", "name"])?;
/// # Ok(()) }
/// ```
#[derive(PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Takes out the fields of a form, to be checked and shown again. One that is missing is empty, as an unticked box is.
    ///
    /// # Errors
    /// When there is a field beside these: nothing is ever bound by accident (OWASP Mass Assignment cheat sheet).
    pub fn take<const N: usize>(self, names: [&'static str; N]) -> Result<[String; N], Reject> {
        let mut fields = self.0;
        let taken = names.map(|name| {
            let at = fields.iter().position(|(field, _)| field == name);
            at.map(|at| fields.swap_remove(at).1).unwrap_or_default()
        });
        if fields.is_empty() { Ok(taken) } else { Err(Reject::Unknown) }
    }

    /// Reads `application/x-www-form-urlencoded` (WHATWG URL standard section 5.1), without its leniency towards bytes
    /// that are no text.
    ///
    /// # Errors
    /// When a field is not UTF-8, has NUL in it or comes twice, or when there are more than 64.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(equals);
            let (name, value) = (text(name)?, text(value.strip_prefix(b"=").unwrap_or_default())?);
            if fields.iter().any(|(field, _)| *field == name) {
                return Err(Reject::Repeated);
            }
            if fields.len() == MOST {
                return Err(Reject::Unknown);
            }
            fields.push((name, value));
        }
        Ok(Self(fields))
    }
}

/// Values may be passwords.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl<S: Sync> FromRequest<S> for Fields {
    type Rejection = Reject;

    async fn from_request(request: Request, _: &S) -> Result<Self, Reject> {
        if !is_of_type(request.headers(), "application/x-www-form-urlencoded") {
            return Err(Reject::Type);
        }
        Self::parse(&body_limit::read(request.into_body()).await.map_err(Reject::Body)?)
    }
}

fn text(encoded: &[u8]) -> Result<String, Reject> {
    let spaced: Vec<u8> = encoded.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    let text = percent_decode(&spaced).decode_utf8().map_err(|_| Reject::Malformed)?;
    if text.contains('\0') { Err(Reject::Nul) } else { Ok(text.into_owned()) }
}

/// Whether there is one `Content-Type` and it is `kind`, in UTF-8 if it says so.
pub(in crate::http) fn is_of_type(headers: &HeaderMap, kind: &str) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(line) = line.to_str() else { return false };
    let mut parts = line.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(kind))
        && parts
            .all(|part| part.eq_ignore_ascii_case("charset=utf-8") || part.eq_ignore_ascii_case("charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_are_taken_by_name_in_any_order() {
        let fields = Fields::parse(b"name=Ann+Lee&email=a%40b.example&password=%C3%BC%2B%26").unwrap();
        assert_eq!(format!("{fields:?}"), r#"{"name", "email", "password"}"#);
        let taken = fields.take(["email", "password", "name", "remember"]).unwrap();
        assert_eq!(taken, ["a@b.example", "ü+&", "Ann Lee", ""]);
        assert_eq!(Fields::parse(b"").unwrap().take(["a"]).unwrap(), [""]);
        assert_eq!(Fields::parse(b"&a&&b=1=2").unwrap().take(["a", "b"]).unwrap(), ["", "1=2"]);
    }

    #[test]
    fn a_field_too_many_twice_or_unreadable_is_refused() {
        let take = |body: &[u8]| Fields::parse(body).and_then(|fields| fields.take(["email"]));
        assert_eq!(take(b"email=a&is_admin=1"), Err(Reject::Unknown));
        assert_eq!(take(b"email[]=a"), Err(Reject::Unknown));
        assert_eq!(take(b"email=a&email=b"), Err(Reject::Repeated));
        assert_eq!(take(b"email=a&%65mail=b"), Err(Reject::Repeated));
        assert_eq!(take(b"email=%FF"), Err(Reject::Malformed));
        assert_eq!(take(b"email=\xff"), Err(Reject::Malformed));
        assert_eq!(take(b"email=%ED%A0%80"), Err(Reject::Malformed));
        assert_eq!(take(b"email=a%00"), Err(Reject::Nul));
        assert_eq!(take(b"email=a\0"), Err(Reject::Nul));
        assert_eq!(take(b"%00=a"), Err(Reject::Nul));
        let many: Vec<String> = (0..=MOST).map(|n| format!("f{n}")).collect();
        assert_eq!(Fields::parse(many.join("&").as_bytes()), Err(Reject::Unknown));
    }

    #[test]
    fn only_its_own_content_type_counts() {
        let is = |lines: &[&str]| {
            let headers = lines.iter().map(|line| (CONTENT_TYPE, HeaderValue::from_str(line).unwrap())).collect();
            is_of_type(&headers, "application/json")
        };
        for line in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=UTF-8",
        ] {
            assert!(is(&[line]), "{line}");
        }
        for line in [
            "",
            "text/plain",
            "application/jsonp",
            "application/json; charset=utf-16",
            "application/json; x=y",
            "text/plain; application/json",
        ] {
            assert!(!is(&[line]), "{line}");
        }
        assert!(!is(&[]));
        assert!(!is(&["application/json", "application/json"]));
    }

    proptest! {
        #[test]
        fn any_bytes_give_fields_without_nul_or_a_refusal(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Fields(fields)) = Fields::parse(&body) {
                prop_assert!(fields.iter().all(|(name, value)| !name.contains('\0') && !value.contains('\0')));
            }
        }

        #[test]
        fn what_a_browser_encodes_comes_back(value in "[^\0]{0,40}") {
            let body = form_urlencoded::Serializer::new(String::new()).append_pair("a", &value).finish();
            prop_assert_eq!(Fields::parse(body.as_bytes()).unwrap().take(["a"]).unwrap(), [value]);
        }
    }
}
