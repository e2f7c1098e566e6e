//! Every row is kept by a filter, kept by its opposite, or unknown to both: and each of the three as
//! a naive reading of the rows says.
//!
//! Data sets and filters are drawn at random from `PANDION_SEED`, a number that is 0 when the variable
//! is not set: a run is repeated by its seed, and other seeds look elsewhere.

use std::cell::Cell;

use anyhow::{Context as _, Result, ensure};
use pandion_filter::{Filter, ParseOptions, Predicate, Templates};
use pandion_tests::dataset::Dataset;
use pandion_tests::generate;
use pandion_tests::lake::Lake;
use pandion_tests::oracle::Oracle;
use pandion_tests::rows::Numbers;
use pandion_tests::ways::{self, Way};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Data sets, and rows of each.
const LAKES: u64 = 8;
const ROWS: usize = 110;

/// Filters that each data set is asked.
const FILTERS: u32 = 80;

#[test]
fn a_filter_and_its_opposite_part_the_rows() {
    let seed: u64 = std::env::var("PANDION_SEED").map_or(0, |text| text.parse().unwrap());
    let ways = ways::all();
    for lake in 0..LAKES {
        let mut runner = runner(seed * LAKES + lake);
        let dataset = generate::dataset(ROWS).new_tree(&mut runner).unwrap().current();
        let predicates = generate::predicate(&dataset);
        let lake = Lake::new(dataset).unwrap();
        let oracle = Oracle::new(&lake.dataset);
        // Each filter goes the plainest way and one other, so that all are gone many times over.
        let turn = Cell::new(0);
        let outcome = runner.run(&predicates, |predicate| {
            turn.set(turn.get() + 1);
            let chosen = [&ways[0], &ways[turn.get() % ways.len()]];
            let parts = Parts::new(&oracle, &lake.dataset, &predicate);
            parts.and_then(|parts| check(&lake, &predicate, &parts, &chosen)).map_err(|error| {
                TestCaseError::fail(format!("PANDION_SEED={seed}: {predicate}\n{error:#}"))
            })
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// Draws the same values for the same number.
fn runner(number: u64) -> TestRunner {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let config =
        ProptestConfig { cases: FILTERS, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

/// The rows for which a predicate is true, and those for which it is false; it is unknown for the
/// rest.
struct Parts {
    holds: Numbers,
    fails: Numbers,
}

impl Parts {
    fn new(oracle: &Oracle<'_>, dataset: &Dataset, predicate: &Predicate) -> Result<Self> {
        let mut parts = Self { holds: Numbers::new(), fails: Numbers::new() };
        for number in 1..=dataset.rows.len() {
            match oracle.test(predicate, number)? {
                Some(true) => parts.holds.insert(number),
                Some(false) => parts.fails.insert(number),
                None => false,
            };
        }
        Ok(parts)
    }
}

fn check(lake: &Lake, predicate: &Predicate, parts: &Parts, ways: &[&Way]) -> Result<()> {
    let filter = Filter { predicate: predicate.clone() };
    let text = filter.to_string();
    let parsed = lake.parse(&text, &Templates::new(), &ParseOptions::default())?;
    ensure!(parsed == filter, "the text is read as another filter: {parsed:?}");
    let opposite = Filter { predicate: predicate.clone().negate() };
    for way in ways {
        for (filter, expected) in [(&filter, &parts.holds), (&opposite, &parts.fails)] {
            let found = (way.answer)(lake, filter).with_context(|| format!("by {}", way.name))?;
            let missing: Vec<_> = expected.difference(&found).collect();
            let surplus: Vec<_> = found.difference(expected).collect();
            ensure!(
                missing.is_empty() && surplus.is_empty(),
                "{filter} by {}: rows {missing:?} are missing, rows {surplus:?} are too many",
                way.name
            );
        }
    }
    Ok(())
}
