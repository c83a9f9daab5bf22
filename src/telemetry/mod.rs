//! The log, as text or JSON, and the trace context that travels with a message.

mod guarded;
mod log;
mod writer;

pub use self::log::{REFUSED, REQUESTS, last_line, start, start_lines};
pub use self::writer::{flush, is_writable};

tokio::task_local! {
    static TRACE: String;
}

/// Runs `work` as part of a trace; events appended meanwhile carry it on.
pub async fn traced<F: Future>(traceparent: String, work: F) -> F::Output {
    TRACE.scope(traceparent, work).await
}

/// The trace that the running task is part of.
#[must_use]
pub fn current_trace() -> Option<String> {
    TRACE.try_with(Clone::clone).ok()
}

/// A W3C `traceparent` (Trace Context level 1) as text, or none if it is not one.
#[must_use]
pub fn traceparent(header: &str) -> Option<String> {
    let mut parts = header.split('-');
    let hex = |part: Option<&str>, length: usize| {
        part.filter(|part| {
            part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        })
        .map(str::to_owned)
    };
    let version = hex(parts.next(), 2).filter(|version| version != "ff")?;
    let trace = hex(parts.next(), 32).filter(|id| id.bytes().any(|byte| byte != b'0'))?;
    let parent = hex(parts.next(), 16).filter(|id| id.bytes().any(|byte| byte != b'0'))?;
    let flags = hex(parts.next(), 2)?;
    parts.next().is_none().then(|| format!("{version}-{trace}-{parent}-{flags}"))
}

/// A new trace of our own, for a request that came without one.
#[must_use]
pub fn new_traceparent() -> String {
    let (trace, parent) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    format!("00-{}-{:016x}-01", trace.simple(), parent.as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_well_formed_traceparent_is_taken() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traceparent(good).as_deref(), Some(good));
        assert!(traceparent(&new_traceparent()).is_some());
        for bad in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-\r\n",
        ] {
            assert_eq!(traceparent(bad), None, "{bad:?}");
        }
    }
}
