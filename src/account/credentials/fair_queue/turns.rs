//! In which order those who wait are served.
//!
//! Whoever waits from one far network is a group, and those of it who are known are one of their own. Groups take
//! turns; in a group its near networks do (RFC 970), and in a near network who came first is first. A known group does
//! not join the end of the round but begins at once. From then on it stays in the round until its next turn comes,
//! whether anybody of it waits or not: so it is ahead of the others once a round at the most. Nor do two groups in a row
//! begin so while others wait, however many there are.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// None for those who come from nowhere in particular.
pub(super) type Network = Option<IpNet>;

/// A place that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account::credentials) struct Ticket {
    /// Who came later has a higher one.
    pub(super) number: u64,
    pub(super) near: Network,
    pub(super) far: Network,
    pub(super) is_known: bool,
}

impl Ticket {
    fn group(self) -> Group {
        Group { far: self.far, is_known: self.is_known }
    }
}

/// Those who wait.
#[derive(Debug)]
pub(super) struct Turns<J> {
    groups: BTreeMap<Group, Waiting<J>>,
    /// Known groups that have had no turn yet, by when they came …
    fresh: BTreeMap<u64, Group>,
    /// … and all others, by when they came or had their last turn.
    round: BTreeMap<u64, Group>,
    /// Counts what the others are sorted by.
    last: u64,
    /// The last that was served had begun at once.
    was_fresh: bool,
    len: usize,
}

/// Who takes turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Group {
    pub(super) far: Network,
    pub(super) is_known: bool,
}

#[derive(Debug)]
struct Waiting<J> {
    is_fresh: bool,
    /// Where it stands among its like.
    turn: u64,
    near: BTreeMap<Network, Near<J>>,
    len: usize,
}

#[derive(Debug)]
struct Near<J> {
    turn: u64,
    /// By the number of their ticket: by age.
    jobs: BTreeMap<u64, J>,
}

impl<J> Default for Turns<J> {
    fn default() -> Self {
        let (groups, fresh, round) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Turns { groups, fresh, round, last: 0, was_fresh: false, len: 0 }
    }
}

impl<J> Turns<J> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn has(&self, ticket: Ticket) -> bool {
        let near = self.groups.get(&ticket.group()).and_then(|waiting| waiting.near.get(&ticket.near));
        near.is_some_and(|near| near.jobs.contains_key(&ticket.number))
    }

    /// How many are served before one who joins this group now, if nobody else joins.
    pub(super) fn before(&self, group: Group) -> usize {
        let own = self.groups.get(&group).map_or(0, |waiting| waiting.len);
        self.groups.values().map(|waiting| waiting.len.min(own + 1)).sum()
    }

    pub(super) fn push(&mut self, ticket: Ticket, job: J) {
        self.last += 1;
        let (turn, group) = (self.last, ticket.group());
        let waiting = self.groups.entry(group).or_insert_with(|| {
            let order = if group.is_known { &mut self.fresh } else { &mut self.round };
            order.insert(turn, group);
            Waiting { is_fresh: group.is_known, turn, near: BTreeMap::new(), len: 0 }
        });
        let near = waiting.near.entry(ticket.near).or_insert_with(|| Near { turn, jobs: BTreeMap::new() });
        if near.jobs.insert(ticket.number, job).is_none() {
            waiting.len += 1;
            self.len += 1;
        }
    }

    /// Takes somebody out who waits.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<J> {
        let group = ticket.group();
        let waiting = self.groups.get_mut(&group)?;
        let job = waiting.remove(ticket.near, ticket.number)?;
        self.len -= 1;
        if waiting.len == 0 && (waiting.is_fresh || !group.is_known) {
            let order = if waiting.is_fresh { &mut self.fresh } else { &mut self.round };
            order.remove(&waiting.turn);
            self.groups.remove(&group);
        }
        Some(job)
    }

    /// Who is served now.
    pub(super) fn next(&mut self) -> Option<(Ticket, J)> {
        loop {
            let is_fresh = !self.fresh.is_empty() && (!self.was_fresh || self.round.is_empty());
            let (_, group) = if is_fresh { &mut self.fresh } else { &mut self.round }.pop_first()?;
            let Some(waiting) = self.groups.get_mut(&group) else { continue };
            self.last += 1;
            let Some((near, number, job)) = waiting.next(self.last) else {
                // known, and nobody of it waits any more when its turn comes
                self.groups.remove(&group);
                continue;
            };
            (self.was_fresh, self.len) = (is_fresh, self.len - 1);
            if waiting.len > 0 || group.is_known {
                (waiting.is_fresh, waiting.turn) = (false, self.last);
                self.round.insert(self.last, group);
            } else {
                self.groups.remove(&group);
            }
            let Group { far, is_known } = group;
            return Some((Ticket { number, near, far, is_known }, job));
        }
    }
}

impl<J> Waiting<J> {
    /// The oldest of the near network whose turn it is; that one's next turn is behind those of the others.
    fn next(&mut self, turn: u64) -> Option<(Network, u64, J)> {
        let (&network, near) = self.near.iter_mut().min_by_key(|(_, near)| near.turn)?;
        near.turn = turn;
        let (&number, _) = near.jobs.first_key_value()?;
        Some((network, number, self.remove(network, number)?))
    }

    fn remove(&mut self, network: Network, number: u64) -> Option<J> {
        let near = self.near.get_mut(&network)?;
        let job = near.jobs.remove(&number)?;
        if near.jobs.is_empty() {
            self.near.remove(&network);
        }
        self.len -= 1;
        Some(job)
    }
}
