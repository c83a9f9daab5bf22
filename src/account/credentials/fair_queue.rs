//! Who is served next where more come than can be served, and who is sent away: a bounded queue that is shared out by
//! the networks people come from, so that nobody waits long, or in vain, because of a flood from elsewhere.
//!
//! * **Turns** go round the far networks (/24, /48), and in each round its near ones (an address, a /64). Who is known
//!   to the account they ask for comes first (`turns.rs`).
//! * **Places** are taken before anything is done for somebody. When there is none, who comes from a network with fewer
//!   places than another gets that of the newest in the network that has most (RFC 8290 drops from the longest queue,
//!   too). What is at work is never given up; who was served and has not left yet gives way before anybody who waits.
//! * **To be known** an account has one place at a time; whoever shows its cookie meanwhile is one of many. The known
//!   ones of a network have one turn a round, as the others of it have, so nobody starves, whoever has cookies, and
//!   however many.
//!
//! Knows neither threads nor clocks.

mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

pub(super) use self::turns::Ticket;
use self::turns::{Group, Network, Turns};
use crate::error::Overloaded;
use crate::net;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// The near network, and the far one around it.
    networks: Option<[IpNet; 2]>,
    /// The account that the browser has signed in to before.
    known_to: Option<String>,
}

impl Client {
    /// Somebody at this address.
    #[must_use]
    pub fn at(ip: IpAddr) -> Self {
        Client { networks: Some(net::networks(ip)), known_to: None }
    }

    /// The same, whose browser has proven that it signed in to this account before, if there is one.
    #[must_use]
    pub fn known_to(self, account: Option<String>) -> Self {
        Client { known_to: account, ..self }
    }

    fn near(&self) -> Network {
        self.networks.map(|[near, _]| near)
    }

    fn far(&self) -> Network {
        self.networks.map(|[_, far]| far)
    }
}

/// Places, and the jobs `J` of those of them who wait to be served.
#[derive(Debug)]
pub(super) struct FairQueue<J> {
    capacity: usize,
    places: usize,
    networks: BTreeMap<Network, Far>,
    /// Accounts with a place of somebody who is known to them.
    accounts: BTreeSet<String>,
    last_number: u64,
    turns: Turns<J>,
    at_work: usize,
    /// Places of those who were served and neither wait for anything else nor have left, by their number.
    served: BTreeMap<u64, Ticket>,
}

#[derive(Debug, Default)]
struct Far {
    places: usize,
    near: BTreeMap<Network, Near>,
}

/// Places by the numbers of their tickets.
type Near = BTreeMap<u64, Holder>;

#[derive(Debug)]
struct Holder {
    known_to: Option<String>,
    /// Jobs.
    at_work: usize,
    has_been_served: bool,
    has_left: bool,
}

impl Holder {
    fn may_give_way(&self) -> bool {
        !self.has_been_served
    }
}

impl<J> FairQueue<J> {
    /// One with room for so many, those at work among them.
    pub(super) fn new(capacity: usize) -> Self {
        FairQueue {
            capacity,
            places: 0,
            networks: BTreeMap::new(),
            accounts: BTreeSet::new(),
            last_number: 0,
            turns: Turns::default(),
            at_work: 0,
            served: BTreeMap::new(),
        }
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.turns.len()
    }

    /// Jobs that are done at the moment.
    pub(super) fn at_work(&self) -> usize {
        self.at_work
    }

    /// How many are served before one who comes now, if nobody else comes.
    pub(super) fn before(&self, client: &Client) -> usize {
        self.turns.before(Group { far: client.far(), is_known: client.known_to.is_some() })
    }

    /// Takes a place, and the job of who gave way for it, if somebody did who waits.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn enter(&mut self, client: &Client) -> Result<(Ticket, Option<J>), Overloaded> {
        let known_to = client.known_to.clone().filter(|account| !self.accounts.contains(account));
        let gave_way = if self.places < self.capacity {
            None
        } else if let Some((_, ticket)) = self.served.pop_first() {
            self.remove(ticket)
        } else {
            let ticket = self.who_gives_way(client, known_to.is_some()).ok_or(Overloaded)?;
            self.remove(ticket)
        };
        self.last_number += 1;
        self.places += 1;
        self.accounts.extend(known_to.clone());
        let (number, near, far, is_known) = (self.last_number, client.near(), client.far(), known_to.is_some());
        let network = self.networks.entry(far).or_default();
        network.places += 1;
        let holder = Holder { known_to, at_work: 0, has_been_served: false, has_left: false };
        network.near.entry(near).or_default().insert(number, holder);
        Ok((Ticket { number, near, far, is_known }, gave_way))
    }

    /// Has somebody with a place wait to be served.
    ///
    /// # Errors
    /// When the place is another's by now.
    pub(super) fn ask(&mut self, ticket: Ticket, job: J) -> Result<(), Overloaded> {
        self.holder(ticket).ok_or(Overloaded)?;
        self.served.remove(&ticket.number);
        self.turns.push(ticket, job);
        Ok(())
    }

    /// The next job, which is at work from now on.
    pub(super) fn next(&mut self) -> Option<(Ticket, J)> {
        let (ticket, job) = self.turns.next()?;
        self.at_work += 1;
        if let Some(holder) = self.holder(ticket) {
            holder.at_work += 1;
            holder.has_been_served = true;
        }
        Some((ticket, job))
    }

    /// A job is done.
    pub(super) fn done(&mut self, ticket: Ticket) {
        self.at_work -= 1;
        let Some(holder) = self.holder(ticket) else { return };
        holder.at_work -= 1;
        if holder.at_work > 0 {
            return;
        }
        if holder.has_left {
            self.remove(ticket);
        } else if !self.turns.has(ticket) {
            self.served.insert(ticket.number, ticket);
        }
    }

    /// Gives a place back. What is at work for it keeps it until that is done; what waits is given back.
    pub(super) fn leave(&mut self, ticket: Ticket) -> Option<J> {
        let holder = self.holder(ticket)?;
        holder.has_left = true;
        if holder.at_work > 0 { self.turns.remove(ticket) } else { self.remove(ticket) }
    }

    fn holder(&mut self, Ticket { number, near, far, .. }: Ticket) -> Option<&mut Holder> {
        self.networks.get_mut(&far)?.near.get_mut(&near)?.get_mut(&number)
    }

    /// Removes a place, and returns what waits for it.
    fn remove(&mut self, ticket: Ticket) -> Option<J> {
        let far = self.networks.get_mut(&ticket.far)?;
        let near = far.near.get_mut(&ticket.near)?;
        let holder = near.remove(&ticket.number)?;
        if near.is_empty() {
            far.near.remove(&ticket.near);
        }
        far.places -= 1;
        if far.places == 0 {
            self.networks.remove(&ticket.far);
        }
        self.places -= 1;
        self.served.remove(&ticket.number);
        if let Some(account) = holder.known_to {
            self.accounts.remove(&account);
        }
        self.turns.remove(ticket)
    }

    /// Whose place a newcomer gets: that makes the networks more equal. Who is known also takes a stranger's, of a
    /// network with no fewer places or of the same one.
    fn who_gives_way(&self, newcomer: &Client, is_known: bool) -> Option<Ticket> {
        let is_stranger = |holder: &Holder| holder.may_give_way() && holder.known_to.is_none();
        let fair = self.newest_of_the_fullest(newcomer, |places, own| places > own + 1, Holder::may_give_way);
        let first = || self.newest_of_the_fullest(newcomer, |places, own| places >= own, is_stranger);
        if is_known { fair.or_else(first) } else { fair }
    }

    /// The newest who `may` give way in the far network, or else in the near one of the newcomer's own, that has most
    /// places, if it `has_enough` beside the newcomer's own.
    fn newest_of_the_fullest(
        &self,
        newcomer: &Client,
        has_enough: impl Fn(usize, usize) -> bool,
        may: impl Fn(&Holder) -> bool,
    ) -> Option<Ticket> {
        let own = self.networks.get(&newcomer.far());
        let own_places = own.map_or(0, |far| far.places);
        let others = self.networks.iter().filter(|(network, _)| **network != newcomer.far());
        let fuller = others.filter(|(_, far)| has_enough(far.places, own_places));
        let newest = fuller
            .filter_map(|(network, far)| Some((far.places, far.newest_of_the_fullest(*network, |_| true, &may)?)));
        if let Some((_, ticket)) = newest.max_by_key(|(places, ticket)| (*places, ticket.number)) {
            return Some(ticket);
        }
        let own_places = own?.near.get(&newcomer.near()).map_or(0, Near::len);
        own?.newest_of_the_fullest(newcomer.far(), |places| has_enough(places, own_places), &may)
    }
}

impl Far {
    /// The newest who `may` give way of the near network that has most places, of those with as many as `is_enough`; a
    /// stranger rather than who is known.
    fn newest_of_the_fullest(
        &self,
        far: Network,
        is_enough: impl Fn(usize) -> bool,
        may: impl Fn(&Holder) -> bool,
    ) -> Option<Ticket> {
        let fuller = self.near.iter().filter(|(_, places)| is_enough(places.len()));
        let newest = fuller.filter_map(|(near, places)| {
            let holders = places.iter().filter(|(_, holder)| may(holder));
            let (number, holder) = holders.max_by_key(|(number, holder)| (holder.known_to.is_none(), **number))?;
            Some((places.len(), Ticket { number: *number, near: *near, far, is_known: holder.known_to.is_some() }))
        });
        let fullest = newest.max_by_key(|(places, ticket)| (*places, ticket.number));
        fullest.map(|(_, ticket)| ticket)
    }
}

#[cfg(test)]
mod tests;
