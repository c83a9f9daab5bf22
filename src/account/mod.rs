//! The domain: one file per use case, its SQL inside it; one public function that writes is one transaction.
//!
//! * [`register`], [`confirm`], [`login`]: what people do
//! * [`session`], [`login_log`], [`user`]: what follows from it and is looked up
//! * [`credentials`]: passwords, tokens, links, keys, and the comparing of passwords
//! * [`identity`]: the rules for addresses and names
//! * [`purge`]: what expires

mod accounts;
pub mod confirm;
pub mod credentials;
pub mod identity;
pub mod login;
pub mod login_log;
pub mod purge;
pub mod register;
pub mod session;
pub mod user;

pub use self::accounts::Accounts;
