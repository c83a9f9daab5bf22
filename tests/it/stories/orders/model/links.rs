//! What the links do that set a password, move an account, undo that, call a deletion off or disown a sign-in.

use bellhop::clock::Timestamp;
use uuid::Uuid;

use super::{Change, Intent, Link, Model, RESET_KEPT, Reset, WARNED, Warning};

impl Model {
    pub fn forgets(&mut self, id: Option<Uuid>, address: usize, now: Timestamp) -> usize {
        let (ends, replaces) = (now + RESET_KEPT, None);
        self.resets.push(Reset { id, address, ends, link_until: now, is_open: false, replaces, gone: false });
        self.intents.push(Intent::Reset(self.resets.len() - 1));
        self.resets.len() - 1
    }

    /// Whose password the link sets, if it works.
    pub fn resets_for(&self, reset: usize, now: Timestamp) -> Option<usize> {
        let Reset { address, link_until, replaces, gone, .. } = self.resets[reset];
        let (user, set) = replaces.filter(|_| !gone && now < link_until)?;
        (self.owner(address) == Some(user) && self.users[user].set == set).then_some(user)
    }

    pub fn asks_to_move(&mut self, id: Uuid, user: usize, to: usize, now: Timestamp) {
        self.drops_what_waits(user);
        let (from, ends) = (self.users[user].address, now + self.lifetimes.purge_after);
        self.changes.push(Change {
            id,
            user,
            from,
            to,
            made: now,
            ends,
            link_until: None,
            confirmed: false,
            undo_until: None,
            gone: false,
        });
        self.intents.push(Intent::Change(self.changes.len() - 1));
    }

    /// What the link to a new address does: nothing more, for it was pressed (false); moves the account (true).
    pub fn moves(&self, change: usize, now: Timestamp) -> Option<bool> {
        let row = &self.changes[change];
        let owner = self.owner(row.to);
        if row.confirmed {
            return (!row.gone && owner == Some(row.user)).then_some(false);
        }
        let waits = self.users[row.user].address == row.from && row.link_until.is_some_and(|until| now < until);
        (!row.gone && waits && owner.is_none()).then_some(true)
    }

    pub fn moved(&mut self, change: usize, browser: usize, now: Timestamp) {
        let until = now + self.lifetimes.email_undo;
        let (user, from) = (self.changes[change].user, self.changes[change].from);
        let came_by_one = self.changes.iter().any(|earlier| {
            let undoable = !earlier.gone && earlier.undo_until.is_some_and(|until| now < until);
            undoable && earlier.user == user && earlier.to == from
        });
        let row = &mut self.changes[change];
        (row.confirmed, row.ends) = (true, until);
        row.undo_until = (!came_by_one).then_some(until);
        let (user, to) = (row.user, row.to);
        self.users[user].address = to;
        self.row(user, "email.changed", browser, now);
        self.intents.push(Intent::Moved(change));
    }

    /// Whether the page of the link that undoes a change has its button, and whether the button does it.
    pub fn undoes(&self, change: usize, now: Timestamp) -> (bool, bool) {
        let row = &self.changes[change];
        let works = !row.gone && row.undo_until.is_some_and(|until| now < until);
        (works, works && self.owner(row.from).is_none_or(|owner| owner == row.user))
    }

    /// The link that sets a password comes with it.
    pub fn undone(&mut self, change: usize, browser: usize, now: Timestamp) -> Link {
        let Change { user, from, made, .. } = self.changes[change];
        let later = self.changes.iter_mut().filter(|row| row.user == user);
        later.filter(|row| !row.confirmed || row.made >= made).for_each(|row| row.gone = true);
        self.users[user].address = from;
        // whoever moved it knew the password
        self.users[user].password = usize::MAX;
        self.users[user].set += 1;
        self.starts_anew(user);
        self.restores(user, browser, now);
        self.row(user, "email.changed", browser, now);
        let link_until = now + self.lifetimes.reset;
        let (ends, replaces) = (link_until, Some((user, self.users[user].set)));
        self.resets.push(Reset { id: None, address: from, ends, link_until, is_open: true, replaces, gone: false });
        Link::Reset(self.resets.len() - 1)
    }

    pub fn restores_for(&self, user: usize, at: Timestamp) -> bool {
        !self.users[user].gone && self.users[user].deletes_at == Some(at)
    }

    pub fn disowns(&self, warning: usize, now: Timestamp) -> bool {
        let Warning { user, at, .. } = self.warnings[warning];
        !self.users[user].gone && now < at + WARNED
    }

    /// The session of the sign-in ends, and what has begun since; its device is forgotten, and a move that waits. A mail to set a password
    /// is asked for once, and again when its link has expired.
    pub fn disowned(&mut self, warning: usize, now: Timestamp) {
        let Warning { user, session, at, ref asked } = self.warnings[warning];
        let address = self.users[user].address;
        let is_asked = asked.get(&address).is_some_and(|reset| {
            let Reset { ends, gone, is_open, link_until, .. } = self.resets[*reset];
            now < ends && !gone && !(is_open && now >= link_until)
        });
        let sessions = self.sessions.iter_mut().enumerate().filter(|(_, one)| one.user == Some(user));
        sessions.filter(|(nth, one)| *nth == session || one.begun >= at).for_each(|(_, one)| one.ended = true);
        self.drops_what_waits(user);
        self.users[user].devices.retain(|_, seen| *seen < at);
        self.users[user].sign_ins.retain(|seen| *seen < at);
        if !is_asked {
            let reset = self.forgets(None, address, now);
            self.warnings[warning].asked.insert(address, reset);
        }
    }
}
