//! E-mail addresses: parsed once, sent to as typed, compared in one canonical form.
//!
//! Parsers disagree about addresses, and every disagreement is a way to get somebody else's mail. So an address is
//! accepted only if this grammar, IDNA and the mail library all read the same two parts out of the same bytes. The
//! grammar is smaller than RFC 5322's on purpose: a dot-atom, `@`, and a domain with a dot. Quoted local parts,
//! comments, address literals and display names are valid mail syntax and no address of a person who signs up.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Most bytes of a whole address, RFC 5321 section 4.5.3.1.3 with erratum 1690 (a path of 256 less its brackets).
pub const MAX_BYTES: usize = 254;
/// Most bytes of the part before the `@`, RFC 5321 section 4.5.3.1.1.
pub const MAX_LOCAL_BYTES: usize = 64;
/// Most bytes of one label of a domain, RFC 1035 section 2.3.4.
const MAX_LABEL_BYTES: usize = 63;
/// Typed text longer than this is not looked at: UTF-8 needs at most four bytes for a letter of the domain.
const MAX_TYPED_BYTES: usize = 4 * MAX_BYTES;

/// An e-mail address that can be sent to and compared.
///
/// Both forms are ASCII without white space, control characters or quotes, so neither can break out of a header or an
/// SMTP command. Two addresses are equal if their canonical forms are. `Debug` hides the local part, and there is
/// neither `Display` nor `Serialize`: showing an address takes an explicit [`Address::as_typed`].
#[derive(Clone)]
pub struct Address {
    typed: String,
    canonical: String,
    local_bytes: usize,
}

/// Why a text is not an address we accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing, or white space only.
    #[error("the address is empty")]
    Empty,
    /// More than [`MAX_BYTES`] in all, or more than [`MAX_LOCAL_BYTES`] before the `@`.
    #[error("the address is too long")]
    TooLong,
    /// Not `local@domain`: no `@` or several, quotes, comments, spaces, control characters, misplaced dots.
    #[error("this is not an e-mail address")]
    Malformed,
    /// The part before the `@` has letters outside ASCII, which many mail servers cannot take (RFC 6531 is optional).
    #[error("the part before the @ has letters that mail servers may not understand")]
    LocalNotAscii,
    /// The part after the `@` is no domain name with a dot in it, or one that two readers would read differently.
    #[error("the part after the @ is not a domain name")]
    Domain,
}

impl Address {
    /// Reads one address. White space around it is dropped, nothing else is repaired.
    ///
    /// A domain may be typed in its own script (`bücher.example`) or as A-labels (`xn--bcher-kva.example`); it is kept as
    /// A-labels in lower case (RFC 5891). Whatever IDNA would quietly rewrite into another name, such as full-width
    /// dots, invisible characters or the Kelvin sign, is refused.
    ///
    /// # Errors
    ///
    /// One [`AddressError`], the first that applies.
    pub fn parse(typed: &str) -> Result<Self, AddressError> {
        let typed = typed.trim();
        if typed.is_empty() {
            return Err(AddressError::Empty);
        }
        if typed.len() > MAX_TYPED_BYTES {
            return Err(AddressError::TooLong);
        }
        let (local, domain) = typed.split_once('@').ok_or(AddressError::Malformed)?;
        if domain.contains('@') {
            return Err(AddressError::Malformed);
        }
        check_local(local)?;
        let domain = a_labels(domain)?;
        let address = format!("{local}@{domain}");
        if address.len() > MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        let seen_by_mailer: lettre::Address = address.parse().map_err(|_| AddressError::Malformed)?;
        if seen_by_mailer.user() != local || seen_by_mailer.domain() != domain {
            return Err(AddressError::Malformed);
        }
        Ok(Self { canonical: address.to_ascii_lowercase(), typed: address, local_bytes: local.len() })
    }

    /// The form to send to and to show: the local part exactly as typed, the domain as lower-case A-labels.
    ///
    /// The local part keeps its case because only the receiving server may give it a meaning (RFC 5321 section 2.4). The
    /// domain is shown as A-labels so that a look-alike is seen to be one.
    #[must_use]
    pub fn as_typed(&self) -> &str {
        &self.typed
    }

    /// The form to compare, to index and to count attempts by: all of it in ASCII lower case.
    ///
    /// Dots and plus signs stay: what they mean differs from provider to provider. Canonical of canonical is the same.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The part before the `@`, as typed.
    #[must_use]
    pub fn local(&self) -> &str {
        self.typed.get(..self.local_bytes).unwrap_or_default()
    }

    /// The part after the `@`: lower-case A-labels, at least two.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.typed.get(self.local_bytes.saturating_add(1)..).unwrap_or_default()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address(…@{})", self.domain())
    }
}

/// `dot-atom-text` of RFC 5322 section 3.2.3, at most [`MAX_LOCAL_BYTES`].
fn check_local(local: &str) -> Result<(), AddressError> {
    // Invisible and bidi characters are outside ASCII too; only letters earn the answer that speaks of letters.
    if local.chars().any(|c| !c.is_ascii() && c.is_alphabetic()) {
        return Err(AddressError::LocalNotAscii);
    }
    if local.len() > MAX_LOCAL_BYTES {
        return Err(AddressError::TooLong);
    }
    let atom = |atom: &str| !atom.is_empty() && atom.bytes().all(is_atom_byte);
    if local.split('.').all(atom) { Ok(()) } else { Err(AddressError::Malformed) }
}

/// `atext` of RFC 5322 section 3.2.3.
fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte)
}

/// A capital letter as the small one, as UTS 46 maps it, where both are ASCII or neither is: the Kelvin sign stays what it is.
fn small(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(small), None) if small.is_ascii() == c.is_ascii() => small,
        _ => c,
    }
}

/// The domain as lower-case A-labels, if IDNA changes nothing about it but its encoding and the case of its letters.
fn a_labels(domain: &str) -> Result<String, AddressError> {
    let ascii = idna::domain_to_ascii_strict(domain).map_err(|_| AddressError::Domain)?;
    let typed: String = domain.chars().map(small).collect();
    if ascii != typed {
        // A name in its own script must come back letter by letter; otherwise IDNA has mapped it to another name.
        let (unicode, decoded) = idna::domain_to_unicode(&ascii);
        if decoded.is_err() || unicode != typed {
            return Err(AddressError::Domain);
        }
    }
    if is_public_name(&ascii) { Ok(ascii) } else { Err(AddressError::Domain) }
}

/// At least two labels of letters, digits and inner hyphens (RFC 1123 section 2.1), the last of them not a number, so that
/// neither `localhost` nor an IP address passes for a domain.
fn is_public_name(ascii: &str) -> bool {
    let label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let Some((_, last)) = ascii.rsplit_once('.') else { return false };
    ascii.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(typed: &str) -> Address {
        Address::parse(typed).unwrap_or_else(|e| panic!("{typed:?} should be accepted: {e}"))
    }

    #[test]
    fn the_local_part_is_sent_as_typed_and_compared_in_lower_case() {
        let address = parsed(" \tAlice.B+News@Example.COM\n");
        assert_eq!(address.as_typed(), "Alice.B+News@example.com");
        assert_eq!(address.canonical(), "alice.b+news@example.com");
        assert_eq!((address.local(), address.domain()), ("Alice.B+News", "example.com"));
        assert_eq!(address, parsed("ALICE.b+NEWS@EXAMPLE.com"));
        assert_ne!(address, parsed("aliceb+news@example.com"), "dots count");
        assert_ne!(address, parsed("alice.b@example.com"), "plus parts count");
    }

    #[test]
    fn a_domain_in_its_own_script_and_its_a_labels_are_one_address() {
        let own = parsed("jo@bücher.EXAMPLE");
        assert_eq!(own.as_typed(), "jo@xn--bcher-kva.example");
        assert_eq!(own, parsed("jo@xn--bcher-kva.example"));
        assert_eq!(own, parsed("jo@XN--BCHER-KVA.example"));
        // F64
        assert_eq!(own, parsed("jo@BÜCHER.EXAMPLE"));
        assert_eq!(parsed("jo@ПОЧТА.Пример"), parsed("jo@почта.пример"));
        assert_eq!(parsed("a@例え.テスト").domain(), "xn--r8jz45g.xn--zckzah");
    }

    #[test]
    fn every_unusual_atom_character_survives() {
        let local = "!#$%&'*+-/=?^_`{|}~a9";
        assert_eq!(parsed(&format!("{local}@b.example")).local(), local);
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        use AddressError::{Domain, Empty, LocalNotAscii, Malformed};
        let cases = [
            ("", Empty),
            (" \r\n\u{a0}\u{3000}", Empty),
            ("alice", Malformed),
            ("@b.example", Malformed),
            ("a@", Domain),
            ("a@b.c@d.example", Malformed),
            ("a@b.example,c@d.example", Malformed),
            ("a@b.example c@d.example", Malformed),
            ("a@b.example;", Domain),
            ("\"a b\"@b.example", Malformed),
            ("\"a\"@b.example", Malformed),
            ("a(comment)@b.example", Malformed),
            ("a@b.example(comment)", Domain),
            ("A <a@b.example>", Malformed),
            ("<a@b.example>", Malformed),
            ("mailto:a@b.example", Malformed),
            ("a b@b.example", Malformed),
            (".a@b.example", Malformed),
            ("a.@b.example", Malformed),
            ("a..b@b.example", Malformed),
            ("a\\@b.example", Malformed),
            ("a\r\nBcc: x@b.example", Malformed),
            ("a@b.example\r\nBcc: x", Domain),
            ("a\0@b.example", Malformed),
            ("a@b\0.example", Domain),
            ("a\u{7f}@b.example", Malformed),
            ("a\u{202e}@b.example", Malformed),
            ("a\u{200b}@b.example", Malformed),
            ("a@\u{200b}b.example", Domain),
            ("a@b\u{ad}c.example", Domain),
            ("a@b.c\u{ff0e}d", Domain),
            ("a@b\u{3002}example", Domain),
            ("a\u{ff20}b.example", Malformed),
            ("a@b\u{202e}.example", Domain),
            ("é@b.example", LocalNotAscii),
            ("\u{212a}ate@b.example", LocalNotAscii),
            ("a@\u{212a}ate.example", Domain),
            ("a@K\u{212a}ü.example", Domain),
            ("a@ﬁ.example", Domain),
            ("a@localhost", Domain),
            ("a@example.", Domain),
            ("a@.example", Domain),
            ("a@b..example", Domain),
            ("a@-b.example", Domain),
            ("a@b-.example", Domain),
            ("a@b_c.example", Domain),
            ("a@xn--example-.com", Domain),
            ("a@xn--a.example", Domain),
            ("a@127.0.0.1", Domain),
            ("a@[127.0.0.1]", Domain),
            ("a@[IPv6:::1]", Domain),
            ("a@1.2", Domain),
        ];
        for (typed, error) in cases {
            assert_eq!(Address::parse(typed).err(), Some(error), "{typed:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_bytes_of_what_is_sent() {
        let domain = |bytes: usize| {
            let labels = format!("{0}.{0}.{0}.", "d".repeat(61));
            format!("{labels}{}", "e".repeat(bytes - labels.len()))
        };
        let local = "l".repeat(MAX_LOCAL_BYTES);
        let longest = format!("{local}@{}", domain(MAX_BYTES - MAX_LOCAL_BYTES - 1));
        assert_eq!(parsed(&longest).as_typed().len(), MAX_BYTES);
        let longer = format!("{local}@{}", domain(MAX_BYTES - MAX_LOCAL_BYTES));
        assert_eq!(Address::parse(&longer).err(), Some(AddressError::TooLong));
        assert_eq!(Address::parse(&format!("l{local}@b.example")).err(), Some(AddressError::TooLong));
        assert_eq!(Address::parse(&"a".repeat(1 << 20)).err(), Some(AddressError::TooLong));
    }

    #[test]
    fn unicode_case_pairs_never_collide_with_ascii_accounts() {
        // Each of these becomes ASCII, or an ASCII pair, under some Unicode case mapping or compatibility form.
        let pairs =
            [('k', '\u{212a}'), ('i', 'ı'), ('i', 'İ'), ('s', 'ſ'), ('a', 'ａ'), ('e', '\u{212f}'), ('a', '\u{430}')];
        for (ascii, other) in pairs {
            let victim = parsed(&format!("x{ascii}@x{ascii}.example"));
            for attempt in [format!("x{other}@x{ascii}.example"), format!("x{ascii}@x{other}.example")] {
                if let Ok(address) = Address::parse(&attempt) {
                    assert_ne!(address, victim, "{attempt}");
                    assert!(address.domain().contains("xn--"), "{attempt} must show as A-labels");
                }
            }
        }
    }

    #[test]
    fn debug_hides_the_local_part() {
        let shown = format!("{:?}", parsed("Alice@example.com"));
        assert_eq!(shown, "Address(…@example.com)");
    }

    /// Text near the border: mostly address-like, with the characters parsers disagree about mixed in.
    fn nearly_an_address() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            8 => "[a-zA-Z0-9.+_-]{1,8}",
            2 => "[@.\"<>(),:;\\\\\\[\\] ]",
            1 => any::<char>().prop_map(String::from),
            1 => prop::sample::select(vec!["\r\n", "\0", "\u{200b}", "\u{202e}", "\u{ff0e}", "\u{212a}", "ı", "ü", "xn--", "例"]).prop_map(String::from),
        ];
        let pieces = |piece| prop::collection::vec(piece, 1..4).prop_map(|p: Vec<String>| p.concat());
        (pieces(piece.clone().boxed()), pieces(piece.boxed()), "(\\.[a-z]{1,4})?")
            .prop_map(|(local, domain, end)| format!("{local}@{domain}{end}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]

        #[test]
        fn what_is_accepted_is_one_plain_address_that_everybody_reads_alike(typed in nearly_an_address()) {
            let Ok(address) = Address::parse(&typed) else { return Ok(()) };
            for form in [address.as_typed(), address.canonical()] {
                prop_assert!(form.bytes().all(|b| b.is_ascii_graphic()), "{form:?}");
                prop_assert_eq!(form.matches('@').count(), 1);
                let mailer: lettre::Address = form.parse().expect("the mailer takes what we accept");
                prop_assert_eq!(AsRef::<str>::as_ref(&mailer), form);
                let domain = mailer.domain();
                prop_assert_eq!(idna::domain_to_ascii_strict(domain).ok(), Some(domain.to_owned()));
            }
            prop_assert!(typed.contains(address.local()));
        }

        #[test]
        fn canonical_of_canonical_is_canonical(typed in nearly_an_address()) {
            let Ok(address) = Address::parse(&typed) else { return Ok(()) };
            let again = Address::parse(address.canonical()).expect("a canonical form is an address");
            prop_assert_eq!(again.canonical(), address.canonical());
            prop_assert_eq!(again.as_typed(), address.canonical());
            let sent = Address::parse(address.as_typed()).expect("the form to send to is an address");
            prop_assert_eq!(sent.as_typed(), address.as_typed());
        }

        #[test]
        fn ordinary_addresses_are_accepted_whatever_their_case_and_padding(
            local in "[a-z0-9]{1,10}([.+_-][a-z0-9]{1,10}){0,2}",
            domain in "[a-z]{2,10}(-[a-z]{1,5})?\\.[a-z]{2,6}",
            upper in any::<u64>(),
            pad in "[ \t]{0,3}",
        ) {
            let plain = format!("{local}@{domain}");
            let mixed: String = plain.chars().enumerate()
                .map(|(i, c)| if upper >> (i % 64) & 1 == 1 { c.to_ascii_uppercase() } else { c })
                .collect();
            let address = Address::parse(&format!("{pad}{mixed}{pad}"));
            prop_assert_eq!(address.as_ref().map(Address::canonical), Ok(plain.as_str()));
        }
    }
}
