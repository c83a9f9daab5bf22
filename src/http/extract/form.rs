//! An HTML form: as it was posted, read strictly ([`Fields`]), and as it is shown again ([`FormState`]).

use std::fmt;

use axum::extract::{FromRequest, Request};
use percent_encoding::percent_decode;

use crate::http::extract::reject::{Reject, is_of_type};
use crate::http::middleware::body_limit;

/// More fields than any form of ours has.
const MAX_FORM_FIELDS: usize = 64;

/// A form as it is shown: what was typed, and beside each field what is wrong with it. A password is never among the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormState {
    values: Vec<(&'static str, String)>,
    errors: Vec<(&'static str, String)>,
    error: Option<String>,
}

impl FormState {
    /// A form that shows these values.
    #[must_use]
    pub fn of<const N: usize>(values: [(&'static str, String); N]) -> Self {
        // HTML can show no NUL; what stands in its place says that something was there
        let values = values.map(|(name, value)| (name, value.replace('\0', "\u{fffd}")));
        FormState { values: values.into(), ..FormState::default() }
    }

    /// Adds what is wrong with a field.
    #[must_use]
    pub fn with_field_error(mut self, field: &'static str, text: impl Into<String>) -> Self {
        self.errors.push((field, text.into()));
        self
    }

    /// Sets what is wrong with the form as a whole.
    #[must_use]
    pub fn with_error(mut self, text: impl Into<String>) -> Self {
        self.error = Some(text.into());
        self
    }

    /// The value of a field, or nothing.
    #[must_use]
    pub fn value(&self, field: &str) -> &str {
        text_of(&self.values, field).unwrap_or_default()
    }

    /// What is wrong with a field.
    #[must_use]
    pub fn field_error(&self, field: &str) -> Option<&str> {
        text_of(&self.errors, field)
    }

    /// What is wrong with the form as a whole.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty() && self.error.is_none()
    }
}

fn text_of<'a>(texts: &'a [(&'static str, String)], field: &str) -> Option<&'a str> {
    texts.iter().find(|(name, _)| *name == field).map(|(_, text)| text.as_str())
}

/// The fields of a form, each at most once, as an extractor.
///
/// ```
/// # use bellhop::http::extract::form::Fields;
/// # use bellhop::http::extract::reject::Reject;
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

    /// Takes out a field that is beside those of the form, if it is there.
    pub(in crate::http::extract) fn take_optional(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(field, _)| field == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Reads `application/x-www-form-urlencoded` (WHATWG URL standard section 5.1), without its leniency towards bytes
    /// that are no text. A NUL in a value is a mistake of whoever reads the field to point out, as any other, so that the form
    /// comes back as it was typed.
    ///
    /// # Errors
    /// When a field is not UTF-8, has NUL in its name or comes twice, or when there are more than 64.
    pub fn parse(body: &[u8]) -> Result<Self, Reject> {
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let equals = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at(equals);
            let (name, value) = (text(name)?, text(value.strip_prefix(b"=").unwrap_or_default())?);
            if name.contains('\0') {
                return Err(Reject::Nul);
            }
            if fields.iter().any(|(field, _)| *field == name) {
                return Err(Reject::Repeated);
            }
            if fields.len() == MAX_FORM_FIELDS {
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
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
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
        assert_eq!(take(b"email=a%00"), Ok(["a\0".to_owned()]));
        assert_eq!(FormState::of([("email", "a\0".to_owned())]).value("email"), "a\u{fffd}");
        assert_eq!(take(b"%00=a"), Err(Reject::Nul));
        let many: Vec<String> = (0..=MAX_FORM_FIELDS).map(|n| format!("f{n}")).collect();
        assert_eq!(Fields::parse(many.join("&").as_bytes()), Err(Reject::Unknown));
    }

    proptest! {
        #[test]
        fn any_bytes_give_names_without_nul_or_a_refusal(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Fields(fields)) = Fields::parse(&body) {
                prop_assert!(fields.iter().all(|(name, _)| !name.contains('\0')));
            }
        }

        #[test]
        fn what_a_browser_encodes_comes_back(value in ".{0,40}") {
            let body = form_urlencoded::Serializer::new(String::new()).append_pair("a", &value).finish();
            prop_assert_eq!(Fields::parse(body.as_bytes()).unwrap().take(["a"]).unwrap(), [value]);
        }
    }
}
