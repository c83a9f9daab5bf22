//! What is wrong with a field, in a person's language: the same texts on pages and in the API.

use crate::account::change_email::EmailErrors;
use crate::account::change_password::PasswordErrors;
use crate::account::credentials::policy::Weakness;
use crate::account::identity::address::AddressError;
use crate::account::identity::name::NameError;
use crate::account::profile::ProfileErrors;
use crate::account::register::RegistrationErrors;
use crate::locale::Text;

/// The fields of a registration that were refused, each with its text.
#[must_use]
pub fn of_registration(errors: RegistrationErrors, t: Text) -> Vec<(&'static str, String)> {
    let RegistrationErrors { email, name, password } = errors;
    let keys = [
        ("email", email.map(of_address)),
        ("password", password.map(of_new_password)),
        ("name", name.map(display_name)),
    ];
    keys.into_iter().filter_map(|(field, key)| Some((field, t.get(key?)))).collect()
}

/// The fields of a change of the profile that were refused, each with its text.
#[must_use]
pub fn of_profile(errors: ProfileErrors, t: Text) -> Vec<(&'static str, String)> {
    let locale = errors.locale_is_unknown.then_some("mistake-language");
    let keys = [("name", errors.name.map(display_name)), ("locale", locale)];
    keys.into_iter().filter_map(|(field, key)| Some((field, t.get(key?)))).collect()
}

/// The fields of a change of the password that were refused, each with its text.
#[must_use]
pub fn of_password(errors: PasswordErrors, t: Text) -> Vec<(&'static str, String)> {
    let current = errors.current_is_wrong.then_some("mistake-password-current");
    let keys = [("current_password", current), ("password", errors.password.map(of_new_password))];
    keys.into_iter().filter_map(|(field, key)| Some((field, t.get(key?)))).collect()
}

/// The fields of a change of the address that were refused, each with its text.
#[must_use]
pub fn of_email(errors: EmailErrors, t: Text) -> Vec<(&'static str, String)> {
    let same = errors.is_the_same.then_some("mistake-email-same");
    let current = errors.current_is_wrong.then_some("mistake-password-current");
    let keys = [("email", errors.email.map(of_address).or(same)), ("current_password", current)];
    keys.into_iter().filter_map(|(field, key)| Some((field, t.get(key?)))).collect()
}

/// The text's key for what is wrong with an address.
#[must_use]
pub fn of_address(error: AddressError) -> &'static str {
    match error {
        AddressError::Empty => "mistake-email-missing",
        AddressError::TooLong => "mistake-email-long",
        AddressError::LocalNotAscii => "mistake-email-letters",
        AddressError::Malformed | AddressError::Domain => "mistake-email-invalid",
    }
}

fn display_name(error: NameError) -> &'static str {
    match error {
        NameError::Empty => "mistake-name-missing",
        NameError::TooLong => "mistake-name-long",
        NameError::Control | NameError::Invisible => "mistake-name-characters",
    }
}

/// The text's key for why a new password may not be chosen.
#[must_use]
pub fn of_new_password(error: Weakness) -> &'static str {
    match error {
        Weakness::Missing => "mistake-password-missing",
        Weakness::TooShort { .. } => "mistake-password-short",
        Weakness::TooLong => "mistake-password-long",
        Weakness::Nul => "mistake-password-characters",
        Weakness::Common => "mistake-password-common",
        Weakness::Context => "mistake-password-personal",
        Weakness::Guessable => "mistake-password-weak",
    }
}
