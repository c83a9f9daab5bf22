//! How often something costly may happen: budgets that all processes on a database share and a restart does not refill.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::lifetimes::Span;
use super::setting::{ConfigError, Fallback, Section, Setting};
use super::values::{Readable, Values};

pub(super) const SECTION: Section = Section {
    title: "Limits (NUMBER/SPAN: 10/15m)",
    settings: &[
        Setting::new("LIMIT_LOGIN_PAIR", Fallback::Value("10/15m"), "refused sign-ins to one account from one network"),
        Setting::new(
            "LIMIT_LOGIN_ACCOUNT",
            Fallback::Value("100/1h"),
            "refused sign-ins to one account, from anywhere",
        ),
        Setting::new(
            "LIMIT_LOGIN_DEVICE",
            Fallback::Value("10/15m"),
            "refused sign-ins to one account by a browser that signed in to it before; those count for nothing else",
        ),
        Setting::new(
            "LIMIT_LOGIN_NETWORK",
            Fallback::Value("300/15m"),
            "refused sign-ins from one network (an IPv4 address, an IPv6 /64), and four times as many from the /24 or /48 \
             around it; an account that the network had not tried counts six times",
        ),
        Setting::new("LIMIT_LOGIN_ALL", Fallback::Value("20000/15m"), "refused sign-ins in all"),
        Setting::new("LIMIT_MAIL_ADDRESS_HOUR", Fallback::Value("3/1h"), "mails to one address, whoever causes them"),
        Setting::new("LIMIT_MAIL_ADDRESS_DAY", Fallback::Value("10/24h"), "likewise, in a day"),
        Setting::new("LIMIT_MAIL_DOMAIN", Fallback::Value("5000/1h"), "mails to the addresses of one domain"),
        Setting::new(
            "LIMIT_MAIL_NETWORK",
            Fallback::Value("120/1h"),
            "mails that one network causes, and four times as many that the /24 or /48 around it does",
        ),
        Setting::new("LIMIT_MAIL_ALL", Fallback::Value("50000/1h"), "mails that people cause, in all"),
        Setting::new(
            "LIMIT_TOKEN_NETWORK",
            Fallback::Value("200/1h"),
            "links that do not work, from one network, and four times as many from the /24 or /48 around it",
        ),
    ],
};

/// What is used up is forgotten after a day.
const LONGEST: Duration = Duration::from_hours(24);

/// So many in so long: all of them at once, then one each `span / number`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub number: u32,
    /// In how long.
    pub span: Duration,
}

/// How often something costly may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitConfig {
    /// `BELLHOP_LIMIT_LOGIN_PAIR`
    pub login_pair: Rate,
    /// `BELLHOP_LIMIT_LOGIN_ACCOUNT`
    pub login_account: Rate,
    /// `BELLHOP_LIMIT_LOGIN_DEVICE`
    pub login_device: Rate,
    /// `BELLHOP_LIMIT_LOGIN_NETWORK`
    pub login_network: Rate,
    /// `BELLHOP_LIMIT_LOGIN_ALL`
    pub login_all: Rate,
    /// `BELLHOP_LIMIT_MAIL_ADDRESS_HOUR`
    pub mail_address_hour: Rate,
    /// `BELLHOP_LIMIT_MAIL_ADDRESS_DAY`
    pub mail_address_day: Rate,
    /// `BELLHOP_LIMIT_MAIL_DOMAIN`
    pub mail_domain: Rate,
    /// `BELLHOP_LIMIT_MAIL_NETWORK`
    pub mail_network: Rate,
    /// `BELLHOP_LIMIT_MAIL_ALL`
    pub mail_all: Rate,
    /// `BELLHOP_LIMIT_TOKEN_NETWORK`
    pub token_network: Rate,
}

impl LimitConfig {
    pub(super) fn parse(values: &mut Values) -> Result<Self, ConfigError> {
        Ok(LimitConfig {
            login_pair: values.take("LIMIT_LOGIN_PAIR")?,
            login_account: values.take("LIMIT_LOGIN_ACCOUNT")?,
            login_device: values.take("LIMIT_LOGIN_DEVICE")?,
            login_network: values.take("LIMIT_LOGIN_NETWORK")?,
            login_all: values.take("LIMIT_LOGIN_ALL")?,
            mail_address_hour: values.take("LIMIT_MAIL_ADDRESS_HOUR")?,
            mail_address_day: values.take("LIMIT_MAIL_ADDRESS_DAY")?,
            mail_domain: values.take("LIMIT_MAIL_DOMAIN")?,
            mail_network: values.take("LIMIT_MAIL_NETWORK")?,
            mail_all: values.take("LIMIT_MAIL_ALL")?,
            token_network: values.take("LIMIT_TOKEN_NETWORK")?,
        })
    }
}

/// A text that is no budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRate;

impl Readable for Rate {
    const FORM: &str = "a number from 1 in a span up to a day (10/15m)";
}

impl FromStr for Rate {
    type Err = NoRate;

    fn from_str(text: &str) -> Result<Self, NoRate> {
        let (number, span) = text.split_once('/').ok_or(NoRate)?;
        let number = Some(number).filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
        let number: u32 = number.ok_or(NoRate)?.parse().map_err(|_| NoRate)?;
        let Span(span) = span.parse().map_err(|_| NoRate)?;
        let fits = number > 0 && !span.is_zero() && span <= LONGEST;
        if fits { Ok(Rate { number, span }) } else { Err(NoRate) }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, Span(self.span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_and_a_span() {
        let rate = |number, seconds| Ok(Rate { number, span: Duration::from_secs(seconds) });
        for (text, parsed) in [("10/15m", rate(10, 900)), ("3/1h", rate(3, 3_600)), ("1/24h", rate(1, 86_400))] {
            assert_eq!(text.parse(), parsed, "{text}");
        }
        for text in
            ["", "10", "10/", "/15m", "0/15m", "10/0s", "10/25h", "-1/1h", "+1/1h", "1.5/1h", "10 / 15m", "10/15"]
        {
            assert_eq!(text.parse::<Rate>(), Err(NoRate), "{text}");
        }
        assert_eq!(Rate { number: 10, span: Duration::from_mins(15) }.to_string(), "10/15m");
    }
}
