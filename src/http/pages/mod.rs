//! What people see: one file per page.

pub mod account;
pub mod assets;
pub mod confirm;
pub mod login;
pub mod mailbox;
pub mod register;
pub mod view;
