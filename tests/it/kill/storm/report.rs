//! What came of a storm: a line for programs, a page for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::fault::{Fault, Target};
use crate::support::ledger::Audit;
use crate::support::ledger::lives::LivesAudit;

/// Faults that came together.
pub struct Round {
    /// Since the storm began.
    pub at: Duration,
    pub faults: Vec<Fault>,
    pub lasted: Duration,
    /// From their end until a registration was accepted.
    pub recovery: Duration,
}

pub struct Report {
    pub seed: u64,
    pub rounds: Vec<Round>,
    pub audit: Audit,
    pub lives: LivesAudit,
    /// How many mails may have come twice.
    pub windows: usize,
    /// How often each status was answered; 0 is no answer.
    pub statuses: BTreeMap<u16, usize>,
}

impl Report {
    fn count(&self, fault: Fault) -> usize {
        self.rounds.iter().flat_map(|round| &round.faults).filter(|other| **other == fault).count()
    }

    pub fn line(&self) -> String {
        let (audit, lives) = (&self.audit, &self.lives);
        let accepted = |step| lives.accepted.get(step).copied().unwrap_or_default();
        let recoveries = self.rounds.iter().map(|round| round.recovery.as_millis());
        format!(
            "storm seed={} faults={} app_kills={} broker_kills={} database_kills={} accepted={} rows={} mails={} \
             reminders={} moves={} resets={} deletions={} login_answered={} log_rows={} in_doubt={} lost={} ghost={} log_gaps={} log_duplicates={} duplicates={} \
             crashes_in_window<={} recovery_ms_max={} drained_ms={} seconds={}",
            self.seed,
            self.rounds.iter().map(|round| round.faults.len()).sum::<usize>(),
            self.count(Fault::Kill(Target::App)),
            self.count(Fault::Kill(Target::Broker)),
            self.count(Fault::Kill(Target::Database)),
            audit.accepted,
            audit.rows,
            audit.mails + lives.mails,
            audit.reminders,
            accepted("moves"),
            accepted("resets"),
            accepted("deletions"),
            audit.login_accepted + audit.login_refused,
            audit.login_rows,
            audit.in_doubt,
            audit.lost + lives.lost,
            audit.ghosts + lives.ghosts,
            audit.log_gaps,
            audit.log_duplicates,
            audit.duplicates + lives.duplicates,
            self.windows,
            recoveries.max().unwrap_or_default(),
            audit.recovery.as_millis(),
            self.rounds.last().map_or(0, |last| (last.at + last.lasted + last.recovery).as_secs()),
        )
    }

    /// How long it took after each kind of round: how many there were, median and worst in milliseconds.
    fn recoveries(&self) -> BTreeMap<String, (usize, u128, u128)> {
        let mut kinds: BTreeMap<String, Vec<u128>> = BTreeMap::new();
        for round in &self.rounds {
            kinds.entry(names(&round.faults)).or_default().push(round.recovery.as_millis());
        }
        let summary = |mut times: Vec<u128>| {
            times.sort_unstable();
            (times.len(), times[times.len() / 2], times[times.len() - 1])
        };
        kinds.into_iter().map(|(kind, times)| (kind, summary(times))).collect()
    }

    /// Writes the page, and tells where it is.
    pub fn write(&self) -> PathBuf {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Storm {}</title>\n<style>\n\
             body {{ font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}\n\
             table {{ border-collapse: collapse }} td, th {{ padding: .1rem .8rem; text-align: right }}\n\
             td:first-child, th:first-child {{ text-align: left }} tr {{ border-bottom: 1px solid #ddd }}\n\
             code {{ overflow-wrap: anywhere }}\n</style>\n<h1>Storm {}</h1>\n<p><code>{}</code>\n",
            self.seed,
            self.seed,
            self.line().replace('<', "&lt;")
        );
        let statuses: Vec<String> = self.statuses.iter().map(|(status, count)| format!("{status}: {count}")).collect();
        let _ = writeln!(page, "<p>Answers by status (0 is none): {}", statuses.join(", "));
        page.push_str("<h2>Until a registration was accepted again</h2>\n<table>\n");
        page.push_str("<tr><th>after<th>times<th>median, ms<th>worst, ms\n");
        for (kind, (times, median, worst)) in self.recoveries() {
            let _ = writeln!(page, "<tr><td>{kind}<td>{times}<td>{median}<td>{worst}");
        }
        page.push_str("</table>\n<h2>What happened</h2>\n<table>\n");
        page.push_str("<tr><th>faults<th>at, s<th>lasted, ms<th>recovered after, ms\n");
        for Round { at, faults, lasted, recovery } in &self.rounds {
            let (at, lasted, recovery) = (at.as_secs_f64(), lasted.as_millis(), recovery.as_millis());
            let _ = writeln!(page, "<tr><td>{}<td>{at:.1}<td>{lasted}<td>{recovery}", names(faults));
        }
        page.push_str("</table>\n</html>\n");
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("storm-{}.html", self.seed));
        std::fs::write(&path, page).expect("the folder is ours");
        path
    }
}

fn names(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}
