//! Passwords that many people have chosen, and those that everybody has read as an example of a good one, embedded in the
//! binary; `blocklist.md` says where they come from.

use std::cmp::Ordering;

/// One password a line, lower case, sorted by bytes, each line ended by a line feed.
static LIST: &[u8] = include_bytes!("blocklist.txt");

/// Famous examples and lines, likewise, without spaces and punctuation.
static FAMOUS: &[u8] = include_bytes!("famous.txt");

/// Whether `folded`, a password in lower case, is on one of the lists.
pub(super) fn contains(folded: &str) -> bool {
    is_in(LIST, folded) || is_in(FAMOUS, folded)
}

/// It halves the embedded text itself: nothing is built at start and nothing is allocated, so the list takes up memory
/// only in the pages that a search has touched.
fn is_in(list: &'static [u8], folded: &str) -> bool {
    let mut rest = list;
    while !rest.is_empty() {
        let middle = rest.len() / 2;
        let start = rest.iter().take(middle).rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let end = rest.iter().skip(middle).position(|&b| b == b'\n').map_or(rest.len(), |bytes| middle + bytes);
        let line = rest.get(start..end).unwrap_or_default();
        rest = match folded.as_bytes().cmp(line) {
            Ordering::Equal => return true,
            Ordering::Less => rest.get(..start).unwrap_or_default(),
            Ordering::Greater => rest.get(end + 1..).unwrap_or_default(),
        };
    }
    false
}

/// Every entry of the list of what many people have chosen.
#[cfg(test)]
pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    std::str::from_utf8(LIST).expect("the list is UTF-8").lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_lower_case_and_end_their_lines() {
        for list in [LIST, FAMOUS] {
            let entries = || std::str::from_utf8(list).unwrap().lines();
            assert!(entries().is_sorted_by(|a, b| a < b), "sorted by bytes, no entry twice");
            assert!(entries().all(|e| e == e.to_lowercase() && e.trim() == e));
            assert!(list.ends_with(b"\n") && !list.contains(&b'\r'));
        }
        let famous = std::str::from_utf8(FAMOUS).unwrap();
        assert!(!famous.contains(|c: char| c.is_ascii_punctuation() || c == ' '), "as they are compared");
    }

    #[test]
    fn the_list_has_the_three_thousand_most_common_of_either_length_policy() {
        let long = entries().filter(|e| e.chars().count() >= 15).count();
        let short = entries().filter(|e| (8..15).contains(&e.chars().count())).count();
        assert!(long >= 3_000, "{long} with 15 code points or more");
        assert!(short >= 3_000, "{short} with 8 to 14 code points");
    }

    #[test]
    fn every_entry_is_found_and_its_neighbours_are_not() {
        for entry in entries() {
            assert!(contains(entry), "{entry}");
            assert!(!contains(&format!("{entry}\u{1}")), "{entry} and more");
        }
        for absent in ["", "\n", "\u{1}", "~~~~~~~~~~~~~~~~", "passwordpasswor", "correct staple horse battery"] {
            assert!(!contains(absent), "{absent:?}");
        }
    }
}
