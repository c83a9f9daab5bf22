//! A mail as it came in, and a reader's view of it.

use std::time::Instant;

use mail_parser::{Message, MessageParser, PartType};

/// A mail the sink took.
#[derive(Clone, Debug)]
pub struct Mail {
    /// The envelope's sender (MAIL FROM), without brackets.
    pub from: String,
    /// The envelope's accepted recipients (RCPT TO), without brackets, in order.
    pub recipients: Vec<String>,
    /// Header and body as sent, without the final dot and the stuffed ones.
    pub raw: Vec<u8>,
    /// When the final dot came and any delay of the script was over.
    pub at: Instant,
    /// Which connection carried it, from 1.
    pub connection: usize,
}

impl Mail {
    fn message(&self) -> Message<'_> {
        MessageParser::new().parse(&self.raw).unwrap_or_else(|| panic!("not a mail: {self:?}"))
    }

    /// Without brackets.
    pub fn message_id(&self) -> String {
        self.message().message_id().expect("a mail has a Message-ID").to_owned()
    }

    /// A header as sent, without its name and the space around it.
    pub fn header(&self, name: &str) -> Option<String> {
        Some(self.message().header_raw(name)?.trim().to_owned())
    }

    /// As a reader's program shows it.
    pub fn parsed(&self) -> Parsed {
        let message = self.message();
        let part = |wanted: fn(&PartType<'_>) -> Option<String>| {
            message
                .parts
                .iter()
                .find_map(|part| wanted(&part.body))
                .unwrap_or_else(|| panic!("a part is missing: {self:?}"))
        };
        Parsed {
            subject: message.subject().expect("a mail has a subject").to_owned(),
            text: part(|body| if let PartType::Text(text) = body { Some(text.to_string()) } else { None }),
            html: part(|body| if let PartType::Html(html) = body { Some(html.to_string()) } else { None }),
            message_id: message.message_id().expect("a mail has a Message-ID").to_owned(),
        }
    }
}

/// What a mail of two parts says, decoded.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub subject: String,
    /// The text/plain part.
    pub text: String,
    /// The text/html part.
    pub html: String,
    /// Without brackets.
    pub message_id: String,
}

impl Parsed {
    /// The first link of the text.
    pub fn link(&self) -> &str {
        let is_link = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        self.text.split_whitespace().find(is_link).unwrap_or_else(|| panic!("no link in {:?}", self.text))
    }
}
