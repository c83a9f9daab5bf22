//! JSON as it was posted, read strictly: parsers that differ on a document are a way round a check (OWASP ASVS 1.5.3).

use std::collections::HashSet;
use std::fmt;

use axum::extract::{FromRequest, Request};
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;

use crate::http::extract::form::Reject;
use crate::http::extract::form::is_of_type;
use crate::http::middleware::body_limit;

/// How deeply a document may nest: a field of an object is at depth 1.
const DEEPEST: u8 = 8;

/// A request's document, as an extractor. `T` says `deny_unknown_fields`; all else is refused here: another content type,
/// repeated keys at any depth, NUL in any text or key, more than eight levels, anything after the document.
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
    let mut found = None;
    let mut reader = serde_json::Deserializer::from_slice(document);
    let scanned = Scan { depth: 0, found: &mut found }.deserialize(&mut reader).and_then(|()| reader.end());
    match (scanned, found) {
        // serde's structs also read themselves from an array of their fields, in order: `["a@b.example", 3]`.
        (Ok(()), _) if !document.trim_ascii_start().starts_with(b"{") => Err(Reject::Shape),
        (Ok(()), _) => serde_json::from_slice(document).map_err(|error| reject(&error)),
        (Err(_), Some(found)) => Err(found),
        (Err(error), None) => Err(reject(&error)),
    }
}

/// serde's own words would repeat the value, which may be a password; they are not passed on.
fn reject(error: &serde_json::Error) -> Reject {
    match error.classify() {
        Category::Data if error.to_string().starts_with("unknown field") => Reject::Unknown,
        Category::Data => Reject::Shape,
        Category::Io | Category::Syntax | Category::Eof => Reject::Malformed,
    }
}

/// Walks a document without keeping it and stops at the first thing that no type of ours could mean.
struct Scan<'a> {
    depth: u8,
    found: &'a mut Option<Reject>,
}

impl Scan<'_> {
    fn stop<E: serde::de::Error>(&mut self, why: Reject) -> E {
        *self.found = Some(why);
        E::custom("refused")
    }

    fn deeper<E: serde::de::Error>(&mut self) -> Result<Scan<'_>, E> {
        if self.depth == DEEPEST {
            return Err(self.stop(Reject::Shape));
        }
        Ok(Scan { depth: self.depth + 1, found: self.found })
    }
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(self.stop(Reject::Nul)) } else { Ok(()) }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self.deeper()?)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if key.contains('\0') {
                return Err(self.stop(Reject::Nul));
            }
            if !keys.insert(key) {
                return Err(self.stop(Reject::Repeated));
            }
            entries.next_value_seed(self.deeper()?)?;
        }
        Ok(())
    }
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
            (r#"{"email":"a","x":{"y":1,"y":2}}"#, Reject::Repeated),
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
    fn a_document_may_nest_eight_levels() {
        let nested = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        assert!(parse::<Value>(nested(8).as_bytes()).is_ok());
        assert_eq!(parse::<Value>(nested(9).as_bytes()), Err(Reject::Shape));
        assert_eq!(parse::<Value>(nested(2_000).as_bytes()), Err(Reject::Shape));
        assert_eq!(parse::<Value>("[".repeat(16_000).as_bytes()), Err(Reject::Shape));
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
