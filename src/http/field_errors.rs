//! What is wrong with a field, in a person's language: the same texts on pages and in the API.

use crate::account::credentials::policy::Weakness;
use crate::account::identity::address::AddressError;
use crate::account::identity::name::NameError;
use crate::account::register::RegistrationErrors;
use crate::locale::Text;

/// The fields of a registration that were refused, each with its text.
#[must_use]
pub fn of_registration(errors: RegistrationErrors, t: Text) -> Vec<(&'static str, String)> {
    let RegistrationErrors { email, name, password } = errors;
    let keys =
        [("email", email.map(address)), ("password", password.map(new_password)), ("name", name.map(display_name))];
    keys.into_iter().filter_map(|(field, key)| Some((field, t.get(key?)))).collect()
}

fn address(error: AddressError) -> &'static str {
    match error {
        AddressError::Empty => "mistake-email-missing",
        AddressError::TooLong => "mistake-email-long",
        AddressError::Malformed | AddressError::LocalNotAscii | AddressError::Domain => "mistake-email-invalid",
    }
}

fn display_name(error: NameError) -> &'static str {
    match error {
        NameError::Empty => "mistake-name-missing",
        NameError::TooLong => "mistake-name-long",
        NameError::Control | NameError::Invisible => "mistake-name-characters",
    }
}

fn new_password(error: Weakness) -> &'static str {
    match error {
        Weakness::TooShort { .. } => "mistake-password-short",
        Weakness::TooLong => "mistake-password-long",
        Weakness::Nul => "mistake-password-characters",
        Weakness::Common => "mistake-password-common",
        Weakness::Context => "mistake-password-personal",
        Weakness::Guessable => "mistake-password-weak",
    }
}
