//! Mails over one connection to a server that answers at once.

use std::time::{Duration, Instant};

use bellhop::clock::Clock;
use bellhop::mail::{Mail, Sender, Smtp, SmtpLimits, SmtpSettings};
use tokio::runtime::Handle;

use crate::load::median;
use crate::sink;
use crate::table::{Limit, Row};

const ROUNDS: usize = 7;
const MAILS: u32 = 1_000;

pub async fn measure(servers: &Handle) -> anyhow::Result<Vec<Row>> {
    let address = sink::start(servers, Duration::ZERO)?;
    let settings = SmtpSettings::parse(&format!("smtp://{address}?tls=none"))?;
    // one connection at a time, renewed as often as the service renews its own
    let limits = SmtpLimits { connections: 1, ..SmtpLimits::default() };
    let smtp = Smtp::new(settings, Sender::parse("Bellhop <no-reply@localhost>")?, Clock::default(), limits)?;
    let mut rates = Vec::new();
    for round in 0..=ROUNDS {
        let start = Instant::now();
        for number in 0..MAILS {
            smtp.send(&mail(number)).await?;
        }
        // the first round warms up
        if round > 0 {
            rates.push(f64::from(MAILS) / start.elapsed().as_secs_f64());
        }
    }
    Ok(vec![Row {
        what: "mails over one connection".to_owned(),
        value: median(&mut rates),
        unit: "/s",
        limit: Limit::AtLeast(500.0),
        detail: format!(
            "{ROUNDS} rounds of {MAILS}; plain SMTP, a new connection every {} mails",
            limits.mails_per_connection
        ),
    }])
}

/// About as long as the confirmation.
fn mail(number: u32) -> Mail {
    let paragraph = "Press the button on the page behind this link and your account is open. ".repeat(8);
    Mail {
        to: format!("ann{number}@example.org"),
        to_name: Some("Ann Example".to_owned()),
        subject: "Please confirm your address".to_owned(),
        text: paragraph.clone(),
        html: format!("<!doctype html><html><body><p>{paragraph}</p><p>{paragraph}</p></body></html>"),
        message_id: format!("<{number}.bench@localhost>"),
        language: "en",
    }
}
