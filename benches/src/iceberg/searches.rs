//! Exact searches of tables with deletes beside one without, and of other snapshots than the one
//! that is served.
//!
//! The collections have the same data files, so that they share what is cached of them. Blocks of
//! searches take turns. Recall is held against a plain scan of the live rows.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Float32Type;
use pandion_testkit::iceberg::{SampleOptions, sample_batch};
use pandion_testkit::lake::ID;
use serde_json::json;

use super::deletes::{Case, Shape, Table, is_dead, per};
use super::world::{World, fields};
use crate::Options;
use crate::client::{Client, at_snapshot, found, search_request};
use crate::lake::K;
use crate::report::{Goal, Report, median, note, percentile};

/// Queries of which the right answers are known.
const QUERIES: usize = 20;
/// Searches of one collection before the next has its turn.
const BLOCK: usize = 10;
/// The least share of searches per second that deletes may leave.
const RATE: f64 = 0.9;
/// Ids of rows that no table has, from which queries are made.
const QUERY_IDS: i64 = 100_000_000;

/// What was measured of a collection.
#[derive(Debug, Default)]
struct Measured {
    walls: Vec<f64>,
    /// CPU seconds of the server for each search.
    cpus: Vec<f64>,
}

/// Measures and adds to the report.
pub(super) async fn measure(
    options: &Options,
    world: &mut World,
    table: &Table,
    report: &mut Report,
) -> Result<()> {
    let queries = queries(table.shape)?;
    let all: Vec<&Case> = [&table.base].into_iter().chain(&table.cases).collect();
    for (at, case) in all.iter().enumerate() {
        let (source, spec) = world.at(&case.metadata, case.snapshot)?;
        let name = collection(at);
        world.client.create_with(&name, &source, &spec, fields(table.shape.dim)).await?;
        world.client.refresh(&name).await?;
        world.client.load(&name).await?;
    }
    note("searching by a plain scan");
    let truths = [
        nearest(&table.batches, &queries, |_| true)?,
        nearest(&table.batches, &queries, |id| !is_dead(id))?,
    ];
    for (at, case) in all.iter().enumerate() {
        let truth = &truths[usize::from(at > 0)];
        let recall = recall(world, &collection(at), None, &queries, truth).await?;
        report.add(
            format!("search, {}: recall@{K}", case.name),
            Goal::AtLeast(1.0),
            recall,
            format!("{recall:.3}, {QUERIES} queries"),
            json!({}),
        );
    }
    let measured = in_turns(world, all.len(), &queries, options.rounds).await?;
    report_rates(&all, &measured, report);
    travel(world, table, &queries, &truths, report).await
}

fn collection(at: usize) -> String {
    format!("searched_{at}")
}

fn queries(shape: Shape) -> Result<Vec<Vec<f32>>> {
    let samples = SampleOptions { dim: shape.dim, ..SampleOptions::default() };
    let batch = sample_batch(QUERY_IDS, QUERIES, &samples)?;
    Ok(components(&batch)?.chunks(shape.dim).map(<[f32]>::to_vec).collect())
}

fn components(batch: &RecordBatch) -> Result<&[f32]> {
    let vectors = batch.column_by_name("embedding").context("a batch without vectors")?;
    let vectors = vectors.as_list_opt::<i32>().context("vectors in no list")?;
    let values = vectors.values().as_primitive_opt::<Float32Type>();
    Ok(values.context("vectors of something else than floats")?.values())
}

/// The ids of the rows nearest to each query, by the plainest of loops.
fn nearest(
    batches: &[RecordBatch],
    queries: &[Vec<f32>],
    is_live: impl Fn(i64) -> bool,
) -> Result<Vec<Vec<i64>>> {
    let mut nearest: Vec<Vec<(f64, i64)>> = vec![Vec::new(); queries.len()];
    let mut first = 0;
    for batch in batches {
        for (query, nearest) in queries.iter().zip(&mut nearest) {
            let rows = (first..).zip(components(batch)?.chunks_exact(query.len()));
            nearest.extend(rows.filter(|(id, _)| is_live(*id)).map(|(id, row)| {
                let differences =
                    query.iter().zip(row).map(|(left, right)| f64::from(left - right));
                (differences.map(|difference| difference * difference).sum::<f64>(), id)
            }));
            nearest.sort_by(|left, right| left.0.total_cmp(&right.0));
            nearest.truncate(K);
        }
        first += i64::try_from(batch.num_rows())?;
    }
    Ok(nearest.iter().map(|rows| rows.iter().map(|row| row.1).collect()).collect())
}

/// The share of the right rows that are found.
async fn recall(
    world: &mut World,
    collection: &str,
    snapshot: Option<i64>,
    queries: &[Vec<f32>],
    truth: &[Vec<i64>],
) -> Result<f64> {
    let mut right = 0;
    for (query, truth) in queries.iter().zip(truth) {
        let request = search_request(collection, std::slice::from_ref(query), K, &[ID])?;
        let request = match snapshot {
            Some(snapshot) => at_snapshot(request, snapshot),
            None => request,
        };
        let answer = world.client.search(request).await?;
        let found = found(&answer)?;
        ensure!(found.len() == K, "{} rows of {K}", found.len());
        right += found.iter().filter(|row| truth.contains(&row.id)).count();
    }
    Ok(right as f64 / (queries.len() * K) as f64)
}

async fn in_turns(
    world: &mut World,
    collections: usize,
    queries: &[Vec<f32>],
    rounds: usize,
) -> Result<Vec<Measured>> {
    note("searching with and without deletes in turns");
    let mut measured: Vec<Measured> = (0..collections).map(|_| Measured::default()).collect();
    for round in 0..rounds {
        for (at, measured) in measured.iter_mut().enumerate() {
            let before = world.server.usage()?.cpu;
            for search in 0..BLOCK {
                let query = &queries[(round * BLOCK + search) % queries.len()];
                let request = search_request(&collection(at), std::slice::from_ref(query), K, &[])?;
                let begun = Instant::now();
                let answer = world.client.search(request).await?;
                measured.walls.push(begun.elapsed().as_secs_f64());
                ensure!(answer.scores.len() == K, "{} rows of {K}", answer.scores.len());
            }
            let cpu = world.server.usage()?.cpu.saturating_sub(before);
            measured.cpus.push(per(cpu, BLOCK));
        }
    }
    Ok(measured)
}

impl Measured {
    /// Searches per second of one client.
    fn rate(&self) -> f64 {
        self.walls.len() as f64 / self.walls.iter().sum::<f64>()
    }

    fn cpu(&self) -> f64 {
        self.cpus.iter().sum::<f64>() / self.cpus.len() as f64
    }
}

fn report_rates(cases: &[&Case], measured: &[Measured], report: &mut Report) {
    let mut both = cases.iter().zip(measured);
    let Some((_, plain)) = both.next() else { return };
    let times = |measured: &Measured| {
        format!(
            "{:.1} per second, p50 {:.1} ms, p99 {:.1} ms, {:.1} ms CPU",
            measured.rate(),
            median(measured.walls.iter().copied()) * 1e3,
            percentile(&measured.walls, 0.99) * 1e3,
            measured.cpu() * 1e3
        )
    };
    let detail =
        |measured: &Measured| json!({ "walls_s": measured.walls, "cpus_s": measured.cpus });
    report.add("search, no deletes", Goal::None, plain.rate(), times(plain), detail(plain));
    for (case, measured) in both {
        let ratio = median(plain.walls.iter().copied()) / median(measured.walls.iter().copied());
        report.add(
            format!("search, {}: searches per second beside those without deletes", case.name),
            Goal::AtLeast(RATE),
            ratio,
            format!(
                "{ratio:.2} by p50, {:.2} by the mean, {:.2} by CPU time; {}",
                measured.rate() / plain.rate(),
                plain.cpu() / measured.cpu(),
                times(measured)
            ),
            detail(measured),
        );
    }
}

/// Searches of other snapshots through the collection without deletes.
async fn travel(
    world: &mut World,
    table: &Table,
    queries: &[Vec<f32>],
    truths: &[Vec<Vec<i64>>; 2],
    report: &mut Report,
) -> Result<()> {
    let query = queries.first().context("no query")?;
    // The metadata file that this collection names is older than the last snapshot.
    let cases = table.cases.iter().filter(|case| case.metadata == table.base.metadata);
    for case in cases {
        for again in ["first", "second"] {
            let request = search_request(&collection(0), std::slice::from_ref(query), K, &[])?;
            let request = at_snapshot(request, case.snapshot);
            let act = async |client: &mut Client| client.search(request).await;
            let (_, cost) = world.metered(act).await?;
            report.add(
                format!("{again} search at another snapshot, with {}", case.name),
                Goal::None,
                cost.wall,
                format!("{}; {}", cost.time(), cost.text()),
                cost.detail(),
            );
        }
        let snapshot = Some(case.snapshot);
        let recall = recall(world, &collection(0), snapshot, queries, &truths[1]).await?;
        ensure!(recall >= 1.0, "recall {recall} at another snapshot, with {}", case.name);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_scan_knows_the_nearest_live_rows() {
        let shape = Shape { rows_per_file: 50, dim: 4 };
        let samples = SampleOptions { dim: 4, ..SampleOptions::default() };
        let batches: Vec<RecordBatch> =
            [0, 50].map(|first| sample_batch(first, 50, &samples).unwrap()).into();
        // Rows are their own nearest.
        let query = components(&batches[1]).unwrap()[12..16].to_vec();
        let all = nearest(&batches, std::slice::from_ref(&query), |_| true).unwrap();
        assert_eq!((all[0].len(), all[0][0]), (K, 53));
        let live = nearest(&batches, &[query], |id| id != 53).unwrap();
        assert_eq!(live[0][..K - 1], all[0][1..]);
        assert_eq!(queries(shape).unwrap().len(), QUERIES);
    }
}
