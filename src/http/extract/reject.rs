//! Why a body was refused before its meaning was looked at.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::middleware::body_limit::BodyLimitError;
use crate::http::problem::Problem;

/// Why a form or a JSON document was refused, before its meaning was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reject {
    /// Another content type (415).
    Type,
    /// Too large, too slow or broken off (413, 408, 400).
    Body(BodyLimitError),
    /// Not UTF-8, or not JSON at all (400).
    Malformed,
    /// NUL in a text, which `PostgreSQL` cannot store (422).
    Nul,
    /// A field given twice (422).
    Repeated,
    /// A field that is not asked for (422).
    Unknown,
    /// A form without the token of the session that sends it (403).
    Token,
    /// JSON of another shape than asked for, or nested too deeply (422).
    Shape,
}

impl From<Reject> for Problem {
    fn from(reject: Reject) -> Self {
        let unprocessable = |code, detail| Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail);
        match reject {
            Reject::Type => Self::of(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Reject::Body(error) => error.problem(),
            Reject::Malformed => Self::new(StatusCode::BAD_REQUEST, "malformed", "The body is not well-formed."),
            Reject::Nul => unprocessable("nul", "A text contains the character NUL."),
            Reject::Repeated => unprocessable("repeated-field", "A field is given more than once."),
            Reject::Unknown => unprocessable("unknown-field", "A field is not known here."),
            Reject::Token => {
                Self::new(StatusCode::FORBIDDEN, "form-token", "The form is not of this session: load its page again.")
            }
            Reject::Shape => unprocessable("wrong-shape", "The fields are not of the expected types."),
        }
    }
}

impl IntoResponse for Reject {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

/// Whether there is one `Content-Type` and it is `kind`, in UTF-8 if it says so.
pub(super) fn is_of_type(headers: &HeaderMap, kind: &str) -> bool {
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return false };
    let Ok(line) = line.to_str() else { return false };
    let mut parts = line.split(';').map(str::trim);
    parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(kind))
        // a semicolon with nothing behind it says nothing
        && parts.filter(|part| !part.is_empty())
            .all(|part| part.eq_ignore_ascii_case("charset=utf-8") || part.eq_ignore_ascii_case("charset=\"utf-8\""))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

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
            "application/json;",
            "application/json; ;charset=utf-8;",
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
}
