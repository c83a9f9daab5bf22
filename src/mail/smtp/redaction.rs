//! Takes out of a server's words what they may quote of a mail: addresses, links, tokens.

use crate::text::one_line;

/// What stands for what was taken out.
const OUT: &str = "…";
/// Characters of a server's text that are kept.
const MAX_CHARS: usize = 300;
/// A run of so many letters and digits is a token, not a word.
const TOKEN_CHARS: usize = 16;

/// What is written with an address or a link in it, plainly or encoded.
const MARKS: [&str; 7] = ["@", "%40", "=40", "&#64;", "://", "www.", "%2f%2f"];

/// One line that holds none of `private`, no address, no link and no token.
pub(super) fn redacted(text: &str, private: &[&str]) -> String {
    let kept = one_line(text, usize::MAX);
    let kept = private.iter().fold(kept, |text, piece| without(&text, piece));
    let words: Vec<&str> = kept.split(' ').map(|word| if is_private(word) { OUT } else { word }).collect();
    one_line(&words.join(" "), MAX_CHARS)
}

fn is_private(word: &str) -> bool {
    let small = word.to_ascii_lowercase();
    let is_token = |run: &str| run.len() >= TOKEN_CHARS && run.bytes().any(|byte| byte.is_ascii_digit());
    MARKS.iter().any(|mark| small.contains(mark))
        || small.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '/' | '='))).any(is_token)
}

/// The text without a piece where it stands as a word of its own, in capitals or not.
fn without(text: &str, piece: &str) -> String {
    if piece.is_empty() {
        return text.to_owned();
    }
    let (small, piece) = (text.to_ascii_lowercase(), piece.to_ascii_lowercase());
    let stands_alone = |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + piece.len()..).and_then(|after| after.chars().next());
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    };
    let (mut kept, mut from) = (String::with_capacity(text.len()), 0);
    for (at, found) in small.match_indices(&piece) {
        if at >= from && stands_alone(at) {
            kept.push_str(text.get(from..at).unwrap_or_default());
            kept.push_str(OUT);
            from = at + found.len();
        }
    }
    kept + text.get(from..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F46.
    #[test]
    fn what_a_server_quotes_of_a_mail_is_taken_out_and_its_reason_stays() {
        let private = ["Ada.Lovelace@example.org", "Ada.Lovelace", "example.org"];
        let token = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfGhIjKl";
        for (said, kept) in [
            ("5.1.1 <ada.lovelace@example.org>: User unknown", "5.1.1 <…>: User unknown"),
            (
                "sorry, no mailbox here by the name ADA.LOVELACE. (#5.1.1)",
                "sorry, no mailbox here by the name …. (#5.1.1)",
            ),
            ("user ada.lovelace at example.org is over quota", "user … at … is over quota"),
            ("bellhop@our.example is not yours", "… is not yours"),
            ("ada.lovelace%40example.org ada=40example.org", "… …"),
            ("blocked: http://desk.example/confirm?token=x see www.block.example", "blocked: … see …"),
            (token, "…"),
            (&format!("URL (confirm?token={token}) is listed"), "URL … is listed"),
            (
                "<bellhop>: Helo command rejected: need fully-qualified hostname",
                "<bellhop>: Helo command rejected: need fully-qualified hostname",
            ),
            ("a\r\nb\u{1b}[31m", "a b [31m"),
        ] {
            assert_eq!(redacted(said, &private), kept);
        }
        assert_eq!(redacted("channel", &["ann", ""]), "channel", "a short name inside a word is none");
        assert!(redacted(&"x ".repeat(1_000), &[]).chars().count() <= MAX_CHARS);
    }
}
