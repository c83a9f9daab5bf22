//! The `bellhop` program: everything it does is in the library beside it.

use std::process::ExitCode;

/// The C library's allocator keeps a 19 MiB block of a hash thread for good once it has seen one; this one gives it back,
/// if only when something else is allocated or freed after it (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bellhop::cli::main()
}
