//! JSON as it was posted, read strictly: parsers that differ on a document are a way round a check (OWASP ASVS 1.5.3).

use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::http::extract::reject::{Reject, is_of_type};
use crate::http::middleware::body_limit;

/// A request's document, as an extractor. `T` says `deny_unknown_fields` and nests nothing that does not; serde refuses a
/// field that is given twice, and all else is refused here: another content type, NUL in any text or key, a document that
/// is no object, anything after it.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Json<T> {
    type Rejection = Reject;

    async fn from_request(request: Request, _: &S) -> Result<Self, Reject> {
        if !is_of_type(request.headers(), "application/json") {
            return Err(Reject::Type);
        }
        parse(&body_limit::read(request.into_body()).await.map_err(Reject::Body)?).map(Self)
    }
}

/// Reads a document, which is an object.
///
/// # Errors
/// [`Reject::Malformed`] when it is no JSON; else what is wrong with it.
pub fn parse<T: DeserializeOwned>(document: &[u8]) -> Result<T, Reject> {
    match serde_json::from_slice(document).map_err(|error| reject(&error)) {
        Err(Reject::Malformed) => Err(Reject::Malformed),
        _ if has_nul(document) => Err(Reject::Nul),
        // serde's structs also read themselves from an array of their fields, in order: `["a@b.example", 3]`
        Ok(_) if !document.trim_ascii_start().starts_with(b"{") => Err(Reject::Shape),
        parsed => parsed,
    }
}

/// serde's own words would repeat the value, which may be a password; they are not passed on.
fn reject(error: &serde_json::Error) -> Reject {
    let text = error.to_string();
    match error.classify() {
        Category::Data if text.starts_with("unknown field") => Reject::Unknown,
        Category::Data if text.starts_with("duplicate field") => Reject::Repeated,
        Category::Data => Reject::Shape,
        Category::Io | Category::Syntax | Category::Eof => Reject::Malformed,
    }
}

/// Whether a text or a key holds NUL, which JSON can only write as `\u0000`.
fn has_nul(document: &[u8]) -> bool {
    let mut rest = document;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        let (_, escape) = rest.split_at(at + 1);
        if escape.starts_with(b"u0000") {
            return true;
        }
        // past the escaped character, which may be a backslash
        rest = escape.get(1..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::Value;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Login {
        email: String,
        age: Option<u32>,
    }

    fn login(document: &str) -> Result<Login, Reject> {
        parse(document.as_bytes())
    }

    #[test]
    fn a_plain_document_is_read() {
        let expected = Login { email: "ü@b.example".to_owned(), age: Some(3) };
        assert_eq!(login(r#" {"email":"\u00fc@b.example","age":3} "#), Ok(expected));
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for document in [
            "",
            "{",
            "{}x",
            "{}{}",
            "{'a':1}",
            "{\"email\":\"a\",}",
            "nul",
            "1e999",
            "[1e400]",
            "\u{feff}{}",
            "// c\n{}",
            "NaN",
            "\"\n\"",
        ] {
            assert_eq!(parse::<Value>(document.as_bytes()), Err(Reject::Malformed), "{document:?}");
        }
        assert_eq!(parse::<Value>(b"{\"a\":\"\xff\"}"), Err(Reject::Malformed));
        assert_eq!(parse::<Value>(b"\"\\ud800\""), Err(Reject::Malformed));
    }

    #[test]
    fn what_is_not_asked_for_is_refused() {
        for (document, why) in [
            (r#"{"email":"a","email":"b"}"#, Reject::Repeated),
            (r#"{"email":"a","\u0065mail":"b"}"#, Reject::Repeated),
            (r#"{"email":"a","is_admin":true}"#, Reject::Unknown),
            (r#"{"email":"a","x":{"y":1,"y":2}}"#, Reject::Unknown),
            (r#"{"email":["a","b"]}"#, Reject::Shape),
            (r#"{"email":{"a":"b"}}"#, Reject::Shape),
            (r#"{"email":null}"#, Reject::Shape),
            (r#"{"email":7}"#, Reject::Shape),
            (r#"{"email":"a","age":-1}"#, Reject::Shape),
            (r#"{"email":"a","age":99999999999999999999}"#, Reject::Shape),
            (r"{}", Reject::Shape),
            (r"7", Reject::Shape),
            (r#"["a"]"#, Reject::Shape),
            (r#" ["a",3]"#, Reject::Shape),
            (r#"{"email":"a\u0000"}"#, Reject::Nul),
            (r#"{"email":"a","\u0000":1}"#, Reject::Nul),
        ] {
            assert_eq!(login(document), Err(why), "{document}");
        }
    }

    #[test]
    fn however_deeply_a_document_nests_it_is_refused_and_not_walked_down_to_the_end() {
        for document in ["[".repeat(16_000), r#"{"a":"#.repeat(2_000), r#"{"email":"#.repeat(2_000)] {
            assert!(login(&document).is_err());
        }
        assert_eq!(parse::<Value>("[".repeat(16_000).as_bytes()), Err(Reject::Malformed));
    }

    #[test]
    fn a_backslash_that_is_escaped_begins_no_nul() {
        assert_eq!(login(r#"{"email":"\\u0000"}"#).unwrap().email, r"\u0000");
        assert_eq!(login(r#"{"email":"\\\u0000"}"#), Err(Reject::Nul));
        assert_eq!(login(r#"{"email":"\n\u0000"}"#), Err(Reject::Nul));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(document in prop::collection::vec(any::<u8>(), 0..200)) {
            if parse::<Value>(&document).is_ok() {
                prop_assert!(serde_json::from_slice::<Value>(&document).is_ok());
            }
        }

        #[test]
        fn any_json_like_text_is_read_as_serde_reads_it_or_refused(document in r#"(\{|\}|\[|\]|"a"|"b"|:|,|1|-|e9|null|\\u0000| ){0,16}"#) {
            if let Ok(value) = parse::<Value>(document.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&document).unwrap(), value);
            }
        }
    }
}
