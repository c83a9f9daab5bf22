//! The name that pages and mails greet a person by.
//!
//! A name goes into mail headers, static pages and other people's eyes. It may be in any script, but it must not carry
//! what a reader cannot see or what turns the text around it: line ends that split a header (lettre panics on them),
//! bidi controls, zero-width characters where no script and no picture needs them.

use std::fmt;

use unicode_normalization::UnicodeNormalization;

use crate::account::identity::joining;
use crate::text::is_invisible;

/// Most code points of a name, counted after normalisation.
pub const MAX_CODE_POINTS: usize = 100;

/// A name to show, in NFC, without surrounding white space, 1 to [`MAX_CODE_POINTS`] code points.
///
/// It may still hold quotes, angle brackets and the like, to be escaped where it is written into HTML or a header.
/// `Debug` shows its length only, as names do not belong in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct DisplayName(String);

/// Why a text is not a name we show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing, or white space only.
    #[error("the name is empty")]
    Empty,
    /// More than [`MAX_CODE_POINTS`].
    #[error("the name is longer than {MAX_CODE_POINTS} characters")]
    TooLong,
    /// A line end, NUL or another control character.
    #[error("the name has a line break or a control character in it")]
    Control,
    /// A bidi control, zero-width or otherwise invisible character, or a code point that is no character.
    #[error("the name has an invisible character in it")]
    Invisible,
}

impl DisplayName {
    /// Reads a name: white space around it is dropped, the rest is brought to NFC (UAX 15).
    ///
    /// What is invisible is taken where its script or its picture needs it. Emoji variation selectors that
    /// stand elsewhere are dropped rather than refused: phone keyboards add them unasked.
    ///
    /// # Errors
    ///
    /// One [`NameError`], for the first character or limit that fails.
    pub fn parse(typed: &str) -> Result<Self, NameError> {
        let mut name: Vec<char> = Vec::new();
        for c in typed.trim().nfc() {
            if is_emoji_selector(c) && !joining::is_selected(name.last().copied(), c) {
                continue;
            }
            if name.len() == MAX_CODE_POINTS {
                return Err(NameError::TooLong);
            }
            if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
                return Err(NameError::Control);
            }
            name.push(c);
        }
        for (at, &c) in name.iter().enumerate() {
            let (before, after) = name.split_at(at);
            if is_invisible(c) && !joining::belongs(before, c, after.get(1..).unwrap_or_default()) {
                return Err(NameError::Invisible);
            }
        }
        if name.is_empty() { Err(NameError::Empty) } else { Ok(Self(name.into_iter().collect())) }
    }

    /// The name as people see it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_emoji_selector(c: char) -> bool {
    matches!(c, '\u{fe0e}' | '\u{fe0f}')
}

impl fmt::Debug for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DisplayName({} code points)", self.0.chars().count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_every_script_are_accepted_and_trimmed() {
        for name in ["Ada", "O'Brien-Núñez, Jr.", "李小龍", "محمد", "Ольга", "अर्जुन", "🦀", "Ann \"Bee\" <c>", "x"]
        {
            assert_eq!(DisplayName::parse(&format!(" \t{name}\u{a0}\n")).as_ref().map(DisplayName::as_str), Ok(name));
        }
    }

    #[test]
    fn composed_and_decomposed_names_are_one() {
        assert_eq!(DisplayName::parse("Jose\u{301}"), DisplayName::parse("José"));
        assert_eq!(DisplayName::parse("❤\u{fe0f}").unwrap().as_str(), "❤\u{fe0f}");
        assert_eq!(DisplayName::parse("Ann\u{fe0f}"), DisplayName::parse("Ann"), "it selects nothing there");
    }

    #[test]
    fn nothing_invisible_or_header_breaking_is_accepted() {
        use NameError::{Control, Empty, Invisible};
        assert_eq!(DisplayName::parse(""), Err(Empty));
        assert_eq!(DisplayName::parse(" \r\n\u{3000}"), Err(Empty));
        for c in ['\r', '\n', '\0', '\t', '\u{7f}', '\u{85}', '\u{1b}', '\u{2028}', '\u{2029}'] {
            assert_eq!(DisplayName::parse(&format!("Eve{c}Bcc: x@y.example")), Err(Control), "{c:?}");
        }
        let invisible = "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{202a}\u{202d}\u{202e}\u{2060}\u{2066}\u{2069}\u{61c}\u{feff}\u{ad}\u{180e}\u{3164}\u{e0041}\u{ffff}\u{1fffe}";
        for c in invisible.chars() {
            assert_eq!(DisplayName::parse(&format!("E{c}ve")), Err(Invisible), "{c:?}");
            assert_eq!(DisplayName::parse(&c.to_string()), Err(Invisible), "{c:?}");
        }
    }

    #[test]
    fn a_hundred_code_points_are_accepted_and_one_more_is_not() {
        assert!(DisplayName::parse(&"é".repeat(MAX_CODE_POINTS)).is_ok());
        assert!(DisplayName::parse(&"e\u{301}".repeat(MAX_CODE_POINTS)).is_ok(), "counted after normalisation");
        assert_eq!(DisplayName::parse(&"é".repeat(MAX_CODE_POINTS + 1)), Err(NameError::TooLong));
    }

    #[test]
    fn debug_shows_no_name() {
        let shown = format!("{:?}", DisplayName::parse("Ada").expect("a plain name"));
        assert_eq!(shown, "DisplayName(3 code points)");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

        #[test]
        fn an_accepted_name_is_stable_and_a_mail_can_be_built_with_it(typed in "\\PC{0,20}|[ -~\r\n\0éŁ李🦀\u{200b}\u{202e}\u{301}]{0,12}") {
            let Ok(name) = DisplayName::parse(&typed) else { return Ok(()) };
            prop_assert_eq!(DisplayName::parse(name.as_str()), Ok(name.clone()));
            let to = lettre::message::Mailbox::new(Some(name.as_str().to_owned()), "a@b.example".parse().expect("an address"));
            let mail = lettre::Message::builder().from(to.clone()).to(to).body(String::new()).expect("a mail");
            let text = String::from_utf8(mail.formatted()).expect("headers are ASCII");
            prop_assert!(!text.lines().any(|line| line.starts_with("Bcc")));
            prop_assert_eq!(mail.envelope().to().len(), 1);
        }
    }
}
