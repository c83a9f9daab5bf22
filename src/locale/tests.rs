use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn root() -> &'static Path {
    Path::new(".")
}

/// Keys of a language's file, each with the names of its placeholders.
fn catalogue(locale: Locale) -> BTreeMap<String, BTreeSet<String>> {
    let path = root().join("locales").join(locale.tag()).join("main.ftl");
    let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        if line.starts_with(|first: char| first.is_ascii_alphabetic()) {
            current = line.split(" =").next().unwrap().to_owned();
            assert!(keys.insert(current.clone(), BTreeSet::new()).is_none(), "{current} stands twice in {locale}");
        }
        for rest in line.split('$').skip(1) {
            let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            keys.get_mut(&current).unwrap().insert(name);
        }
    }
    keys
}

fn files_under(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files_under(&path, found) } else { found.push(path) }
    }
}

/// Every key that templates and code look up by a literal, with the file that does.
fn keys_in_use() -> Vec<(String, PathBuf)> {
    let mut files = Vec::new();
    files_under(&root().join("templates"), &mut files);
    files_under(&root().join("src/http"), &mut files);
    files_under(&root().join("src/listeners"), &mut files);
    files.extend(["src/locale.rs", "src/device.rs"].map(|file| root().join(file)));
    let mut found = Vec::new();
    for file in files {
        let content = fs::read_to_string(&file).unwrap();
        for form in ["t.get(\"", "t.args(\""] {
            for rest in content.split(form).skip(1) {
                found.push((rest.split('"').next().unwrap().to_owned(), file.clone()));
            }
        }
    }
    found
}

#[test]
fn both_languages_have_the_same_keys_and_placeholders() {
    assert_eq!(catalogue(Locale::En), catalogue(Locale::ZhCn));
}

#[test]
fn every_key_in_use_exists_and_formats_in_both_languages() {
    let keys = keys_in_use();
    assert!(keys.len() > 50, "the scan finds the look-ups");
    for (key, file) in keys {
        assert!(catalogue(Locale::En).contains_key(&key), "{} asks for {key:?}", file.display());
    }
    for locale in Locale::ALL {
        for (key, placeholders) in catalogue(locale) {
            // numbers fit every placeholder: plain ones show them, plural ones choose by them
            let fills = !placeholders.is_empty();
            let values = placeholders.into_iter().map(|name| (Cow::Owned(name), FluentValue::from(2))).collect();
            let text = locale.text().look_up(&key, &values);
            assert_ne!(text, key, "{key} in {locale}");
            assert!(!text.contains(['{', '}', '\u{2068}']), "{key} in {locale}: {text}");
            assert!(!fills || text.contains('2'), "{key} in {locale} drops its value: {text}");
        }
    }
}

#[test]
fn every_key_of_the_catalogue_is_looked_up_somewhere() {
    let used: BTreeSet<String> = keys_in_use().into_iter().map(|(key, _)| key).collect();
    for key in catalogue(Locale::En).into_keys() {
        // one per status, chosen by number
        let by_status = key.starts_with("problem-") && key.split('-').nth(1).unwrap().parse::<u16>().is_ok();
        // messages of form mistakes: the use cases name them
        let mistake = key.starts_with("mistake-");
        assert!(by_status || mistake || used.contains(&key), "nothing says {key}");
    }
}

#[test]
fn an_unknown_key_stands_for_itself() {
    assert_eq!(Locale::ZhCn.text().get("no-such-key"), "no-such-key");
}

#[test]
fn a_value_is_taken_as_it_is() {
    let text = Locale::En.text().args("mail-greeting", &[("name", "{ $x } <b>\u{202e}007")]);
    assert!(text.contains("{ $x } <b>\u{202e}007"), "{text}");
}

#[test]
fn the_first_range_that_one_of_ours_matches_is_taken() {
    for (ranges, expected) in [
        (&[][..], Locale::En),
        (&["zh"], Locale::ZhCn),
        (&["zh-CN"], Locale::ZhCn),
        (&["ZH-cn"], Locale::ZhCn),
        (&["zh-Hans"], Locale::ZhCn),
        (&["zh-Hans-SG"], Locale::ZhCn),
        (&["zh-SG"], Locale::ZhCn),
        (&["zh-TW"], Locale::ZhCn),
        (&["zh-Hant-HK"], Locale::ZhCn),
        (&["de", "fr"], Locale::En),
        (&["de", "zh"], Locale::ZhCn),
        (&["*", "zh"], Locale::En),
        (&["", "=", "zh"], Locale::ZhCn),
    ] {
        assert_eq!(Locale::negotiate(ranges.iter().copied()), expected, "{ranges:?}");
    }
}

#[test]
fn a_tag_names_its_language_and_nothing_else_does() {
    for locale in Locale::ALL {
        assert_eq!(Locale::from_tag(&locale.to_string()), Some(locale));
    }
    assert_eq!(Locale::from_tag("zh"), None);
}

#[test]
fn a_span_is_said_in_its_unit() {
    for (seconds, english, chinese) in [
        (1, "1 second", "1 秒"),
        (90, "90 seconds", "90 秒"),
        (60, "1 minute", "1 分钟"),
        (1_800, "30 minutes", "30 分钟"),
        (3_601, "60 minutes", "60 分钟"),
        (3_600, "1 hour", "1 小时"),
        (86_400, "24 hours", "24 小时"),
        (259_200, "3 days", "3 天"),
        (1_209_600, "14 days", "14 天"),
    ] {
        let span = Duration::from_secs(seconds);
        assert_eq!(
            (Locale::En.text().span(span).as_str(), Locale::ZhCn.text().span(span).as_str()),
            (english, chinese)
        );
    }
}
