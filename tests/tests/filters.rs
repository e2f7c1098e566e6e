//! Runs the scripts in `tests/filters` (see `pandion_tests::script` for how they are written), each
//! case in every way of `pandion_tests::ways`, and prints one line per script and the number of cases.
//!
//! ```text
//! cargo test -p pandion-tests --test filters                  every script
//! cargo test -p pandion-tests --test filters json like        the scripts whose names hold a word
//! PANDION_BLESS=1 cargo test -p pandion-tests --test filters  writes what the engine answers
//! ```
//!
//! `PANDION_BLESS=1` replaces the expectations that do not hold by the answer of the plainest way; it
//! adds none and removes none. Read the difference before it is committed: an expectation comes from
//! the rules of the language, not from the engine.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use pandion_filter::{Filter, ParseOptions, Templates};
use pandion_tests::dataset::{Dataset, filters_folder};
use pandion_tests::lake::Lake;
use pandion_tests::rows::{self, Numbers};
use pandion_tests::script::{self, Item, Kind, Record};
use pandion_tests::ways::{self, Way};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "filters: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs what the arguments choose; `false` when an expectation does not hold.
fn run() -> Result<bool> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let scripts: Vec<PathBuf> = scripts()?
        .into_iter()
        .filter(|path| words.is_empty() || words.iter().any(|word| name(path).contains(word)))
        .collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for path in &scripts {
            say(&format!("{}: test", name(path)))?;
        }
        return Ok(true);
    }
    let bless = std::env::var_os("PANDION_BLESS").is_some_and(|value| value == "1");
    let mut runner = Runner { lakes: BTreeMap::new(), ways: ways::all(), bless };
    let (mut passed, mut failed) = (0, 0);
    for path in &scripts {
        let outcome = runner.script(path).with_context(|| name(path))?;
        let verdict = if outcome.failures.is_empty() { "ok" } else { "FAILED" };
        say(&format!("test {} ... {verdict} ({} cases)", name(path), outcome.cases))?;
        for failure in &outcome.failures {
            say(&format!("  {failure}"))?;
        }
        failed += outcome.failures.len();
        passed += outcome.cases - outcome.failures.len();
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    // The form of Rust's own harness, in which `cargo xtask test` counts.
    say(&format!("\ntest result: {verdict}. {passed} passed; {failed} failed; 0 ignored"))?;
    Ok(failed == 0)
}

fn say(text: &str) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").context("print")
}

/// The files of scripts, by name.
fn scripts() -> Result<Vec<PathBuf>> {
    let folder = filters_folder();
    let mut scripts = Vec::new();
    for entry in folder.read_dir().with_context(|| format!("list {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "slt") {
            scripts.push(path);
        }
    }
    scripts.sort();
    Ok(scripts)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

struct Runner {
    /// By the name of the data set.
    lakes: BTreeMap<String, Lake>,
    ways: Vec<Way>,
    bless: bool,
}

#[derive(Default)]
struct Outcome {
    cases: usize,
    failures: Vec<String>,
}

/// What a filter is read with.
#[derive(Default)]
struct Context {
    dataset: String,
    templates: Templates,
    options: ParseOptions,
}

impl Runner {
    fn script(&mut self, path: &Path) -> Result<Outcome> {
        let text = std::fs::read_to_string(path)?;
        let mut items = script::read(&text)?;
        let mut context = Context::default();
        let mut outcome = Outcome::default();
        for item in &mut items {
            match item {
                Item::Remark(_) => {}
                Item::Data(name) => {
                    context.dataset.clone_from(name);
                    if let Entry::Vacant(entry) = self.lakes.entry(name.clone()) {
                        entry.insert(Lake::new(Dataset::named(name)?)?);
                    }
                }
                Item::Zone(name) => context.options.time_zone = name.parse()?,
                Item::Template { name, value, .. } => {
                    context.templates.insert(name.clone(), value.clone());
                }
                Item::Record(record) => self.record(record, &context, &mut outcome)?,
            }
        }
        if self.bless {
            std::fs::write(path, script::write(&items))?;
        }
        Ok(outcome)
    }

    fn record(&self, record: &mut Record, context: &Context, outcome: &mut Outcome) -> Result<()> {
        let Some(lake) = self.lakes.get(&context.dataset) else {
            bail!("line {}: no data set is chosen", record.line)
        };
        let mut answer = None;
        for written in &record.filters {
            outcome.cases += 1;
            let filter = script::spell_out(written)?;
            let case = Case { lake, ways: &self.ways, context, record, filter: &filter };
            if let Err(failure) = case.check() {
                let line = record.line;
                let word = record.kind.word();
                outcome.failures.push(format!("line {line}: {word} {written}\n    {failure:#}"));
                answer = Some(case.plainest());
            }
        }
        if let Some(answer) = answer.filter(|_| self.bless) {
            record.expected = answer;
        }
        Ok(())
    }
}

/// A filter of a record.
struct Case<'a> {
    lake: &'a Lake,
    ways: &'a [Way],
    context: &'a Context,
    record: &'a Record,
    filter: &'a str,
}

impl Case<'_> {
    /// Holds the expectation against every way.
    fn check(&self) -> Result<()> {
        let filter = match guarded(|| self.parse()) {
            Ok(filter) => filter,
            Err(error) => return self.refused(&error),
        };
        for way in self.ways.iter().filter(|way| way.takes(self.filter.len())) {
            let answer = guarded(|| (way.answer)(self.lake, &filter));
            match (&answer, self.record.kind) {
                (Ok(rows), Kind::Query | Kind::Subset) => self.compare(rows),
                (Ok(rows), Kind::Error) => bail!("not refused, but: {}", self.write(rows)),
                (Err(error), _) => self.refused(error),
            }
            .with_context(|| format!("by {}", way.name))?;
        }
        Ok(())
    }

    fn parse(&self) -> pandion_types::Result<Filter> {
        self.lake.parse(self.filter, &self.context.templates, &self.context.options)
    }

    fn compare(&self, found: &Numbers) -> Result<()> {
        let total = self.lake.dataset.rows.len();
        let expected = &self.record.expected;
        let holds = match self.record.kind {
            Kind::Subset => found.is_subset(&rows::read(expected, total)?),
            Kind::Query | Kind::Error => rows::matches(expected, found, total)?,
        };
        if holds {
            Ok(())
        } else {
            bail!("expected {expected}\n    but got  {}", self.write(found))
        }
    }

    fn refused(&self, error: &pandion_types::Error) -> Result<()> {
        let (message, expected) = (error.message(), self.record.expected.as_str());
        match self.record.kind {
            Kind::Error if message.contains(expected) => Ok(()),
            Kind::Error => bail!("expected {expected}\n    but got  {message}"),
            Kind::Query | Kind::Subset => bail!("refused: {error}"),
        }
    }

    fn write(&self, rows: &Numbers) -> String {
        rows::write(rows, self.lake.dataset.rows.len())
    }

    /// What the plainest way answers, as a script writes it.
    fn plainest(&self) -> String {
        let answer = guarded(|| {
            let filter = self.parse()?;
            self.ways
                .first()
                .map_or_else(|| Ok(Numbers::new()), |way| (way.answer)(self.lake, &filter))
        });
        match answer {
            Ok(rows) => self.write(&rows),
            Err(error) => error.message().replace('\n', " "),
        }
    }
}

/// A panic is a failure of one case, not the end of the run.
fn guarded<T>(work: impl FnOnce() -> pandion_types::Result<T>) -> pandion_types::Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(pandion_types::Error::internal("a panic, whose message stands above"))
    })
}
