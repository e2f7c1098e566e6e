//! Tables of which a tenth of the rows is deleted in one way or another: refreshes beside reading
//! the delete files alone.
//!
//! All ways are snapshots of one table, which grow from the same snapshot without deletes; one
//! collection is refreshed back and forth between that and each of them, so that every refresh
//! reads its delete files anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use arrow::array::{Int64Array, RecordBatch};
use iceberg::spec::FormatVersion;
use pandion_testkit::iceberg::{
    DeleteLayout, SampleOptions, TableOptions, TableWriter, VectorForm, sample_batch, sample_schema,
};
use pandion_testkit::lake::{ID, Layout};
use serde_json::json;

use super::reading;
use super::searches;
use super::world::{Cost, World, fields};
use crate::Options;
use crate::process::Usage;
use crate::report::{Goal, Report, median, note};

/// Data files of each table.
const FILES: usize = 20;
/// Dimension of the vectors where deletes are all that counts.
const NARROW_DIM: usize = 2;
/// Share of the reading time that a refresh may take.
const READ_SHARE: f64 = 1.2;
const COLLECTION: &str = "back_and_forth";

/// How large a table is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) rows_per_file: usize,
    pub(super) dim: usize,
}

impl Shape {
    pub(super) fn rows(self) -> usize {
        self.rows_per_file * FILES
    }
}

/// A snapshot with a tenth of its rows deleted.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) snapshot: i64,
    /// The metadata file that it is read from.
    pub(super) metadata: String,
    /// The delete files.
    files: Vec<String>,
    /// Whether keys of data files have to be compared.
    by_value: bool,
}

/// A table with a snapshot for each way.
pub(super) struct Table {
    pub(super) shape: Shape,
    pub(super) batches: Vec<RecordBatch>,
    writer: TableWriter,
    /// Nothing is deleted.
    pub(super) base: Case,
    /// Nothing is deleted, and a small file is added.
    grown: Case,
    pub(super) cases: Vec<Case>,
}

/// Whether the row with this id is deleted: one in ten, without an order.
pub(super) fn is_dead(id: i64) -> bool {
    (id.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32).is_multiple_of(10)
}

/// Measures and adds to the report.
pub(super) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wide = Shape { rows_per_file: options.rows.div_ceil(FILES), dim: options.dim };
    let narrow = Shape { rows_per_file: options.narrow_rows.div_ceil(FILES), dim: NARROW_DIM };
    for (shape, rounds, is_searched) in
        [(wide, options.rounds, true), (narrow, options.repeats, false)]
    {
        let mut world = World::start().await?;
        note(&format!("writing {} rows of {} numbers", shape.rows(), shape.dim));
        let table = Table::write(&world, shape).await?;
        refreshes(&mut world, &table, rounds, report).await?;
        if is_searched {
            searches::measure(options, &mut world, &table, report).await?;
        }
        world.stop().await?;
    }
    Ok(())
}

impl Table {
    async fn write(world: &World, shape: Shape) -> Result<Self> {
        let layout = Layout { row_group_rows: 50_000, page_rows: 20_000, ..Layout::default() };
        let options = TableOptions { layout, ..TableOptions::default() };
        let schema = sample_schema(shape.dim, VectorForm::List)?;
        let mut writer = TableWriter::create(world.place("table")?, schema, &[], options).await?;
        let samples = SampleOptions { dim: shape.dim, ..SampleOptions::default() };
        let mut batches = Vec::with_capacity(FILES);
        let rows = i64::try_from(shape.rows_per_file)?;
        for file in (0..).take(FILES) {
            batches.push(sample_batch(file * rows, shape.rows_per_file, &samples)?);
        }
        let base = writer.append(&batches).await?;
        let files = writer.data_files(base)?;
        let positions = positions(&files, shape.rows_per_file)?;

        let mut cases = Vec::new();
        writer.branch("grown", base).await?;
        writer.use_branch("grown")?;
        let more = sample_batch(i64::try_from(shape.rows())?, 1, &samples)?;
        let grown = writer.append(&[more]).await?;
        for (name, layout) in [
            ("position deletes, one file per data file", DeleteLayout::PerFile),
            ("position deletes, one file for all", DeleteLayout::Shared),
        ] {
            let branch = format!("{layout:?}");
            writer.branch(&branch, base).await?;
            writer.use_branch(&branch)?;
            cases.push((name, writer.delete_positions(&positions, layout).await?, false));
        }
        writer.branch("equality", base).await?;
        writer.use_branch("equality")?;
        let dead = (0..i64::try_from(shape.rows())?).filter(|id| is_dead(*id));
        let keys = Arc::new(Int64Array::from_iter_values(dead));
        let keys = RecordBatch::try_from_iter([(ID, keys as _)])?;
        let equality = writer.delete_where_equal(&[ID], keys).await?;
        cases.push(("equality deletes", equality, true));
        let version_2 = writer.metadata_location().to_owned();

        writer.upgrade(FormatVersion::V3).await?;
        writer.branch("vectors", base).await?;
        writer.use_branch("vectors")?;
        let vectors = writer.delete_positions(&positions, DeleteLayout::Shared).await?;
        cases.push(("deletion vectors", vectors, false));
        let version_3 = writer.metadata_location().to_owned();

        let case = |(name, snapshot, by_value): (&'static str, i64, bool)| -> Result<Case> {
            let mut files = writer.delete_file_entries(snapshot)?;
            files.sort_unstable();
            files.dedup();
            let metadata = if snapshot == vectors { &version_3 } else { &version_2 };
            Ok(Case { name, snapshot, metadata: metadata.clone(), files, by_value })
        };
        let base = case(("no deletes", base, false))?;
        let grown = case(("one more file", grown, false))?;
        let cases = cases.into_iter().map(case).collect::<Result<_>>()?;
        Ok(Self { shape, batches, writer, base, grown, cases })
    }

    fn data_files(&self) -> Result<Vec<String>> {
        self.writer.data_files(self.base.snapshot)
    }
}

/// The dead rows of each file.
fn positions(files: &[String], rows_per_file: usize) -> Result<Vec<(String, Vec<u64>)>> {
    let rows = u64::try_from(rows_per_file)?;
    let dead = |file: u64| -> Result<Vec<u64>> {
        let mut dead = Vec::new();
        for row in 0..rows {
            if is_dead(i64::try_from(file * rows + row)?) {
                dead.push(row);
            }
        }
        Ok(dead)
    };
    (0..).zip(files).map(|(file, uri)| Ok((uri.clone(), dead(file)?))).collect()
}

/// Wall and CPU seconds of reading, by this process, which is the S3 server too.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: f64,
    cpu: f64,
}

async fn reading<T>(read: impl Future<Output = Result<T>>) -> Result<Reading> {
    let cpu = || Usage::of(std::process::id()).map(|usage| usage.cpu);
    let before = cpu()?;
    let begun = Instant::now();
    read.await?;
    let wall = begun.elapsed().as_secs_f64();
    Ok(Reading { wall, cpu: cpu()?.saturating_sub(before).as_secs_f64() })
}

/// What was measured of a case.
#[derive(Debug, Default)]
struct Measured {
    /// Getting the bytes of the delete files.
    get: Vec<Reading>,
    /// Getting and decoding them.
    read: Vec<Reading>,
    /// Reading the key columns of the data files.
    keys: Vec<Reading>,
    refresh: Vec<Cost>,
    /// CPU seconds of the S3 server and the client in each refresh.
    beside: Vec<f64>,
}

async fn refreshes(
    world: &mut World,
    table: &Table,
    rounds: usize,
    report: &mut Report,
) -> Result<()> {
    let (source, spec) = world.at(&table.base.metadata, table.base.snapshot)?;
    world.client.create_with(COLLECTION, &source, &spec, fields(table.shape.dim)).await?;
    world.refresh(COLLECTION, "", "").await?;
    let data_files = table.data_files()?;
    let place = table.writer.place();
    let all: Vec<&Case> = [&table.grown].into_iter().chain(&table.cases).collect();
    let mut measured: Vec<Measured> = all.iter().map(|_| Measured::default()).collect();
    for _ in 0..rounds {
        for (case, measured) in all.iter().zip(&mut measured) {
            measured.get.push(reading(reading::whole(place, &case.files, false)).await?);
            measured.read.push(reading(reading::whole(place, &case.files, true)).await?);
            if case.by_value {
                measured.keys.push(reading(reading::column(place, &data_files, ID)).await?);
            }
            let (source, spec) = world.at(&case.metadata, case.snapshot)?;
            let before = Usage::of(std::process::id())?.cpu;
            let (receipt, cost) = world.refresh(COLLECTION, &source, &spec).await?;
            let beside = Usage::of(std::process::id())?.cpu.saturating_sub(before);
            measured.beside.push(beside.as_secs_f64());
            let dead = (0..i64::try_from(table.shape.rows())?).filter(|id| is_dead(*id)).count();
            let live = match case.files.is_empty() {
                true => table.shape.rows() + 1,
                false => table.shape.rows() - dead,
            };
            let told = receipt.count("rows")?;
            ensure!(told == live as u64, "{}: {told} rows live, {live} should", case.name);
            measured.refresh.push(cost);
            let (source, spec) = world.at(&table.base.metadata, table.base.snapshot)?;
            world.refresh(COLLECTION, &source, &spec).await?;
        }
    }
    let mut cases = all.iter().zip(&measured);
    let (_, grown) = cases.next().context("nothing was measured")?;
    let fixed = grown.refresh_wall();
    let name = format!("{} × {}", table.shape.rows(), table.shape.dim);
    report.add(
        format!("{name}, refresh that adds one file and no delete"),
        Goal::None,
        fixed,
        grown.refresh_text(),
        json!({ "walls_s": grown.refresh.iter().map(|cost| cost.wall).collect::<Vec<_>>() }),
    );
    for (case, measured) in cases {
        measured.report(&format!("{name}, {}", case.name), fixed, report);
    }
    Ok(())
}

fn walls(readings: &[Reading]) -> f64 {
    median(readings.iter().map(|reading| reading.wall))
}

fn mean_cpu(readings: &[Reading]) -> f64 {
    readings.iter().map(|reading| reading.cpu).sum::<f64>() / readings.len() as f64
}

impl Measured {
    fn refresh_wall(&self) -> f64 {
        median(self.refresh.iter().map(|cost| cost.wall))
    }

    /// CPU seconds of all processes, the S3 server's included.
    fn refresh_cpu(&self) -> f64 {
        let server: f64 = self.refresh.iter().map(|cost| cost.cpu).sum();
        (server + self.beside.iter().sum::<f64>()) / self.refresh.len() as f64
    }

    fn refresh_text(&self) -> String {
        let asked = self.refresh.last().map(Cost::text).unwrap_or_default();
        format!(
            "{:.1} ms wall, {:.1} ms CPU; {asked}",
            self.refresh_wall() * 1e3,
            self.refresh_cpu() * 1e3
        )
    }

    fn report(&self, name: &str, fixed: f64, report: &mut Report) {
        let (refresh, read) = (self.refresh_wall(), walls(&self.read));
        let keys = if self.keys.is_empty() { 0.0 } else { walls(&self.keys) };
        let keys_cpu = if self.keys.is_empty() { 0.0 } else { mean_cpu(&self.keys) };
        let base = read + keys;
        let base_cpu = mean_cpu(&self.read) + keys_cpu;
        let mut text = format!(
            "{:.2} ({:.2} by CPU time): refresh {}; reading and decoding the delete files {:.1} ms \
             wall, {:.1} ms CPU (getting their bytes alone {:.1} ms)",
            refresh / base,
            self.refresh_cpu() / base_cpu,
            self.refresh_text(),
            read * 1e3,
            mean_cpu(&self.read) * 1e3,
            walls(&self.get) * 1e3
        );
        if !self.keys.is_empty() {
            text.push_str(&format!(
                "; the key column of the data files {:.1} ms wall, {:.1} ms CPU",
                keys * 1e3,
                keys_cpu * 1e3
            ));
        }
        let lists = |readings: &[Reading]| {
            readings.iter().map(|reading| [reading.wall, reading.cpu]).collect::<Vec<_>>()
        };
        report.add(
            format!("{name}: refresh beside reading what it has to read"),
            Goal::AtMost(READ_SHARE),
            refresh / base,
            text,
            json!({
                "get_s": lists(&self.get), "read_s": lists(&self.read), "keys_s": lists(&self.keys),
                "refresh": self.refresh.iter().map(Cost::detail).collect::<Vec<_>>(),
                "beside_cpu_s": self.beside,
            }),
        );
        let more = (refresh - fixed) / base;
        report.add(
            format!("{name}: the same without what any refresh costs"),
            Goal::AtMost(READ_SHARE),
            more,
            format!(
                "{more:.2} ({:.1} ms more than a refresh without deletes)",
                (refresh - fixed) * 1e3
            ),
            json!({ "fixed_s": fixed }),
        );
    }
}

/// Seconds of a duration divided among so many.
pub(super) fn per(total: Duration, times: usize) -> f64 {
    total.as_secs_f64() / times as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_rows_is_dead_in_every_file() {
        let files = vec!["a".to_owned(), "b".to_owned()];
        let positions = positions(&files, 10_000).unwrap();
        for (file, ((uri, dead), expected)) in (0..).zip(positions.iter().zip(&files)) {
            assert_eq!(uri, expected);
            assert!((900..1_100).contains(&dead.len()), "{}", dead.len());
            assert!(dead.iter().all(|row| is_dead(file * 10_000 + row.cast_signed())));
        }
    }
}
