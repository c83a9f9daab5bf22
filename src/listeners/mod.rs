//! Door two: a message in, an effect out.
//!
//! * [`mail_text`]: what our mails say

pub mod mail_text;
