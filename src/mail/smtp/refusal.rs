//! Whose fault a refusal is, as one table: by the enhanced code (RFC 3463) first, then by the words that servers use, then
//! by the reply code and the command that it answers.
//!
//! Only what speaks of the recipient is the recipient's. A person who is told that their address is wrong cannot mend a
//! sender that the server refuses, and nobody else would hear of it.

use super::failure::Phase;
use crate::mail::outcome::{Class, EnhancedCode};

/// What an enhanced code says.
enum Says {
    This(Class),
    /// Nothing in particular: the words must.
    Unclear,
    /// This, unless the words speak of the recipient.
    ThisUnlessRecipient(Class),
}
use Says::{This, ThisUnlessRecipient, Unclear};

/// Subject and detail of an enhanced code; no detail is all others of its subject. The first that fits counts.
const BY_ENHANCED_CODE: [(u16, Option<u16>, Says); 24] = [
    (1, Some(1), This(Class::Recipient)),
    (1, Some(2), This(Class::Recipient)),
    (1, Some(3), This(Class::Recipient)),
    (1, Some(6), This(Class::Recipient)),
    (1, Some(10), This(Class::Recipient)),
    (1, Some(7), This(Class::Sender)),
    (1, Some(8), This(Class::Sender)),
    // 5.1.0: Postfix for a sender, others for a recipient
    (1, None, Unclear),
    (2, None, This(Class::Recipient)),
    (3, Some(4), This(Class::Message)),
    (3, None, This(Class::Server)),
    // Exchange Online, of an address that its organisation does not have
    (4, Some(1), ThisUnlessRecipient(Class::Server)),
    // Gmail, of what an account or a relay may send in a day
    (4, Some(5), This(Class::Quota)),
    (4, None, This(Class::Server)),
    // Outlook.com, of a mailbox that there is not
    (5, Some(0), ThisUnlessRecipient(Class::Protocol)),
    (5, Some(3), This(Class::Quota)),
    (5, None, This(Class::Protocol)),
    (6, None, This(Class::Message)),
    (7, Some(8), This(Class::Login)),
    (7, Some(9), This(Class::Login)),
    (7, Some(11), This(Class::Login)),
    (7, Some(57), This(Class::Login)),
    (7, None, This(Class::Policy)),
    (0, None, Unclear),
];

/// What is said in so many words of the wish to have it later, before any code: greylisting comes with 4.7.1 and with 4.2.0.
const LATER: [&str; 5] = ["greylist", "graylist", "try again", "try later", "too many connections"];

/// Words in lower case; the first row that fits counts. Who speaks of the sender means it, whatever else is said.
const BY_WORDS: [(Class, &[&str]); 10] = [
    (Class::Sender, &["sender", "mail from", "return path", "return-path", "reverse-path", "from address"]),
    (Class::Sender, &["badmailfrom", "envelope from"]),
    (Class::Protocol, &["helo", "ehlo"]),
    (Class::Login, &["authenti", "not logged in", "must log in", "must login", "login required"]),
    (Class::Policy, &["relay", "rcpthosts"]),
    (
        Class::Recipient,
        &[
            "user unknown",
            "unknown user",
            "unknown recipient",
            "recipient unknown",
            "unknown local part",
            "unknown address",
            "addressee unknown",
            "no such user",
            "no such recipient",
            "no such mailbox",
            "no such address",
            "no such local user",
            "no such person",
            "no mailbox",
            "not a valid mailbox",
            "invalid mailbox",
            "invalid recipient",
            "invalid user",
            "user not found",
            "recipient not found",
            "recipientnotfound",
            "recipnotfound",
            "recipient address rejected",
            "recipient rejected",
            "mailbox unavailable",
            "mailbox not found",
            "mailbox unknown",
            "mailbox is disabled",
            "mailbox disabled",
            "mailbox is inactive",
            "mailbox does not exist",
            "mailbox doesn't exist",
            "user does not exist",
            "user doesn't exist",
            "recipient does not exist",
            "address does not exist",
            "account does not exist",
            "domain does not exist",
            "this user doesn't have",
            "account that you tried to reach",
            "user suspended",
            "user is inactive",
            "unrouteable address",
            "unroutable address",
        ],
    ),
    (
        Class::Recipient,
        &[
            "mailbox full",
            "mailbox is full",
            "mailbox quota",
            "mailbox exceeded",
            "over quota",
            "inbox is out of storage",
        ],
    ),
    (Class::Quota, &["quota", "limit", "too many", "frequency", "exceeded the"]),
    (Class::Message, &["too large", "too big", "message size", "mailsize"]),
    (
        Class::Policy,
        &[
            "policy",
            "spam",
            "unsolicited",
            "blocked",
            "blocklist",
            "block list",
            "blacklist",
            "black list",
            "listed",
            "banned",
            "denied",
            "prohibited",
            "forbidden",
            "not allowed",
            "not permitted",
            "not authori",
            "unauthori",
            "reputation",
            "dmarc",
            "spf",
            "dkim",
            "reverse dns",
            "ptr record",
            "hostname",
            "client host",
            "your ip",
            "your host",
            "virus",
            "content",
        ],
    ),
];

/// The command that a reply answers and the codes that mean it; no codes is all others. The first that fits counts.
const BY_CODE: [(Option<Phase>, &[u16], Class); 13] = [
    (Some(Phase::Recipient), &[550, 551, 553, 556], Class::Recipient),
    (Some(Phase::Recipient), &[450], Class::Busy),
    (Some(Phase::From), &[550, 551, 553], Class::Sender),
    (Some(Phase::Message), &[552], Class::Message),
    (Some(Phase::Message), &[550, 554], Class::Policy),
    (None, &[421, 432, 451, 452, 454], Class::Server),
    (None, &[450], Class::Busy),
    (None, &[455, 500, 501, 502, 503, 504, 555], Class::Protocol),
    (None, &[530, 534, 535, 538], Class::Login),
    (None, &[521], Class::Policy),
    (None, &[552], Class::Quota),
    (None, &[550, 551, 553, 554, 556], Class::Policy),
    (None, &[], Class::Server),
];

/// What a reply that refuses is about. `text` is what it says beside the code; `words` the same without what it quotes of
/// the mail, whose address could hold any word.
pub(super) fn classify(phase: Phase, code: u16, text: &str, words: &str) -> (Class, Option<EnhancedCode>) {
    let enhanced = enhanced_code(code, text);
    let class = class_of(phase, code, enhanced, &words.to_lowercase());
    // before RCPT a server knows no recipient
    let known = !matches!(phase, Phase::Connection | Phase::From);
    (if class == Class::Recipient && !known { Class::Sender } else { class }, enhanced)
}

fn class_of(phase: Phase, code: u16, enhanced: Option<EnhancedCode>, words: &str) -> Class {
    // RFC 4954 section 6: whatever comes beside it
    if is_about_our_login(code) {
        return Class::Login;
    }
    if code < 500 && LATER.iter().any(|phrase| words.contains(phrase)) {
        return Class::Busy;
    }
    let by_words =
        || BY_WORDS.iter().find(|(_, phrases)| phrases.iter().any(|phrase| words.contains(phrase))).map(|row| row.0);
    let said = enhanced.and_then(|enhanced| {
        let fits = |subject: u16, detail: Option<u16>| {
            subject == enhanced.subject && detail.is_none_or(|detail| detail == enhanced.detail)
        };
        BY_ENHANCED_CODE.iter().find(|(subject, detail, _)| fits(*subject, *detail)).map(|row| &row.2)
    });
    match said {
        Some(This(class)) => *class,
        Some(ThisUnlessRecipient(class)) => by_words().filter(|said| *said == Class::Recipient).unwrap_or(*class),
        // a code that leaves it open does not mean what a bare 550 means
        Some(Unclear) => by_words().unwrap_or(Class::Policy),
        None => by_words().unwrap_or_else(|| by_code(phase, code)),
    }
}

fn by_code(phase: Phase, code: u16) -> Class {
    let fits = |of: Option<Phase>, codes: &[u16]| {
        of.is_none_or(|of| of == phase) && (codes.is_empty() || codes.contains(&code))
    };
    BY_CODE.iter().find(|(of, codes, _)| fits(*of, codes)).map_or(Class::Server, |row| row.2)
}

/// We may not send at all, rather than not this mail: 530, 534, 535, 538 of RFC 4954 section 6.
pub(super) fn is_about_our_login(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

/// Whether the mail server needs an operator, rather than this one mail.
pub(super) fn needs_an_operator(code: u16, class: Class) -> bool {
    match class {
        Class::Recipient | Class::Busy => false,
        Class::Server => code >= 500,
        _ => true,
    }
}

/// The first enhanced code of a reply that is of its class: at its beginning, or anywhere as qmail has it, `(#5.7.1)`.
fn enhanced_code(code: u16, text: &str) -> Option<EnhancedCode> {
    let class = u8::try_from(code / 100).ok()?;
    text.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '#' | '[' | ']' | ':' | ';' | ',')).find_map(
        |word| {
            let mut numbers = word.split('.');
            let (first, subject, detail) = (numbers.next()?, numbers.next()?, numbers.next()?);
            let small = |digits: &str| {
                let digits = digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)?;
                (digits.len() <= 3).then(|| digits.parse::<u16>().ok()).flatten()
            };
            let whole = numbers.next().is_none_or(str::is_empty) && first.parse::<u8>().ok()? == class;
            let (subject, detail) = (small(subject)?, small(detail)?);
            (whole && subject <= 7).then_some(EnhancedCode { class, subject, detail })
        },
    )
}

#[cfg(test)]
mod tests;
