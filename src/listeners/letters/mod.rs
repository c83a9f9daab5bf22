//! Every mail that Bellhop sends: what each says. How it looks is `templates/mail/letter.*`.
//!
//! What a stranger typed is in none of them: whoever enters somebody's address would write to them with it.

use std::time::Duration;

use super::mail_layout::Letter;
use crate::clock::Timestamp;
use crate::device;
use crate::event::Origin;
use crate::locale::Text;

/// Asks a new registration to confirm its address.
pub(super) fn confirmation(t: Text, link: String, lifetime: Duration) -> Letter {
    Letter {
        subject: t.get("mail-confirmation-subject"),
        preview: t.get("mail-confirmation-preview"),
        before: vec![t.get("mail-confirmation-lead")],
        button: t.get("mail-confirmation-button"),
        after: vec![expiry(t, lifetime), t.get("mail-confirmation-not-you")],
        ..Letter::new(t, link)
    }
}

/// Reminds somebody who has not confirmed, of a registration that is deleted at `deleted`.
pub(super) fn reminder(t: Text, link: String, lifetime: Duration, deleted: Timestamp) -> Letter {
    Letter {
        subject: t.get("mail-reminder-subject"),
        preview: t.get("mail-reminder-preview"),
        before: vec![t.get("mail-reminder-lead")],
        button: t.get("mail-confirmation-button"),
        after: vec![expiry(t, lifetime), t.args("mail-reminder-not-you", &[("moment", &moment(deleted))])],
        ..Letter::new(t, link)
    }
}

/// To an address that has an account already: it has no link that changes anything.
pub(super) fn already_registered(t: Text, name: &str, login_url: String) -> Letter {
    Letter {
        name: name.to_owned(),
        subject: t.get("mail-already-subject"),
        preview: t.get("mail-already-preview"),
        before: vec![t.get("mail-already-lead"), t.get("mail-already-you")],
        button: t.get("mail-already-button"),
        after: vec![t.get("mail-already-not-you")],
        ..Letter::new(t, login_url)
    }
}

/// The link that sets a new password.
pub(super) fn password_reset(t: Text, name: &str, link: String, lifetime: Duration) -> Letter {
    Letter {
        name: name.to_owned(),
        subject: t.get("mail-reset-subject"),
        preview: t.get("mail-reset-preview"),
        before: vec![t.get("mail-reset-lead")],
        button: t.get("mail-reset-button"),
        after: vec![expiry(t, lifetime), t.get("mail-reset-not-you")],
        ..Letter::new(t, link)
    }
}

/// To an address that nobody has an account with.
pub(super) fn no_account(t: Text, register_url: String) -> Letter {
    Letter {
        subject: t.get("mail-no-account-subject"),
        preview: t.get("mail-no-account-preview"),
        before: vec![t.get("mail-no-account-lead"), t.get("mail-no-account-you")],
        button: t.get("mail-no-account-button"),
        after: vec![t.get("mail-no-account-not-you")],
        ..Letter::new(t, register_url)
    }
}

/// Says that a password was changed.
pub(super) fn password_changed(t: Text, name: &str, at: Timestamp, forgot_url: String) -> Letter {
    Letter {
        name: name.to_owned(),
        subject: t.get("mail-password-changed-subject"),
        preview: t.get("mail-password-changed-preview"),
        before: vec![
            t.args("mail-password-changed-lead", &[("moment", &moment(at))]),
            t.get("mail-password-changed-not-you"),
        ],
        button: t.get("mail-password-changed-button"),
        ..Letter::new(t, forgot_url)
    }
}

/// Asks whether an account may move to this address.
pub(super) fn email_change(t: Text, link: String, lifetime: Duration) -> Letter {
    Letter {
        subject: t.get("mail-email-change-subject"),
        preview: t.get("mail-email-change-preview"),
        before: vec![t.get("mail-email-change-lead")],
        button: t.get("mail-email-change-button"),
        after: vec![expiry(t, lifetime), t.get("mail-email-change-not-you")],
        ..Letter::new(t, link)
    }
}

/// To an address that an account was to move to, and that has one already.
pub(super) fn email_taken(t: Text, login_url: String) -> Letter {
    Letter {
        subject: t.get("mail-email-taken-subject"),
        preview: t.get("mail-already-preview"),
        before: vec![t.get("mail-email-taken-lead"), t.get("mail-email-taken-you")],
        button: t.get("mail-already-button"),
        after: vec![t.get("mail-already-not-you")],
        ..Letter::new(t, login_url)
    }
}

/// Tells the former address that the account has moved, with the link that undoes it until `until`.
pub(super) fn email_changed(t: Text, name: &str, at: Timestamp, undo_link: String, until: Timestamp) -> Letter {
    Letter {
        name: name.to_owned(),
        subject: t.get("mail-email-changed-subject"),
        preview: t.get("mail-email-changed-preview"),
        before: vec![
            t.args("mail-email-changed-lead", &[("moment", &moment(at))]),
            t.get("mail-email-changed-not-you"),
        ],
        button: t.get("mail-email-changed-button"),
        after: vec![t.args("mail-email-changed-until", &[("moment", &moment(until))])],
        ..Letter::new(t, undo_link)
    }
}

/// Says that an account is to be deleted at `deletes_at`, with the link that calls it off.
pub(super) fn deletion_scheduled(t: Text, name: &str, deletes_at: Timestamp, link: String) -> Letter {
    Letter {
        name: name.to_owned(),
        subject: t.get("mail-deletion-subject"),
        preview: t.get("mail-deletion-preview"),
        before: vec![t.args("mail-deletion-lead", &[("moment", &moment(deletes_at))]), t.get("mail-deletion-not-you")],
        button: t.get("mail-deletion-button"),
        after: vec![t.get("mail-deletion-sign-in")],
        ..Letter::new(t, link)
    }
}

/// Tells of a sign-in by a device that the person has not signed in with before, or after many that were refused; with the link that
/// ends its session. A program's words about itself are not repeated: whoever signs in chose them.
pub(super) fn signed_in(
    t: Text,
    name: &str,
    is_new_device: bool,
    (at, origin): (Timestamp, &Origin),
    link: String,
) -> Letter {
    let device = device::named(t, &origin.user_agent).unwrap_or_else(|| t.get("device-unknown"));
    let (ip, moment) = (origin.ip.to_string(), moment(at));
    let facts = t.args("mail-sign-in-facts", &[("device", &device), ("ip", &ip), ("moment", &moment)]);
    let (subject, lead) = if is_new_device {
        (t.get("mail-sign-in-device-subject"), t.get("mail-sign-in-device-lead"))
    } else {
        (t.get("mail-sign-in-failures-subject"), t.get("mail-sign-in-failures-lead"))
    };
    Letter {
        name: name.to_owned(),
        subject,
        preview: facts.clone(),
        before: vec![lead, facts, t.get("mail-sign-in-not-you")],
        button: t.get("mail-sign-in-button"),
        ..Letter::new(t, link)
    }
}

fn expiry(t: Text, lifetime: Duration) -> String {
    t.args("mail-link-expiry", &[("lifetime", &t.span(lifetime))])
}

/// A moment, the same in every language.
fn moment(at: Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests;
