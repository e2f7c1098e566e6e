//! Which requests are made slow or made to fail, and how. The choice is seeded, so that a run can
//! be repeated as long as its requests come in the same order.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::stats::S3Op;
use crate::convert::lock;

/// One rule. A request that matches `op` and `key` is counted; `skip`, `every`, `rate` and `count`
/// then pick the counted requests that the rule hits. All rules are tried on every request:
/// latencies add up, of the other effects the first rule's wins.
///
/// As JSON, for `PUT /_faults`, it is an object of the same names; absent ones take the default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Fault {
    /// The operation; any when absent.
    pub op: Option<S3Op>,
    /// Regular expression that must match somewhere in `bucket/key`; empty matches all.
    pub key: String,
    /// The first so many matching requests pass.
    pub skip: u64,
    /// After those, only every n-th is hit; 0 and 1 mean each.
    pub every: u64,
    /// Probability of a hit, 0 to 1; certain when absent.
    pub rate: Option<f64>,
    /// The rule is spent after so many hits; never when absent.
    pub count: Option<u64>,
    /// Time that the answer is held back, in milliseconds.
    pub latency_ms: u64,
    /// Up to so many milliseconds more, drawn evenly.
    pub jitter_ms: u64,
    /// Answer with this HTTP status and an S3 error instead.
    pub status: Option<u16>,
    /// The S3 error code; chosen by the status when absent.
    pub code: Option<String>,
    /// With `status` or `close`: perform the request first, so that the caller is told of a
    /// failure that did not happen.
    pub applied: bool,
    /// Close the connection instead of answering.
    pub close: bool,
    /// Send so many bytes of the body, then break the connection.
    pub cut_after: Option<u64>,
}

impl S3Fault {
    /// Answers 503 `SlowDown`, as a throttled bucket does.
    #[must_use]
    pub fn slow_down() -> Self {
        Self { status: Some(503), ..Self::default() }
    }

    /// Answers 500 `InternalError`.
    #[must_use]
    pub fn internal_error() -> Self {
        Self { status: Some(500), ..Self::default() }
    }

    /// Holds the answer back for so many milliseconds.
    #[must_use]
    pub fn latency(milliseconds: u64) -> Self {
        Self { latency_ms: milliseconds, ..Self::default() }
    }

    /// Breaks the connection after so many bytes of the body.
    #[must_use]
    pub fn cut_after(bytes: u64) -> Self {
        Self { cut_after: Some(bytes), ..Self::default() }
    }
}

/// What happens to one request.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) latency: Duration,
    pub(crate) failure: Option<Failure>,
    pub(crate) cut_after: Option<u64>,
    /// Rules that hit.
    pub(crate) fired: u64,
}

/// A request that is not answered as it should be.
#[derive(Debug)]
pub(crate) struct Failure {
    /// `None` closes the connection.
    pub(crate) status: Option<u16>,
    pub(crate) code: String,
    pub(crate) applied: bool,
}

#[derive(Debug)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rules: Vec<Rule>,
    random: StdRng,
}

#[derive(Debug)]
struct Rule {
    fault: S3Fault,
    key: Regex,
    seen: u64,
    hits: u64,
}

impl Faults {
    pub(crate) fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { state: Mutex::new(State { rules: Vec::new(), random }) }
    }

    /// Replaces all rules and their counts.
    ///
    /// # Errors
    /// A key that is no regular expression, a rate outside [0, 1], a status that is not 400 to 599.
    pub(crate) fn set(&self, faults: Vec<S3Fault>) -> anyhow::Result<()> {
        let rules = faults.into_iter().map(Rule::new).collect::<anyhow::Result<_>>()?;
        lock(&self.state).rules = rules;
        Ok(())
    }

    /// The rules, and how often each has hit.
    pub(crate) fn hits(&self) -> Vec<(S3Fault, u64)> {
        lock(&self.state).rules.iter().map(|rule| (rule.fault.clone(), rule.hits)).collect()
    }

    pub(crate) fn judge(&self, op: S3Op, resource: &str) -> Verdict {
        let mut verdict = Verdict::default();
        let State { rules, random } = &mut *lock(&self.state);
        for rule in rules {
            if !rule.hits_next(op, resource, random) {
                continue;
            }
            let fault = &rule.fault;
            verdict.fired += 1;
            verdict.latency += Duration::from_millis(fault.latency_ms);
            if fault.jitter_ms > 0 {
                verdict.latency += Duration::from_millis(random.random_range(0..=fault.jitter_ms));
            }
            if verdict.failure.is_none() {
                verdict.failure = fault.failure();
            }
            verdict.cut_after = verdict.cut_after.or(fault.cut_after);
        }
        verdict
    }
}

impl S3Fault {
    fn failure(&self) -> Option<Failure> {
        let status = if self.close { None } else { Some(self.status?) };
        let code = self.code.clone().unwrap_or_else(|| default_code(status).to_owned());
        Some(Failure { status, code, applied: self.applied })
    }
}

impl Rule {
    fn new(fault: S3Fault) -> anyhow::Result<Self> {
        let key = Regex::new(&fault.key)
            .with_context(|| format!("fault key {:?} is no regular expression", fault.key))?;
        if let Some(rate) = fault.rate {
            anyhow::ensure!((0.0..=1.0).contains(&rate), "fault rate {rate} is outside [0, 1]");
        }
        if let Some(status) = fault.status {
            anyhow::ensure!((400..600).contains(&status), "fault status {status} is no error");
        }
        Ok(Self { fault, key, seen: 0, hits: 0 })
    }

    fn hits_next(&mut self, op: S3Op, resource: &str, random: &mut StdRng) -> bool {
        let fault = &self.fault;
        if fault.op.is_some_and(|wanted| wanted != op) || !self.key.is_match(resource) {
            return false;
        }
        self.seen += 1;
        let Some(number) = self.seen.checked_sub(fault.skip).filter(|number| *number > 0) else {
            return false;
        };
        let is_spent = fault.count.is_some_and(|count| self.hits >= count);
        let is_between = fault.every > 1 && number % fault.every != 0;
        if is_spent || is_between || fault.rate.is_some_and(|rate| !random.random_bool(rate)) {
            return false;
        }
        self.hits += 1;
        true
    }
}

fn default_code(status: Option<u16>) -> &'static str {
    match status {
        Some(400) => "ExpiredToken",
        Some(403) => "AccessDenied",
        Some(404) => "NoSuchKey",
        Some(412) => "PreconditionFailed",
        Some(503) => "SlowDown",
        _ => "InternalError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(fault: S3Fault, requests: &[(S3Op, &str)]) -> Vec<bool> {
        let faults = Faults::new(7);
        faults.set(vec![fault]).unwrap();
        requests.iter().map(|(op, key)| faults.judge(*op, key).fired == 1).collect()
    }

    #[test]
    fn skip_every_and_count_pick_requests() {
        let gets = [(S3Op::Get, "b/k"); 7];
        let fault = S3Fault { skip: 1, every: 2, count: Some(2), ..S3Fault::slow_down() };
        assert_eq!(hits(fault, &gets), [false, false, true, false, true, false, false]);
    }

    #[test]
    fn op_and_key_must_match() {
        let requests =
            [(S3Op::Get, "b/x.parquet"), (S3Op::Head, "b/x.parquet"), (S3Op::Get, "b/y")];
        let fault =
            S3Fault { op: Some(S3Op::Get), key: r"\.parquet$".to_owned(), ..S3Fault::latency(1) };
        assert_eq!(hits(fault, &requests), [true, false, false]);
    }

    #[test]
    fn rate_is_seeded() {
        let gets = [(S3Op::Get, "b/k"); 200];
        let fault = S3Fault { rate: Some(0.5), ..S3Fault::slow_down() };
        let first = hits(fault.clone(), &gets);
        let hit = first.iter().filter(|hit| **hit).count();
        assert!((60..140).contains(&hit), "{hit} of 200 at a rate of one half");
        assert_eq!(first, hits(fault, &gets));
    }

    #[test]
    fn wrong_rules_are_refused() {
        let faults = Faults::new(0);
        let refused = |fault| faults.set(vec![fault]).unwrap_err().to_string();
        assert!(refused(S3Fault { key: "(".to_owned(), ..S3Fault::default() }).contains("\"(\""));
        assert!(refused(S3Fault { rate: Some(1.5), ..S3Fault::default() }).contains("1.5"));
        assert!(refused(S3Fault { status: Some(200), ..S3Fault::default() }).contains("200"));
    }
}
