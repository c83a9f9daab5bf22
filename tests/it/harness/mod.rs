//! The harness proves itself: a test that leans on it can then blame the product.

mod browser;
mod proxy;
mod servers;
mod smtp;
