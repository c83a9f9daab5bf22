//! `/api/v1`: the use cases for programs, JSON in and out. The calls' paths and the document that describes them are made
//! from these functions; the route table registers each once.
//!
//! * [`registration`], [`session`], [`recovery`], [`me`], [`me_account`], [`me_email`], [`me_sessions`],
//!   [`admin`]: the calls, a file for each family
//! * [`schema`]: what several of them answer; [`document`]: the OpenAPI document

pub mod admin;
pub mod document;
pub mod me;
pub mod me_account;
pub mod me_email;
pub mod me_sessions;
pub mod recovery;
pub mod registration;
pub mod schema;
pub mod session;
pub mod waiting;
