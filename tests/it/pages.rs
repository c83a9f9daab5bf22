//! The pages in a real Chromium: what people see and can do there, and what nobody must be able to do to them.

mod accessible;
mod leaving;
mod live;
mod looks;
mod mistakes;
mod pressing;
mod proxied;
mod screenshot;
mod strangers;
mod telling;
mod visit;
