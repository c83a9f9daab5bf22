use proptest::prelude::*;

use super::*;

const NOBODY: Context<'static> = Context { site: "", email: None, name: None };

fn normal(typed: &str) -> String {
    Password::normalise(typed).expect("a usable password").expose().to_owned()
}

fn choose(typed: &str, context: &Context<'_>) -> Result<(), Weakness> {
    Password::choose(typed, DEFAULT_MIN_CODE_POINTS, context).map(drop)
}

/// A seed, printed so that a failure can be repeated, and a die: each call gives a number below the one it gets.
fn dice() -> (u64, impl FnMut(usize) -> usize) {
    let seed = getrandom::u64().expect("randomness");
    println!("seed: {seed}");
    (seed, dice_from(seed))
}

/// splitmix64: every seed, zero too, gives a good sequence.
fn dice_from(mut state: u64) -> impl FnMut(usize) -> usize {
    move |n| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).expect("below a usize")
    }
}

fn printable(n: usize) -> char {
    char::from(b'!' + u8::try_from(n).expect("below 94"))
}

/// The same `code_points` characters in every run, and none that anybody guesses.
fn unguessable(code_points: usize) -> String {
    let mut below = dice_from(0x5eed);
    (0..code_points).map(|_| printable(below(94))).collect()
}

#[test]
fn composed_and_decomposed_forms_and_all_spaces_are_one_password() {
    assert_eq!(normal("Pass\u{2003}wo\u{301}rt\u{3000}Å"), "Pass wórt Å");
    assert_eq!(normal("\u{212b}\u{a0}x"), normal("A\u{30a} x"));
    assert_eq!(normal(" lead and trail "), " lead and trail ", "spaces are significant");
    assert_ne!(normal("Case"), normal("case"));
    assert_ne!(normal("ａ"), normal("a"), "width stays");
    assert_eq!(normal("👩‍👩‍👧❤\u{fe0f}\t\r\n"), "👩‍👩‍👧❤\u{fe0f}\t\r\n", "everything else stays as it is");
}

#[test]
fn empty_nul_and_too_long_are_refused_and_nothing_is_cut() {
    let error = |typed: &str| Password::normalise(typed).err();
    assert_eq!(error(""), Some(PasswordError::Empty));
    assert_eq!(error("before\0after"), Some(PasswordError::Nul));
    assert_eq!(error(&"é".repeat(257)), Some(PasswordError::TooLong));
    assert_eq!(error(&"e\u{301}".repeat(256)), None, "counted in the normal form");
    assert_eq!(error(&"🦀".repeat(256)), None, "256 code points of four bytes are 1,024 bytes");
    assert_eq!(error(&"\u{958}".repeat(256)), Some(PasswordError::TooLong), "NFC makes two code points of each");
    let (mut one, mut other) = (unguessable(255), unguessable(255));
    one.push('a');
    other.push('b');
    assert_ne!(normal(&one), normal(&other));
    assert_eq!(normal(&one), one);
}

#[test]
fn lengths_of_a_new_password_are_counted_in_code_points() {
    let cases = [
        (7, Err(Weakness::TooShort { min: 15 })),
        (14, Err(Weakness::TooShort { min: 15 })),
        (15, Ok(())),
        (64, Ok(())),
        (256, Ok(())),
        (257, Err(Weakness::TooLong)),
    ];
    for (code_points, expected) in cases {
        assert_eq!(choose(&unguessable(code_points), &NOBODY), expected, "{code_points}");
    }
    let umlauts: String = "äöüßéèøåłńčžšőű".chars().collect();
    assert_eq!((umlauts.chars().count(), choose(&umlauts, &NOBODY)), (15, Ok(())));
    assert_eq!(choose("", &NOBODY), Err(Weakness::Missing));
    assert_eq!(choose("has a \0 in its middle", &NOBODY), Err(Weakness::Nul));
}

#[test]
fn the_minimum_is_the_callers() {
    let short = unguessable(8);
    assert!(Password::choose(&short, 8, &NOBODY).is_ok());
    assert_eq!(Password::choose(&short, 9, &NOBODY).err(), Some(Weakness::TooShort { min: 9 }));
    assert_eq!(Password::choose("Password1", 8, &NOBODY).err(), Some(Weakness::Common));
}

#[test]
fn every_common_password_is_refused_in_any_case_and_spacing() {
    for entry in blocklist::entries() {
        let mut spelled = vec![entry.to_owned(), entry.to_uppercase()];
        if !entry.contains(is_separator) {
            spelled.push(entry.split("").collect::<Vec<_>>().join("-"));
        }
        for typed in spelled {
            assert_eq!(Password::choose(&typed, 8, &NOBODY).err(), Some(Weakness::Common), "{typed}");
        }
    }
}

#[test]
fn habits_that_only_look_long_are_refused() {
    let habits = [
        "passwordpassword",
        "Summer2024Summer2024",
        "123456789012345",
        "aaaaaaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "qwertyuiopasdfghjkl",
        "qwertyuiop1234567890",
        "abcdefghijklmnopqrstuvwxyz",
        "P@ssw0rdP@ssw0rd",
        "password12345678",
        "Password20242024",
        "iloveyouiloveyou",
        "1q2w3e4r5t6y7u8i9o0p",
        "1111111111111111",
        "000000000000000000000000000000",
        "monkeymonkeymonkey",
        "adminadminadmin1",
        "letmeinletmein123",
        "P@$$w0rdP@$$w0rd",
        "pa55word|password",
        "Summer 2024 Summer 2024",
        "monkey monkey-monkey",
        "Password, Password!",
    ];
    for typed in habits {
        let refused = choose(typed, &NOBODY);
        assert!(matches!(refused, Err(Weakness::Common | Weakness::Guessable)), "{typed}: {refused:?}");
    }
}

#[test]
fn a_password_made_of_its_site_or_person_is_refused() {
    let email = Address::parse("ada.lovelace@engines.example").expect("an address");
    let name = DisplayName::parse("Ada King-Noël").expect("a name");
    let context = Context { site: "Bellhop", email: Some(&email), name: Some(&name) };
    let made = [
        "BellhopBellhopBellhop",
        "b-e-l-l-h-o-p Bellhop 99",
        "ada.lovelace@engines.example",
        "AdaLovelace2024!!!!",
        "Lovelace-Bellhop-1815",
        "adakingnoël12345",
        "engines-example-ada",
    ];
    for typed in made {
        assert_eq!(choose(typed, &context), Err(Weakness::Context), "{typed}");
    }
    for guessable in ["lovelacelovelacepassword", "ecalevolecalevolecalevol"] {
        let refused = choose(guessable, &context);
        assert!(matches!(refused, Err(Weakness::Context | Weakness::Guessable)), "{guessable}: {refused:?}");
    }
    assert_eq!(choose("bellhop carries lacquered trunks", &context), Ok(()), "one context word among others is fine");
    assert_eq!(choose("ada 7Kq!vR2m#Zp9", &context), Ok(()));
}

#[test]
fn there_are_no_rules_of_composition() {
    for typed in [
        "aaaa bbbb cccc dddd 1",
        "lowercase letters only here",
        "8304 6617 2950 4138",
        "ÀÉÎÕÜ never digits",
        "🦀🌵🎷🧊🪁🛶🥝🗿🎡🧬🪐🦑🍜🎻🧭",
    ] {
        assert_eq!(choose(typed, &NOBODY), Ok(()), "{typed}");
    }
}

#[test]
fn random_passphrases_are_not_refused() {
    const WORDS: &str = "apple anchor autumn badge basket beacon blanket bottle branch bridge bronze button cabin camel candle canyon \
        carbon castle cellar cherry circle clover cobalt copper cotton cradle crystal dagger desert dinner dolphin dragon \
        drawer ember engine falcon feather fiddle forest fossil garden garlic ginger glacier goblet granite hammer harbor \
        hazel helmet hollow honey island ivory jacket jungle kettle kitten ladder lagoon lantern lemon lichen lizard \
        magnet mango marble meadow melon mirror mitten mosaic muffin needle nickel nutmeg ocean olive onion orbit orchid \
        oyster paddle panther parrot pebble pepper pillow planet pocket poplar prairie pumpkin puzzle quartz rabbit \
        raven ribbon river rocket saddle salmon sandal satin shadow shovel silver sparrow spider spruce stable summit \
        tablet teapot temple thimble thunder ticket timber tomato trumpet tulip tunnel turtle umbrella valley velvet violet \
        walnut walrus willow window winter wizard yellow zipper";
    const PHRASES: usize = 1_000;
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let (seed, mut below) = dice();
    // two words of the list at most: of three, too little of a phrase would be left now and then
    let email = Address::parse("silver.fox@zzyzx.example").expect("an address");
    let name = DisplayName::parse("Olive Fox").expect("a name");
    let context = Context { site: "Bellhop", email: Some(&email), name: Some(&name) };
    let mut refused = Vec::new();
    for _ in 0..PHRASES {
        let separator = [" ", "-", ".", ""][below(4)];
        // words that differ: to refuse one that comes twice is no mistake
        let (count, mut picked) = (4 + below(2), Vec::new());
        while picked.len() < count {
            let word = words[below(words.len())];
            if !picked.contains(&word) {
                picked.push(word);
            }
        }
        let phrase = picked.join(separator);
        if let Err(weakness) = choose(&phrase, &context) {
            refused.push((phrase, weakness));
        }
    }
    assert!(refused.len() * 1_000 < PHRASES, "seed {seed}: refused {refused:?}");
}

#[test]
fn random_characters_are_not_refused() {
    let (seed, mut below) = dice();
    for _ in 0..1_000 {
        let typed: String = (0..15 + below(6)).map(|_| printable(below(94))).collect();
        assert_eq!(choose(&typed, &NOBODY), Ok(()), "seed {seed}: {typed}");
    }
}

#[test]
fn debug_shows_nothing_of_a_password() {
    let password = Password::normalise("correct horse").expect("a usable password");
    assert_eq!(format!("{password:?}"), "Password(…)");
}

#[test]
fn hostile_input_cannot_occupy_a_thread() {
    // Found by search: each symbol has several readings as a letter, and zxcvbn alone took 1.7 s for all combinations.
    let hostile =
        "%g1$37l!oc8!@<05x+b<a7a$t|@[g!{<1x{$@1slacc({o5bl1al6cxxco[{|9etz2(%||t9t4i3%8(0aets!0al4ixa1z!0@$ol";
    let longest: String = hostile.chars().cycle().take(MAX_CODE_POINTS).collect();
    let quickest = (0..5)
        .map(|_| {
            let began = std::time::Instant::now();
            assert_eq!(choose(&longest, &NOBODY), Ok(()));
            began.elapsed()
        })
        .min()
        .expect("five tries");
    assert!(quickest < std::time::Duration::from_millis(300), "{quickest:?}");
}

proptest! {
    #[test]
    fn the_normal_form_is_the_same_whichever_form_was_typed(typed in "[\\PC\u{301}\u{a0}\u{3000}가각ﬁÅ]{1,40}") {
        let composed: String = typed.nfc().collect();
        let decomposed: String = typed.nfd().collect();
        prop_assert_eq!(normal(&composed), normal(&decomposed));
        prop_assert_eq!(normal(&normal(&typed)), normal(&typed));
    }

    #[test]
    fn different_characters_stay_different(typed in "[!-~]{1,255}", one in "[!-~]", other in "[!-~]") {
        prop_assume!(one != other);
        prop_assert_ne!(normal(&format!("{typed}{one}")), normal(&format!("{typed}{other}")));
    }

    #[test]
    fn no_input_breaks_the_check(typed in "\\PC{0,120}|[\0-\u{7f}]{0,300}", min in 0_usize..20) {
        if let Ok(password) = Password::choose(&typed, min, &NOBODY) {
            prop_assert!(password.expose().chars().count() >= min);
        }
    }
}

/// F20.
#[test]
fn an_example_that_everybody_has_read_is_common_however_it_is_spelled() {
    let context = Context { site: "Bellhop", email: None, name: None };
    for famous in [
        "correct horse battery staple",
        "CorrectHorseBatteryStaple",
        "correct-horse-battery-staple",
        "Correct Horse, Battery Staple!",
        "The quick brown fox jumps over the lazy dog.",
        "to be, or not to be: that is the question",
    ] {
        assert_eq!(Password::choose(famous, 15, &context).map(|_| ()), Err(Weakness::Common), "{famous}");
    }
}
