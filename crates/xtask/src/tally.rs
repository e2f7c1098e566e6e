//! Counts of tests, as the test runners print them.

use std::fmt;
use std::ops::AddAssign;

use anyhow::{Context as _, Result};

/// How many tests went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Ran and held.
    pub(crate) passed: u64,
    /// Ran and did not hold, or could not run.
    pub(crate) failed: u64,
    /// Did not run, by their own choice.
    pub(crate) skipped: u64,
}

impl Tally {
    /// A check that is no test counts only when it fails, so that the sum cannot hide it.
    pub(crate) const FAILURE: Self = Self { passed: 0, failed: 1, skipped: 0 };

    /// The counts in a line of Rust's test harness: `test result: ok. 3 passed; 0 failed; 1 ignored; ..`.
    pub(crate) fn from_harness_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let count = |what: &str| {
            let part = counts.split("; ").find_map(|part| part.strip_suffix(what))?;
            part.trim().parse().ok()
        };
        let (passed, failed) = (count("passed")?, count("failed")?);
        Some(Self { passed, failed, skipped: count("ignored")? })
    }

    /// The counts in a report in the JUnit form that pytest writes.
    ///
    /// # Errors
    /// When the report has no `testsuite` element with the four counts.
    pub(crate) fn from_junit(report: &str) -> Result<Self> {
        let mut sum = Self::default();
        let mut suites = report.split("<testsuite ").skip(1).peekable();
        anyhow::ensure!(suites.peek().is_some(), "the report has no testsuite");
        for suite in suites {
            let head = suite.split('>').next().unwrap_or_default();
            let count = |name: &str| {
                attribute(head, name).with_context(|| format!("the report lacks the count {name}"))
            };
            let failed = count("failures")? + count("errors")?;
            let skipped = count("skipped")?;
            // A test whose teardown fails is counted as a pass and as an error.
            let passed = count("tests")?.saturating_sub(failed + skipped);
            sum += Self { passed, failed, skipped };
        }
        Ok(sum)
    }
}

fn attribute(head: &str, name: &str) -> Option<u64> {
    let (_, rest) = head.split_once(&format!("{name}=\""))?;
    rest.split('"').next()?.parse().ok()
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u64, failed: u64, skipped: u64) -> Tally {
        Tally { passed, failed, skipped }
    }

    #[test]
    fn harness_lines_are_counted_and_others_are_not() {
        let check = |line: &str, expected| assert_eq!(Tally::from_harness_line(line), expected);
        check(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s",
            Some(tally(12, 0, 1)),
        );
        check(
            "test result: FAILED. 2 passed; 5 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            Some(tally(2, 5, 0)),
        );
        // The scripts of filters are counted by a harness of their own.
        check("test result: ok. 2100 passed; 0 failed; 0 ignored", Some(tally(2100, 0, 0)));
        check("test json.slt ... ok (220 cases)", None);
        check("test tests::passed ... ok", None);
        check("test result: ok", None);
        check("the test result: ok. 1 passed; 0 failed; 0 ignored", None);
    }

    #[test]
    fn junit_reports_are_counted() {
        let report = r#"<?xml version="1.0"?><testsuites name="pytest tests"><testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="0.1"><testcase tests="9"/></testsuite></testsuites>"#;
        assert_eq!(Tally::from_junit(report).unwrap(), tally(4, 3, 3));
        assert!(Tally::from_junit("<testsuites></testsuites>").is_err());
        assert!(Tally::from_junit("<testsuite tests=\"1\"></testsuite>").is_err());
    }

    #[test]
    fn the_last_line_names_skipped_tests_only_when_there_are_any() {
        let mut sum = tally(3, 0, 0);
        assert_eq!(sum.to_string(), "3 passed, 0 failed");
        sum += tally(1, 1, 2);
        assert_eq!(sum.to_string(), "4 passed, 1 failed, 2 skipped");
    }
}
