//! What is owed: mails that were accepted, and what is due when time has passed.

use bellhop::clock::Timestamp;

use super::{FAILURES_WITHIN, Intent, Link, Model, Owed, PRESSED_AGAIN, Registration, Reset, WARNED};

impl Model {
    /// Every mail that was accepted has gone: which must have come, each once.
    pub fn delivered(&mut self, now: Timestamp) -> Vec<Owed> {
        let intents = std::mem::take(&mut self.intents);
        intents.into_iter().filter_map(|intent| self.goes(intent, now)).collect()
    }

    /// The mail server took none of them: links that somebody may have from before live as if it had, and what is of no use
    /// any more is dropped.
    pub fn tried_in_vain(&mut self, now: Timestamp) {
        let intents = std::mem::take(&mut self.intents);
        self.intents = intents.into_iter().filter(|intent| self.goes(*intent, now).is_some()).collect();
    }

    fn goes(&mut self, intent: Intent, now: Timestamp) -> Option<Owed> {
        match intent {
            Intent::Confirmation { registration, mail } => {
                let row = &self.registrations[registration];
                if row.gone || row.user.is_some() || row.mails != mail {
                    return None;
                }
                let address = row.address;
                self.opens(registration, now);
                let due = now + self.lifetimes.reminder_after;
                self.registrations[registration].reminder.get_or_insert(due);
                if self.owner(address).is_some() {
                    return Some(Owed { template: "already_registered", to: address, link: None });
                }
                Some(self.confirmation("confirmation", registration))
            }
            Intent::Reset(reset) => {
                let Reset { id, address, gone, .. } = self.resets[reset];
                if gone {
                    return None;
                }
                let owner = self.owner(address);
                let until = now + self.lifetimes.reset;
                self.resets[reset].link_until = until;
                self.resets[reset].is_open = true;
                self.resets[reset].ends = self.resets[reset].ends.max(until);
                self.resets[reset].replaces = owner.map(|user| (user, self.users[user].set));
                if owner.is_some() {
                    let link = Some((Link::Reset(reset), id));
                    return Some(Owed { template: "password_reset", to: address, link });
                }
                let waits =
                    |row: &Registration| row.address == address && row.user.is_none() && !row.gone && now < row.ends;
                if let Some(registration) = self.registrations.iter().rposition(waits) {
                    self.opens(registration, now);
                    return Some(self.confirmation("confirmation", registration));
                }
                Some(Owed { template: "no_account", to: address, link: None })
            }
            Intent::PasswordChanged(user) => self.told(user, "password_changed", None),
            Intent::Change(change) => {
                let row = &self.changes[change];
                if row.gone || row.confirmed {
                    return None;
                }
                let (to, until) = (row.to, now + self.lifetimes.confirm);
                let link = Some((Link::Move(change), Some(row.id)));
                self.changes[change].link_until = Some(until);
                self.changes[change].ends = self.changes[change].ends.max(until);
                if self.owner(to).is_some() {
                    return Some(Owed { template: "email_taken", to, link: None });
                }
                Some(Owed { template: "email_change", to, link })
            }
            Intent::Moved(change) => {
                let row = &self.changes[change];
                let link = Some((Link::Undo(change), Some(row.id)));
                let is_told = !row.gone && row.undo_until.is_some();
                is_told.then_some(Owed { template: "email_changed", to: row.from, link })
            }
            Intent::Deletion(user, at) => {
                let still = self.restores_for(user, at);
                still.then(|| self.told(user, "deletion_scheduled", Some(Link::Restore(user, at)))).flatten()
            }
            Intent::Warning(warning, template) => {
                self.told(self.warnings[warning].user, template, Some(Link::Disown(warning)))
            }
            Intent::Reminder(registration) => {
                let row = &self.registrations[registration];
                let (address, ends) = (row.address, row.ends);
                let is_overtaken = self.registrations[registration + 1..]
                    .iter()
                    .any(|other| other.address == address && other.user.is_none() && !other.gone);
                let waits = !row.gone && row.user.is_none() && now < ends;
                if !waits || is_overtaken || self.owner(address).is_some() {
                    return None;
                }
                let until = (now + self.lifetimes.confirm).min(ends);
                let link_until = &mut self.registrations[registration].link_until;
                *link_until = Some(link_until.map_or(until, |before| before.max(until)));
                Some(self.confirmation("reminder", registration))
            }
        }
    }

    fn opens(&mut self, registration: usize, now: Timestamp) {
        let until = now + self.lifetimes.confirm;
        let row = &mut self.registrations[registration];
        row.link_until = Some(until);
        row.ends = row.ends.max(until);
    }

    fn confirmation(&self, template: &'static str, registration: usize) -> Owed {
        let Registration { id, address, .. } = self.registrations[registration];
        Owed { template, to: address, link: Some((Link::Confirm(registration, address), Some(id))) }
    }

    /// A mail to who has the account.
    fn told(&self, user: usize, template: &'static str, link: Option<Link>) -> Option<Owed> {
        let row = &self.users[user];
        (!row.gone).then_some(Owed { template, to: row.address, link: link.map(|link| (link, None)) })
    }

    /// It is so late now: accounts are deleted, and reminders are due.
    pub fn passes(&mut self, now: Timestamp) {
        for user in 0..self.users.len() {
            if !self.users[user].gone && self.users[user].deletes_at.is_some_and(|at| at <= now) {
                self.users[user].gone = true;
                let address = self.users[user].address;
                self.registrations.iter_mut().filter(|row| row.address == address).for_each(|row| row.gone = true);
                self.resets.iter_mut().filter(|row| row.address == address).for_each(|row| row.gone = true);
                self.changes.iter_mut().filter(|row| row.user == user).for_each(|row| row.gone = true);
                self.all_end(user, None);
                // the rows stay, without where from
                self.users[user].rows.clear();
            }
        }
        for registration in 0..self.registrations.len() {
            let row = &mut self.registrations[registration];
            if !row.reminded && row.reminder.is_some_and(|due| due <= now) {
                row.reminded = true;
                self.intents.push(Intent::Reminder(registration));
            }
        }
    }

    /// What has expired is gone.
    pub fn is_purged(&mut self, now: Timestamp) {
        self.registrations.iter_mut().for_each(|row| row.gone |= row.ends <= now);
        self.resets.iter_mut().for_each(|row| row.gone |= row.ends <= now);
        self.changes.iter_mut().for_each(|row| row.gone |= row.ends <= now);
    }

    /// Whether something happens by itself until then.
    pub fn is_due_by(&self, until: Timestamp) -> bool {
        let reminders = self.registrations.iter().filter(|row| !row.reminded).filter_map(|row| row.reminder);
        let deletions = self.users.iter().filter(|user| !user.gone).filter_map(|user| user.deletes_at);
        reminders.chain(deletions).any(|due| due <= until)
    }

    /// Every moment at which something changes by itself.
    pub fn moments(&self) -> impl Iterator<Item = Timestamp> {
        let registrations = self.registrations.iter().flat_map(|row| [Some(row.ends), row.link_until, row.reminder]);
        let users = self.users.iter().flat_map(|row| {
            let failures = row.rows.iter().map(|row| Some(row.at + FAILURES_WITHIN));
            failures.chain([row.deletes_at, Some(row.since + PRESSED_AGAIN)])
        });
        let sessions = self.sessions.iter().filter(|row| !row.ended).flat_map(|row| {
            let (idle, whole) = (row.seen + self.lifetimes.session_idle, row.begun + self.lifetimes.session);
            [idle, whole, row.proved + self.lifetimes.fresh_for].map(Some)
        });
        let resets = self.resets.iter().flat_map(|row| [row.ends, row.link_until].map(Some));
        let changes = self.changes.iter().flat_map(|row| [Some(row.ends), row.link_until, row.undo_until]);
        let warnings = self.warnings.iter().map(|row| Some(row.at + WARNED));
        registrations.chain(users).chain(sessions).chain(resets).chain(changes).chain(warnings).flatten()
    }
}
