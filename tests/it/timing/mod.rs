//! What is measured. These run one at a time, after all others, on servers that write to the disk.

mod answers;
mod away;
mod delivery;
mod slow_clients;
mod statistics;
