//! Every event with its routing key and its payload.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::bounds::{ATTEMPTED, CLASS, ENHANCED_CODE, MESSAGE_ID, REASON, TEMPLATE, TextBound, USER_AGENT};
use crate::clock::Timestamp;

/// Every type, which is the routing key too.
pub const TYPES: [&str; 23] = [
    "user.registered",
    "user.confirmed",
    "login.succeeded",
    "login.failed",
    "session.revoked",
    "mail.sent",
    "mail.delayed",
    "mail.rejected",
    "password.reset_requested",
    "password.changed",
    "user.updated",
    "confirmation.requested",
    "session.begun",
    "mail.kept_back",
    "user.reminder_due",
    "user.deletion_scheduled",
    "user.deletion_due",
    "user.restored",
    "user.deleted",
    "email.change_requested",
    "email.changed",
    "login.new_device",
    "login.after_failures",
];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "data")]
pub enum Event {
    /// Somebody asked for an account; nobody has looked yet whether the address is taken.
    #[serde(rename = "user.registered")]
    UserRegistered {
        /// The pending registration.
        registration: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A registration became a user.
    #[serde(rename = "user.confirmed")]
    UserConfirmed {
        /// The new user.
        user: Uuid,
        /// What it was before.
        registration: Uuid,
        /// The session that began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Uuid>,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// Somebody signed in.
    #[serde(rename = "login.succeeded")]
    LoginSucceeded {
        /// Who.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A sign-in by a device that the person has not signed in with before; beside `login.succeeded`.
    #[serde(rename = "login.new_device")]
    LoginNewDevice {
        /// Who.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A sign-in after five or more in a row that were refused; beside `login.succeeded`.
    #[serde(rename = "login.after_failures")]
    LoginAfterFailures {
        /// Who.
        user: Uuid,
        /// The session that began.
        session: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// Somebody tried to sign in and was refused.
    #[serde(rename = "login.failed")]
    LoginFailed {
        /// Whose address was tried, if anybody's.
        user: Option<Uuid>,
        /// A keyed hash of the address that was tried, hexadecimal.
        attempted: String,
        /// Why.
        reason: Refusal,
        /// How many there were, where several of a network within a minute are told together: of addresses that nobody has, past
        /// the first few. They have no `attempted` and no `user_agent`, and the first address of the network as `ip`.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        #[schema(maximum = 4_294_967_295_u32)]
        refusals: u32,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A session ended before its time; every node forgets it.
    #[serde(rename = "session.revoked")]
    SessionRevoked {
        /// Whose.
        user: Uuid,
        /// Which.
        session: Uuid,
    },
    /// A mail server took a mail.
    #[serde(rename = "mail.sent")]
    MailSent {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
    },
    /// A mail could not be handed over yet; it is tried again.
    #[serde(rename = "mail.delayed")]
    MailDelayed {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
        /// Why, in Bellhop's words: a mail server's may repeat the address or the link.
        reason: String,
        /// What the mail server answered.
        #[serde(flatten)]
        refusal: MailRefusal,
    },
    /// A mail server refused the recipient for good.
    #[serde(rename = "mail.rejected")]
    MailRejected {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
        /// Why, in Bellhop's words: a mail server's may repeat the address or the link.
        reason: String,
        /// What the mail server answered.
        #[serde(flatten)]
        refusal: MailRefusal,
    },
    /// The name, the language or the address of a user was changed.
    #[serde(rename = "user.updated")]
    UserUpdated {
        /// Whose; the row says what it is now.
        user: Uuid,
    },
    /// Somebody who registered asked for the mail again, at the same address or a corrected one.
    #[serde(rename = "confirmation.requested")]
    ConfirmationRequested {
        /// The pending registration.
        registration: Uuid,
        /// Which of its mails this is, 2 for the first that was asked for again; none but the last one goes.
        #[schema(maximum = 4_294_967_295_u32)]
        mail: u32,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A session began; pages that wait for it are told.
    #[serde(rename = "session.begun")]
    SessionBegun {
        /// Whose.
        user: Uuid,
        /// Which.
        session: Uuid,
        /// What became the user by it, if that is how it began.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        registration: Option<Uuid>,
    },
    /// A mail was kept back, for its address has had as many as it may get; the mail server was asked about the recipient all the same.
    #[serde(rename = "mail.kept_back")]
    MailKeptBack {
        /// The mail.
        #[serde(flatten)]
        mail: MailFact,
    },
    /// Somebody has forgotten the password of an address; nobody has looked yet whether anybody has it.
    #[serde(rename = "password.reset_requested")]
    PasswordResetRequested {
        /// The request.
        reset: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// It is time to remind somebody who has not confirmed yet. Published when it is due.
    #[serde(rename = "user.reminder_due")]
    UserReminderDue {
        /// The registration; it may have been confirmed or be gone by now.
        registration: Uuid,
    },
    /// Somebody asked for the deletion of their account; it can be called off until then.
    #[serde(rename = "user.deletion_scheduled")]
    UserDeletionScheduled {
        /// Whose.
        user: Uuid,
        /// When it is deleted.
        #[schema(value_type = String, format = DateTime)]
        deletes_at: Timestamp,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// It is time to delete an account, unless that was called off. Published when it is due.
    #[serde(rename = "user.deletion_due")]
    UserDeletionDue {
        /// Whose.
        user: Uuid,
    },
    /// The deletion of an account was called off.
    #[serde(rename = "user.restored")]
    UserRestored {
        /// Whose.
        user: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// An account was deleted with everything that is known about its person.
    #[serde(rename = "user.deleted")]
    UserDeleted {
        /// Whose.
        user: Uuid,
    },
    /// Somebody asked to move their account to another address; nobody has looked yet whether that one is taken.
    #[serde(rename = "email.change_requested")]
    EmailChangeRequested {
        /// The change.
        change: Uuid,
        /// Whose.
        user: Uuid,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// An account has another address.
    #[serde(rename = "email.changed")]
    EmailChanged {
        /// The change.
        change: Uuid,
        /// Whose; the row says the address.
        user: Uuid,
        /// How.
        by: EmailChange,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
    /// A password was changed; every session from before has ended.
    #[serde(rename = "password.changed")]
    PasswordChanged {
        /// Whose.
        user: Uuid,
        /// How.
        by: PasswordChange,
        /// The session that went on, if one did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<Uuid>,
        /// From where.
        #[serde(flatten)]
        origin: Origin,
    },
}

/// What a number is where it is left out.
fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// How a password was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasswordChange {
    /// By the link in a mail.
    Reset,
    /// By who was signed in and knew the present one.
    Account,
}

/// How an account came to another address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmailChange {
    /// By the link in the mail to the new address.
    Confirmed,
    /// By the link in the mail to the former one, which the account has again.
    Undone,
}

/// From where a request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The client's address as far as trusted proxies tell.
    #[schema(value_type = String)]
    pub ip: IpAddr,
    /// The client's program; empty if it did not say.
    pub user_agent: String,
}

/// Why a login was refused. The person is told none of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Nobody has this address.
    UnknownAddress,
    /// A registration waits, nobody has confirmed it.
    Unconfirmed,
    /// The password is another.
    WrongPassword,
    /// The account is switched off.
    Disabled,
    /// What was typed can be no password.
    Malformed,
}

impl Refusal {
    /// As it stands in the event and in the login log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::UnknownAddress => "unknown_address",
            Refusal::Unconfirmed => "unconfirmed",
            Refusal::WrongPassword => "wrong_password",
            Refusal::Disabled => "disabled",
            Refusal::Malformed => "malformed",
        }
    }
}

/// Which mail, and what it is about: one of the four.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailFact {
    /// A registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration: Option<Uuid>,
    /// A password that was forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset: Option<Uuid>,
    /// An account that is to move to another address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Uuid>,
    /// A user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Uuid>,
    /// The template: `confirmation`, `already_registered`, `reminder`, `password_reset`, `no_account`, `password_changed`,
    /// `email_change`, `email_taken`, `email_changed`, `deletion_scheduled`, `new_device`, `after_failures`.
    pub template: String,
    /// The same for every copy.
    pub message_id: String,
}

/// What a mail server answered, without its words. Events of older programs have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailRefusal {
    /// What it is about: `recipient`, `sender`, `login`, `policy`, `quota`, `message`, `protocol`, `server`, `busy`,
    /// `unreachable`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// The reply code (RFC 5321), if there was a reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp_code: Option<u16>,
    /// The enhanced status code (RFC 3463), if the reply had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enhanced_code: Option<String>,
}

impl Event {
    /// What the event is about: a user, a registration, or nobody in particular.
    #[must_use]
    pub fn subject(&self) -> Option<Uuid> {
        match self {
            Event::UserRegistered { registration, .. }
            | Event::ConfirmationRequested { registration, .. }
            | Event::UserReminderDue { registration } => Some(*registration),
            Event::UserConfirmed { user, .. }
            | Event::LoginSucceeded { user, .. }
            | Event::LoginNewDevice { user, .. }
            | Event::LoginAfterFailures { user, .. }
            | Event::SessionRevoked { user, .. }
            | Event::SessionBegun { user, .. }
            | Event::PasswordChanged { user, .. }
            | Event::UserDeletionScheduled { user, .. }
            | Event::UserDeletionDue { user }
            | Event::UserRestored { user, .. }
            | Event::UserDeleted { user }
            | Event::EmailChangeRequested { user, .. }
            | Event::EmailChanged { user, .. }
            | Event::UserUpdated { user } => Some(*user),
            Event::LoginFailed { user, .. } => *user,
            Event::MailSent { mail }
            | Event::MailKeptBack { mail }
            | Event::MailDelayed { mail, .. }
            | Event::MailRejected { mail, .. } => mail.registration.or(mail.reset).or(mail.change).or(mail.user),
            Event::PasswordResetRequested { reset, .. } => Some(*reset),
        }
    }
}

impl Event {
    /// Every text with its bound. Without `..`: a field that is added is looked at here.
    pub(super) fn texts(&mut self) -> Vec<(TextBound, &mut String)> {
        match self {
            Event::UserRegistered { registration: _, origin }
            | Event::ConfirmationRequested { registration: _, mail: _, origin }
            | Event::UserConfirmed { user: _, registration: _, session: _, origin }
            | Event::LoginSucceeded { user: _, session: _, origin }
            | Event::LoginNewDevice { user: _, session: _, origin }
            | Event::LoginAfterFailures { user: _, session: _, origin }
            | Event::PasswordResetRequested { reset: _, origin }
            | Event::UserDeletionScheduled { user: _, deletes_at: _, origin }
            | Event::UserRestored { user: _, origin }
            | Event::EmailChangeRequested { change: _, user: _, origin }
            | Event::EmailChanged { change: _, user: _, by: _, origin }
            | Event::PasswordChanged { user: _, by: _, session: _, origin } => origin.texts().into(),
            Event::LoginFailed { user: _, attempted, reason: _, refusals: _, origin } => {
                origin.texts().into_iter().chain([(ATTEMPTED, attempted)]).collect()
            }
            Event::SessionRevoked { user: _, session: _ }
            | Event::SessionBegun { user: _, session: _, registration: _ }
            | Event::UserReminderDue { registration: _ }
            | Event::UserDeletionDue { user: _ }
            | Event::UserDeleted { user: _ }
            | Event::UserUpdated { user: _ } => Vec::new(),
            Event::MailSent { mail } | Event::MailKeptBack { mail } => mail.texts().into(),
            Event::MailDelayed { mail, reason, refusal } | Event::MailRejected { mail, reason, refusal } => {
                mail.texts().into_iter().chain([(REASON, reason)]).chain(refusal.texts()).collect()
            }
        }
    }

    /// The reply code of a mail server, if it has one.
    pub(super) fn smtp_code(&self) -> Option<u16> {
        match self {
            Event::MailDelayed { refusal, .. } | Event::MailRejected { refusal, .. } => refusal.smtp_code,
            _ => None,
        }
    }
}

impl Origin {
    fn texts(&mut self) -> [(TextBound, &mut String); 1] {
        let Origin { ip: _, user_agent } = self;
        [(USER_AGENT, user_agent)]
    }
}

impl MailFact {
    fn texts(&mut self) -> [(TextBound, &mut String); 2] {
        let MailFact { registration: _, reset: _, change: _, user: _, template, message_id } = self;
        [(TEMPLATE, template), (MESSAGE_ID, message_id)]
    }
}

impl MailRefusal {
    fn texts(&mut self) -> impl Iterator<Item = (TextBound, &mut String)> {
        let MailRefusal { class, smtp_code: _, enhanced_code } = self;
        let texts = [(CLASS, class.as_mut()), (ENHANCED_CODE, enhanced_code.as_mut())];
        texts.into_iter().filter_map(|(bound, text)| Some((bound, text?)))
    }
}
