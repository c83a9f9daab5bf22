//! One test binary: stories, conformance of databases and brokers, rules of the house.

mod rabbit;
