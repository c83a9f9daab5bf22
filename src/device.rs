//! A program's name and its system in words, from the `User-Agent` it sends.
//!
//! A table of our own: the crates that know every program bring thousands of patterns that nobody keeps any more, and people
//! recognise their browser and their system.

use crate::locale::Text;

/// How much of an unknown user agent is shown, in characters.
const MAX_AGENT_CHARS: usize = 40;

/// Marks of browsers in a user agent, and their names. The order matters: most browsers also claim to be those below.
const BROWSERS: [(&str, &str); 13] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("MicroMessenger/", "WeChat"),
    ("YaBrowser/", "Yandex Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Headless Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks of systems, likewise: Android says Linux too, an iPhone says Mac OS X too.
const SYSTEMS: [(&str, &str); 9] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("HarmonyOS", "HarmonyOS"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
    ("BSD", "BSD"),
];

/// A user agent in a few words ("Chrome on Linux"). One that names no browser of ours is shown itself, shortened, for a
/// program's own name says more than a guess; without one, "unknown device".
#[must_use]
pub fn words(t: Text, user_agent: &str) -> String {
    named(t, user_agent).unwrap_or_else(|| {
        let shown: String = user_agent.trim().chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
        if shown.is_empty() {
            t.get("device-unknown")
        } else if user_agent.trim().chars().count() > MAX_AGENT_CHARS {
            format!("{shown}…")
        } else {
            shown
        }
    })
}

/// The same without anything that the program says of itself but names that we know: for mails, where a stranger's words must not
/// stand.
#[must_use]
pub fn named(t: Text, user_agent: &str) -> Option<String> {
    let found = |marks: &[(&'static str, &'static str)]| {
        marks.iter().find(|(mark, _)| user_agent.contains(mark)).map(|(_, name)| *name)
    };
    match (found(&BROWSERS), found(&SYSTEMS)) {
        (Some(browser), Some(system)) => Some(t.args("device-on", &[("browser", browser), ("system", system)])),
        (browser, _) => browser.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locale::Locale;

    #[test]
    fn a_device_is_named_by_browser_and_system() {
        let t = Locale::En.text();
        for (agent, expected) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36 Edg/156.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_1) AppleWebKit/605.1.15 Version/19.0 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (Linux; Android 16; Pixel 9) AppleWebKit/537.36 Chrome/156.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) CriOS/156.0 Mobile Safari/604.1",
                "Chrome on iPhone",
            ),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Gecko/20100101 Firefox/150.0", "Firefox on Linux"),
            ("curl/8.14.1", "curl/8.14.1"),
            ("  ", "Unknown device"),
            ("\u{7}\r\n", "Unknown device"),
        ] {
            assert_eq!(words(t, agent), expected, "{agent}");
        }
        let long = words(t, &"agent ".repeat(50));
        assert!(long.ends_with('…') && long.chars().count() == 41, "{long}");
        assert_eq!(words(Locale::ZhCn.text(), "Firefox/150.0 (X11; Linux)"), "Linux 上的 Firefox");
    }
}
