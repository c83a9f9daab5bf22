//! What people see: one file per page, its template struct beside its handlers. Everything in a field of such a struct is
//! plain text; the templates escape it (ASVS 1.2.1). No page needs the script.
//!
//! Shared are [`layout`], the frame of every page, [`mod@format`], which says facts for people, `delivery`, which says how far
//! a mail has come, `link`, the page behind a link that takes one press, and `ask_password`.

pub mod account;
pub mod account_events;
pub mod activity;
pub mod api_index;
mod ask_password;
pub mod assets;
pub mod confirm;
pub mod delete;
mod delivery;
pub mod disown;
pub mod email;
pub mod email_confirm;
pub mod email_undo;
pub mod export;
pub mod forgot;
pub mod forgot_sent;
pub mod format;
pub mod home;
pub mod language;
pub mod layout;
mod link;
pub mod login;
pub mod logout;
pub mod mail;
pub mod mailbox;
pub mod password;
pub mod problem;
pub mod profile;
pub mod register;
pub mod register_sent;
pub mod reset;
pub mod restore;
pub mod sessions;

#[cfg(test)]
mod tests;
