//! What can go wrong, and in which order a seed has it go wrong.

use std::fmt;
use std::time::Duration;

use crate::support::chance::Chance;

/// Who is hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    App,
    Broker,
    Database,
    Mail,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL; the program, RabbitMQ, or PostgreSQL.
    Kill(Target),
    /// SIGSTOP to the program, later SIGCONT.
    Pause,
    /// The connections to it are reset, new ones too.
    Cut(Target),
    /// The connections to it carry nothing.
    Stall(Target),
    /// RabbitMQ's memory is full: it takes nothing from who publishes.
    Fill,
    /// The mail server answers 451.
    Refuse,
}

impl Fault {
    pub fn target(self) -> Target {
        match self {
            Fault::Kill(target) | Fault::Cut(target) | Fault::Stall(target) => target,
            Fault::Pause => Target::App,
            Fault::Fill => Target::Broker,
            Fault::Refuse => Target::Mail,
        }
    }

    /// It lasts up to this, and as long as it takes to bring about and to end.
    pub fn longest(self) -> Duration {
        match self {
            Fault::Kill(Target::App) => Duration::from_millis(100),
            Fault::Kill(_) => Duration::from_secs(2),
            // past every lease on a mail
            Fault::Pause => Duration::from_secs(20),
            _ => Duration::from_secs(4),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Fault::Kill(_) => "kill",
            Fault::Pause => "pause",
            Fault::Cut(_) => "cut",
            Fault::Stall(_) => "stall",
            Fault::Fill => "fill",
            Fault::Refuse => "refuse",
        };
        write!(f, "{what} {}", format!("{:?}", self.target()).to_lowercase())
    }
}

/// Rounds of one or two faults at once, the program's own last.
pub fn plan(chance: &mut Chance, long: bool) -> Vec<Vec<Fault>> {
    let (apps, brokers, databases, others) = if long { (1_000, 50, 200, 20) } else { (24, 2, 5, 1) };
    let counts = [
        (Fault::Kill(Target::App), apps),
        (Fault::Kill(Target::Broker), brokers),
        (Fault::Kill(Target::Database), databases),
        (Fault::Pause, 2 * others),
        (Fault::Cut(Target::Broker), others),
        (Fault::Cut(Target::Database), others),
        (Fault::Cut(Target::Mail), others),
        (Fault::Stall(Target::Broker), others),
        (Fault::Stall(Target::Database), others),
        (Fault::Stall(Target::Mail), others),
        (Fault::Fill, others),
        (Fault::Refuse, others),
    ];
    let mut faults: Vec<Fault> = counts.iter().flat_map(|(fault, times)| vec![*fault; *times]).collect();
    chance.shuffle(&mut faults);
    let mut rounds: Vec<Vec<Fault>> = Vec::new();
    for fault in faults {
        match rounds.last_mut() {
            Some(round) if round.len() == 1 && round[0].target() != fault.target() && chance.below(4) == 0 => {
                round.push(fault);
                // what the program leans on is back before it starts again
                round.sort_by_key(|fault| fault.target() == Target::App);
            }
            _ => rounds.push(vec![fault]),
        }
    }
    rounds
}
