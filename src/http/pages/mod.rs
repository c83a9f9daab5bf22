//! What people see: one file per page, its template struct beside its handlers. Everything in a field of such a struct is
//! plain text; the templates escape it (ASVS 1.2.1). No page needs the script.
//!
//! Shared are [`layout`], the frame of every page, and [`mod@format`], which says facts for people.

pub mod account;
pub mod api_index;
pub mod assets;
pub mod confirm;
pub mod format;
pub mod home;
pub mod language;
pub mod layout;
pub mod login;
pub mod logout;
pub mod mail;
pub mod mailbox;
pub mod problem;
pub mod register;
pub mod register_sent;

#[cfg(test)]
mod tests;
