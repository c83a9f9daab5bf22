//! Secrets that can be recognised, and a search for them in every file under a folder, however they are written.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// A secret and the forms it may hide in.
#[derive(Clone, Debug)]
pub struct Canary {
    pub name: String,
    forms: Vec<(&'static str, Vec<u8>)>,
}

impl Canary {
    /// A text.
    pub fn text(name: &str, text: &str) -> Self {
        let escaped: String = form_urlencoded(text);
        let mut forms = vec![
            ("percent", escaped.into_bytes()),
            ("all percent", text.bytes().fold(String::new(), |out, byte| out + &format!("%{byte:02X}")).into_bytes()),
            ("UTF-16LE", text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
            ("UTF-16BE", text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        ];
        forms.extend(of_bytes(text.as_bytes()));
        Self { name: name.to_owned(), forms }
    }

    /// A token of ours: its text, and the bytes that it stands for.
    pub fn token(name: &str, token: &str) -> Self {
        let mut canary = Self::text(name, token);
        let bytes = URL_SAFE_NO_PAD.decode(token).expect("base64url");
        // its last 32 bytes are the secret ones; a registration's id before them is none
        canary.forms.extend(of_bytes(&bytes[bytes.len() - 32..]));
        canary
    }

    /// The forms in which it is in these bytes.
    pub fn in_bytes(&self, bytes: &[u8]) -> Vec<&'static str> {
        let found = self.forms.iter().filter(|(_, form)| memmem::find(bytes, form).is_some());
        found.map(|(name, _)| *name).collect()
    }
}

/// Each canary that is in a file of this folder, with the file and the form. Folders named `except` are passed over.
pub fn sweep(folder: &Path, canaries: &[Canary], except: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in files(folder, except) {
        // a server may remove its file while we look
        let Ok(bytes) = std::fs::read(&file) else { continue };
        for canary in canaries {
            for form in canary.in_bytes(&bytes) {
                found.push(format!("{} as {form} in {}", canary.name, file.display()));
            }
        }
    }
    found
}

/// Every file below.
pub fn files(folder: &Path, except: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.filter_map(Result::ok) {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && entry.file_name() != except => found.extend(files(&entry.path(), except)),
            Ok(kind) if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

fn of_bytes(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex = bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    });
    let decimal = bytes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut forms = vec![
        ("decimal", decimal.into_bytes()),
        ("raw", bytes.to_vec()),
        ("HEX", hex.to_uppercase().into_bytes()),
        ("hex", hex.into_bytes()),
    ];
    for before in 0..3 {
        // wherever it begins in what was encoded: only the digits that depend on nothing beside it
        let padded = [vec![0; before], bytes.to_vec()].concat();
        let (from, to) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        forms.push(("base64", STANDARD_NO_PAD.encode(&padded).as_bytes()[from..to].to_vec()));
        forms.push(("base64url", URL_SAFE_NO_PAD.encode(&padded).as_bytes()[from..to].to_vec()));
    }
    forms
}

fn form_urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[test]
fn a_canary_is_found_however_it_is_written() {
    let secret = "kestrel ü+?/ 93";
    let canary = Canary::text("password", secret);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let around = format!("a{secret}bc");
    for written in [
        secret.as_bytes().to_vec(),
        hex(secret.as_bytes()).into_bytes(),
        hex(secret.as_bytes()).to_uppercase().into_bytes(),
        STANDARD_NO_PAD.encode(&around).into_bytes(),
        STANDARD_NO_PAD.encode(format!("a{around}")).into_bytes(),
        URL_SAFE_NO_PAD.encode(format!("aa{around}")).into_bytes(),
        b"password=kestrel+%C3%BC%2B%3F%2F+93&".to_vec(),
        around.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        around.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    ] {
        let file = [b"before\xff".to_vec(), written.clone(), b"\0after".to_vec()].concat();
        assert!(!canary.in_bytes(&file).is_empty(), "{}", String::from_utf8_lossy(&written));
    }
    assert!(canary.in_bytes(b"kestrel kestrel u+?/ 93").is_empty());
    let token = URL_SAFE_NO_PAD.encode([7; 49]);
    assert!(!Canary::token("token", &token).in_bytes(&[7; 32]).is_empty());
}
