//! The table of what was measured, for people and as JSON. It judges nothing but whether a number
//! is on the right side of its goal.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::Value;

/// A bound that a number is to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// No goal: the number is there to compare others with.
    None,
    /// Exactly this.
    Exactly(f64),
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::None => String::new(),
            Self::Exactly(wanted) => format!("{wanted}"),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }

    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::None => None,
            // Goals of this kind are counts, which are whole numbers.
            Self::Exactly(wanted) => Some((value - wanted).abs() < 0.5),
            Self::AtLeast(least) => Some(value >= least),
            Self::AtMost(most) => Some(value <= most),
        }
    }
}

#[derive(Debug, Serialize)]
struct Measure {
    measure: String,
    goal: String,
    value: f64,
    /// The value as the table shows it, with its unit and what it was made from.
    text: String,
    met: Option<bool>,
    /// The single numbers behind the value.
    detail: Value,
}

/// What was measured so far.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    measures: Vec<Measure>,
    /// Tables of the same numbers side by side, in Markdown, printed after the list of measures.
    #[serde(skip)]
    tables: Vec<String>,
}

impl Report {
    /// Adds a line. `text` is what the table shows for `value`.
    pub(crate) fn add(
        &mut self,
        measure: impl Into<String>,
        goal: Goal,
        value: f64,
        text: impl Into<String>,
        detail: Value,
    ) {
        let measure = Measure {
            measure: measure.into(),
            goal: goal.text(),
            value,
            text: text.into(),
            met: goal.is_met(value),
            detail,
        };
        note(&format!("{}: {}", measure.measure, measure.text));
        self.measures.push(measure);
    }

    /// Adds a table of numbers that [`Self::add`] got one by one.
    pub(crate) fn add_table(&mut self, markdown: String) {
        self.tables.push(markdown);
    }

    /// Prints the table as Markdown.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn print(&self) -> Result<()> {
        let mut text = "| measure | goal | value | met? |\n|---|---|---|---|\n".to_owned();
        for measure in &self.measures {
            let met = match measure.met {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "",
            };
            let cells = [&measure.measure, &measure.goal, &measure.text, met];
            text.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        for table in &self.tables {
            text.push_str(&format!("\n{table}"));
        }
        write!(std::io::stdout().lock(), "{text}").context("nobody reads the output")
    }

    /// Writes everything as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write_json(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Tells on standard error how far the run is.
pub(crate) fn note(text: &str) {
    // A run whose progress nobody can read still gives its table.
    drop(writeln!(std::io::stderr().lock(), "{text}"));
}

/// The least value that at least `share` of the values do not exceed; NaN for none.
pub(crate) fn percentile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let below = values.len() as f64 * share;
    let at = (1..values.len()).find(|&rank| rank as f64 >= below).unwrap_or(values.len());
    at.checked_sub(1).map_or(f64::NAN, |at| values[at])
}

/// The middle of the values; NaN for none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    f64::midpoint(values[last / 2], values[last.div_ceil(2)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert!(median([]).is_nan());
        assert_eq!(median([3.0]), 3.0);
        assert_eq!(median([9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[test]
    fn percentiles_are_values_by_their_rank() {
        assert!(percentile(&[], 0.5).is_nan());
        assert_eq!(percentile(&[7.0], 0.99), 7.0);
        let values: Vec<f64> = (0..200).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 0.5), 99.0);
        assert_eq!(percentile(&values, 0.99), 197.0);
        assert_eq!(percentile(&values, 1.0), 199.0);
    }

    #[test]
    fn goals_say_whether_they_are_met() {
        for (goal, value, met, text) in [
            (Goal::None, 1.0, None, ""),
            (Goal::Exactly(0.0), 0.0, Some(true), "0"),
            (Goal::Exactly(1.0), 2.0, Some(false), "1"),
            (Goal::AtLeast(0.8), 0.79, Some(false), "≥ 0.8"),
            (Goal::AtMost(2.0), 2.0, Some(true), "≤ 2"),
            (Goal::AtMost(2.0), f64::NAN, Some(false), "≤ 2"),
        ] {
            assert_eq!((goal.is_met(value), goal.text().as_str()), (met, text), "{goal:?} {value}");
        }
    }
}
