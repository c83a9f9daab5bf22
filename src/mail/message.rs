//! From a [`Mail`] to the bytes of an RFC 5322 message.
//!
//! Names and subjects come from strangers. Nothing in them can start a header, add a recipient or panic: a display name
//! with something dangerous in it is dropped, and the mail is still sent.

use std::panic::{AssertUnwindSafe, catch_unwind};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};

use crate::clock::Timestamp;
use crate::text::one_line;

/// Characters of a display name; a longer one says more than a name and is left out.
const MAX_NAME_CHARS: usize = 100;
/// Characters of a subject; the rest is cut off.
const MAX_SUBJECT_CHARS: usize = 250;
/// Bytes of text in one encoded word: 45 bytes are 60 characters of Base64, and 75 is the limit of RFC 2047 section 2.
const ENCODED_WORD_BYTES: usize = 45;
/// Bytes of a Message-ID with its brackets, far below the 998 of a header line (RFC 5322 section 2.1.1).
const MAX_MESSAGE_ID_BYTES: usize = 250;

/// One mail to one person, rendered, not yet built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The address, already judged by the rules of sign-up; ASCII.
    pub to: String,
    /// The name to show beside it, as the person typed it; left out if it is not fit for a header.
    pub to_name: Option<String>,
    /// The subject; control characters become spaces.
    pub subject: String,
    /// The body for clients that show no HTML.
    pub text: String,
    /// The same body as HTML.
    pub html: String,
    /// Stable over every attempt, so that a repeat folds: `<event-id.confirmation@domain>`, brackets optional.
    pub message_id: String,
    /// Language tag of both bodies (RFC 5646), `en` or `zh-CN`.
    pub language: &'static str,
}

/// Who the mails come from, for the `From` header and the envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender(Mailbox);

impl Sender {
    /// Reads `Name <address>` or a bare address.
    ///
    /// # Errors
    ///
    /// [`MailError::Sender`] if it is neither, is not ASCII in its address, or has control characters in its name.
    pub fn parse(text: &str) -> Result<Self, MailError> {
        let mailbox: Mailbox = text.trim().parse().map_err(|_| MailError::Sender)?;
        let named_well = mailbox.name.as_deref().is_none_or(|name| display_name(name).is_some());
        let ascii = AsRef::<str>::as_ref(&mailbox.email).is_ascii();
        if named_well && ascii { Ok(Self(mailbox)) } else { Err(MailError::Sender) }
    }

    /// The part after the `@`, which Message-IDs end in.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.email.domain()
    }
}

/// Why a mail cannot be built. Trying again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// The sender is not an address.
    #[error("the sender is not a mail address, with or without a name before it")]
    Sender,
    /// The recipient is not an ASCII address.
    #[error("the recipient is not an ASCII mail address")]
    Recipient,
    /// The Message-ID is not `<left@right>` in plain characters.
    #[error("the Message-ID is not of the form <left@right>")]
    MessageId,
    /// The language tag has characters that no tag has.
    #[error("the language tag is malformed")]
    Language,
    /// The message builder refused or panicked.
    #[error("the message cannot be built")]
    Unbuildable,
}

/// A built mail: what goes over the wire and what the local mailbox keeps.
#[derive(Clone, Debug)]
pub struct Built {
    /// One sender, one recipient, both parsed; never read back from headers.
    pub envelope: Envelope,
    /// The message with CRLF line ends, ASCII only, not dot-stuffed.
    pub raw: Vec<u8>,
    /// Its Message-ID with brackets.
    pub message_id: String,
}

/// Builds the message: `multipart/alternative` of text and HTML in UTF-8, encoded down to ASCII.
///
/// `now` becomes the `Date`. `Auto-Submitted` (RFC 3834 section 5) and `X-Auto-Response-Suppress` keep out-of-office
/// answers away.
///
/// # Errors
///
/// See [`MailError`]; a bad display name or subject is never an error.
pub fn build(mail: &Mail, from: &Sender, now: Timestamp) -> Result<Built, MailError> {
    let to: Address = mail.to.parse().map_err(|_| MailError::Recipient)?;
    if !mail.to.is_ascii() {
        return Err(MailError::Recipient);
    }
    let message_id = message_id(&mail.message_id).ok_or(MailError::MessageId)?;
    if !mail.language.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(MailError::Language);
    }
    let envelope = Envelope::new(Some(from.0.email.clone()), vec![to.clone()]).map_err(|_| MailError::Recipient)?;
    let name = mail.to_name.as_deref().and_then(display_name);

    let assemble = || {
        Message::builder()
            .envelope(envelope.clone())
            .date(now.into())
            .from(from.0.clone())
            .raw_header(recipient(name, &to))
            .raw_header(subject(&mail.subject))
            .raw_header(plain(HeaderName::new_from_ascii_str("Message-ID"), &message_id))
            .raw_header(plain(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"))
            .raw_header(plain(HeaderName::new_from_ascii_str("X-Auto-Response-Suppress"), "All"))
            .raw_header(plain(HeaderName::new_from_ascii_str("Content-Language"), mail.language))
            .multipart(MultiPart::alternative_plain_html(crlf(&mail.text), crlf(&mail.html)))
            .map(|message| message.formatted())
    };
    // the checks above leave nothing that is known to make the builder panic; unwind safe, for nothing outlives the closure
    let raw = catch_unwind(AssertUnwindSafe(assemble))
        .map_err(|_| MailError::Unbuildable)?
        .map_err(|_| MailError::Unbuildable)?;
    Ok(Built { envelope, raw, message_id })
}

/// A header whose value is known to be short printable ASCII.
fn plain(name: HeaderName, value: &str) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(name, value.to_owned(), value.to_owned())
}

/// The name if it is fit to stand in a header: some text, no controls, nothing that turns the direction of the text
/// or hides, nothing that reads as another address or a link.
fn display_name(name: &str) -> Option<String> {
    let name = name.trim();
    let misleads = |c: char| {
        c.is_control()
            || matches!(c, '@' | '<' | '>' | '/')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let fit = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.contains(misleads);
    fit.then(|| name.to_owned())
}

/// The recipient. A name is quoted, or encoded where it is not plain: as a bare phrase it could not begin with a dot, and
/// lettre writes it so (RFC 5322 section 3.2.5).
fn recipient(name: Option<String>, to: &Address) -> HeaderValue {
    let to: &str = to.as_ref();
    let value = name.map_or_else(
        || to.to_owned(),
        |name| {
            let plain = name.len() <= 60 && name.bytes().all(|b| (0x20..0x7f).contains(&b)) && !name.contains("=?");
            let quoted = || format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
            format!("{}\r\n <{to}>", if plain { quoted() } else { encoded_words(&name) })
        },
    );
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str("To"), value.clone(), value)
}

/// The subject as RFC 2047 encoded words, or as it is where that is unambiguous.
fn subject(text: &str) -> HeaderValue {
    let text = printable_subject(text);
    let as_it_is = text.len() <= 60 && text.bytes().all(|b| (0x20..0x7f).contains(&b)) && !text.contains("=?");
    let encoded = if as_it_is { text.clone() } else { encoded_words(&text) };
    HeaderValue::dangerous_new_pre_encoded(HeaderName::new_from_ascii_str("Subject"), text, encoded)
}

/// One line of at most [`MAX_SUBJECT_CHARS`] characters.
pub(super) fn printable_subject(text: &str) -> String {
    one_line(text, MAX_SUBJECT_CHARS)
}

/// UTF-8 in Base64, in words of whole characters, one word a line (RFC 2047 sections 2 and 5).
fn encoded_words(text: &str) -> String {
    let mut words = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if word.len() + c.len_utf8() > ENCODED_WORD_BYTES {
            words.push(std::mem::take(&mut word));
        }
        word.push(c);
    }
    words.push(word);
    let encoded: Vec<String> = words.iter().map(|word| format!("=?utf-8?b?{}?=", STANDARD.encode(word))).collect();
    encoded.join("\r\n ")
}

/// The body with `\n` line ends, which the builder turns into CRLF, and without control characters: a NUL or a bare
/// CR is forbidden in a message (RFC 5322 section 2.3), and servers disagree about what a bare CR ends.
pub(super) fn body(text: &str) -> String {
    text.replace("\r\n", "\n")
        .replace('\r', "\n")
        .chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// The [`body`] with the line ends of the wire. lettre would make them too, in quadratic time.
fn crlf(text: &str) -> String {
    body(text).replace('\n', "\r\n")
}

/// The Message-ID with its brackets, if it is one: dot-atoms on both sides of one `@` (RFC 5322 section 3.6.4).
fn message_id(text: &str) -> Option<String> {
    let bare = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    let (left, right) = bare.split_once('@')?;
    let atom = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'))
    };
    (atom(left) && atom(right) && bare.len() + 2 <= MAX_MESSAGE_ID_BYTES).then(|| format!("<{bare}>"))
}

#[cfg(test)]
mod tests;
