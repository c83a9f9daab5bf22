//! Passwords that many people have chosen, embedded in the binary; `blocklist.md` says where they come from.

use std::cmp::Ordering;

/// One password a line, lower case, sorted by bytes, each line ended by a line feed.
static LIST: &[u8] = include_bytes!("blocklist.txt");

/// Whether `folded`, a password in lower case, is on the list.
///
/// It halves the embedded text itself: nothing is built at start and nothing is allocated, so the list takes up memory
/// only in the pages that a search has touched.
pub(super) fn contains(folded: &str) -> bool {
    let mut rest = LIST;
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

/// Every entry of the list.
#[cfg(test)]
pub(super) fn entries() -> impl Iterator<Item = &'static str> {
    std::str::from_utf8(LIST).expect("the list is UTF-8").lines()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_lower_case_and_ends_its_lines() {
        assert!(entries().is_sorted_by(|a, b| a < b), "sorted by bytes, no entry twice");
        assert!(entries().all(|e| e == e.to_lowercase() && e.trim() == e));
        assert!(LIST.ends_with(b"\n") && !LIST.contains(&b'\r'));
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
