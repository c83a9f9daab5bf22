//! The local mailbox: where mails go while no mail server is configured.
//!
//! A mail is two files. `<id>.eml` is the message as a server would have received it, for any mail program; `<id>.json` is
//! a [`StoredMail`] for our own pages, and its appearance puts the mail into the list. Both are renamed into place, so a
//! process that dies leaves a mail whole or absent. The id encodes time, recipient and message: listing for one address
//! reads no other mail.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::health::{Health, HealthRecord};
use super::message::{Mail, Sender, body, build, printable_subject};
use super::outcome::{Class, Handover, Receipt, SendError, Trouble, reply_text};
use crate::clock::{Clock, Timestamp};

/// Mails in one listing.
const MAX_LISTED: usize = 200;

/// A mail in the local mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredMail {
    /// Sorts by time of arrival.
    pub id: String,
    /// The recipient's address.
    pub to: String,
    /// The subject, decoded.
    pub subject: String,
    /// The text body, `\n` line ends.
    pub text: String,
    /// The HTML body.
    pub html: String,
    /// When it was put here.
    pub received_at: Timestamp,
}

/// A folder of mails. Clones share it.
#[derive(Clone)]
pub struct Mailbox {
    folder: Arc<Folder>,
    sender: Sender,
    clock: Clock,
}

struct Folder {
    path: PathBuf,
    /// Hashes of the Message-IDs that are here. Held while a mail is written, so that a second delivery of the same one
    /// does not report success before the first has it.
    known: Mutex<HashSet<String>>,
    health: HealthRecord,
}

impl Mailbox {
    /// Opens the folder, making it if need be: mails hold sign-in links, so only our user may read it (0700, files 0600).
    ///
    /// # Errors
    ///
    /// The folder cannot be made or read.
    pub fn open(path: &Path, sender: Sender, clock: Clock) -> anyhow::Result<Self> {
        let open = || -> io::Result<Folder> {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
            let known = ids(path)?.iter().filter_map(|id| message_part(id)).map(ToOwned::to_owned).collect();
            Ok(Folder { path: path.to_owned(), known: Mutex::new(known), health: HealthRecord::default() })
        };
        let folder = open().with_context(|| format!("cannot use {} as the local mailbox", path.display()))?;
        Ok(Self { folder: Arc::new(folder), sender, clock })
    }

    /// Puts a mail into the folder, once per Message-ID; one that is kept back is written and removed. Survives the death of
    /// any process, not a power cut.
    ///
    /// # Errors
    ///
    /// [`SendError::Temporary`] if the file system refuses, [`SendError::Rejected`] if the address is none.
    pub async fn send(&self, mail: &Mail, handover: Handover) -> Result<Receipt, SendError> {
        let now = self.clock.now();
        let built = build(mail, &self.sender, now)?;
        let (to, message) = (to_hash(&mail.to), hash(&built.message_id, 8));
        let stored = StoredMail {
            id: format!("{}-{to}-{message}", self.clock.new_id().simple()),
            to: mail.to.clone(),
            subject: printable_subject(&mail.subject),
            text: body(&mail.text),
            html: body(&mail.html),
            received_at: now,
        };
        let folder = self.folder.clone();
        let kept = spawn_blocking(move || match handover {
            Handover::Whole => folder.keep(&stored, &built.raw, message),
            Handover::KeptBack => folder.keep_back(&stored, &built.raw),
        });
        let kept = kept.await;
        match kept.map_err(io::Error::other).flatten() {
            Ok(response) => {
                self.folder.health.worked(now);
                Ok(Receipt { response: response.to_owned() })
            }
            Err(error) => {
                let text = reply_text(&format!("the local mailbox: {error}"));
                self.folder.health.failed(now, &text);
                Err(SendError::Temporary(Trouble::without_reply(Class::Server, text)))
            }
        }
    }

    /// The newest mails first, at most 200, of everybody or of one address in any case.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub async fn list(&self, to: Option<&str>) -> anyhow::Result<Vec<StoredMail>> {
        let (folder, to) = (self.folder.clone(), to.map(to_hash));
        spawn_blocking(move || folder.list(to.as_deref())).await?.context("cannot read the local mailbox")
    }

    /// One mail; none if there is no such id or it is not an id at all.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read.
    pub async fn get(&self, id: &str) -> anyhow::Result<Option<StoredMail>> {
        if !is_id(id) {
            return Ok(None);
        }
        let (folder, id) = (self.folder.clone(), id.to_owned());
        spawn_blocking(move || folder.get(&id)).await?.context("cannot read a mail of the local mailbox")
    }

    /// How the last delivery went.
    #[must_use]
    pub fn health(&self) -> Health {
        self.folder.health.get()
    }

    /// Where the mails are, for the start-up lines.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("local mailbox in {}", self.folder.path.display())
    }
}

impl Folder {
    fn keep(&self, stored: &StoredMail, raw: &[u8], message: String) -> io::Result<&'static str> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&message) {
            return Ok("already in the local mailbox");
        }
        self.put(&stored.id, "eml", raw)?;
        self.put(&stored.id, "json", &serde_json::to_vec(stored)?)?;
        known.insert(message);
        Ok("kept in the local mailbox")
    }

    fn keep_back(&self, stored: &StoredMail, raw: &[u8]) -> io::Result<&'static str> {
        let unfinished = self.path.join(format!(".{}.back", stored.id));
        let written = fs::write(&unfinished, raw);
        let removed = fs::remove_file(&unfinished);
        written.and(removed).map(|()| "kept back")
    }

    fn put(&self, id: &str, kind: &str, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.path.join(format!(".{id}.{kind}"));
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&unfinished, self.path.join(format!("{id}.{kind}"))));
        if written.is_err() {
            // Of a full disk the first error is the one to tell.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn list(&self, to: Option<&str>) -> io::Result<Vec<StoredMail>> {
        let mut ids = ids(&self.path)?;
        ids.retain(|id| to.is_none() || to_part(id) == to);
        ids.sort_unstable();
        // Two processes that deliver one mail at the same moment do not see each other: the first copy counts.
        let mut seen = HashSet::new();
        ids.retain(|id| message_part(id).is_some_and(|message| seen.insert(message.to_owned())));
        let newest = ids.iter().rev().take(MAX_LISTED);
        newest.filter_map(|id| self.get(id).transpose()).collect()
    }

    fn get(&self, id: &str) -> io::Result<Option<StoredMail>> {
        match fs::read(self.path.join(format!("{id}.json"))) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The ids of all finished mails, in no order; what else lies in the folder is passed over.
fn ids(path: &Path) -> io::Result<Vec<String>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".json"))
            && is_id(id)
        {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

/// 32, 8 and 16 hexadecimal digits: time, recipient, message. Nothing of that shape leaves the folder.
fn is_id(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([32, 8, 16]) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'))
}

fn to_part(id: &str) -> Option<&str> {
    id.split('-').nth(1)
}

fn message_part(id: &str) -> Option<&str> {
    id.split('-').nth(2)
}

fn to_hash(address: &str) -> String {
    hash(&address.trim().to_ascii_lowercase(), 4)
}

/// The first `bytes` of the text's SHA-256, hexadecimal.
fn hash(text: &str, bytes: usize) -> String {
    let digest = Sha256::digest(text);
    digest
        .iter()
        .take(bytes)
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|n| char::from_digit(n.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mail(to: &str, message_id: &str) -> Mail {
        Mail {
            to: to.into(),
            to_name: None,
            subject: "请确认".into(),
            text: "Hello\nhttp://localhost/confirm?token=x".into(),
            html: "<p>Hello</p>".into(),
            message_id: message_id.into(),
            language: "zh-CN",
        }
    }

    fn open(path: &Path) -> Mailbox {
        Mailbox::open(path, Sender::parse("Bellhop <no-reply@localhost>").unwrap(), Clock::default()).unwrap()
    }

    fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
        let all = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
    }

    #[tokio::test]
    async fn mails_are_listed_newest_first_and_by_address_in_any_case() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = open(folder.path());
        let before = mailbox.clock.now();
        for (to, id) in [("ada@example.org", "1@a"), ("bob@example.org", "2@a"), ("Ada@example.org", "3@a")] {
            mailbox.send(&mail(to, id), Handover::Whole).await.unwrap();
            mailbox.clock.advance(Duration::from_secs(1));
        }
        let all = mailbox.list(None).await.unwrap();
        let to: Vec<&str> = all.iter().map(|mail| mail.to.as_str()).collect();
        assert_eq!(to, ["Ada@example.org", "bob@example.org", "ada@example.org"]);
        assert!(all[2].received_at >= before && all[1].received_at > all[2].received_at);
        assert_eq!(all[0].subject, "请确认");
        assert_eq!(all[0].text, "Hello\nhttp://localhost/confirm?token=x");
        assert_eq!(all[0].html, "<p>Hello</p>");
        assert_eq!(mailbox.list(Some("ADA@example.org")).await.unwrap().len(), 2);
        assert!(mailbox.list(Some("eve@example.org")).await.unwrap().is_empty());
        assert_eq!(mailbox.get(&all[1].id).await.unwrap().as_ref(), Some(&all[1]));
        assert!(matches!(mailbox.health(), Health::Working { .. }));
    }

    #[tokio::test]
    async fn the_same_message_id_is_kept_once_also_after_a_restart_and_from_two_processes() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (open(folder.path()), open(folder.path()));
        let mail = mail("ada@example.org", "<1.confirmation@a>");
        let (first, second) = tokio::join!(one.send(&mail, Handover::Whole), one.send(&mail, Handover::Whole));
        let mut responses = [first.unwrap().response, second.unwrap().response];
        responses.sort_unstable();
        assert_eq!(responses, ["already in the local mailbox", "kept in the local mailbox"]);
        assert_eq!(
            open(folder.path()).send(&mail, Handover::Whole).await.unwrap().response,
            "already in the local mailbox"
        );
        let first = one.list(None).await.unwrap();
        assert_eq!(first.len(), 1);
        other.send(&mail, Handover::Whole).await.unwrap();
        assert_eq!(files(folder.path(), ".json").len(), 2, "the other process could not know");
        assert_eq!(other.list(None).await.unwrap(), first);
    }

    #[tokio::test]
    async fn only_our_user_can_read_the_mails_and_they_open_in_a_mail_program() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("data/mailbox");
        let mailbox = open(&folder);
        mailbox.send(&mail("ada@example.org", "1@a"), Handover::Whole).await.unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let (messages, all) = (files(&folder, ".eml"), files(&folder, ""));
        assert_eq!((messages.len(), all.len()), (1, 2));
        for file in all {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let raw = fs::read_to_string(&messages[0]).unwrap();
        assert!(raw.contains("Message-ID: <1@a>\r\n") && raw.contains("To: ada@example.org\r\n"), "{raw}");
    }

    #[tokio::test]
    async fn an_id_never_leads_out_of_the_folder() {
        let parent = tempfile::tempdir().unwrap();
        let mailbox = open(&parent.path().join("mailbox"));
        mailbox.send(&mail("ada@example.org", "1@a"), Handover::Whole).await.unwrap();
        let id = mailbox.list(None).await.unwrap().remove(0).id;
        fs::copy(parent.path().join(format!("mailbox/{id}.json")), parent.path().join("secret.json")).unwrap();
        let outside = parent.path().join("secret");
        for id in [
            "../secret",
            outside.to_str().unwrap(),
            "",
            ".",
            "..",
            &format!("{id}/"),
            &id.to_uppercase(),
            &format!("./{id}"),
        ] {
            assert_eq!(mailbox.get(id).await.unwrap(), None, "{id}");
        }
        let unknown = format!("{}-{}-{}", "0".repeat(32), "0".repeat(8), "0".repeat(16));
        assert_eq!(mailbox.get(&unknown).await.unwrap(), None);
    }

    #[tokio::test]
    async fn half_written_and_foreign_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = open(folder.path());
        mailbox.send(&mail("ada@example.org", "1@a"), Handover::Whole).await.unwrap();
        let id = mailbox.list(None).await.unwrap().remove(0).id;
        fs::write(folder.path().join(format!(".{id}.json")), "{").unwrap();
        fs::write(folder.path().join("notes.json"), "{").unwrap();
        assert_eq!(mailbox.list(None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_folder_that_went_away_is_a_temporary_error_and_the_mail_can_come_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("mailbox");
        let mailbox = open(&folder);
        let mail = mail("ada@example.org", "1@a");
        fs::remove_dir(&folder).unwrap();
        assert!(matches!(mailbox.send(&mail, Handover::Whole).await, Err(SendError::Temporary(_))));
        assert!(matches!(mailbox.health(), Health::Failing { .. }));
        fs::create_dir(&folder).unwrap();
        assert_eq!(mailbox.send(&mail, Handover::Whole).await.unwrap().response, "kept in the local mailbox");
    }

    #[tokio::test]
    async fn a_listing_is_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = open(folder.path());
        for n in 0..=MAX_LISTED {
            mailbox.send(&mail("ada@example.org", &format!("{n}@a")), Handover::Whole).await.unwrap();
        }
        let listed = mailbox.list(None).await.unwrap();
        assert_eq!(listed.len(), MAX_LISTED);
        assert!(listed.is_sorted_by(|newer, older| newer.id > older.id));
    }
}
