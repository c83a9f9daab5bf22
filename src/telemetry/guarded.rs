//! A value whose text panics while it is written into the log costs its line and nothing else.
//!
//! Without it the panic would end the request that logs, leave half a line in front of the next one, and poison a lock of the
//! registry of spans for whoever comes after.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::writer::count_dropped;

/// Formats as the one inside does.
#[derive(Debug)]
pub(super) struct Guarded<F> {
    inner: F,
    /// What stands for the fields of a span that cannot be written: an error would be reported on standard error, by a panic where
    /// that is gone.
    nothing: &'static str,
}

/// For a log of text.
pub(super) fn text<F>(inner: F) -> Guarded<F> {
    Guarded { inner, nothing: "" }
}

/// For a log of JSON.
pub(super) fn json<F>(inner: F) -> Guarded<F> {
    Guarded { inner, nothing: "{}" }
}

fn guarded(format: impl FnOnce() -> fmt::Result) -> fmt::Result {
    catch_unwind(AssertUnwindSafe(format)).unwrap_or_else(|_| {
        count_dropped();
        Err(fmt::Error)
    })
}

impl<S, N, F> FormatEvent<S, N> for Guarded<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        guarded(|| self.inner.format_event(context, writer, event))
    }
}

impl<'w, F: for<'a> FormatFields<'a>> FormatFields<'w> for Guarded<F> {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        let done = guarded(|| self.inner.format_fields(Writer::new(&mut text), fields));
        writer.write_str(if done.is_ok() { &text } else { self.nothing })
    }

    fn add_fields(&self, current: &'w mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let mut added = FormattedFields::<F>::new(current.fields.clone());
        if guarded(|| self.inner.add_fields(&mut added, fields)).is_ok() {
            current.fields = added.fields;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    struct Panics;

    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("as asked")
        }
    }

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn story() {
        tracing::info!(value = %Panics, "lost");
        let span = tracing::info_span!("one", value = %Panics, status = tracing::field::Empty);
        span.in_scope(|| tracing::info!("inside"));
        span.record("status", tracing::field::display(Panics));
        drop(span);
        let span = tracing::info_span!("another", kept = 1, status = tracing::field::Empty);
        span.record("status", tracing::field::display(Panics));
        span.in_scope(|| tracing::info!("kept"));
        tracing::info!("whole");
    }

    #[test]
    fn a_value_whose_text_panics_costs_its_line_alone() {
        let memory = Memory::default();
        let (text, json) = (memory.clone(), memory.clone());
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).log_internal_errors(false);
        let layer = layer.with_writer(move || text.clone()).map_fmt_fields(super::text).map_event_format(super::text);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), story);
        let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).json().flatten_event(true);
        let layer = layer.with_writer(move || json.clone()).map_fmt_fields(super::json).map_event_format(super::json);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), story);
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(!written.contains("lost"), "{written}");
        let said = ["inside", "kept", "whole"];
        let lines: Vec<&str> = written.lines().filter(|line| said.iter().any(|said| line.contains(said))).collect();
        assert_eq!(lines.len(), 6, "{written}");
        for (line, said) in lines.iter().zip(said.iter().cycle()) {
            assert!(line.contains(said) && (line.starts_with("20") || line.starts_with("{\"timestamp\"")), "{line}");
        }
    }
}
