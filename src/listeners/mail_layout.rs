//! What all mails have in common.
//!
//! Mails load nothing from anywhere and carry no more than they need (OWASP ASVS 14.2.3). A subject never holds anything a
//! user typed. The HTML is escaped by the templates, and styled inline because mail programs drop style sheets; our
//! Content-Security-Policy is for pages and does not reach it.

use askama::Template;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use crate::locale::Text;
use crate::text::one_line;

/// Where lines of a plain text end, in columns: below the 78 that RFC 5322 section 2.1.1 recommends.
pub(super) const MAX_COLUMNS: usize = 72;

/// A mail's three texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RenderedMail {
    /// One line, without anything a user typed.
    pub subject: String,
    /// The text/plain part.
    pub text: String,
    /// The text/html part.
    pub html: String,
}

/// What a mail says: a salutation, paragraphs, one link, more paragraphs.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    /// The texts, in the language of the recipient.
    pub t: Text,
    /// The display name of the account; empty where none is known to be the recipient's.
    pub name: String,
    /// One line, without anything a user typed.
    pub subject: String,
    /// What mail programs show beside the subject.
    pub preview: String,
    /// The paragraphs before the link.
    pub before: Vec<String>,
    /// The absolute address that the mail is about.
    pub link: String,
    /// What the link is called.
    pub button: String,
    /// The paragraphs after it.
    pub after: Vec<String>,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

impl Letter {
    /// Without words yet.
    pub(super) fn new(t: Text, link: String) -> Self {
        let (name, subject, preview) = (String::new(), String::new(), String::new());
        let (before, button, after, site) = (Vec::new(), String::new(), Vec::new(), String::new());
        Letter { t, name, subject, preview, before, link, button, after, site }
    }

    /// The mail, signed with the name of the site.
    ///
    /// # Errors
    /// When a template fails to format, which none of their values does.
    pub(super) fn signed(self, site: &str) -> askama::Result<RenderedMail> {
        let letter = &Letter { site: site.to_owned(), ..self };
        Ok(RenderedMail {
            subject: one_line(&letter.subject, usize::MAX),
            text: wrap(&LetterText { letter }.render()?),
            html: LetterHtml { letter }.render()?,
        })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

#[derive(Template)]
#[template(path = "mail/letter.txt")]
struct LetterText<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail/letter.html")]
struct LetterHtml<'a> {
    letter: &'a Letter,
}

/// The salutation. One who registers a stranger's address chooses the name in the mail to it, so a name that could hold a
/// message or a link is left out.
fn greeting(t: Text, name: &str) -> String {
    let name = name.trim();
    let harmless = !name.is_empty()
        && name.chars().count() <= 60
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | '@' | ':'))
        && !names_a_host(name);
    if harmless { t.args("mail-greeting", &[("name", name)]) } else { t.get("mail-greeting-plain") }
}

/// Whether mail programs would turn a part of this into a link: a dot with a letter before and two after ("evil.example",
/// but not "J. R." or "J.R.").
fn names_a_host(words: &str) -> bool {
    words.split_whitespace().any(|word| {
        let labels: Vec<&str> = word.split(['.', '。', '．']).collect();
        labels.windows(2).any(|pair| match pair {
            [before, after] => {
                !before.is_empty() && after.chars().take_while(|c| c.is_alphanumeric() || *c == '-').count() >= 2
            }
            _ => false,
        })
    })
}

/// Breaks long lines of a plain text where UAX 14 allows: at blanks, between wide characters, never before a full stop. A
/// link stays whole, as mail programs make it clickable by the line.
pub(super) fn wrap(text: &str) -> String {
    let options = Options::new(MAX_COLUMNS)
        .break_words(false)
        .word_separator(WordSeparator::UnicodeBreakProperties)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    let mut wrapped = String::with_capacity(text.len() + text.len() / MAX_COLUMNS + 1);
    for line in text.trim().lines() {
        if line.contains("://") {
            wrapped.push_str(line);
        } else {
            wrapped.push_str(&textwrap::fill(line, &options));
        }
        wrapped.push('\n');
    }
    wrapped
}

#[cfg(test)]
mod tests {
    use textwrap::core::display_width;

    use super::*;

    #[test]
    fn wide_text_breaks_between_characters_and_never_before_a_stop() {
        let line = "客".repeat(36) + "。" + &"人".repeat(10);
        let wrapped = wrap(&line);
        assert_eq!(wrapped.replace('\n', ""), line);
        assert!(wrapped.lines().all(|line| !line.starts_with('。')), "{wrapped}");
        assert!(wrapped.lines().all(|line| display_width(line) <= MAX_COLUMNS), "{wrapped}");
    }
}
