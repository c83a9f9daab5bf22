//! What people do, on both stacks.

mod backlogs;
mod commands;
mod confirming;
mod doors;
mod input;
mod mails;
mod mixtures;
mod operating;
mod orders;
mod registering;
mod sessions;
mod signing_in;
