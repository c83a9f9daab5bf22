//! The pages of a forgotten or changed password, and of sessions, in every state.

use std::time::Duration;

use askama::Template as _;

use super::{activity, at, deliveries, frame};
use crate::http::extract::form::FormState;
use crate::http::pages::account_events::Live;
use crate::http::pages::activity::ActivityPage;
use crate::http::pages::delivery::{Delivery, Words};
use crate::http::pages::forgot::ForgotPage;
use crate::http::pages::forgot_sent::ForgotSentPage;
use crate::http::pages::format::moment;
use crate::http::pages::layout::Page;
use crate::http::pages::password::PasswordPage;
use crate::http::pages::profile::ProfilePage;
use crate::http::pages::reset::ResetPage;
use crate::http::pages::sessions::{SessionRow, SessionsPage};
use crate::locale::Locale;

pub(super) fn gallery(locale: Locale, said: &str, hang: &mut impl FnMut(&str, askama::Result<String>)) {
    let t = locale.text();
    let some = |usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };
    let words = Words { t, mail_server: true, mailbox: true };
    for (name, progress) in deliveries() {
        let page = frame(locale, "/forgot/sent", false);
        let address = progress.as_ref().map(|_| some("ada@example.org"));
        let delivery = Delivery { words, url: "/forgot/status", events: "/forgot/sent/events", progress };
        let sent = ForgotSentPage { lifetime: t.span(Duration::from_mins(30)), page, address, delivery };
        hang(&format!("forgot-sent-{name}"), sent.render());
    }

    let forgot = |form| ForgotPage { page: frame(locale, "/forgot", false), form, once: "0".repeat(43) };
    let typed = || FormState::of([("email", some("ada@example.org"))]);
    hang("forgot", forgot(typed()).render());
    hang("forgot-mistake", forgot(typed().with_field_error("email", some(&t.get("mistake-email-invalid")))).render());
    let typed = || FormState::of([("token", some("v1.AbCdEf"))]);
    let weak = typed().with_field_error("password", some(&t.get("mistake-password-common")));
    for (name, form) in [("reset", typed()), ("reset-mistake", weak)] {
        hang(name, ResetPage { page: frame(locale, "/reset", false), form }.render());
    }
    let wrong = FormState::default()
        .with_field_error("current_password", some(&t.get("mistake-password-current")))
        .with_field_error("password", some(&t.get("mistake-password-short")));
    for (name, form) in [("password", FormState::default()), ("password-mistakes", wrong)] {
        let email = some("ada@example.org");
        hang(name, PasswordPage { page: frame(locale, "/account", true), email, form }.render());
    }
    let named = || FormState::of([("name", some("Ada Lovelace")), ("locale", "en".to_owned())]);
    let wrong = named()
        .with_field_error("name", some(&t.get("mistake-name-missing")))
        .with_field_error("locale", some(&t.get("mistake-language")));
    for (name, form) in [("profile", named()), ("profile-mistakes", wrong)] {
        hang(name, ProfilePage { page: frame(locale, "/account", true), form }.render());
    }
    for (name, rows, refused) in [("activity", activity(t, said), false), ("activity-none", Vec::new(), true)] {
        let (page, older) = (frame(locale, "/account", true), Some("/account/activity?before=1".to_owned()));
        let older = older.filter(|_| !rows.is_empty());
        hang(name, ActivityPage { page, activity: rows, refused, is_later: refused, older }.render());
    }
    let session = |end: Option<&str>, minute| SessionRow {
        id: uuid::Uuid::nil(),
        end: end.map(str::to_owned),
        device: some("Firefox on Linux"),
        ip: some("203.0.113.7"),
        begun: moment(t, at(minute)),
        begun_iso: at(minute).to_rfc3339(),
        seen: moment(t, at(minute + 2)),
        seen_iso: at(minute + 2).to_rfc3339(),
    };
    let notice = Some(some(&t.get("notice-session-ended")));
    for (name, notice, sessions) in [
        ("sessions", None, vec![session(None, 40), session(Some("/account/sessions/1/end"), 20)]),
        ("sessions-ended", notice, vec![session(None, 40)]),
    ] {
        let page = Page { notice, ..frame(locale, "/account", true) };
        hang(name, SessionsPage { page, sessions, live: Live::since(at(41)) }.render());
    }
}
