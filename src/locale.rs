//! The languages people are spoken to in, and every text in them.
//!
//! The texts are in `locales/<tag>/main.ftl` (Fluent syntax) and are built into the binary. This module finds the
//! language a request asks for and looks texts up; it knows nothing of pages or mails.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use fluent_langneg::{NegotiationStrategy, convert_vec_str_to_langids_lossy, negotiate_languages};
use fluent_templates::{LanguageIdentifier, langid};

fluent_templates::static_loader! {
    static LOCALES = {
        locales: "./locales",
        fallback_language: "en",
        // the marks would stand in mail texts and page titles as stray characters
        customise: |bundle| bundle.set_use_isolating(false),
    };
}

static ENGLISH: LanguageIdentifier = langid!("en");
static CHINESE: LanguageIdentifier = langid!("zh-CN");

/// How many entries of an Accept-Language header are looked at; browsers send a handful.
const MOST_RANGES: usize = 32;

/// A language the pages and mails are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Locale {
    /// English, the language for everybody who asks for none of ours.
    #[default]
    En,
    /// Chinese in simplified characters, also for readers of traditional ones: nearer to them than English.
    ZhCn,
}

impl Locale {
    /// Every language, the fallback first.
    pub const ALL: [Self; 2] = [Self::En, Self::ZhCn];

    /// The BCP 47 tag: what `lang` attributes and stored preferences hold.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }

    /// The language with exactly this tag, as [`Locale::tag`] gives it.
    #[must_use]
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|locale| locale.tag() == tag)
    }

    /// The best language for an Accept-Language header (RFC 9110 section 12.5.4): the acceptable range of the highest
    /// weight that one of ours matches, the earlier one if two weigh the same. Entries that cannot be read are passed
    /// over; when nothing is left, English.
    #[must_use]
    pub fn negotiate(accept_language: Option<&str>) -> Self {
        let mut ranges: Vec<(&str, u16)> =
            accept_language.unwrap_or_default().split(',').take(MOST_RANGES).filter_map(weighted_range).collect();
        ranges.retain(|(_, weight)| *weight > 0);
        ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));

        // "*" is content with anything, so with the default
        let requested = convert_vec_str_to_langids_lossy(
            ranges.into_iter().map(|(range, _)| if range == "*" { Self::En.tag() } else { range }),
        );
        let available = convert_vec_str_to_langids_lossy(Self::ALL.map(Self::tag));
        negotiate_languages(&requested, &available, None, NegotiationStrategy::Lookup)
            .first()
            .and_then(|best| Self::from_tag(&best.to_string()))
            .unwrap_or_default()
    }

    /// The texts of this language.
    #[must_use]
    pub const fn text(self) -> Text {
        Text { locale: self }
    }

    fn identifier(self) -> &'static LanguageIdentifier {
        match self {
            Self::En => &ENGLISH,
            Self::ZhCn => &CHINESE,
        }
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// One entry of an Accept-Language header: the range, and its weight in thousandths. None if it cannot be read.
fn weighted_range(entry: &str) -> Option<(&str, u16)> {
    let mut parts = entry.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = match parts.next() {
        None => 1000,
        Some(parameter) => {
            let (name, value) = parameter.split_once('=')?;
            if !name.trim().eq_ignore_ascii_case("q") {
                return None;
            }
            thousandths(value.trim())?
        }
    };
    Some((range, weight))
}

/// A weight as RFC 9110 section 12.4.2 writes it (`0`, `0.85`, `1.000`), in thousandths.
fn thousandths(qvalue: &str) -> Option<u16> {
    let (whole, fraction) = qvalue.split_once('.').unwrap_or((qvalue, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

/// The texts of one language: a handle as small as the language itself, to be copied freely.
///
/// A key that a language lacks is looked up in English, and one that English lacks stands for itself; the tests of this
/// module see to it that neither happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text {
    locale: Locale,
}

impl Text {
    /// The language these texts are in.
    #[must_use]
    pub const fn locale(self) -> Locale {
        self.locale
    }

    /// The tag of that language, for `lang` attributes.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        self.locale.tag()
    }

    /// The text without placeholders that `key` names.
    #[must_use]
    pub fn get(self, key: &str) -> String {
        self.look_up(key, None::<Never>)
    }

    /// The text that `key` names, its placeholder `name` filled with `value`.
    #[must_use]
    pub fn with(self, key: &str, name: &'static str, value: &str) -> String {
        self.look_up(key, [(name, Value::Words(value))])
    }

    /// As [`Text::with`], for a text with two placeholders.
    #[must_use]
    pub fn with2(
        self,
        key: &str,
        first: &'static str,
        first_value: &str,
        second: &'static str,
        second_value: &str,
    ) -> String {
        self.look_up(key, [(first, Value::Words(first_value)), (second, Value::Words(second_value))])
    }

    /// As [`Text::with`], for a number: the text may choose its wording by it ("1 hour", "24 hours").
    #[must_use]
    pub fn count(self, key: &str, name: &'static str, number: u32) -> String {
        self.look_up(key, [(name, Value::Number(number))])
    }

    fn look_up<'a>(self, key: &str, values: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> String {
        let mut arguments = HashMap::new();
        for (name, value) in values {
            let value = match value {
                Value::Words(words) => words.into(),
                Value::Number(number) => number.into(),
            };
            arguments.insert(Cow::Borrowed(name), value);
        }
        [self.locale.identifier(), &ENGLISH]
            .into_iter()
            .find_map(|language| LOCALES.lookup_single_language(language, key, Some(&arguments)).ok())
            .unwrap_or_else(|| key.to_owned())
    }
}

/// Nothing to fill in.
type Never = (&'static str, Value<'static>);

/// What a placeholder is filled with.
enum Value<'a> {
    Words(&'a str),
    Number(u32),
}

#[cfg(test)]
mod tests;
