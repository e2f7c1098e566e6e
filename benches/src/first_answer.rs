//! The time from "the files exist" to the first right answer: create, refresh, load, search, by a
//! client of a server that has just started; beside other systems that load the same files.
//!
//! For everybody the files are in the page cache and free memory has been written to before, and
//! starting a process is left out.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use pandion_testkit::lake::ID;
use serde_json::json;

use crate::Options;
use crate::client::{Client, found, search_request};
use crate::lake::{DiskLake, Form, K, Truth};
use crate::peers::{self, Peer};
use crate::process::touch_memory;
use crate::report::{Goal, Report, median, note};
use crate::server::{Allow, Server};

const COLLECTION: &str = "first_answer";

/// The share of the fastest peer's time that is the goal.
const SHARE: f64 = 0.1;

/// Memory that is made ready before a run, in times of the vectors' bytes.
const MEMORY_READY: usize = 3;

/// One run.
#[derive(Clone, Copy, Debug)]
struct Run {
    create: Duration,
    refresh: Duration,
    load: Duration,
    search: Duration,
    cpu: Duration,
    peak_bytes: u64,
    start: Duration,
}

impl Run {
    fn wall(&self) -> Duration {
        self.create + self.refresh + self.load + self.search
    }
}

/// The runs over files of one form.
struct Runs(Vec<Run>);

impl Runs {
    fn seconds(&self, pick: impl Fn(&Run) -> Duration) -> f64 {
        median(self.0.iter().map(|run| pick(run).as_secs_f64()))
    }

    fn peak_bytes(&self) -> f64 {
        median(self.0.iter().map(|run| run.peak_bytes as f64))
    }
}

/// Measures and adds to the report.
///
/// # Errors
/// A call fails, or the first answer is wrong.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (truth, truth_file) = Truth::of(options)?;
    for &form in &options.layouts {
        let lake = DiskLake::of(options, form)?;
        let bytes = lake.warm()?;
        note(&format!("first answers over {} ({} MB)", form.name(), bytes / 1_000_000));
        let mut runs = Runs(Vec::with_capacity(options.repeats));
        for _ in 0..options.repeats {
            runs.0.push(run(options, &lake, &truth).await?);
        }
        report_runs(options, form, &runs, report);
        let Some(python) = &options.python else { continue };
        let slow = options.slow_peers && options.layouts.first() == Some(&form);
        let peers = peers::run(python, &lake.directory, &truth_file, options.repeats, slow).await?;
        report_peers(form, &runs, &peers, report);
    }
    Ok(())
}

async fn run(options: &Options, lake: &DiskLake, truth: &Truth) -> Result<Run> {
    touch_memory(MEMORY_READY * column_bytes(options))?;
    lake.warm()?;
    let server = Server::start(Allow::Directory(&lake.directory)).await?;
    let mut client = Client::connect(server.address()).await?;
    let query = truth.queries.get(..1).context("there is no query")?;
    let request = search_request(COLLECTION, query, K, &[ID])?;
    let before = server.usage()?.cpu;
    let mut clock = Instant::now();
    let mut lap = || std::mem::replace(&mut clock, Instant::now()).elapsed();
    client.create(COLLECTION, &lake.uri(), r#"{"format":"parquet"}"#, options.dim).await?;
    let create = lap();
    client.refresh(COLLECTION).await?;
    let refresh = lap();
    client.load(COLLECTION).await?;
    let load = lap();
    let answer = client.search(request).await?;
    let search = lap();
    let usage = server.usage()?;
    truth.check(0, &found(&answer)?)?;
    let (start, cpu) = (server.started_in, usage.cpu.saturating_sub(before));
    server.stop().await?;
    Ok(Run { create, refresh, load, search, cpu, peak_bytes: usage.peak_bytes, start })
}

fn column_bytes(options: &Options) -> usize {
    options.rows * options.dim * size_of::<f32>()
}

fn report_runs(options: &Options, form: Form, runs: &Runs, report: &mut Report) {
    let (wall, cpu) = (runs.seconds(Run::wall), runs.seconds(|run| run.cpu));
    let details: Vec<_> = runs
        .0
        .iter()
        .map(|run| json!({ "wall_s": run.wall().as_secs_f64(), "cpu_s": run.cpu.as_secs_f64() }))
        .collect();
    report.add(
        format!("first answer, {}: Pandion", form.name()),
        Goal::None,
        wall,
        format!(
            "{wall:.3} s wall, {cpu:.2} s CPU (create {:.0} ms, refresh {:.0} ms, load {:.0} ms, \
             search {:.0} ms; the server started in {:.0} ms before)",
            runs.seconds(|run| run.create) * 1e3,
            runs.seconds(|run| run.refresh) * 1e3,
            runs.seconds(|run| run.load) * 1e3,
            runs.seconds(|run| run.search) * 1e3,
            runs.seconds(|run| run.start) * 1e3
        ),
        json!(details),
    );
    let column = column_bytes(options) as f64;
    let peak = runs.peak_bytes();
    report.add(
        format!("first answer, {}: peak memory of the server", form.name()),
        Goal::None,
        peak / column,
        format!(
            "{:.0} MB, {:.2} times the {:.0} MB of the vectors",
            peak / 1e6,
            peak / column,
            column / 1e6
        ),
        json!({ "peak_bytes": peak, "column_bytes": column }),
    );
}

fn report_peers(form: Form, runs: &Runs, peers: &[Peer], report: &mut Report) {
    for peer in peers {
        let (wall, cpu) = (peer.wall(), peer.cpu());
        let name = format!("first answer, {}: {} {}", form.name(), peer.peer, peer.version);
        let text = match &peer.error {
            Some(error) => format!("not measured: {error}"),
            None => format!(
                "{wall:.2} s wall, {cpu:.2} s CPU; recall {:.2}; peak {:.0} MB{}",
                peer.recall,
                peer.peak_bytes / 1e6,
                if peer.loads { "" } else { "; loads nothing, scans the files" }
            ),
        };
        report.add(name, Goal::None, wall, text, json!(peer));
    }
    let own = [("wall", runs.seconds(Run::wall)), ("CPU", runs.seconds(|run| run.cpu))];
    let times = [Peer::wall, Peer::cpu];
    for ((what, own), time) in own.into_iter().zip(times) {
        let loaders = peers.iter().filter(|peer| peer.loads && peer.error.is_none());
        let fastest = loaders.min_by(|left, right| time(left).total_cmp(&time(right)));
        let Some(fastest) = fastest else { continue };
        let share = own / time(fastest);
        report.add(
            format!("first answer, {}: {what} time, share of the fastest peer's", form.name()),
            Goal::AtMost(SHARE),
            share,
            format!("{share:.2} ({own:.3} of {:.3} s, {})", time(fastest), fastest.peer),
            json!({ "own_s": own, "peer_s": time(fastest), "peer": fastest.peer }),
        );
    }
}
