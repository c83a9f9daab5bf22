//! What others wrote, made fit for a header, a log or a terminal.

use std::fmt::Write as _;

/// The longest piece of a stranger's text in a log, in characters.
const MAX_LOGGED_CHARS: usize = 200;

/// The text on one line: control characters become spaces, runs of white space one space, and at most `max_chars` stay.
#[must_use]
pub fn one_line(text: &str, max_chars: usize) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ").chars().take(max_chars).collect()
}

/// Whether a character shows nothing or turns the text around it: `Default_Ignorable_Code_Point` (UAX 44), `Bidi_Control`,
/// the interlinear annotation marks, the blank Braille pattern, and the noncharacters.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// A stranger's text as it may stand in a log: on one line, without control, bidirectional or invisible characters, and
/// not longer than 200 characters.
#[must_use]
pub fn loggable(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    for character in rest.by_ref().take(MAX_LOGGED_CHARS) {
        if character.is_control() || is_invisible(character) || matches!(character, '\u{2028}' | '\u{2029}') {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    if rest.next().is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_starts_another_line_and_nothing_is_longer_than_asked() {
        assert_eq!(one_line(" a\r\nBcc: b\u{2028}c\u{1b}[31m\0 ", 100), "a Bcc: b c [31m");
        assert_eq!(one_line("客人到了", 2), "客人");
        assert_eq!(one_line("\n\t", 2), "");
    }

    #[test]
    fn a_forged_line_stays_inside_its_own() {
        assert_eq!(loggable("a\n{\"level\":\"error\"}\u{1b}[31m"), "a\\u{a}{\"level\":\"error\"}\\u{1b}[31m");
        assert_eq!(loggable("\u{202e}x\u{85}"), "\\u{202e}x\\u{85}");
    }

    proptest! {
        #[test]
        fn any_text_is_one_short_line(text in any::<String>()) {
            let line = loggable(&text);
            prop_assert!(!line.chars().any(char::is_control));
            prop_assert!(line.chars().count() <= MAX_LOGGED_CHARS * 10 + 1);
        }
    }
}
