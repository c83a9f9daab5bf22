//! The domain: one file per use case, its SQL inside it; one public function that writes is one transaction.
//!
//! * [`register`], [`resend`], [`confirm`], [`login`], [`reset`], [`change_password`], [`change_email`], [`profile`], [`deletion`], [`export`],
//!   [`disown`]: what people do; [`proof`]: that they know the password
//! * [`session`], [`devices`], [`login_log`], [`user`], [`delivery`]: what follows from it and is looked up
//! * [`watchers`]: who waits for it on this node
//! * [`budget`], [`under_way`]: how often
//! * [`credentials`]: passwords, tokens, links, keys, and the comparing of passwords
//! * [`identity`]: the rules for addresses and names
//! * [`purge`]: what expires

mod accounts;
pub mod budget;
pub mod change_email;
pub mod change_password;
pub mod confirm;
pub mod credentials;
pub mod deletion;
pub mod delivery;
pub mod devices;
pub mod disown;
pub mod export;
pub mod identity;
pub mod login;
pub mod login_log;
pub mod profile;
pub mod proof;
pub mod purge;
pub mod register;
pub mod resend;
pub mod reset;
pub mod session;
pub mod under_way;
pub mod user;
pub mod waiting_email;
pub mod watchers;

pub use self::accounts::Accounts;
