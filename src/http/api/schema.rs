//! What several calls answer.

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::account::user::User;
use crate::http::problem::{FieldProblem, Problem};

/// What 429 means.
pub(super) const LIMITED: &str = "Too many requests of this network";

/// A link of a mail.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MailedToken {
    /// From the link in the mail.
    pub(super) token: String,
}

/// What 422 means of a link.
pub(super) fn invalid_token() -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid-token", "The token is unknown, used or expired.")
}

/// A person's account.
#[derive(Serialize, ToSchema)]
pub struct Me {
    /// The account.
    user: Person,
}

/// Who is signed in.
#[derive(Serialize, ToSchema)]
pub struct Person {
    /// The account's id.
    id: Uuid,
    /// The address as typed.
    email: String,
    /// What to call the person.
    name: String,
    /// The language of their pages and mails: `en`, `zh-CN`.
    locale: String,
    /// When the address was confirmed.
    created_at: DateTime<Utc>,
}

impl From<User> for Me {
    fn from(User { id, email, name, locale, created_at }: User) -> Self {
        Me { user: Person { id, email, name, locale, created_at } }
    }
}

/// Problem details (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `problem` writes")]
pub struct ProblemDetails {
    r#type: String,
    title: String,
    status: u16,
    /// A word for programs.
    code: String,
    detail: Option<String>,
    /// The fields that were refused.
    errors: Option<Vec<FieldProblem>>,
    /// With an error of ours: what to look for in the log.
    request_id: Option<Uuid>,
}
