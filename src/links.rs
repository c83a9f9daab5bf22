//! Every path of ours and every URL made of one: routes, pages, redirects and mails ask here.
//!
//! The calls of the API name their paths themselves, once: the routes and the OpenAPI document are made of that.

use anyhow::Context as _;
use url::Url;

/// The start page.
pub const HOME: &str = "/";
/// The form to register.
pub const REGISTER: &str = "/register";
/// Where a browser waits for the mail after registering.
pub const REGISTER_SENT: &str = "/register/sent";
/// How far that mail has come, for the page's script.
pub const REGISTER_STATUS: &str = "/register/status";
/// The same as a stream.
pub const REGISTER_EVENTS: &str = "/register/sent/events";
/// Asks for that mail again.
pub const REGISTER_RESEND: &str = "/register/resend";
/// Corrects the address that it goes to.
pub const REGISTER_CORRECT: &str = "/register/correct";
/// The page behind the link in that mail.
pub const CONFIRM: &str = "/confirm";
/// The form to sign in.
pub const LOGIN: &str = "/login";
/// Signs out.
pub const LOGOUT: &str = "/logout";
/// Chooses the language of the pages.
pub const LANGUAGE: &str = "/language";
/// The form for who has forgotten the password.
pub const FORGOT: &str = "/forgot";
/// Where a browser waits for the mail after that.
pub const FORGOT_SENT: &str = "/forgot/sent";
/// How far that mail has come, for the page's script.
pub const FORGOT_STATUS: &str = "/forgot/status";
/// The same as a stream.
pub const FORGOT_EVENTS: &str = "/forgot/sent/events";
/// The page behind the link in that mail.
pub const RESET: &str = "/reset";
/// The page behind the link in the warning of a sign-in.
pub const DISOWN: &str = "/login/not-me";
/// The page of who is signed in.
pub const ACCOUNT: &str = "/account";
/// Sign-ins and ends of sessions, as a stream for the pages of who is signed in.
pub const ACCOUNT_EVENTS: &str = "/account/events";
/// The form that changes the password.
pub const ACCOUNT_PASSWORD: &str = "/account/password";
/// The form that changes the address.
pub const ACCOUNT_EMAIL: &str = "/account/email";
/// Calls off a change that waits for its confirmation.
pub const ACCOUNT_EMAIL_WITHDRAW: &str = "/account/email/withdraw";
/// How far the mail to the new address has come, for the page's script.
pub const ACCOUNT_EMAIL_STATUS: &str = "/account/email/status";
/// The same, told as it happens.
pub const ACCOUNT_EMAIL_EVENTS: &str = "/account/email/events";
/// The page behind the link in that mail.
pub const EMAIL_CONFIRM: &str = "/email/confirm";
/// The page behind the link in the mail to the former address.
pub const EMAIL_UNDO: &str = "/email/undo";
/// Everything that is kept about the person, as a file.
pub const ACCOUNT_EXPORT: &str = "/account/export";
/// The form that deletes the account.
pub const ACCOUNT_DELETE: &str = "/account/delete";
/// Calls that off, for who is signed in.
pub const ACCOUNT_DELETE_UNDO: &str = "/account/delete/undo";
/// The page behind the link that calls it off.
pub const ACCOUNT_RESTORE: &str = "/account/restore";
/// The form that changes name and language.
pub const ACCOUNT_PROFILE: &str = "/account/profile";
/// The whole login log of who is signed in.
pub const ACCOUNT_ACTIVITY: &str = "/account/activity";
/// Where one is signed in.
pub const ACCOUNT_SESSIONS: &str = "/account/sessions";
/// Ends one of these.
pub const END_SESSION: &str = "/account/sessions/{id}/end";
/// Ends all of these but the present one.
pub const END_OTHER_SESSIONS: &str = "/account/sessions/end-others";
/// The local mailbox.
pub const MAILBOX: &str = "/mailbox";
/// A mail in it.
pub const MAILBOX_MAIL: &str = "/mailbox/{id}";
/// The same mailbox for programs.
pub const MAILBOX_JSON: &str = "/mailbox.json";
/// The calls of the API, to read.
pub const API_INDEX: &str = "/api";
/// The OpenAPI document.
pub const API_DOCUMENT: &str = "/api/openapi.json";
/// What every path of the API begins with.
pub const API: &str = "/api/";
/// Whether the process runs.
pub const LIVEZ: &str = "/livez";
/// Whether it can take requests.
pub const READYZ: &str = "/readyz";
/// Who is signed in, for a proxy before another application.
pub const AUTH_VERIFY: &str = "/auth/verify";
/// Where browsers and telephones look for icons by themselves.
pub const FAVICON: &str = "/favicon.ico";
/// Likewise.
pub const TOUCH_ICON: &str = "/apple-touch-icon.png";
/// What an installed page is called and looks like.
pub const MANIFEST: &str = "/site.webmanifest";
/// What search engines may read.
pub const ROBOTS: &str = "/robots.txt";
/// Where password managers look for the page that changes a password.
pub const CHANGE_PASSWORD: &str = "/.well-known/change-password";
/// Whom to tell of a weakness (RFC 9116).
pub const SECURITY_TXT: &str = "/.well-known/security.txt";
/// What every path of an asset begins with.
pub const STATIC: &str = "/static/";
/// An asset.
pub const STATIC_FILE: &str = "/static/{name}";

/// The path of a mail in the local mailbox.
#[must_use]
pub fn mailbox_mail(id: &str) -> String {
    format!("{MAILBOX}/{id}")
}

/// The path of an asset. Another content is another path, so that the old one may be cached for ever.
#[must_use]
pub fn asset(name: &str) -> String {
    format!("{STATIC}{name}?v={ASSETS:016x}")
}

/// Changes with whatever pages load.
const ASSETS: u64 = {
    let hash = fnv(0xcbf2_9ce4_8422_2325, include_bytes!("../static/style.css"));
    let hash = fnv(hash, include_bytes!("../static/page.js"));
    fnv(hash, include_bytes!("../static/icon.svg"))
};

/// The hash of Fowler, Noll and Vo (FNV-1a): it need withstand nobody.
const fn fnv(mut hash: u64, mut bytes: &[u8]) -> u64 {
    while let [byte, rest @ ..] = bytes {
        hash = (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
        bytes = rest;
    }
    hash
}

/// The page of a link, for whoever is on it already.
#[must_use]
pub fn token_path(path: &str, token: &str) -> String {
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    format!("{path}?token={token}")
}

/// Ends a session.
#[must_use]
pub fn end_session(id: &str) -> String {
    format!("{ACCOUNT_SESSIONS}/{id}/end")
}

/// The URL of a path, for a mail.
///
/// # Errors
/// When `public_url` can be no base, which none that the settings let through is.
pub fn absolute(public_url: &Url, path: &str) -> anyhow::Result<Url> {
    public_url.join(path).context("cannot build a link")
}

/// The link of a mail to one of our pages.
///
/// # Errors
/// As [`absolute`].
pub fn token_url(public_url: &Url, path: &str, token: &str) -> anyhow::Result<Url> {
    let mut url = absolute(public_url, path)?;
    url.query_pairs_mut().append_pair("token", token);
    Ok(url)
}
