//! Every row is kept by a filter, kept by its opposite, or unknown to both: and each of the three as
//! a naive reading of the rows says.

use std::cell::RefCell;

use anyhow::{Context as _, Result, ensure};
use pandion_filter::{Filter, ParseOptions, Predicate, Templates};
use pandion_tests::generate;
use pandion_tests::lake::Lake;
use pandion_tests::oracle::Oracle;
use pandion_tests::rows::Numbers;
use pandion_tests::ways::{self, Way};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Data sets, rows of each, and filters that each is asked.
const LAKES: u8 = 8;
const ROWS: usize = 110;
const FILTERS: u32 = 60;

#[test]
fn a_filter_and_its_opposite_part_the_rows() {
    let ways = ways::all();
    for seed in 0..LAKES {
        let lake = lake(seed).unwrap();
        // Each filter goes two ways, so that all of them are gone many times over.
        let next = RefCell::new((0..ways.len()).cycle());
        let config = ProptestConfig {
            cases: FILTERS,
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut runner = TestRunner::new(config);
        let outcome = runner.run(&generate::predicate(&lake.dataset), |predicate| {
            let at = next.borrow_mut().next().unwrap_or_default();
            let chosen = [&ways[0], &ways[at]];
            check(&lake, &predicate, &chosen)
                .map_err(|error| TestCaseError::fail(format!("data set {seed}: {predicate}\n{error:#}")))
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}

/// A data set that depends on nothing but the seed.
fn lake(seed: u8) -> Result<Lake> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    let tree = generate::dataset(ROWS).new_tree(&mut runner).map_err(anyhow::Error::msg)?;
    Lake::new(tree.current())
}

fn check(lake: &Lake, predicate: &Predicate, ways: &[&Way]) -> Result<()> {
    let oracle = Oracle::new(&lake.dataset);
    let (mut kept, mut opposite) = (Numbers::new(), Numbers::new());
    for number in 1..=lake.dataset.rows.len() {
        match oracle.test(predicate, number)? {
            Some(true) => kept.insert(number),
            Some(false) => opposite.insert(number),
            None => false,
        };
    }
    let filter = Filter { predicate: predicate.clone() };
    let text = filter.to_string();
    let parsed = lake.parse(&text, &Templates::new(), &ParseOptions::default())?;
    ensure!(parsed == filter, "the text is read as another filter: {parsed:?}");
    let negated = Filter { predicate: predicate.clone().negate() };
    for way in ways {
        let answer = |filter: &Filter, expected: &Numbers| -> Result<()> {
            let found = (way.answer)(lake, filter).with_context(|| format!("by {}", way.name))?;
            let missing: Vec<_> = expected.difference(&found).collect();
            let surplus: Vec<_> = found.difference(expected).collect();
            ensure!(
                found == *expected,
                "{filter} by {}: rows {missing:?} are missing, rows {surplus:?} are too many",
                way.name
            );
            Ok(())
        };
        answer(&filter, &kept)?;
        answer(&negated, &opposite)?;
    }
    Ok(())
}
