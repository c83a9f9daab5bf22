//! How passwords are hashed, and which may be chosen.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::Values;

pub(super) const SECTION: Section = Section {
    title: "Passwords",
    settings: &[
        Setting::new("HASH_THREADS", Fallback::Described("one a core"), "threads that hash passwords").example("2"),
        Setting::new(
            "HASH_QUEUE",
            Fallback::Described("64 a thread"),
            "passwords that may wait for a thread; past that the answer is 503",
        )
        .example("128"),
        Setting::new("HASH_MEMORY", Fallback::Value("19456"), "Argon2id memory in KiB, at least 19456"),
        Setting::new("HASH_PASSES", Fallback::Value("2"), "Argon2id passes, at least 2"),
        Setting::new(
            "HASH_KERNEL",
            Fallback::Value("auto"),
            "auto: the fastest kernel that agrees with the argon2 crate; portable: the argon2 crate",
        ),
        Setting::new(
            "BREACHED_PASSWORDS",
            Fallback::Described("only the built-in list"),
            "file of passwords that may not be chosen: sorted SHA-1 hashes, as Have I Been Pwned publishes them",
        )
        .example("/var/lib/bellhop/pwned-passwords.txt"),
    ],
};

/// How passwords are hashed, and which may be chosen.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    /// `BELLHOP_HASH_THREADS`
    pub hash_threads: NonZeroUsize,
    /// `BELLHOP_HASH_QUEUE`
    pub hash_queue: usize,
    /// `BELLHOP_HASH_MEMORY`, in KiB.
    pub hash_memory: u32,
    /// `BELLHOP_HASH_PASSES`
    pub hash_passes: u32,
    /// `BELLHOP_HASH_KERNEL`
    pub hash_kernel: HashKernel,
    /// `BELLHOP_BREACHED_PASSWORDS`
    pub breached: Option<PathBuf>,
}

/// Which program computes the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKernel {
    /// The fastest that this processor has the instructions for, if it agrees with the other one at the start.
    Auto,
    /// The one that runs everywhere.
    Portable,
}

impl PasswordConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        let hash_threads = values.take_optional("HASH_THREADS")?.unwrap_or(cores);
        if hash_threads.get() > 1_024 {
            return Err(ConfigError::value("HASH_THREADS", format!("{hash_threads} is more than 1024")));
        }
        Ok(PasswordConfig {
            hash_threads,
            hash_queue: values.take_optional("HASH_QUEUE")?.unwrap_or(64 * hash_threads.get()),
            // OWASP's floor for Argon2id; 4 GiB and 100 passes are past every sensible setting
            hash_memory: values.take_in("HASH_MEMORY", 19_456..=4_194_304, " KiB")?,
            hash_passes: values.take_in("HASH_PASSES", 2..=100, "")?,
            hash_kernel: values
                .take_word("HASH_KERNEL", &[("auto", HashKernel::Auto), ("portable", HashKernel::Portable)])?,
            breached: values.take_optional("BREACHED_PASSWORDS")?,
        })
    }
}
