//! What a request would rather have: `Accept` and `Accept-Language`, which are lists with weights (RFC 9110 section 12.4.2).

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderValue};

use crate::http::cookies::Cookie;
use crate::locale::Locale;

/// How many entries of a list are looked at; browsers send a handful.
const MAX_ENTRIES: usize = 32;

/// The entries of a list with their weights in thousandths. What cannot be read is passed over.
fn weighted(list: &str) -> impl Iterator<Item = (&str, u16)> {
    list.split(',').take(MAX_ENTRIES).filter_map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let value = parts.next().filter(|value| !value.is_empty())?;
        let is_weight = |(name, _): &(&str, &str)| name.trim().eq_ignore_ascii_case("q");
        let weight = match parts.filter_map(|parameter| parameter.split_once('=')).find(is_weight) {
            None => 1_000,
            Some((_, weight)) => thousandths(weight.trim())?,
        };
        Some((value, weight))
    })
}

/// A weight (`0`, `0.85`, `1.000`) in thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let fraction: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1_000),
        _ => None,
    }
}

/// Whether JSON is wanted more than HTML (RFC 9110 section 12.5.1). `*/*` says nothing either way.
pub(in crate::http) fn prefers_json(headers: &HeaderMap) -> bool {
    let (mut json, mut html) = (0, 0);
    for list in headers.get_all(ACCEPT).iter().filter_map(|list| list.to_str().ok()) {
        for (kind, weight) in weighted(list) {
            match kind.to_ascii_lowercase().as_str() {
                "text/html" | "application/xhtml+xml" => html = html.max(weight),
                "application/json" | "application/problem+json" => json = json.max(weight),
                _ => {}
            }
        }
    }
    json > html
}

/// The language that was chosen in this browser.
pub(in crate::http) fn chosen_locale(headers: &HeaderMap) -> Option<Locale> {
    // its name is the same over https
    Cookie::Language.read(headers, true).and_then(Locale::from_tag)
}

/// The best of our languages for a request (RFC 9110 section 12.5.4): by weight, the earlier one if two weigh the same.
pub(in crate::http) fn locale(accept_language: Option<&HeaderValue>) -> Locale {
    let list = accept_language.and_then(|list| std::str::from_utf8(list.as_bytes()).ok());
    let mut ranges: Vec<(&str, u16)> = weighted(list.unwrap_or_default()).filter(|(_, weight)| *weight > 0).collect();
    ranges.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
    Locale::negotiate(ranges.into_iter().map(|(range, _)| range))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(accept: &str) -> bool {
        prefers_json(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]))
    }

    fn language(list: &str) -> Locale {
        locale(Some(&HeaderValue::from_str(list).unwrap()))
    }

    #[test]
    fn those_who_rather_have_json_get_json() {
        for list in ["application/json", "Application/JSON;q=0.5", "text/html;q=0.5, application/problem+json;q=0.9"] {
            assert!(json(list), "{list}");
        }
        for list in [
            "*/*",
            "",
            "text/html",
            "text/html, application/json",
            "application/json;q=x",
            "application/json;q=NaN",
            ";;,",
        ] {
            assert!(!json(list), "{list}");
        }
        assert!(!prefers_json(&HeaderMap::new()));
    }

    #[test]
    fn the_language_with_the_highest_weight_wins() {
        assert_eq!(locale(None), Locale::En);
        for (list, expected) in [
            ("", Locale::En),
            ("zh", Locale::ZhCn),
            ("zh-CN,zh;q=0.9,en;q=0.8", Locale::ZhCn),
            ("en-GB,zh;q=0.9", Locale::En),
            ("en;q=0.2, zh;q=0.9", Locale::ZhCn),
            ("en;q=0.900,zh;q=0.901", Locale::ZhCn),
            ("de-DE,de;q=0.9,zh;q=0.1", Locale::ZhCn),
            ("zh;q=0, en;q=0.1", Locale::En),
            ("zh;q=0", Locale::En),
            ("*, zh;q=0.5", Locale::En),
            ("zh, *;q=0.5", Locale::ZhCn),
            ("zh;q=2, en;q=0.1", Locale::En),
            ("zh;q=abc, en;q=0.1", Locale::En),
            (";;,,=;q, zh ; Q = 0.7", Locale::ZhCn),
        ] {
            assert_eq!(language(list), expected, "{list:?}");
        }
    }

    proptest! {
        #[test]
        fn no_list_makes_it_panic(list in "[ -~]*|[a-z*,;=q.0-9 -]{0,200}") {
            let _ = (language(&list), json(&list));
        }
    }
}
