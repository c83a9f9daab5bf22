//! What people do, on both stacks.

mod answers;
mod backlogs;
mod commands;
mod confirming;
mod input;
mod mails;
mod mixtures;
mod operating;
mod orders;
mod refusals;
mod registering;
mod sessions;
mod signing_in;
mod waiting;
