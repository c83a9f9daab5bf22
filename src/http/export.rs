//! Everything that is kept about a person, as one JSON document that is made while it is sent: the login log may be long.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde_json::Value;
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::export;
use crate::account::user::User;
use crate::http::problem::Problem;

/// Where the document goes on.
enum Next {
    Activity { before: Option<Uuid>, first: bool },
    End,
}

/// The document: the account's parts and `activity`, the login log.
///
/// # Errors
/// When the database is away. Once the answer has begun, it is cut short then.
pub async fn answer(accounts: &Accounts, user: User) -> Result<Response, Problem> {
    let account = export::account(accounts, &user).await?;
    let mut head = serde_json::to_string_pretty(&account)?;
    // the object goes on
    head.truncate(head.trim_end().trim_end_matches('}').trim_end().len());
    head.push_str(",\n  \"activity\": [");
    let state = (accounts.clone(), user.id, Some(head), Next::Activity { before: None, first: true });
    let parts = stream::try_unfold(state, |(accounts, user, head, next)| async move {
        if let Some(head) = head {
            return Ok(Some((head, (accounts, user, None, next))));
        }
        let Next::Activity { before, first } = next else { return Ok(None) };
        let (entries, older) = export::activity(&accounts, user, before).await?;
        let mut part = lines(&entries, first);
        let next = if older.is_some() {
            Next::Activity { before: older, first: false }
        } else {
            part.push_str("\n  ]\n}\n");
            Next::End
        };
        anyhow::Ok(Some((part, (accounts, user, None, next))))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(parts)).into_response())
}

fn lines(entries: &[Value], first: bool) -> String {
    let mut text = String::new();
    for (nth, entry) in entries.iter().enumerate() {
        text.push_str(if first && nth == 0 { "\n    " } else { ",\n    " });
        text.push_str(&entry.to_string());
    }
    text
}
