//! What commands say: tables for people, JSON for programs, and how far they have come for who waits.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::Duration;

use chrono::{SecondsFormat, TimeDelta};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use unicode_width::UnicodeWidthStr as _;

use crate::clock::Timestamp;
use crate::progress::Progress;

/// Nobody reads what is written any more.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("nobody reads the output")]
pub(super) struct ReaderGone;

impl ReaderGone {
    /// Whether that is why something failed.
    pub(super) fn caused(error: &anyhow::Error) -> bool {
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        causes.any(|cause| cause.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<ReaderGone>))
    }
}

/// Standard output, in blocks.
#[derive(Debug)]
pub(super) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    pub(super) fn new() -> Self {
        Output(BufWriter::new(io::stdout().lock()))
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(gone)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(gone)
    }
}

fn gone(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe { io::Error::other(ReaderGone) } else { error }
}

/// Writes a text as it is.
pub(super) fn write(text: &str) -> anyhow::Result<()> {
    let mut out = Output::new();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// A table that is written while its rows come. Columns are as wide as the rows so far need them to be.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    head: Option<[&'static str; N]>,
    widths: [usize; N],
}

impl<const N: usize> Table<N> {
    pub(super) fn new(head: [&'static str; N]) -> Self {
        Table { head: Some(head), widths: [0; N] }
    }

    /// Writes some rows, and the head before the first ones.
    pub(super) fn rows(&mut self, out: &mut impl Write, rows: Vec<[String; N]>) -> anyhow::Result<()> {
        let head = self.head.take().map(|head| head.map(str::to_owned));
        let rows: Vec<[String; N]> = head.into_iter().chain(rows).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = cell.width().max(*width);
            }
        }
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(self.widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.width()) + 2));
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// A JSON array that is written while its items come, one a line.
#[derive(Debug, Default)]
pub(super) struct JsonArray {
    begun: bool,
}

impl JsonArray {
    pub(super) fn item(&mut self, out: &mut impl Write, item: &impl Serialize) -> anyhow::Result<()> {
        out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
        self.begun = true;
        Ok(serde_json::to_writer(out, item).map_err(io::Error::from)?)
    }

    pub(super) fn end(self, out: &mut impl Write) -> anyhow::Result<()> {
        Ok(out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })?)
    }
}

/// All of a list as a JSON array.
pub(super) fn json(out: &mut impl Write, items: impl IntoIterator<Item = impl Serialize>) -> anyhow::Result<()> {
    let mut array = JsonArray::default();
    for item in items {
        array.item(out, &item)?;
    }
    array.end(out)
}

/// What others wrote, on one line, with everything escaped that a terminal would obey or that would turn the line around.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(c.escape_unicode());
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

pub(super) fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long something has lasted, in its largest unit.
pub(super) fn age(lasted: TimeDelta) -> String {
    let seconds = lasted.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How often what is shown of a command's progress is renewed.
const RENEWED: Duration = Duration::from_millis(100);

/// Waits for `work`, and shows on standard error how far it has come if that is a terminal.
pub(super) async fn with_progress<T>(what: &'static str, progress: &Progress, work: impl Future<Output = T>) -> T {
    let bar = ProgressBar::no_length().with_message(what);
    if bar.is_hidden() {
        return work.await;
    }
    let style = |template| ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style("{spinner} {msg} {pos} ({elapsed})"));
    bar.force_draw();
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(RENEWED);
    loop {
        tokio::select! {
            done = &mut work => {
                bar.finish_and_clear();
                return done;
            }
            _ = tick.tick() => {
                if let Some(total) = progress.total().filter(|total| bar.length() != Some(*total)) {
                    bar.set_style(style("{spinner} {msg} {wide_bar} {pos}/{len} ({eta} left)"));
                    bar.set_length(total);
                }
                bar.set_position(progress.done());
                bar.tick();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_obeys_nobody() {
        let mut out = Vec::new();
        let reason = printable("no\u{1b}[31m\nway\u{202e}");
        let mut table = Table::new(["id", "reason"]);
        table.rows(&mut out, vec![["1".into(), reason], ["李".into(), "é".into()]]).unwrap();
        table.rows(&mut out, vec![["333".into(), "later".into()], ["4".into(), String::new()]]).unwrap();
        let lines = [r"id  reason", r"1   no\u{1b}[31m\nway\u{202e}", "李  é", "333  later", "4", ""];
        assert_eq!(String::from_utf8(out).unwrap(), lines.join("\n"));
    }

    #[test]
    fn a_list_is_json_whole_and_empty() {
        for items in [vec![], vec![1], vec![1, 2, 3]] {
            let mut out = Vec::new();
            json(&mut out, &items).unwrap();
            assert_eq!(serde_json::from_slice::<Vec<i32>>(&out).unwrap(), items);
            assert!(out.ends_with(b"]\n"));
        }
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, said) in [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(TimeDelta::seconds(seconds)), said);
        }
    }

    #[test]
    fn only_a_reader_that_is_gone_is_no_failure() {
        let gone = anyhow::Error::from(gone(io::ErrorKind::BrokenPipe.into())).context("writing");
        assert!(ReaderGone::caused(&gone));
        assert!(!ReaderGone::caused(&anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe))));
    }
}
