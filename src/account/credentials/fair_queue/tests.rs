use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn at(ip: &str) -> Client {
    Client::at(ip.parse().unwrap())
}

fn known(ip: &str, account: &str) -> Client {
    at(ip).known_to(Some(account.to_owned()))
}

/// Somebody of the `near`th /64 in the `far`th /48.
fn of(far: usize, near: usize) -> Client {
    at(&format!("2001:db8:{far:x}:{near:x}::1"))
}

impl<J> FairQueue<J> {
    fn has(&mut self, ticket: Ticket) -> bool {
        self.holder(ticket).is_some()
    }

    fn comes(&mut self, client: &Client, job: J) -> Result<Ticket, Overloaded> {
        let (ticket, _) = self.enter(client)?;
        self.ask(ticket, job)?;
        Ok(ticket)
    }

    /// Everything that is served, in its order, each done at once.
    fn served(&mut self) -> Vec<J> {
        let mut served = Vec::new();
        while let Some((ticket, job)) = self.next() {
            self.done(ticket);
            self.leave(ticket);
            served.push(job);
        }
        served
    }
}

#[test]
fn turns_go_round_the_far_networks_in_each_the_near_ones_and_there_who_came_first() {
    let mut queue = FairQueue::new(100);
    for (ip, job) in [
        ("192.0.2.1", "a"),
        ("192.0.2.1", "b"),
        ("192.0.2.2", "c"),
        ("192.0.2.1", "d"),
        ("198.51.100.1", "e"),
        ("2001:db8:0:1::1", "f"),
        ("2001:db8:0:2::1", "g"),
        ("2001:db8:0:1::2", "h"),
    ] {
        queue.comes(&at(ip), job).unwrap();
    }
    queue.comes(&Client::default(), "i").unwrap();
    assert_eq!(queue.served(), ["a", "e", "f", "i", "c", "g", "b", "h", "d"]);
}

#[test]
fn who_is_known_comes_first_one_at_a_time_and_never_more_often_than_others() {
    let mut queue = FairQueue::new(100);
    for job in ["a", "b", "c"] {
        queue.comes(&at("192.0.2.1"), job).unwrap();
    }
    queue.comes(&at("198.51.100.1"), "d").unwrap();
    // with the cookies of three accounts, one of them twice, from the network that is there already
    for (account, job) in [("eve", "1"), ("eve", "2"), ("mallory", "3"), ("trudy", "4")] {
        queue.comes(&known("192.0.2.1", account), job).unwrap();
    }
    assert_eq!(queue.served(), ["1", "a", "d", "3", "b", "4", "c", "2"], "that of the second is one of many");
}

#[test]
fn known_ones_of_many_networks_come_before_others_every_other_time() {
    let mut queue = FairQueue::new(100);
    for far in 0..4 {
        queue.comes(&of(far, 0), format!("stranger {far}")).unwrap();
    }
    for far in 10..14 {
        queue.comes(&of(far, 0).known_to(Some(far.to_string())), format!("known {far}")).unwrap();
    }
    let served = queue.served();
    assert_eq!(served.iter().step_by(2).filter(|job| job.starts_with("known")).count(), 4, "{served:?}");
    assert_eq!(served.iter().skip(1).step_by(2).filter(|job| job.starts_with("stranger")).count(), 4, "{served:?}");
}

/// Who begins at once, is served and begins again would come before everybody for ever.
#[test]
fn to_come_back_again_and_again_is_no_way_to_be_first_more_often() {
    let mut queue = FairQueue::new(100);
    for nth in 0..20 {
        queue.comes(&of(nth % 4, 0), "stranger").unwrap();
    }
    let eve = known("192.0.2.1", "eve");
    let mut in_twenty = Vec::new();
    let mut hers = queue.comes(&eve, "eve").unwrap();
    for _ in 0..20 {
        let (ticket, job) = queue.next().unwrap();
        in_twenty.push(job);
        queue.done(ticket);
        queue.leave(ticket);
        if ticket == hers {
            hers = queue.comes(&eve, "eve").unwrap();
        }
    }
    assert_eq!(in_twenty.iter().filter(|job| **job == "eve").count(), 4, "one of five networks: {in_twenty:?}");
}

#[test]
fn a_full_room_makes_place_for_a_network_that_has_fewer() {
    let mut queue = FairQueue::new(8);
    let flood: Vec<Ticket> = (0..8).map(|nth| queue.comes(&of(1, nth), nth).unwrap()).collect();
    let (first, _) = queue.next().unwrap();
    assert!(queue.enter(&of(1, 99)).is_err(), "another /64 of the same /48 is not elsewhere");
    let mut elsewhere = Vec::new();
    for nth in 1..=3 {
        let (ticket, gave_way) = queue.enter(&at("198.51.100.1")).unwrap();
        assert_eq!(gave_way, Some(8 - nth), "the newest of the flood");
        elsewhere.push(ticket);
    }
    let (ticket, gave_way) = queue.enter(&at("198.51.100.7")).unwrap();
    assert_eq!(gave_way, Some(4), "its far network is no fuller than the flood's with the fourth");
    assert!(queue.enter(&at("198.51.100.7")).is_ok(), "its own near network has one, its neighbour three");
    assert!(!queue.has(elsewhere[2]) && queue.has(elsewhere[1]) && queue.has(ticket));
    assert!(queue.enter(&at("198.51.100.1")).is_err());
    assert!(queue.has(first) && flood[1..4].iter().all(|ticket| queue.has(*ticket)));
    assert!(flood[4..].iter().all(|ticket| !queue.has(*ticket) && queue.ask(*ticket, 0).is_err()));
}

#[test]
fn who_is_at_work_gives_way_to_nobody_and_who_was_served_before_others() {
    let mut queue = FairQueue::new(3);
    let tickets: Vec<Ticket> = (0..3).map(|nth| queue.comes(&of(1, 0), nth).unwrap()).collect();
    let at_work: Vec<Ticket> = (0..3).map(|_| queue.next().unwrap().0).collect();
    assert!(queue.enter(&at("198.51.100.1")).is_err());
    queue.done(at_work[0]);
    // a second hash of the same place
    queue.ask(tickets[0], 7).unwrap();
    assert!(queue.enter(&at("198.51.100.1")).is_err());
    assert_eq!(queue.next().unwrap().1, 7);
    queue.leave(tickets[0]);
    assert!(queue.enter(&at("198.51.100.1")).is_err(), "it is at work still");
    queue.done(tickets[0]);
    assert!(queue.enter(&at("198.51.100.1")).is_ok());
    // one who was served, beside one who waits, one more of the same network
    queue.done(at_work[1]);
    assert!(queue.enter(&at("198.51.100.1")).is_ok());
    assert!(queue.ask(at_work[1], 8).is_err() && queue.enter(&at("198.51.100.1")).is_err());
}

#[test]
fn who_is_known_finds_a_place_among_strangers_everywhere_and_takes_none_of_the_known() {
    // the flood sits in the same network
    let mut queue = FairQueue::new(4);
    let flood: Vec<Ticket> = (0..4).map(|nth| queue.comes(&at("192.0.2.1"), nth).unwrap()).collect();
    assert!(queue.enter(&at("192.0.2.1")).is_err());
    let (ann, gave_way) = queue.enter(&known("192.0.2.1", "ann")).unwrap();
    assert_eq!((gave_way, queue.has(flood[3])), (Some(3), false));
    assert!(queue.enter(&known("192.0.2.1", "ann")).is_err(), "one at a time");
    queue.leave(ann);
    assert!(queue.enter(&known("192.0.2.1", "ann")).is_ok());
    // it comes from everywhere, one from each network
    let mut queue = FairQueue::new(4);
    for far in 0..4 {
        queue.comes(&of(far, 0), far).unwrap();
    }
    assert!(queue.enter(&at("192.0.2.1")).is_err());
    assert!(queue.enter(&known("192.0.2.1", "ann")).is_ok());
    assert!(queue.enter(&known("192.0.2.1", "bob")).is_ok());
    assert!(queue.enter(&known("192.0.2.1", "eve")).is_err(), "their network has more than any other now");
    // a flood of accounts takes no more than its part
    let mut queue = FairQueue::new(4);
    for nth in 0..4 {
        queue.comes(&known("192.0.2.1", &nth.to_string()), nth).unwrap();
    }
    assert!(queue.enter(&known("192.0.2.1", "ann")).is_err());
    assert_eq!(queue.enter(&at("198.51.100.1")).unwrap().1, Some(3), "a stranger from elsewhere");
}

#[test]
fn how_many_come_before_is_no_more_than_a_fair_share_for_each() {
    let mut queue = FairQueue::new(100);
    for nth in 0..20 {
        queue.comes(&of(1, nth), nth).unwrap();
    }
    queue.comes(&of(2, 0), 0).unwrap();
    assert_eq!(queue.before(&at("192.0.2.1")), 2, "one of each network");
    assert_eq!(queue.before(&of(2, 7)), 3, "its own, and two of the flood");
    assert_eq!(queue.before(&of(1, 7)), 21);
}

/// A flood from so many far networks: each number is somebody of it who comes, or a thread that becomes free.
struct Flood {
    queue: FairQueue<bool>,
    networks: usize,
    has_cookies: bool,
    came: usize,
    at_work: Vec<Ticket>,
}

impl Flood {
    fn new(networks: usize, has_cookies: bool) -> Self {
        Flood { queue: FairQueue::new(40), networks, has_cookies, came: 0, at_work: Vec::new() }
    }

    fn comes(&mut self, random: usize) {
        self.came += 1;
        let client = of(random % self.networks, random % 10_000);
        let account = (self.has_cookies && !random.is_multiple_of(3)).then(|| format!("account {}", random % 17));
        let _ = self.queue.comes(&client.known_to(account), false);
    }

    /// A thread becomes free, and takes up what comes next.
    fn turn(&mut self, random: usize) -> Option<bool> {
        if !self.at_work.is_empty() {
            let ticket = self.at_work.swap_remove(random % self.at_work.len());
            self.queue.done(ticket);
            self.queue.leave(ticket);
        }
        let (ticket, job) = self.queue.next()?;
        self.at_work.push(ticket);
        Some(job)
    }

    fn step(&mut self, random: usize) -> Option<bool> {
        if random.is_multiple_of(4) {
            self.turn(random / 4)
        } else {
            self.comes(random / 4);
            None
        }
    }
}

proptest! {
    /// A thread has one turn in the time of a hash: with one flooding network and one thread that is a hash to end and
    /// one of the flood; with two threads both in the time of one.
    #[test]
    fn somebody_from_elsewhere_is_served_after_one_turn_of_each_network_that_floods(
        networks in 1..6_usize,
        threads in 1..5_usize,
        has_cookies in any::<bool>(),
        before in vec(0..1_000_000_usize, 100..400),
        after in vec(0..1_000_000_usize, 600),
    ) {
        let mut flood = Flood::new(networks, has_cookies);
        for nth in 0..60 {
            flood.comes(nth * 7_919);
        }
        for _ in 0..threads {
            flood.turn(0);
        }
        for random in before {
            let _ = flood.step(random);
        }
        let met = flood.queue.comes(&at("198.51.100.1"), true);
        prop_assert!(met.is_ok(), "there is no place for somebody from elsewhere");
        let mut turns = 0;
        for random in after {
            let served = flood.step(random);
            turns += usize::from(served.is_some());
            if served == Some(true) {
                break;
            }
            prop_assert!(flood.queue.has(met.unwrap()), "the place was given to the flood");
        }
        // and one of each that has signed in before
        let most = networks * (1 + usize::from(has_cookies)) + 1;
        prop_assert!((1..=most).contains(&turns), "served at turn {turns} of at most {most}");
    }

    #[test]
    fn who_is_known_is_served_next_whatever_the_flood_of_strangers(
        networks in 1..60_usize,
        before in vec(0..1_000_000_usize, 100..400),
        is_among_them in any::<bool>(),
    ) {
        let mut flood = Flood::new(networks, false);
        for nth in 0..60 {
            flood.comes(nth * 7_919);
        }
        for random in before {
            let _ = flood.step(random);
        }
        let network = if is_among_them { of(0, 0) } else { at("198.51.100.1") };
        prop_assert!(flood.queue.comes(&network.known_to(Some("ann".to_owned())), true).is_ok());
        prop_assert_eq!(flood.turn(0), Some(true));
    }

    /// Everybody who has a place is served, goes away, or gives way without having been served, and nothing is left of
    /// anybody.
    #[test]
    fn nobody_is_forgotten_and_nothing_is_kept(steps in vec((0..6_u8, 0..1_000_000_usize), 0..400)) {
        let mut queue = FairQueue::<u64>::new(12);
        let (mut places, mut waiting, mut at_work): (Vec<Ticket>, Vec<Ticket>, Vec<Ticket>) = Default::default();
        let mut served: Vec<u64> = Vec::new();
        for (step, random) in steps {
            let pick = |from: &[Ticket]| (!from.is_empty()).then(|| random % from.len());
            match step {
                0 | 1 => {
                    let account = random.is_multiple_of(3).then(|| format!("account {}", random % 5));
                    if let Ok((ticket, gave_way)) = queue.enter(&of(random % 4, random % 7).known_to(account)) {
                        if let Some(job) = gave_way {
                            prop_assert!(waiting.iter().any(|ticket| ticket.number == job));
                        }
                        let gone: Vec<Ticket> = places.iter().copied().filter(|ticket| !queue.has(*ticket)).collect();
                        prop_assert!(gone.len() <= 1, "one gives way for one");
                        prop_assert!(gone.iter().all(|ticket| !at_work.contains(ticket)));
                        let is_served = |ticket: &Ticket| served.contains(&ticket.number);
                        prop_assert!(!gone.iter().any(|ticket| is_served(ticket) && waiting.contains(ticket)));
                        places.retain(|ticket| !gone.contains(ticket));
                        waiting.retain(|ticket| !gone.contains(ticket));
                        places.push(ticket);
                    }
                }
                2 | 3 => {
                    if let Some(at) = pick(&places) {
                        prop_assert!(queue.ask(places[at], places[at].number).is_ok());
                        waiting.retain(|ticket| *ticket != places[at]);
                        waiting.push(places[at]);
                    }
                }
                4 => {
                    if let Some(at) = pick(&at_work) {
                        queue.done(at_work.swap_remove(at));
                    }
                    let next = queue.next();
                    prop_assert_eq!(next.is_some(), !waiting.is_empty(), "somebody waits while nobody works");
                    if let Some((ticket, job)) = next {
                        prop_assert_eq!(ticket.number, job);
                        waiting.retain(|waits| *waits != ticket);
                        at_work.push(ticket);
                        served.push(job);
                    }
                }
                _ => {
                    if let Some(at) = pick(&places) {
                        let ticket = places.swap_remove(at);
                        queue.leave(ticket);
                        waiting.retain(|waits| *waits != ticket);
                    }
                }
            }
            let still_at_work: BTreeSet<u64> =
                at_work.iter().filter(|ticket| !places.contains(ticket)).map(|ticket| ticket.number).collect();
            let held = places.len() + still_at_work.len();
            prop_assert_eq!((queue.places, queue.waiting(), queue.at_work()), (held, waiting.len(), at_work.len()));
            prop_assert!(queue.places <= 12);
        }
        for ticket in places {
            queue.leave(ticket);
        }
        for ticket in at_work {
            queue.done(ticket);
        }
        prop_assert!(queue.next().is_none());
        prop_assert!(queue.networks.is_empty() && queue.accounts.is_empty() && queue.served.is_empty());
        prop_assert_eq!((queue.places, queue.at_work()), (0, 0));
    }
}
