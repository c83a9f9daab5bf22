//! Passwords: one normal form for login and choice alike, and the rules for choosing one.
//!
//! Logging in asks only for the normal form ([`Password::normalise`]); an old password that today's rules would refuse must
//! still open its account. Choosing one (registration, change, reset) also asks [`check_new`]. The rules are length and
//! guessability; there are none about digits, capitals or symbols (NIST SP 800-63B-4 section 3.1.1.2, OWASP ASVS 6.2.5).

use std::fmt;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, ExposeSecretMut, SecretBox};
use unicode_normalization::UnicodeNormalization;

use super::blocklist;
use crate::account::identity::address::Address;
use crate::account::identity::name::DisplayName;

/// Fewest code points of a new password by default: NIST SP 800-63B-4 section 3.1.1.2 where the password is the only factor.
pub const DEFAULT_MIN_CODE_POINTS: usize = 15;
/// Most code points of a password.
pub const MAX_CODE_POINTS: usize = 256;
/// Most bytes of a password in UTF-8.
pub const MAX_BYTES: usize = 1024;

/// Fewest guesses a new password must withstand: the border of zxcvbn's score 3 without the slack that it adds, which
/// would refuse every password of eight random characters.
const MIN_GUESSES: u64 = 100_000_000;
/// Code points that the estimate looks at. Its time grows with their square.
const ESTIMATED_CODE_POINTS: usize = 64;
/// A password of which at most one in so many code points is a separator is words with something between them.
const SEPARATED_SHARE: usize = 4;
/// Code points that must be a password's own once the words of its context are taken out: NIST's minimum for any password.
const OWN_CODE_POINTS: usize = 8;
/// Context words shorter than this are parts of too many other words.
const CONTEXT_WORD_CODE_POINTS: usize = 3;

/// A password in its normal form: not empty, without NUL, within the limits.
///
/// It is wiped when dropped, `Debug` shows nothing of it, and there is no `PartialEq`: the only comparison is by its hash.
pub struct Password(SecretBox<String>);

/// Why a text cannot be a password of anybody. For logging in this is a wrong password like any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// No code point at all (RFC 8265 section 4.2.2 forbids the empty password).
    #[error("the password is empty")]
    Empty,
    /// More than [`MAX_CODE_POINTS`] or [`MAX_BYTES`]. It is refused, never cut: a cut password is a weaker one.
    #[error("the password is longer than {MAX_CODE_POINTS} characters")]
    TooLong,
    /// A NUL, at which some readers would cut it.
    #[error("the password has a NUL character in it")]
    Nul,
}

/// Why a password may not be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    /// Nothing was typed.
    #[error("there is no password")]
    Missing,
    /// Fewer code points than `min`.
    #[error("the password is shorter than {min} characters")]
    TooShort {
        /// The minimum that was asked for, in code points.
        min: usize,
    },
    /// More than [`MAX_CODE_POINTS`] or [`MAX_BYTES`].
    #[error("the password is longer than {MAX_CODE_POINTS} characters")]
    TooLong,
    /// A NUL character.
    #[error("the password has a NUL character in it")]
    Nul,
    /// On the list of passwords that many people have chosen.
    #[error("many people have chosen this password")]
    Common,
    /// Little more than the name of the site, the address or the name of the person.
    #[error("the password is made of the names of this site or of its person")]
    Context,
    /// An attacker who knows people's habits needs fewer than 10^8 guesses.
    #[error("the password is easy to guess")]
    Guessable,
}

/// What an attacker knows about the account a password is for.
///
/// The address and the name are optional so that a form with several mistakes can tell them all at once.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The name or the host of the site.
    pub site: &'a str,
    /// The person's address.
    pub email: Option<&'a Address>,
    /// The person's name.
    pub name: Option<&'a DisplayName>,
}

impl Password {
    /// Brings what was typed to the form that is hashed, by the `OpaqueString` profile (RFC 8265 section 4.2.2): every
    /// space becomes U+0020, then NFC; case, width and surrounding spaces stay.
    ///
    /// Beyond the profile's mappings any character is accepted, also those that its base class forbids, because emoji are
    /// spelled with them (OWASP ASVS 6.2.5). Only NUL is refused.
    ///
    /// # Errors
    ///
    /// One [`PasswordError`]. Lengths are counted in the normal form.
    pub fn normalise(typed: &str) -> Result<Self, PasswordError> {
        // All room from the start, for growing would leave a copy behind; wiped on every way out.
        let mut secret = SecretBox::new(Box::new(String::with_capacity(MAX_BYTES)));
        let normal = secret.expose_secret_mut();
        let spaced = typed.chars().map(|c| if is_space(c) { ' ' } else { c });
        for (count, c) in spaced.nfc().enumerate() {
            if c == '\0' {
                return Err(PasswordError::Nul);
            }
            if count == MAX_CODE_POINTS || normal.len() + c.len_utf8() > MAX_BYTES {
                return Err(PasswordError::TooLong);
            }
            normal.push(c);
        }
        if normal.is_empty() { Err(PasswordError::Empty) } else { Ok(Self(secret)) }
    }

    /// Normalises and checks a new password.
    ///
    /// # Errors
    ///
    /// The [`Weakness`] of [`check_new`], or the one that matches what [`Password::normalise`] refuses; empty is too short.
    pub fn choose(typed: &str, min: usize, context: &Context<'_>) -> Result<Self, Weakness> {
        let password = Self::normalise(typed).map_err(|error| match error {
            PasswordError::Empty => Weakness::Missing,
            PasswordError::TooLong => Weakness::TooLong,
            PasswordError::Nul => Weakness::Nul,
        })?;
        check_new(&password, min, context)?;
        Ok(password)
    }

    /// The normal form itself, for the hash and for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Whether a password may be chosen: long enough (`min` code points, [`DEFAULT_MIN_CODE_POINTS`] while it is the only factor),
/// not common, not made of its context, not guessable.
///
/// * Common: on the embedded list in any case, as it is or once its spaces and ASCII punctuation are taken out.
/// * Context: at least one context word is in it, and fewer than eight code points are left when all of them, spaces
///   and ASCII punctuation are taken out. Context words are the site, the local part, the domain and the name, each whole
///   and in parts, if they have three code points or more.
/// * Guessable: zxcvbn thinks that fewer than 10^8 guesses find its first 64 code points (a score below 3), the context
///   words counting as the first guesses. If it is words with spaces or punctuation between them, it must also withstand
///   without these, for zxcvbn overrates them: it gives any three parts 10^8 guesses.
///
/// It takes milliseconds of CPU, up to about as many as a hash for hostile input, and belongs beside the hash, not on
/// a thread that serves requests. zxcvbn works on copies of the password that it does not wipe.
///
/// # Errors
///
/// The first [`Weakness`] in the order above.
pub fn check_new(password: &Password, min: usize, context: &Context<'_>) -> Result<(), Weakness> {
    let password = password.expose();
    if password.chars().count() < min {
        return Err(Weakness::TooShort { min });
    }
    let folded = fold(password, |_| true);
    let letters = fold(password, |c| !is_separator(c));
    if blocklist::contains(&folded) || blocklist::contains(&letters) {
        return Err(Weakness::Common);
    }
    let words = context.words();
    if is_made_of(&letters, &words) {
        return Err(Weakness::Context);
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let guessable = |text: &str| zxcvbn::zxcvbn(&start_to_estimate(text), &words).guesses() < MIN_GUESSES;
    let separators = password.chars().filter(|&c| is_separator(c)).count();
    let is_words = separators * SEPARATED_SHARE <= password.chars().count();
    if guessable(password) || (is_words && separators > 0 && guessable(&letters)) {
        return Err(Weakness::Guessable);
    }
    Ok(())
}

impl Context<'_> {
    /// The words a password should not be made of, folded, longest first.
    fn words(&self) -> Vec<String> {
        let email = self.email.map(|address| [address.local(), address.domain()]);
        let name = self.name.map(DisplayName::as_str);
        let mut words = Vec::new();
        for source in [self.site].into_iter().chain(email.into_iter().flatten()).chain(name) {
            let source = source.to_lowercase();
            words.extend(source.split(is_separator).map(str::to_owned));
            words.push(source.chars().filter(|&c| !is_separator(c)).collect());
        }
        words.retain(|word: &String| word.chars().count() >= CONTEXT_WORD_CODE_POINTS);
        words.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        words.dedup();
        words
    }
}

/// Whether too little of its own is left of `letters` without the `words`, which come longest first.
fn is_made_of(letters: &str, words: &[String]) -> bool {
    let (mut rest, mut found, mut own) = (letters, false, 0_usize);
    while !rest.is_empty() {
        if let Some(after) = words.iter().find_map(|word| rest.strip_prefix(word.as_str())) {
            (rest, found) = (after, true);
        } else {
            let mut chars = rest.chars();
            chars.next();
            (rest, own) = (chars.as_str(), own + 1);
        }
    }
    found && own < OWN_CODE_POINTS
}

/// A lower-case copy of what `keep` lets through; wiped when dropped, and made without leaving another copy behind.
fn fold(password: &str, keep: impl Fn(char) -> bool) -> Zeroizing<String> {
    // No letter needs more than twice its bytes in lower case.
    let mut folded = Zeroizing::new(String::with_capacity(2 * password.len()));
    folded.extend(password.chars().filter(|&c| keep(c)).flat_map(char::to_lowercase));
    folded
}

/// The start of a password in the spelling that is estimated; wiped when dropped.
///
/// Symbols that stand for one letter become one symbol. zxcvbn tries every combination of readings of the symbols it finds, so
/// a hundred characters chosen to have many took it more than a second; a word reads the same with either symbol.
fn start_to_estimate(password: &str) -> Zeroizing<String> {
    let mut start = Zeroizing::new(String::with_capacity(password.len()));
    start.extend(password.chars().take(ESTIMATED_CODE_POINTS).map(|c| match c {
        '@' => '4',
        '{' | '[' | '<' => '(',
        '|' => '!',
        '$' => '5',
        '+' => '7',
        other => other,
    }));
    start
}

/// What people put between words without making a password harder to guess.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || c.is_ascii_punctuation()
}

/// General category Zs (space separators), which RFC 8265 section 4.2.2 maps to U+0020.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

#[cfg(test)]
mod tests;
