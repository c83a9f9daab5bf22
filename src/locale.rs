//! The languages people are spoken to in, and every text in them.
//!
//! The texts are in `locales/<tag>/main.ftl` (Fluent syntax) and are built into the binary. This module finds the
//! language a request asks for and looks texts up; it knows nothing of pages or mails.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use fluent_langneg::{NegotiationStrategy, convert_vec_str_to_langids_lossy, negotiate_languages};
use fluent_templates::fluent_bundle::FluentValue;
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

    /// The first of these language ranges (RFC 4647) that one of ours matches, or English. "*" is content with the default.
    #[must_use]
    pub fn negotiate<'a>(ranges: impl Iterator<Item = &'a str>) -> Self {
        let requested =
            convert_vec_str_to_langids_lossy(ranges.map(|range| if range == "*" { Self::En.tag() } else { range }));
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

    /// What its speakers call it.
    #[must_use]
    pub fn own_name(self) -> String {
        let t = self.text();
        t.get("language-own-name")
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
        self.look_up(key, &HashMap::new())
    }

    /// The text that `key` names, its placeholders filled. By a number it may choose its wording ("1 hour", "24 hours").
    #[must_use]
    pub fn args<'a>(self, key: &str, values: &[(&'static str, impl Into<Value<'a>> + Copy)]) -> String {
        let arguments = values.iter().map(|&(name, value)| (Cow::Borrowed(name), value.into().0)).collect();
        self.look_up(key, &arguments)
    }

    /// How long something lasts, in the largest unit that leaves nothing over; from three days on in whole days, from two minutes
    /// on in whole minutes.
    #[must_use]
    pub fn span(self, span: Duration) -> String {
        let (t, seconds) = (self, span.as_secs());
        let number = |unit: u64| u32::try_from(seconds / unit).unwrap_or(u32::MAX);
        let is_whole = |unit: u64| seconds >= unit && seconds.is_multiple_of(unit);
        if seconds >= 72 * 3_600 {
            t.args("span-days", &[("number", number(86_400))])
        } else if is_whole(3_600) {
            t.args("span-hours", &[("number", number(3_600))])
        } else if is_whole(60) || seconds >= 120 {
            t.args("span-minutes", &[("number", number(60))])
        } else {
            t.args("span-seconds", &[("number", number(1))])
        }
    }

    /// How long somebody is to wait, never too short: in whole seconds up to two minutes, in whole minutes up to three hours, in whole hours after that.
    #[must_use]
    pub fn wait(self, wait: Duration) -> String {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let unit = match seconds {
            ..120 => 1,
            120..10_800 => 60,
            _ => 3_600,
        };
        self.span(Duration::from_secs(seconds.max(1).div_ceil(unit) * unit))
    }

    fn look_up(self, key: &str, arguments: &HashMap<Cow<'static, str>, FluentValue<'_>>) -> String {
        [self.locale.identifier(), &ENGLISH]
            .into_iter()
            .find_map(|language| LOCALES.lookup_single_language(language, key, Some(arguments)).ok())
            .unwrap_or_else(|| key.to_owned())
    }
}

/// What a placeholder is filled with.
#[derive(Clone, Debug)]
pub struct Value<'a>(FluentValue<'a>);

impl<'a, T: AsRef<str> + ?Sized> From<&'a T> for Value<'a> {
    fn from(text: &'a T) -> Self {
        Value(text.as_ref().into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value(number.into())
    }
}

#[cfg(test)]
mod tests;
