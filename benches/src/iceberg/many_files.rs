//! Tables of many small files: what their refreshes, and the first search after one, ask for.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use iceberg::spec::Transform;
use pandion_manifest::Manifest;
use pandion_testkit::iceberg::{
    SampleOptions, TableOptions, TableWriter, VectorForm, sample_batch, sample_schema,
};
use pandion_testkit::lake::Layout;
use serde_json::json;

use super::world::{Cost, Form, World, fields};
use crate::Options;
use crate::client::{Client, at_snapshot, search_request};
use crate::lake::K;
use crate::report::{Goal, Report, median, note};

/// Dimension of these vectors, which are not what is measured here.
const DIM: usize = 16;
const ROWS_PER_FILE: usize = 100;
/// Partitions by `kind` and by `bucket(id)`.
const BUCKETS: u32 = 16;
const PARTITIONS: usize = 5 * BUCKETS as usize;
/// Rows of one partition in each of the appends that fill a partitioned table.
const ROWS_PER_PARTITION: usize = 20;
/// New files of the snapshots that are appended.
const APPENDS: [usize; 2] = [1, 10];
/// Requests of the refresh after an append, beside one for each new file.
const APPEND_REQUESTS: usize = 5;
/// Times that a manifest is encoded, decoded, written and read.
const MANIFEST_ROUNDS: usize = 7;

/// A table, the collections over it, and what they are called.
struct Subject {
    name: &'static str,
    /// What the table keeps its vectors as. The metadata tell the dimension of `fixed` and not that
    /// of a list, for which one data file is opened.
    vectors: VectorForm,
    partitions: Vec<(&'static str, Transform)>,
    table: TableWriter,
    next_id: i64,
}

/// Measures and adds to the report.
pub(super) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let partitioned = vec![("kind", Transform::Identity), ("id", Transform::Bucket(BUCKETS))];
    for (name, vectors, partitions) in [
        ("unpartitioned", VectorForm::Fixed, Vec::new()),
        ("list<float>", VectorForm::List, Vec::new()),
        ("partitioned", VectorForm::Fixed, partitioned),
    ] {
        let mut world = World::start().await?;
        note(&format!("writing {} data files, {name}", options.table_files));
        let mut subject = Subject::write(&world, options, name, vectors, partitions).await?;
        refreshes(&mut world, &mut subject, report).await?;
        first_searches(&mut world, &mut subject, report).await?;
        world.stop().await?;
    }
    Ok(())
}

impl Subject {
    async fn write(
        world: &World,
        options: &Options,
        name: &'static str,
        vectors: VectorForm,
        partitions: Vec<(&'static str, Transform)>,
    ) -> Result<Self> {
        let layout = Layout { row_group_rows: 10_000, ..Layout::default() };
        let table_options = TableOptions { layout, ..TableOptions::default() };
        let schema = sample_schema(DIM, vectors)?;
        let table =
            TableWriter::create(world.place("table")?, schema, &partitions, table_options).await?;
        let mut subject = Self { name, vectors, partitions, table, next_id: 0 };
        let (batches, rows) = match subject.partitions.is_empty() {
            true => (options.table_files, ROWS_PER_FILE),
            false => (options.table_files.div_ceil(PARTITIONS), PARTITIONS * ROWS_PER_PARTITION),
        };
        subject.append(batches, rows).await?;
        Ok(subject)
    }

    /// Makes a snapshot of so many batches of so many rows.
    async fn append(&mut self, batches: usize, rows: usize) -> Result<()> {
        let vectors = self.vectors;
        let options = SampleOptions { dim: DIM, vectors, ..SampleOptions::default() };
        let mut appended = Vec::with_capacity(batches);
        for _ in 0..batches {
            appended.push(sample_batch(self.next_id, rows, &options)?);
            self.next_id += i64::try_from(rows)?;
        }
        self.table.append(&appended).await?;
        Ok(())
    }

    fn head(&self) -> Result<i64> {
        self.table.head().context("the table has no snapshot")
    }

    fn collection(form: Form) -> String {
        let form = match form {
            Form::Folder => "folder",
            Form::Metadata => "metadata",
            Form::Catalog => "catalog",
        };
        format!("many_{form}")
    }

    /// Data files that a refresh with new files may open.
    fn probes(&self) -> usize {
        usize::from(self.vectors == VectorForm::List)
    }
}

async fn refreshes(world: &mut World, subject: &mut Subject, report: &mut Report) -> Result<()> {
    let head = subject.head()?;
    let files = subject.table.data_files(head)?.len();
    let manifests = subject.table.manifest_files(head)?.len();
    for form in Form::ALL {
        let collection = Subject::collection(form);
        let (source, spec) = world.naming(form, "table", &subject.table, head).await?;
        world.client.create_with(&collection, &source, &spec, fields(DIM)).await?;
        let (receipt, cost) = world.refresh(&collection, "", "").await?;
        ensure!(receipt.count("files_added")? == files as u64, "files were missed");
        let name = format!("refresh of {files} new files, {}, {}", subject.name, form.name());
        report_first(&name, manifests, subject.probes(), &cost, report);
        if form == Form::Folder {
            report_manifest(&format!("{name}: manifest"), world.server.data_dir(), report)?;
        }
        let (receipt, cost) = world.refresh(&collection, "", "").await?;
        ensure!(receipt.count("files_kept")? == files as u64, "files changed");
        report.add(
            format!("refresh of {files} unchanged files, {}, {}", subject.name, form.name()),
            Goal::None,
            cost.requests() as f64,
            format!("{}; {}", cost.text(), cost.time()),
            cost.detail(),
        );
    }
    for new in APPENDS {
        // A row has one partition, so that it makes one file.
        let rows = if subject.partitions.is_empty() { ROWS_PER_FILE } else { 1 };
        subject.append(new, rows).await?;
        let head = subject.head()?;
        for form in Form::ALL {
            let collection = Subject::collection(form);
            let (source, spec) = world.naming(form, "table", &subject.table, head).await?;
            let source = if form == Form::Metadata { source.as_str() } else { "" };
            let spec = if form == Form::Metadata { spec.as_str() } else { "" };
            let (receipt, cost) = world.refresh(&collection, source, spec).await?;
            ensure!(receipt.count("files_added")? == new as u64, "files were missed");
            report.add(
                format!(
                    "refresh after an append of {new} to {files} files, {}, {}: requests",
                    subject.name,
                    form.name()
                ),
                Goal::AtMost((APPEND_REQUESTS + new) as f64),
                cost.requests() as f64,
                format!("{}; {}", cost.text(), cost.time()),
                cost.detail(),
            );
        }
    }
    Ok(())
}

fn report_first(name: &str, manifests: usize, probes: usize, cost: &Cost, report: &mut Report) {
    let reads = cost.reads() - cost.data_file_reads();
    report.add(
        format!("{name}: reads of metadata"),
        // The metadata file and the list of manifests.
        Goal::AtMost((2 + manifests) as f64),
        reads as f64,
        format!("{reads}, of {}; {:.1} MB", cost.text(), cost.stats.bytes_read as f64 / 1e6),
        cost.detail(),
    );
    report.add(
        format!("{name}: reads of data files"),
        Goal::Exactly(probes as f64),
        cost.data_file_reads() as f64,
        format!("{}", cost.data_file_reads()),
        json!({}),
    );
    report.add(format!("{name}: time"), Goal::None, cost.wall, cost.time(), json!({}));
}

async fn first_searches(
    world: &mut World,
    subject: &mut Subject,
    report: &mut Report,
) -> Result<()> {
    let collection = Subject::collection(Form::Folder);
    let query = vec![vec![0.25; DIM]];
    let request = search_request(&collection, &query, K, &[])?;
    world.client.load(&collection).await?;
    let mut filters = vec![("", "first search after it")];
    if !subject.partitions.is_empty() {
        filters.insert(0, (r#"kind == "apple""#, "first search after it, in one kind of five"));
    }
    for (filter, name) in filters {
        for again in ["", ", again"] {
            let request =
                pandion_proto::milvus::SearchRequest { dsl: filter.to_owned(), ..request.clone() };
            let act = async |client: &mut Client| client.search(request).await;
            let (found, cost) = world.metered(act).await?;
            ensure!(found.scores.len() == K, "{} rows of {K}", found.scores.len());
            report_search(&format!("{}: {name}{again}", subject.name), &cost, report);
        }
    }
    // The footers that the search has read go into the next manifest.
    subject.append(1, 1).await?;
    let (_, cost) = world.refresh(&collection, "", "").await?;
    let name = format!("{}: refresh after a search of all files", subject.name);
    let text = format!("{}; {}", cost.text(), cost.time());
    report.add(name.clone(), Goal::None, cost.wall, text, cost.detail());
    report_manifest(&format!("{name}: manifest"), world.server.data_dir(), report)?;
    let first = subject.table.snapshots().first().copied().context("no snapshot")?;
    for again in ["first", "second"] {
        let request = at_snapshot(request.clone(), first);
        let act = async |client: &mut Client| client.search(request).await;
        let (_, cost) = world.metered(act).await?;
        let name = format!("{}: {again} search at an earlier snapshot", subject.name);
        report_search(&name, &cost, report);
    }
    Ok(())
}

fn report_search(name: &str, cost: &Cost, report: &mut Report) {
    let text = format!("{}; {}", cost.text(), cost.time());
    report.add(name, Goal::None, cost.wall, text, cost.detail());
}

/// Tells of the manifest that the server has written last.
fn report_manifest(name: &str, data_dir: &Path, report: &mut Report) -> Result<()> {
    let file = newest_manifest(data_dir)?.context("the server has written no manifest")?;
    let bytes = Bytes::from(std::fs::read(&file)?);
    let folder = tempfile::tempdir_in(data_dir).context("making a directory")?;
    let copy = folder.path().join("copy");
    let (mut decode, mut encode, mut write) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MANIFEST_ROUNDS {
        let begun = Instant::now();
        let manifest = Manifest::decode(&bytes)?;
        decode.push(begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        let again = manifest.encode()?;
        encode.push(begun.elapsed().as_secs_f64());
        ensure!(again == bytes, "a manifest does not survive being read");
        let begun = Instant::now();
        std::fs::write(&copy, &again)?;
        std::fs::File::open(&copy)?.sync_all()?;
        write.push(begun.elapsed().as_secs_f64());
    }
    let (decode, encode, write) = (median(decode), median(encode), median(write));
    report.add(
        name,
        Goal::None,
        bytes.len() as f64,
        format!(
            "{:.2} MB; decoded in {:.1} ms, encoded in {:.1} ms, written and synced in {:.1} ms",
            bytes.len() as f64 / 1e6,
            decode * 1e3,
            encode * 1e3,
            write * 1e3
        ),
        json!({ "decode_s": decode, "encode_s": encode, "write_s": write }),
    );
    Ok(())
}

fn newest_manifest(directory: &Path) -> Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let candidate = match path.is_dir() {
            true => newest_manifest(&path)?,
            false => path.extension().is_some_and(|end| end == "manifest").then_some(path),
        };
        let Some(candidate) = candidate else { continue };
        let written = candidate.metadata()?.modified()?;
        if newest.as_ref().is_none_or(|(time, _)| *time < written) {
            newest = Some((written, candidate));
        }
    }
    Ok(newest.map(|(_, path)| path))
}
