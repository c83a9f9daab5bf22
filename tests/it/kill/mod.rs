//! Stories in which something is killed. They run one at a time, after all others.

mod servers;
