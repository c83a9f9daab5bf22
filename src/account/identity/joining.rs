//! Where Unicode lets an invisible character stand in a name: it joins letters, selects a form, or makes one picture of several.
//!
//! * ZWJ and ZWNJ by the contextual rules of RFC 5892 appendix A: after a virama, and ZWNJ between letters that would join
//! * ZWJ between the pictures of an emoji sequence (UAX 29 rule GB11, UTS 51 ED-16)
//! * variation selectors after a character that has variants (UTS 37, UTS 51 ED-9a)
//! * tags of a flag: after the black flag, up to their end (UTS 51 ED-14a)

use icu_properties::props::{
    CanonicalCombiningClass, Emoji, EmojiModifier, ExtendedPictographic, JoiningType, UnifiedIdeograph,
};
use icu_properties::{CodePointMapData, CodePointSetData};

const ZWNJ: char = '\u{200c}';
const ZWJ: char = '\u{200d}';
const BLACK_FLAG: char = '\u{1f3f4}';
const LAST_TAG: char = '\u{e007f}';
/// Letters and digits that name a region: `gbeng`.
const MAX_TAGS: usize = 6;

/// Whether `c`, which is invisible, belongs between what stands before and what stands after it.
pub(super) fn belongs(before: &[char], c: char, after: &[char]) -> bool {
    match c {
        ZWJ => is_virama(before.last()) || (ends_in_picture(before) && is_pictographic(after.first())),
        ZWNJ => is_virama(before.last()) || breaks_a_join(before, after),
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => is_selected(before.last().copied(), c),
        '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}' => is_tagged(before) && ends_in_last_tag(after),
        LAST_TAG => before.last().is_some_and(|c| is_tag(*c)) && is_tagged(before),
        _ => false,
    }
}

/// Whether the selector `c` selects a variant of the character before it.
pub(super) fn is_selected(before: Option<char>, c: char) -> bool {
    let Some(base) = before else { return false };
    match c {
        '\u{fe0e}' | '\u{fe0f}' => CodePointSetData::new::<Emoji>().contains(base),
        // the standardised and the ideographic ones
        _ => CodePointSetData::new::<UnifiedIdeograph>().contains(base),
    }
}

fn is_virama(c: Option<&char>) -> bool {
    let class = |c: &char| CodePointMapData::<CanonicalCombiningClass>::new().get(*c);
    c.is_some_and(|c| class(c) == CanonicalCombiningClass::Virama)
}

fn is_pictographic(c: Option<&char>) -> bool {
    c.is_some_and(|c| CodePointSetData::new::<ExtendedPictographic>().contains(*c))
}

/// A picture, with its colour of skin or the selector of its coloured form.
fn ends_in_picture(text: &[char]) -> bool {
    let modifies = |c: &char| *c == '\u{fe0f}' || CodePointSetData::new::<EmojiModifier>().contains(*c);
    match text.split_last() {
        Some((last, rest)) if modifies(last) => is_pictographic(rest.last()),
        Some((last, _)) => is_pictographic(Some(last)),
        None => false,
    }
}

/// RFC 5892 appendix A.1: `(L|D) T* ZWNJ T* (R|D)` of joining types.
fn breaks_a_join(before: &[char], after: &[char]) -> bool {
    let joining = |c: &char| CodePointMapData::<JoiningType>::new().get(*c);
    let (mut left, mut right) = (
        before.iter().rev().map(joining).skip_while(|kind| *kind == JoiningType::Transparent),
        after.iter().map(joining).skip_while(|kind| *kind == JoiningType::Transparent),
    );
    matches!(left.next(), Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(right.next(), Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0030}'..='\u{e0039}' | '\u{e0061}'..='\u{e007a}')
}

/// Whether the text ends in a black flag and fewer tags than a region has at most.
fn is_tagged(text: &[char]) -> bool {
    let tags = text.iter().rev().take_while(|c| is_tag(**c)).count();
    tags <= MAX_TAGS && text.iter().rev().nth(tags) == Some(&BLACK_FLAG)
}

fn ends_in_last_tag(text: &[char]) -> bool {
    text.iter().find(|c| !is_tag(**c)) == Some(&LAST_TAG)
}

#[cfg(test)]
mod tests {
    use crate::account::identity::name::{DisplayName, NameError};

    /// F56: names and pictures as people write them.
    #[test]
    fn what_a_script_or_a_picture_needs_is_kept_to_the_letter() {
        for name in [
            "👨\u{200d}👩\u{200d}👧\u{200d}👦",
            "👩🏽\u{200d}🚀 Ada",
            "❤\u{fe0f}\u{200d}🔥",
            "🏳\u{fe0f}\u{200d}🌈",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "1\u{fe0f}\u{20e3}",
            "葛\u{e0100}城",
            "辻\u{e0101}",
            "علی\u{200c}رضا",
            "نامه\u{200c}ای",
            "ශ්\u{200d}රී",
            "র\u{9cd}\u{200d}য",
            "क\u{94d}\u{200c}ष",
        ] {
            assert_eq!(
                DisplayName::parse(name).as_ref().map(DisplayName::as_str),
                Ok(name),
                "{}",
                name.escape_unicode()
            );
        }
    }

    /// Every picture that Unicode recommends for general interchange, in all its colours of skin.
    #[test]
    fn every_emoji_is_a_name() {
        let all = emojis::iter().flat_map(|emoji| emoji.skin_tones().map_or_else(|| vec![emoji], Iterator::collect));
        let mut count = 0;
        for emoji in all {
            let name = emoji.as_str();
            assert_eq!(
                DisplayName::parse(name).as_ref().map(DisplayName::as_str),
                Ok(name),
                "{}",
                name.escape_unicode()
            );
            count += 1;
        }
        assert!(count > 3_000, "{count}");
    }

    #[test]
    fn an_invisible_character_that_joins_nothing_is_refused() {
        for name in [
            "A\u{200d}nn",
            "A\u{200c}nn",
            "👨\u{200d}",
            "\u{200d}👨",
            "👨\u{200d}\u{200d}👩",
            "👨\u{200d}A",
            "علی\u{200c}\u{200c}رضا",
            "علی\u{200c} رضا",
            "A\u{e0100}",
            "葛\u{e0100}\u{e0101}",
            "🏴\u{e0067}\u{e0062}",
            "🏴\u{e007f}",
            "A\u{e0067}\u{e007f}",
            "ශ්\u{200d}\u{200d}රී",
        ] {
            assert_eq!(DisplayName::parse(name), Err(NameError::Invisible), "{}", name.escape_unicode());
        }
    }
}
