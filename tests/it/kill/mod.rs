//! Stories of real processes, in which something is killed or stopped. They run one at a time, after all others.

mod crashes;
mod servers;
