//! Everything that is kept about a person, for themselves.

use chrono::SecondsFormat;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::account::Accounts;
use crate::account::deletion;
use crate::account::devices;
use crate::account::disown;
use crate::account::login_log::{self, Entry, Filter};
use crate::account::session;
use crate::account::user::User;
use crate::clock::Timestamp;

/// Entries of the login log in one part.
const PART: u8 = 200;

fn iso(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// All but the login log, which may be long: the account, its sessions, what it was signed in with, sign-ins that were warned of, and
/// changes of the address that can still be confirmed or undone.
///
/// # Errors
/// When the database is away.
pub async fn account(accounts: &Accounts, user: &User) -> sqlx::Result<Value> {
    let sessions = session::of_user(accounts, user.id).await?.into_iter().map(|one| {
        json!({
            "id": one.id, "ip": one.ip, "user_agent": one.user_agent,
            "begun_at": iso(one.created_at), "seen_at": iso(one.last_seen_at),
        })
    });
    let changes: Vec<(String, String, Timestamp, Option<Timestamp>)> = accounts
        .db
        .query("select email, former_email, created_at, confirmed_at from email_changes where user_id = $1 order by created_at")
        .bind(user.id)
        .all()
        .await?;
    let changes = changes.into_iter().map(|(email, former, asked, confirmed)| {
        json!({ "email": email, "former_email": former, "asked_at": iso(asked), "confirmed_at": confirmed.map(iso) })
    });
    let (devices, warned) = (devices::of_user(accounts, user.id).await?, disown::of_user(accounts, user.id).await?);
    let devices = devices.into_iter().map(|(mark, seen)| json!({ "mark": hex(&mark), "seen_at": iso(seen) }));
    let warned = warned.into_iter().map(|(session, at)| json!({ "session": session, "at": iso(at) }));
    let deletes_at = deletion::due(accounts, user.id).await?;
    Ok(json!({
        "account": {
            "id": user.id, "email": user.email, "name": user.name, "locale": user.locale,
            "created_at": iso(user.created_at), "deletes_at": deletes_at.map(iso),
        },
        "sessions": sessions.collect::<Vec<_>>(),
        "devices": devices.collect::<Vec<_>>(),
        "warned_sign_ins": warned.collect::<Vec<_>>(),
        "email_changes": changes.collect::<Vec<_>>(),
    }))
}

/// A part of the login log, newest first, and where the next one begins.
///
/// # Errors
/// When the database is away.
pub async fn activity(
    accounts: &Accounts,
    user: Uuid,
    before: Option<Uuid>,
) -> sqlx::Result<(Vec<Value>, Option<Uuid>)> {
    let entries = login_log::of_user(accounts, user, Filter { before, refused: false }, PART).await?;
    let next = entries.last().filter(|_| entries.len() == usize::from(PART)).map(|last| last.id);
    let value = |Entry { id, kind, at, ip, user_agent, reason, .. }: Entry| {
        json!({
            "id": id, "type": kind, "at": iso(at), "ip": ip, "user_agent": user_agent, "reason": reason,
        })
    };
    Ok((entries.into_iter().map(value).collect(), next))
}
