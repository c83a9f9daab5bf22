//! What people do, on both stacks.

mod answers;
mod backlogs;
mod changing;
mod clocks;
mod commands;
mod confirming;
mod devices;
mod document;
mod flooding;
mod forged;
mod forms;
mod input;
mod limiting;
mod live;
mod losses;
mod mails;
mod mixtures;
mod operating;
mod orders;
mod probes;
mod recovering;
mod refusals;
mod registering;
mod sessions;
mod signing_in;
mod waiting;
