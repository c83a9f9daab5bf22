//! What an operator does from the command line: queues, dead letters, replay, users.

use std::io::{self, Write};

use anyhow::{Context as _, bail};
use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta};
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};
use uuid::Uuid;

use crate::account::identity::address::Address;
use crate::account::user::{self, UserSummary};
use crate::app::App;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::messaging::broker::Health;
use crate::messaging::operator::{Chosen, DeadLetter, QueueState};

/// The commands that open the house without running it.
pub(super) fn commands() -> [Command; 4] {
    let queue = Arg::new("queue").long("queue").value_name("QUEUE").help("only those of this queue");
    let id = Arg::new("id").long("id").value_name("ID").help("the event's id, as listed");
    let all = Arg::new("all").long("all").action(ArgAction::SetTrue).help("every one");
    let which = || ArgGroup::new("which").args(["id", "all"]).required(true);
    let one = id.clone().required(true);
    [
        Command::new("queues").about("how each queue fares: depth, in hand, waiting, dead, oldest, consumers, rate"),
        Command::new("dead-letters")
            .about("messages that were given up, with their reasons")
            .subcommand_required(true)
            .subcommand(Command::new("list").about("one line each, the latest first").arg(queue.clone()))
            .subcommand(Command::new("show").about("all that is known of one").arg(one).arg(queue.clone()))
            .subcommand(
                Command::new("redrive")
                    .about("put them back into the queues they failed in; safe to repeat")
                    .args([queue.clone(), id.clone(), all.clone()])
                    .group(which()),
            )
            .subcommand(
                Command::new("discard")
                    .about("give them up for good; nothing brings them back")
                    .args([queue, id, all])
                    .group(which()),
            ),
        Command::new("replay")
            .about("publish again what a listener has not recorded as done, dead letters included")
            .arg(
                Arg::new("since")
                    .long("since")
                    .value_name("TIME")
                    .required(true)
                    .help("2026-01-31, 2026-01-31T08:00:00Z, or how long ago: 90s, 15m, 6h, 7d"),
            )
            .arg(Arg::new("listener").long("listener").value_name("QUEUE").help("only to this one [all]")),
        Command::new("users")
            .about("the people who may sign in, and who of them are administrators")
            .subcommand_required(true)
            .subcommand(Command::new("list").about("one line each"))
            .subcommands(["show", "promote", "demote"].map(|verb| {
                let about = match verb {
                    "show" => "all that is known of one",
                    "promote" => "make one an administrator",
                    _ => "make one no administrator any more",
                };
                Command::new(verb).about(about).arg(Arg::new("email").value_name("EMAIL").required(true))
            })),
    ]
}

/// Does what one of [`commands`] says; none if it is another's command.
pub(super) async fn run(config: Config, name: &str, matches: &ArgMatches) -> anyhow::Result<()> {
    let app = App::build(config, Clock::default()).await?;
    let mut out = io::stdout().lock();
    match name {
        "queues" => queues(&app, &mut out).await?,
        "dead-letters" => dead_letters(&app, matches, &mut out).await?,
        "replay" => replay(&app, matches, &mut out).await?,
        _ => users(&app, matches, &mut out).await?,
    }
    app.close().await;
    Ok(())
}

async fn queues(app: &App, out: &mut impl Write) -> anyhow::Result<()> {
    app.depths().await?;
    let head = ["queue", "depth", "in hand", "waiting", "dead", "oldest", "consumers", "rate"];
    let now = app.accounts.clock.now();
    let rows = app.operator().queues().await?.into_iter().map(|state| {
        let QueueState { queue, depth, in_hand, waiting, dead, oldest, consumers, rate } = state;
        let oldest = oldest.map_or_else(|| "-".to_owned(), |at| age(now - at));
        let [depth, in_hand, waiting, dead, consumers] =
            [depth, in_hand, waiting, dead, consumers].map(|number| number.to_string());
        [queue, depth, in_hand, waiting, dead, oldest, consumers, format!("{rate}/min")]
    });
    table(out, head, rows.collect())?;
    // as a step of a set-up it must not pass for done
    match app.broker.health().await {
        Health::Up => Ok(()),
        Health::Degraded(reason) => bail!("{reason}"),
    }
}

async fn dead_letters(app: &App, matches: &ArgMatches, out: &mut impl Write) -> anyhow::Result<()> {
    let (verb, given) = matches.subcommand().context("no subcommand")?;
    let text = |name: &str| given.try_get_one::<String>(name).ok().flatten().cloned();
    let id = text("id").map(|id| id.parse::<Uuid>().with_context(|| format!("{id:?} is not the id of an event")));
    let chosen = Chosen { queue: text("queue"), id: id.transpose()? };
    app.depths().await?;
    let operator = app.operator();
    let (letters, done) = match verb {
        "list" | "show" => (operator.dead_letters(&chosen).await?, None),
        "redrive" => (operator.redrive(&chosen).await?, Some("put back")),
        _ => (operator.discard(&chosen).await?, Some("discarded")),
    };
    if letters.is_empty() && chosen.id.is_some() {
        bail!("there is no such dead letter");
    }
    match (verb, done) {
        ("show", _) => letters.iter().try_for_each(|letter| show(letter, out)),
        (_, None) => {
            let head = ["id", "queue", "type", "attempts", "first failed", "last failed", "reason"];
            table(out, head, letters.iter().map(row).collect())
        }
        (_, Some(done)) => {
            for DeadLetter { queue, message } in &letters {
                writeln!(out, "{done}: {} ({}) {queue}", message.id, message.kind)?;
            }
            Ok(writeln!(out, "{} {done}", letters.len())?)
        }
    }
}

fn row(DeadLetter { queue, message }: &DeadLetter) -> [String; 7] {
    let failure = message.failure.as_ref();
    let at = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), instant);
    [
        message.id.to_string(),
        queue.clone(),
        message.kind.clone(),
        message.attempt.to_string(),
        at(failure.map(|failure| failure.first_at)),
        at(failure.map(|failure| failure.last_at)),
        failure.map_or_else(|| "-".to_owned(), |failure| printable(&failure.reason)),
    ]
}

fn show(letter: &DeadLetter, out: &mut impl Write) -> anyhow::Result<()> {
    let names = ["id", "queue", "type", "attempts", "first failed", "last failed", "reason"];
    for (name, value) in names.into_iter().zip(row(letter)) {
        writeln!(out, "{name:<13} {value}")?;
    }
    let trace = letter.message.traceparent.as_deref().map_or_else(|| "-".to_owned(), printable);
    writeln!(out, "{:<13} {trace}", "trace")?;
    Ok(writeln!(out, "{:<13} {}", "body", printable(&String::from_utf8_lossy(&letter.message.body)))?)
}

async fn replay(app: &App, matches: &ArgMatches, out: &mut impl Write) -> anyhow::Result<()> {
    let since = matches.get_one::<String>("since").map(String::as_str).unwrap_or_default();
    let since = moment(since, app.accounts.clock.now()).with_context(|| {
        format!("{since:?} is neither a time nor how long ago: 2026-01-31T08:00:00Z, 90s, 15m, 6h, 7d")
    })?;
    app.depths().await?;
    let only = matches.get_one::<String>("listener").map(String::as_str);
    for (listener, events) in app.sweep().replay(since, only).await? {
        writeln!(out, "{listener}: {events} published again")?;
    }
    Ok(())
}

async fn users(app: &App, matches: &ArgMatches, out: &mut impl Write) -> anyhow::Result<()> {
    let (verb, given) = matches.subcommand().context("no subcommand")?;
    let accounts = &app.accounts;
    let head = ["email", "name", "since", "administrator", "id"];
    if verb == "list" {
        return table(out, head, user::list(&accounts.db).await?.into_iter().map(person).collect());
    }
    let email = given.get_one::<String>("email").map(String::as_str).unwrap_or_default();
    let address = Address::parse(email).with_context(|| format!("{email:?} is no address"))?;
    if verb != "show" && !user::set_admin(accounts, address.canonical(), verb == "promote").await? {
        bail!("nobody has the address {email}");
    }
    let found = user::summary(&accounts.db, address.canonical()).await?;
    let found = found.with_context(|| format!("nobody has the address {email}"))?;
    for (name, value) in head.into_iter().zip(person(found)) {
        writeln!(out, "{name:<13} {value}")?;
    }
    Ok(())
}

fn person(UserSummary { id, email, name, created_at, admin_since }: UserSummary) -> [String; 5] {
    let admin = admin_since.map_or_else(|| "no".to_owned(), |at| format!("since {}", instant(at)));
    [email, printable(&name), instant(created_at), admin, id.to_string()]
}

/// A table with its columns as wide as they need to be.
fn table<const N: usize>(out: &mut impl Write, head: [&str; N], rows: Vec<[String; N]>) -> anyhow::Result<()> {
    let all: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: Vec<usize> = (0..N)
        .map(|column| all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for row in &all {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        writeln!(out, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// What others wrote, on one line and without anything that a terminal would obey.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn instant(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// How long something has lasted, in its largest unit.
fn age(lasted: TimeDelta) -> String {
    let seconds = lasted.num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time, a day, or how long ago.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Some(day.and_time(chrono::NaiveTime::MIN).and_utc());
    }
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: i64 = number.parse().ok().filter(|number| *number >= 0)?;
    let ago = match unit {
        "s" => TimeDelta::try_seconds(number),
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    };
    now.checked_sub_signed(ago?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_time_a_day_or_how_long_ago() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        for (text, meant) in [
            ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
            ("2026-01-31T08:00:00+02:00", "2026-01-31T06:00:00Z"),
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("90s", "2026-01-31T23:58:30Z"),
            ("15m", "2026-01-31T23:45:00Z"),
            ("6h", "2026-01-31T18:00:00Z"),
            ("7d", "2026-01-25T00:00:00Z"),
        ] {
            assert_eq!(moment(text, now), Some(meant.parse().unwrap()), "{text}");
        }
        for text in ["", "yesterday", "-5m", "5", "m", "5w", "9223372036854775807d", "5\u{20ac}"] {
            assert_eq!(moment(text, now), None, "{text}");
        }
    }

    #[test]
    fn a_table_lines_up_and_obeys_nobody() {
        let mut out = Vec::new();
        let reason = printable("no\u{1b}[31m\nway");
        table(&mut out, ["id", "reason"], vec![["1".into(), reason], ["22".into(), "é".into()]]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "id  reason\n1   no [31m way\n22  é\n");
    }

    #[test]
    fn an_age_has_one_unit() {
        for (seconds, said) in [(-5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (7_200, "2h"), (172_800, "2d")] {
            assert_eq!(age(TimeDelta::seconds(seconds)), said);
        }
    }
}
