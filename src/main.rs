//! The `bellhop` program: everything it does is in the library beside it.

use std::process::ExitCode;

/// Gives the 19 MiB blocks of the hash threads back to the system when they are freed, which the
/// C library's allocator keeps once it has seen one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bellhop::cli::main()
}
