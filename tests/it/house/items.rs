//! What must hold for security, item by item, and the tests named after each: `item_13_…`, or `item_12_43_…` for two.

use std::collections::BTreeMap;

use super::files;

/// The numbers are those of the project's list of what must hold.
const ITEMS: [(u16, &str); 20] = [
    (8, "changing the password takes the present one, ends every other session, renews this one, and is told"),
    (13, "guesses are limited for each account, each network and in all, and to a hundred of an account in a row"),
    (14, "a budget is checked and counted as one, and survives a restart"),
    (15, "a budget is of the account, however its address is written"),
    (16, "a success gives back its own budget alone, and an address that nobody has is limited like any other"),
    (18, "nobody can lock the owner of an account out"),
    (19, "a network that goes through many accounts pays more"),
    (20, "a new device, a success after many refusals and every change of a credential are told, once"),
    (31, "mails are limited for each address, each network and in all, and nobody is shown that"),
    (33, "registrations that nobody confirms go, with all that is known of their person"),
    (43, "the state of the mail server and of the broker shows to nobody"),
    (44, "no step can be skipped, whatever is done in whatever order"),
    (45, "guesses at links are limited, and a link that does not work is one link that does not work"),
    (46, "a password that is set by a mail ends every session and every older link, signs nobody in, and is told"),
    (
        48,
        "an address is changed by who shows the password and reads the mail to the new one, and the former one is told",
    ),
    (51, "a session gets another id when its person signs in, shows the password or changes it, and none is adopted"),
    (53, "sessions end unused and in any case, by the server's clock"),
    (55, "whatever ends all sessions ends them within a second on every node"),
    (56, "sessions are seen and ended by their person, and by an operator"),
    (63, "the forms of a session carry its token"),
];

/// The tests of each item, by their names.
fn by_item<'a>(sources: impl Iterator<Item = &'a str>) -> BTreeMap<u16, Vec<&'a str>> {
    let mut found: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for line in sources.flat_map(str::lines) {
        let Some(name) =
            line.trim_start().strip_prefix("async fn item_").or(line.trim_start().strip_prefix("fn item_"))
        else {
            continue;
        };
        let name = name.split('(').next().unwrap();
        for number in name.split('_').map_while(|part| part.parse().ok()) {
            found.entry(number).or_default().push(name);
        }
    }
    found
}

/// The items that no test is named after.
fn without_test(found: &BTreeMap<u16, Vec<&str>>) -> Vec<u16> {
    ITEMS.iter().map(|(number, _)| *number).filter(|number| !found.contains_key(number)).collect()
}

#[test]
fn every_item_has_a_test_that_is_named_after_it() {
    let sources = [files("tests", ".rs"), files("src", ".rs")].concat();
    let found = by_item(sources.iter().map(|(_, text)| text.as_str()));
    assert_eq!(without_test(&found), Vec::<u16>::new());

    let seeded = [
        "    async fn item_12_43_a_story(app: TestApp) {}",
        "fn item_8_a_test() {}",
        "// fn item_13_no_test() {}",
        "fn an_item_14_in_the_midst() {}",
    ];
    let found = by_item(seeded.into_iter());
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), [8, 12, 43], "{found:?}");
    assert_eq!(without_test(&found).len(), ITEMS.len() - 2, "the rule sees what breaks it");
}
