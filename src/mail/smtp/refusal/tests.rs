use super::*;

/// What servers say and what it is about: a row for each row of the tables, and what was seen of Postfix, Exim, qmail,
/// Exchange, Gmail, Outlook.com, Yahoo and QQ. After RCPT unless it says otherwise.
const SAID: [(Phase, &str, Class); 105] = [
    // RFC 3463, the address
    (
        Phase::Recipient,
        "550 5.1.1 <…>: Recipient address rejected: User unknown in virtual mailbox table",
        Class::Recipient,
    ),
    (Phase::Recipient, "550 5.1.2 bad destination system", Class::Recipient),
    (Phase::Recipient, "501 5.1.3 bad destination mailbox address syntax", Class::Recipient),
    (Phase::Recipient, "550 5.1.6 mailbox has moved", Class::Recipient),
    (Phase::Recipient, "556 5.1.10 recipient domain has a null MX", Class::Recipient),
    (Phase::Recipient, "553 5.1.7 The sender address is not a valid RFC 5321 address", Class::Sender),
    (Phase::Recipient, "553 5.1.8 <…>... Domain of address does not exist", Class::Sender),
    (Phase::Recipient, "550 5.1.8 Access denied, bad outbound sender", Class::Sender),
    (Phase::Recipient, "550 5.1.0 Sender rejected", Class::Sender),
    (Phase::Recipient, "550 5.1.0 <…> sender rejected : no such user", Class::Sender),
    (Phase::Recipient, "550 5.1.0 Address rejected", Class::Policy),
    (Phase::Recipient, "550 5.1.0 <…>: No such user here", Class::Recipient),
    (Phase::Recipient, "550 5.1.4 ambiguous", Class::Policy),
    // the mailbox
    (Phase::Recipient, "550 5.2.0 other mailbox status", Class::Recipient),
    (Phase::Recipient, "550 5.2.1 The email account that you tried to reach is disabled", Class::Recipient),
    (Phase::Recipient, "552 5.2.2 The recipient's inbox is out of storage space", Class::Recipient),
    (Phase::Recipient, "452 4.2.2 mailbox full", Class::Recipient),
    // the system and the network
    (Phase::Recipient, "552 5.3.4 message too big for system", Class::Message),
    (Phase::Recipient, "550 5.3.2 system not accepting network messages", Class::Server),
    (Phase::Recipient, "451 4.3.0 temporary failure", Class::Server),
    (Phase::Recipient, "452 4.3.1 Insufficient system storage", Class::Server),
    (Phase::Recipient, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", Class::Recipient),
    (Phase::Recipient, "550 5.4.1 no answer from host", Class::Server),
    (Phase::Recipient, "550 5.4.5 Daily user sending limit exceeded", Class::Quota),
    (Phase::Recipient, "550 5.4.5 Daily SMTP relay sending limit exceeded", Class::Quota),
    (Phase::Recipient, "554 5.4.6 Too many hops", Class::Server),
    (Phase::Recipient, "554 5.4.14 Hop count exceeded - possible mail loop ATTR34", Class::Server),
    // the protocol
    (Phase::Recipient, "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)", Class::Recipient),
    (Phase::Recipient, "550 5.5.0 something else", Class::Protocol),
    (Phase::Recipient, "452 4.5.3 Too many recipients", Class::Quota),
    (Phase::Recipient, "503 5.5.1 Error: need MAIL command", Class::Protocol),
    (Phase::Recipient, "504 5.5.2 <bellhop>: Helo command rejected: need fully-qualified hostname", Class::Protocol),
    (Phase::Recipient, "504 5.5.2 <bellhop>: Sender address rejected: need fully-qualified address", Class::Protocol),
    // the content
    (Phase::Message, "554 5.6.0 spam", Class::Message),
    // policies
    (Phase::Recipient, "550 5.7.8 authentication credentials invalid", Class::Login),
    (Phase::Recipient, "550 5.7.9 authentication mechanism is too weak", Class::Login),
    (Phase::Recipient, "550 5.7.11 encryption required", Class::Login),
    (Phase::Recipient, "550 5.7.57 SMTP; Client was not authenticated to send anonymous mail", Class::Login),
    (Phase::Recipient, "530 5.7.0 Must issue a STARTTLS command first", Class::Login),
    (Phase::Recipient, "554 5.7.1 <…>: Relay access denied", Class::Policy),
    (Phase::Recipient, "554 5.7.1 <…>: Recipient address rejected: Access denied", Class::Policy),
    (
        Phase::Recipient,
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org",
        Class::Policy,
    ),
    (Phase::Recipient, "550 5.7.1 Unable to relay", Class::Policy),
    (Phase::Recipient, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", Class::Policy),
    (Phase::Recipient, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", Class::Policy),
    (
        Phase::Message,
        "550-5.7.26 This mail has been blocked because the sender is unauthenticated. 5.7.26 SPF",
        Class::Policy,
    ),
    (Phase::Recipient, "450 4.7.1 Client host rejected: cannot find your reverse hostname", Class::Policy),
    (Phase::Recipient, "550 5.0.0 unknown", Class::Policy),
    (Phase::Recipient, "550 5.0.0 user unknown", Class::Recipient),
    // later
    (Phase::Recipient, "451 4.7.1 greylisted", Class::Busy),
    (Phase::Recipient, "450 4.2.0 <…>: Recipient address rejected: Greylisted, see http", Class::Busy),
    (Phase::Recipient, "451 Graylisted, please come back", Class::Busy),
    (Phase::Recipient, "450 4.7.1 Please try again later", Class::Busy),
    (Phase::Recipient, "450 try later", Class::Busy),
    (Phase::Connection, "421 4.7.0 Too many connections, closing", Class::Busy),
    // words alone: the sender
    (Phase::Recipient, "550 Sender verify failed", Class::Sender),
    (Phase::Recipient, "550-Verification failed 550-No Such User Here 550 Sender verify failed", Class::Sender),
    (Phase::Recipient, "550 MAIL FROM: unknown user", Class::Sender),
    (Phase::Recipient, "550 invalid return path", Class::Sender),
    (Phase::Recipient, "550 bad return-path", Class::Sender),
    (Phase::Recipient, "550 reverse-path refused", Class::Sender),
    (Phase::Recipient, "550 the From address is not yours", Class::Sender),
    (Phase::Recipient, "553 sorry, you are in my badmailfrom list", Class::Sender),
    (Phase::Recipient, "553 sorry, your envelope from has been denied", Class::Sender),
    (Phase::Recipient, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", Class::Protocol),
    (Phase::Recipient, "550 EHLO is not a host name", Class::Protocol),
    (Phase::Recipient, "550 relay not permitted, authentication required", Class::Login),
    (Phase::Recipient, "553 Authentication is required to send mail", Class::Login),
    (Phase::Recipient, "550 you must log in first", Class::Login),
    (Phase::Recipient, "550 relay not permitted", Class::Policy),
    (Phase::Recipient, "550 Relaying denied", Class::Policy),
    (Phase::Recipient, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)", Class::Policy),
    (Phase::Recipient, "553 sorry, that domain isn't in my list of allowed rcpthosts", Class::Policy),
    // … the recipient
    (Phase::Recipient, "550 no such user", Class::Recipient),
    (Phase::Recipient, "550 sorry, no mailbox here by that name (#5.1.1)", Class::Recipient),
    (Phase::Recipient, "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)", Class::Recipient),
    (Phase::Recipient, "550 Unrouteable address", Class::Recipient),
    (Phase::Recipient, "550 Mailbox unavailable or access denied", Class::Recipient),
    (Phase::Recipient, "550 Mailbox not found. http", Class::Recipient),
    (Phase::Recipient, "554 User not found", Class::Recipient),
    (Phase::Message, "554 delivery error: dd This user doesn't have a yahoo.com account (…) [0]", Class::Recipient),
    (Phase::Recipient, "552 user is over quota", Class::Recipient),
    (Phase::Recipient, "552 Mailbox is full", Class::Recipient),
    // … how much, how large, and who is welcome
    (Phase::Recipient, "550 Sending quota exceeded", Class::Quota),
    (Phase::Recipient, "550 Daily sending limit reached", Class::Quota),
    (Phase::Recipient, "550 Connection frequency limited", Class::Quota),
    (Phase::Recipient, "550 Ip frequency limited", Class::Quota),
    (Phase::Message, "552 message size exceeds", Class::Message),
    (Phase::Recipient, "550 Mail content denied", Class::Policy),
    (Phase::Recipient, "550 Suspected spam ip", Class::Policy),
    (Phase::Recipient, "550 Administrative prohibition: policy", Class::Policy),
    // the code alone
    (Phase::Recipient, "550", Class::Recipient),
    (Phase::Recipient, "551 User not local; please try somebody", Class::Recipient),
    (Phase::Recipient, "553 ???? ??", Class::Recipient),
    (Phase::Recipient, "450 ???", Class::Busy),
    (Phase::From, "550 refused", Class::Sender),
    (Phase::From, "550 5.1.1 no such user", Class::Sender),
    (Phase::From, "450 not now", Class::Busy),
    (Phase::Message, "552 no", Class::Message),
    (Phase::Message, "554 no", Class::Policy),
    (Phase::From, "451 local error", Class::Server),
    (Phase::From, "555 syntax", Class::Protocol),
    (Phase::Recipient, "521 no mail here", Class::Policy),
    (Phase::From, "552 no room", Class::Quota),
    (Phase::Recipient, "554 Transaction failed", Class::Policy),
];

/// F50.
#[test]
fn only_what_speaks_of_the_recipient_is_the_recipients() {
    for (phase, said, class) in SAID {
        let (code, text) = said.split_at(3);
        let text = text.trim_start_matches(['-', ' ']);
        assert_eq!(classify(phase, code.parse().unwrap(), text, text).0, class, "{said}");
    }
    assert_eq!(by_code(Phase::Recipient, 599), Class::Server);
}

#[test]
fn every_row_of_the_tables_is_tried() {
    for (subject, detail, _) in &BY_ENHANCED_CODE {
        let tried = SAID.iter().any(|(_, said, _)| {
            enhanced_code(said[..3].parse().unwrap(), said.get(4..).unwrap_or_default())
                .is_some_and(|code| code.subject == *subject && detail.is_none_or(|detail| detail == code.detail))
        });
        assert!(tried, "{subject}.{detail:?}");
    }
    for (class, phrases) in &BY_WORDS {
        let tried =
            |phrase: &&str| SAID.iter().any(|(_, said, of)| of == class && said.to_lowercase().contains(*phrase));
        assert!(phrases.iter().any(tried), "{class:?} {phrases:?}");
    }
}

#[test]
fn an_enhanced_code_is_found_where_it_stands_and_nothing_else_is_taken_for_one() {
    let code = |reply: u16, text: &str| enhanced_code(reply, text).map(|code| code.to_string());
    for text in ["5.7.1 no", "no (#5.7.1)", "no [5.7.1]", "5.7.1: no", "no: 5.7.1.", "4.2.2 5.7.1"] {
        assert_eq!(code(550, text).as_deref(), Some("5.7.1"), "{text}");
    }
    for text in ["", "5.7", "5.7.1.2", "192.0.2.1", "5.999.1", "5.x.1", "4.7.1", "5.1.12345", "v5.1.1"] {
        assert_eq!(code(550, text), None, "{text}");
    }
}
