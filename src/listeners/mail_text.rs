//! What our mails say: a subject, a plain text and an HTML text each, laid out by `templates/mail/<name>`.
//!
//! Mails load nothing from anywhere and carry no more than they need (ASVS 14.2.3). A subject never holds anything a
//! user typed. The HTML is escaped by the templates, and styled in place because mail programs drop style sheets; our
//! Content-Security-Policy is for pages and does not reach it.

use askama::Template;

use crate::locale::Text;

/// Where lines of a plain text end, in columns: below the 78 that RFC 5322 section 2.1.1 recommends.
const COLUMNS: usize = 72;

/// A mail's three texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// One line, without anything a user typed.
    pub subject: String,
    /// The text/plain part.
    pub text: String,
    /// The text/html part.
    pub html: String,
}

/// The mail that asks a new registration to confirm its address.
#[derive(Clone, Debug)]
pub struct Confirmation {
    /// The texts, in the language of the registration.
    pub t: Text,
    /// The display name, as typed.
    pub name: String,
    /// The absolute address of the confirmation page, with the token.
    pub link: String,
    /// How long the link works from now, in hours.
    pub hours: u32,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

/// The mail for somebody whose address was registered though it has an account: it holds no link that does anything.
#[derive(Clone, Debug)]
pub struct AlreadyRegistered {
    /// The texts, in the language of the account.
    pub t: Text,
    /// The display name of the account, not of the registration: a stranger typed that one.
    pub name: String,
    /// The absolute address of the login page.
    pub login_url: String,
    /// The name of the site, or its host, as the recipient knows it.
    pub site: String,
}

impl Confirmation {
    /// Lays the mail out.
    ///
    /// # Errors
    ///
    /// When a template fails to format, which none of their values does.
    pub fn render(&self) -> askama::Result<Rendered> {
        Ok(Rendered {
            subject: one_line(&ConfirmationSubject { mail: self }.render()?),
            text: fold(&ConfirmationText { mail: self }.render()?),
            html: ConfirmationHtml { mail: self }.render()?,
        })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

impl AlreadyRegistered {
    /// Lays the mail out.
    ///
    /// # Errors
    ///
    /// When a template fails to format, which none of their values does.
    pub fn render(&self) -> askama::Result<Rendered> {
        Ok(Rendered {
            subject: one_line(&AlreadyRegisteredSubject { mail: self }.render()?),
            text: fold(&AlreadyRegisteredText { mail: self }.render()?),
            html: AlreadyRegisteredHtml { mail: self }.render()?,
        })
    }

    fn greeting(&self) -> String {
        greeting(self.t, &self.name)
    }
}

#[derive(Template)]
#[template(path = "mail/confirmation/subject.txt")]
struct ConfirmationSubject<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/confirmation/text.txt")]
struct ConfirmationText<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/confirmation/mail.html")]
struct ConfirmationHtml<'a> {
    mail: &'a Confirmation,
}

#[derive(Template)]
#[template(path = "mail/already_registered/subject.txt")]
struct AlreadyRegisteredSubject<'a> {
    mail: &'a AlreadyRegistered,
}

#[derive(Template)]
#[template(path = "mail/already_registered/text.txt")]
struct AlreadyRegisteredText<'a> {
    mail: &'a AlreadyRegistered,
}

#[derive(Template)]
#[template(path = "mail/already_registered/mail.html")]
struct AlreadyRegisteredHtml<'a> {
    mail: &'a AlreadyRegistered,
}

/// The salutation. Whoever registers a stranger's address chooses the name in the mail that goes there, so a name that
/// could carry a message or a link is left out.
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

/// A subject: the template file ends in a newline, a header must not.
fn one_line(subject: &str) -> String {
    subject.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Breaks long lines of a plain text at blanks and between wide characters. A line without either, such as a link,
/// stays whole.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + text.len() / COLUMNS + 1);
    for line in text.trim().lines() {
        fold_line(line, &mut folded);
        folded.push('\n');
    }
    folded
}

fn fold_line(line: &str, folded: &mut String) {
    let mut used = 0;
    for piece in pieces(line) {
        let width: usize = piece.trim_end().chars().map(columns).sum();
        if used > 0 && used + width > COLUMNS {
            folded.truncate(folded.trim_end_matches(' ').len());
            folded.push('\n');
            used = 0;
        }
        folded.push_str(piece);
        used += piece.chars().map(columns).sum::<usize>();
    }
    folded.truncate(folded.trim_end_matches(' ').len());
}

/// Cuts a line wherever it may be broken: after a blank, and after a wide character unless closing punctuation follows.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let mut characters = rest.char_indices().peekable();
        let mut end = rest.len();
        while let Some((at, c)) = characters.next() {
            let Some(&(_, next)) = characters.peek() else { break };
            let after_wide = columns(c) == 2 && !is_closing(next) && !matches!(c, '（' | '《' | '“');
            if c == ' ' || after_wide {
                end = at + c.len_utf8();
                break;
            }
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn is_closing(c: char) -> bool {
    matches!(c, '，' | '。' | '；' | '：' | '？' | '！' | '、' | '）' | '》' | '”')
}

/// Columns a character takes: two from the East Asian blocks on (UAX 11, roughly), one otherwise.
fn columns(c: char) -> usize {
    if matches!(c, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}' | '\u{20000}'..='\u{3fffd}')
    {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests;
