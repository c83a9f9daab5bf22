//! What was measured, held against its limit.

use std::fmt;

/// What a value must keep to.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    AtLeast(f64),
    AtMost(f64),
    /// Only told.
    None,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    pub what: String,
    pub value: f64,
    pub unit: &'static str,
    pub limit: Limit,
    /// The figures behind the value.
    pub detail: String,
}

impl Row {
    pub fn has_limit(&self) -> bool {
        !matches!(self.limit, Limit::None)
    }

    pub fn is_missed(&self) -> bool {
        match self.limit {
            Limit::AtLeast(limit) => self.value < limit || self.value.is_nan(),
            Limit::AtMost(limit) => self.value > limit || self.value.is_nan(),
            Limit::None => false,
        }
    }
}

/// A line of Markdown.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { what, value, unit, limit, detail } = self;
        let limit = match limit {
            Limit::AtLeast(limit) => format!("≥ {limit}{unit}"),
            Limit::AtMost(limit) => format!("≤ {limit}{unit}"),
            Limit::None => "–".to_owned(),
        };
        let met = match (self.limit, self.is_missed()) {
            (Limit::None, _) => "",
            (_, true) => "**no**",
            (_, false) => "yes",
        };
        write!(f, "| {what} | {value:.2}{unit} | {limit} | {met} | {detail} |")
    }
}

pub const HEAD: &str = "| measure | value | limit | met | figures |\n|---|---|---|---|---|";
