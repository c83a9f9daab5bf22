//! The query of a URL.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

/// The parameters of a URL, as an extractor.
#[derive(Clone, Debug, Default)]
pub struct Query(String);

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Query(parts.uri.query().unwrap_or_default().to_owned()))
    }
}

impl Query {
    /// The value of a parameter, or none if it is missing or comes twice.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        let mut values = form_urlencoded::parse(self.0.as_bytes()).filter(|(key, _)| key == name);
        let (value, None) = (values.next()?.1, values.next()) else { return None };
        Some(value.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_that_comes_twice_is_none() {
        let query = Query("a=1&b=2&b=3&c=%20x+y".to_owned());
        assert_eq!(query.get("a").as_deref(), Some("1"));
        assert_eq!(query.get("c").as_deref(), Some(" x y"));
        assert_eq!((query.get("b"), query.get("d")), (None, None));
    }
}
