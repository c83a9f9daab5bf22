//! The one who writes the log, on a thread of its own. Whoever logs hands a line over and goes on: standard error may be a full
//! disk, a pipe whose reader died, or one whose reader stands still. What cannot be written is dropped and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written; past that they are dropped.
const MAX_WAITING: usize = 2_048;

/// How long the end of the program waits for what was logged before it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

static LINES: OnceLock<SyncSender<Entry>> = OnceLock::new();

/// Dropped since that was last said.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The last line could not be written.
static IS_FAILING: AtomicBool = AtomicBool::new(false);

enum Entry {
    Line(Vec<u8>),
    /// Everything before it has been written, or dropped.
    Flush(SyncSender<()>),
}

/// Starts the thread, once.
pub(super) fn start() -> io::Result<Lines> {
    let (sender, entries) = sync_channel(MAX_WAITING);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&entries))?;
    let _ = LINES.set(sender.clone());
    Ok(Lines(sender))
}

/// Waits until what was logged so far is written, for a second at most.
pub fn flush() {
    let Some(lines) = LINES.get() else { return };
    let (done, written) = sync_channel(1);
    if lines.try_send(Entry::Flush(done)).is_ok() {
        let _ = written.recv_timeout(FLUSH_TIMEOUT);
    }
}

/// Writes a last line, after all that was logged and before the program ends; where it cannot be written it is lost.
pub(super) fn write_last(line: String) {
    match LINES.get() {
        // a reader that stands still holds up the thread, and not the end
        Some(lines) => {
            let _ = lines.try_send(Entry::Line(line.into_bytes()));
            flush();
        }
        None => {
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// Whether the log can be written, as far as the last line tells.
#[must_use]
pub fn is_writable() -> bool {
    !IS_FAILING.load(Ordering::Relaxed)
}

/// Takes lines, and never fails.
#[derive(Clone, Debug)]
pub(super) struct Lines(SyncSender<Entry>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// A line, whole: the layer that formats writes it in one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.0.try_send(Entry::Line(line.to_vec())).is_err() {
            count_dropped();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One line more is lost.
pub(super) fn count_dropped() {
    IS_FAILING.store(true, Ordering::Relaxed);
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

fn write_all(entries: &Receiver<Entry>) {
    let mut is_torn = false;
    for entry in entries {
        match entry {
            Entry::Line(line) if write(&mut io::stderr(), &line, &mut is_torn).is_err() => count_dropped(),
            Entry::Line(_) => {
                IS_FAILING.store(false, Ordering::Relaxed);
                let lines = DROPPED.swap(0, Ordering::Relaxed);
                if lines > 0 {
                    tracing::warn!(lines, "lines of the log could not be written");
                }
            }
            Entry::Flush(done) => {
                let _ = done.send(());
            }
        }
    }
}

/// Writes a line; `is_torn` when the last one was written in part, which then ends before this one.
fn write(out: &mut impl Write, line: &[u8], is_torn: &mut bool) -> io::Result<()> {
    if *is_torn {
        out.write_all(b"\n")?;
        *is_torn = false;
    }
    let mut rest = line;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        *is_torn = !rest.is_empty();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for so many bytes.
    struct Disk {
        room: usize,
        written: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = bytes.len().min(self.room);
            self.room -= taken;
            self.written.extend(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_cut_off_ends_before_the_next_one() {
        let (mut disk, mut is_torn) = (Disk { room: 6, written: Vec::new() }, false);
        write(&mut disk, b"one\n", &mut is_torn).unwrap();
        write(&mut disk, b"two\n", &mut is_torn).unwrap_err();
        write(&mut disk, b"three\n", &mut is_torn).unwrap_err();
        disk.room = 100;
        write(&mut disk, b"four\n", &mut is_torn).unwrap();
        assert_eq!(String::from_utf8(disk.written).unwrap(), "one\ntw\nfour\n");
    }
}
