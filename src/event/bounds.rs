//! What a field of an event holds at most: the one table for what is written, for what is read, and for docs/asyncapi.json.

use std::ops::RangeInclusive;

/// A text of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TextBound {
    /// The field's name, the same in every event that has it.
    pub field: &'static str,
    /// How many characters it has at most.
    pub max_chars: usize,
    /// Which characters.
    pub alphabet: Alphabet,
}

/// The characters that a text is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// All but control characters.
    NoControl,
    /// Lower-case hexadecimal digits.
    Hexadecimal,
}

pub(super) const USER_AGENT: TextBound = TextBound::new("user_agent", 512);
pub(super) const ATTEMPTED: TextBound =
    TextBound { field: "attempted", max_chars: 64, alphabet: Alphabet::Hexadecimal };
pub(super) const TEMPLATE: TextBound = TextBound::new("template", 64);
// the id of an event, a template and a domain (RFC 1035: 253)
pub(super) const MESSAGE_ID: TextBound = TextBound::new("message_id", 384);
pub(super) const REASON: TextBound = TextBound::new("reason", 1_000);
pub(super) const CLASS: TextBound = TextBound::new("class", 32);
pub(super) const ENHANCED_CODE: TextBound = TextBound::new("enhanced_code", 16);

/// Every text.
pub(super) const TEXTS: [TextBound; 7] = [USER_AGENT, ATTEMPTED, TEMPLATE, MESSAGE_ID, REASON, CLASS, ENHANCED_CODE];

/// Characters of a `user_agent`.
pub const MAX_USER_AGENT_CHARS: usize = USER_AGENT.max_chars;

/// Characters of an IP address (RFC 4291 section 2.2, with an IPv4 address at its end).
pub(super) const MAX_IP_CHARS: usize = 45;

/// Reply codes of mail servers (RFC 5321 section 4.2.1).
pub(super) const SMTP_CODES: RangeInclusive<u16> = 200..=599;

/// Years that RFC 3339 can write and a database can hold.
pub(super) const YEARS: RangeInclusive<i32> = 1970..=9999;

impl TextBound {
    const fn new(field: &'static str, max_chars: usize) -> Self {
        TextBound { field, max_chars, alphabet: Alphabet::NoControl }
    }

    /// The alphabet as a regular expression of JSON Schema (ECMA-262).
    pub(super) fn pattern(self) -> &'static str {
        match self.alphabet {
            Alphabet::NoControl => r"^[^\u0000-\u001f\u007f-\u009f]*$",
            Alphabet::Hexadecimal => "^[0-9a-f]*$",
        }
    }

    fn allows(self, c: char) -> bool {
        match self.alphabet {
            Alphabet::NoControl => !c.is_control(),
            Alphabet::Hexadecimal => matches!(c, '0'..='9' | 'a'..='f'),
        }
    }

    /// What is wrong with a text, if anything is.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        for (before, c) in text.chars().enumerate() {
            if before == self.max_chars {
                return Err(format!("{} has more than {} characters", self.field, self.max_chars));
            }
            if !self.allows(c) {
                return Err(format!("{} has characters that it may not have", self.field));
            }
        }
        Ok(())
    }

    /// Cuts a text to what it may be.
    pub(super) fn fit(self, text: &mut String) {
        if self.check(text).is_err() {
            *text = text.chars().filter(|c| self.allows(*c)).take(self.max_chars).collect();
        }
    }
}
