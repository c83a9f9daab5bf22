//! The pages that change the address, delete the account and take it along, in every state.

use askama::Template as _;

use super::{at, deliveries, frame};
use crate::http::extract::form::FormState;
use crate::http::pages::ask_password::AskPasswordPage;
use crate::http::pages::delivery::{Delivery, Words};
use crate::http::pages::email::EmailPage;
use crate::http::pages::format::moment;
use crate::http::pages::link::{Button, LinkPage, Next};
use crate::links;
use crate::locale::Locale;

pub(super) fn gallery(locale: Locale, said: &str, hang: &mut impl FnMut(&str, askama::Result<String>)) {
    let t = locale.text();
    let some = |usual: &str| if said.is_empty() { usual.to_owned() } else { said.to_owned() };

    let email = |form, waiting| EmailPage {
        page: frame(locale, "/account", true),
        present: some("ada@example.org"),
        form,
        waiting,
        undo: "3".to_owned(),
    };
    let wrong = FormState::of([("email", some("ada@example"))])
        .with_field_error("email", some(&t.get("mistake-email-invalid")))
        .with_field_error("current_password", some(&t.get("mistake-password-current")));
    hang("email", email(FormState::default(), None).render());
    hang("email-mistakes", email(wrong, None).render());
    let words = Words { t, mail_server: true, mailbox: false };
    for (name, progress) in deliveries().into_iter().filter(|(_, progress)| progress.is_some()) {
        let (url, events) = ("/account/email/status", "/account/email/events");
        let waiting = Some((some("ada@example.net"), Delivery { words, url, events, progress }));
        hang(&format!("email-{name}"), email(FormState::default(), waiting).render());
    }

    let link = |title: &str, lead: String, button: Option<(&'static str, &str)>| LinkPage {
        page: frame(locale, "/email/confirm", false),
        title: t.get(title),
        lead,
        about: Some(some("ada@example.net")),
        next: button.map_or(Next::Account, |(action, text)| {
            Next::Press(Button { action, token: some("v1.AbCdEf"), text: t.get(text) })
        }),
    };
    let (confirm, undo, restore) = (links::EMAIL_CONFIRM, links::EMAIL_UNDO, links::ACCOUNT_RESTORE);
    let lead = t.args("restore-lead", &[("moment", &moment(t, at(20)))]);
    for (name, page) in [
        (
            "email-confirm",
            link("email-confirm-title", t.get("email-confirm-lead"), Some((confirm, "email-confirm-submit"))),
        ),
        ("email-confirm-done", link("email-done-title", t.get("confirmed-lead"), None)),
        ("email-undo", link("email-undo-title", t.get("email-undo-lead"), Some((undo, "email-undo-submit")))),
        ("restore", link("restore-title", lead, Some((restore, "restore-submit")))),
        ("disown", link("disown-title", t.get("disown-lead"), Some((links::DISOWN, "disown-submit")))),
    ] {
        hang(name, page.render());
    }
    for (name, lead) in [
        ("email-confirm-invalid", "email-invalid-lead"),
        ("email-undo-invalid", "email-undo-invalid-lead"),
        ("restore-invalid", "restore-invalid-lead"),
    ] {
        hang(name, LinkPage::invalid(frame(locale, "/email/confirm", false), t.get(lead)).render());
    }

    for (name, lead) in [("reset-invalid", "reset-invalid-lead"), ("disown-invalid", "disown-invalid-lead")] {
        hang(name, LinkPage::invalid_password(frame(locale, "/reset", false), t.get(lead)).render());
    }

    let ask = |title: &str, lead: String, button: &str| AskPasswordPage {
        page: frame(locale, "/account", true),
        title: t.get(title),
        lead,
        email: some("ada@example.org"),
        action: links::ACCOUNT_DELETE.to_owned(),
        button: t.get(button),
        form: FormState::default(),
    };
    let delete = || ask("delete-title", t.args("delete-lead", &[("span", "14")]), "delete-submit");
    hang("delete", delete().render());
    hang("delete-mistake", delete().refused().render());
    hang("export", ask("export-title", t.get("export-lead"), "export-submit").render());
    hang("sessions-ask", ask("sessions-title", t.get("sessions-ask-lead"), "sessions-end").render());
}
