//! What others wrote, made fit for a header, a log or a terminal.

/// The text on one line: control characters become spaces, runs of white space one space, and at most `max_chars` stay.
#[must_use]
pub fn one_line(text: &str, max_chars: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(max_chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_starts_another_line_and_nothing_is_longer_than_asked() {
        assert_eq!(one_line(" a\r\nBcc: b\u{2028}c\u{1b}[31m\0 ", 100), "a Bcc: b c [31m");
        assert_eq!(one_line("客人到了", 2), "客人");
        assert_eq!(one_line("\n\t", 2), "");
    }
}
