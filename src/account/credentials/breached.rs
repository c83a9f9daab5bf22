//! Passwords that are known from breaches, in a file that the operator provides: far too many to embed.
//!
//! The file has a hexadecimal SHA-1 a line, sorted, each followed by nothing or by a colon and a count: the form in which
//! Have I Been Pwned publishes its corpus. It is never read into memory: a look-up is a binary search of some forty reads.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};
use sha1::{Digest as _, Sha1};

use crate::account::credentials::policy::Password;

/// Hexadecimal digits of a SHA-1.
const HASH_DIGITS: usize = 40;
/// Longest line: the digits, a colon, a count, and the line end of either kind.
const MAX_LINE: usize = HASH_DIGITS + 24;

/// An open file of known passwords.
#[derive(Debug)]
pub struct Breached {
    file: File,
    bytes: u64,
}

impl Breached {
    /// Opens a file, and checks its first and last line.
    ///
    /// # Errors
    /// When it cannot be read or is not of the module's form.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let breached = Breached { file, bytes };
        let form = "is not a sorted list of SHA-1 hashes in hexadecimal, one a line";
        let (_, first) = breached.line_at(0)?.context("is empty")?;
        let (_, last) = breached.line_at(bytes.saturating_sub(2))?.context(form)?;
        ensure!(first <= last, form);
        Ok(breached)
    }

    /// Whether a password is in it. Reads the disk: not for a thread that serves requests.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn contains(&self, password: &Password) -> anyhow::Result<bool> {
        let wanted = hexadecimal(&Sha1::digest(password.expose()));
        let (mut from, mut to) = (0, self.bytes);
        while from < to {
            let Some((start, hash)) = self.line_at(from + (to - from) / 2)? else { return Ok(false) };
            match wanted.as_str().cmp(&hash) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => to = start,
                std::cmp::Ordering::Greater => from = self.end_of(start)?,
            }
        }
        Ok(false)
    }

    /// Where the line begins that the byte at `at` is in, and its hash in capitals; none past the end.
    fn line_at(&self, at: u64) -> anyhow::Result<Option<(u64, String)>> {
        if at >= self.bytes {
            return Ok(None);
        }
        let before = at.saturating_sub(MAX_LINE as u64);
        let mut window = [0; 2 * MAX_LINE];
        let read = self.read(before, &mut window)?;
        let (window, here) = (window.get(..read).unwrap_or_default(), usize::try_from(at - before)?);
        let ended = window.get(..here).unwrap_or_default().iter().rposition(|&byte| byte == b'\n');
        ensure!(ended.is_some() || before == 0, "has a line that is longer than a hash and its count");
        let start = ended.map_or(0, |end| end + 1);
        let line = window.get(start..).unwrap_or_default().split(|&byte| byte == b'\n').next().unwrap_or_default();
        let (hash, rest) = line.split_at_checked(HASH_DIGITS).context("has a line that is shorter than a SHA-1")?;
        ensure!(
            hash.iter().all(u8::is_ascii_hexdigit) && matches!(rest.first(), None | Some(b':' | b'\r')),
            "has a line that does not begin with a SHA-1 in hexadecimal"
        );
        Ok(Some((before + start as u64, String::from_utf8_lossy(hash).to_uppercase())))
    }

    /// Where the line after the one at `start` begins.
    fn end_of(&self, start: u64) -> anyhow::Result<u64> {
        let mut window = [0; MAX_LINE];
        let read = self.read(start, &mut window)?;
        let end = window.iter().take(read).position(|&byte| byte == b'\n');
        Ok(start + end.map_or(read, |end| end + 1) as u64)
    }

    fn read(&self, at: u64, into: &mut [u8]) -> anyhow::Result<usize> {
        let mut read = 0;
        while let Some(rest) = into.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, at + read as u64).context("cannot read the known passwords")? {
                0 => break,
                more => read += more,
            }
        }
        Ok(read)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02X}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ending: &str, count: bool, last: &str) -> (tempfile::NamedTempFile, Vec<String>) {
        let mut known: Vec<(String, String)> = (0..1_000)
            .map(|number| format!("known password {number}"))
            .map(|text| (hexadecimal(&Sha1::digest(&text)), text))
            .collect();
        known.sort();
        let mut lines = String::new();
        for (number, (hash, _)) in known.iter().enumerate() {
            let count =
                if count { format!(":{}", 7_u64.pow(u32::try_from(number % 20).unwrap())) } else { String::new() };
            let ending = if number + 1 == known.len() { last } else { ending };
            write!(lines, "{hash}{count}{ending}").unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines).unwrap();
        (file, known.into_iter().map(|(_, text)| text).collect())
    }

    fn password(text: &str) -> Password {
        Password::normalise(text).unwrap()
    }

    #[test]
    fn every_line_is_found_and_nothing_else_in_every_form_of_the_file() {
        for (ending, count, last) in
            [("\n", false, "\n"), ("\r\n", true, "\r\n"), ("\n", true, ""), ("\r\n", false, ""), ("\n", true, "\n")]
        {
            let (file, known) = list(ending, count, last);
            let breached = Breached::open(file.path()).unwrap();
            for text in &known {
                assert!(breached.contains(&password(text)).unwrap(), "{text} {ending:?} {count} {last:?}");
                assert!(!breached.contains(&password(&format!("{text}!"))).unwrap(), "{text}!");
            }
        }
    }

    #[test]
    fn a_list_in_small_letters_is_read_alike() {
        let (file, known) = list("\n", false, "\n");
        let small = std::fs::read_to_string(file.path()).unwrap().to_lowercase();
        std::fs::write(file.path(), small).unwrap();
        let breached = Breached::open(file.path()).unwrap();
        assert!(known.iter().all(|text| breached.contains(&password(text)).unwrap()));
        assert!(!breached.contains(&password("another password")).unwrap());
    }

    #[test]
    fn what_is_no_such_list_is_refused_when_it_is_opened() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = |digit: &str| digit.repeat(HASH_DIGITS);
        for (text, why) in [
            (String::new(), "empty"),
            ("password\nletmein\n".into(), "shorter"),
            (format!("{}\n", "z".repeat(HASH_DIGITS)), "hexadecimal"),
            (format!("{}:1\n{}:1\n", hash("B"), hash("A")), "sorted"),
            (format!("{}\n", hash("A").repeat(9)), "SHA-1"),
        ] {
            std::fs::write(file.path(), &text).unwrap();
            let refused = format!("{:#}", Breached::open(file.path()).unwrap_err());
            assert!(refused.contains(why), "{text:?}: {refused}");
        }
        std::fs::write(file.path(), format!("{}\n", hash("a"))).unwrap();
        assert!(!Breached::open(file.path()).unwrap().contains(&password("one line")).unwrap());
    }
}
