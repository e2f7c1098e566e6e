//! Looking up one row of many by its primary key, with five of its fields: how long it takes and
//! what it reads, when the engine has seen the files before and when it has not.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use pandion_filter::{Templates, parse};
use pandion_query::{EngineOptions, QueryEngine, QueryRequest, Snapshot};
use pandion_testkit::lake::ID;
use pandion_types::{FieldId, FileId, RowId, VIRTUAL_PK_NAME};
use serde_json::{Value, json};

use crate::Options;
use crate::filter_lake::{CODE, DOC, FilterLake, KIND, NUM, PAGE_ROWS, draw, fields};
use crate::node::LocalNode;
use crate::report::{Goal, Report, note, percentile};
use crate::sql_peers::SqlPeer;

const COLLECTION: &str = "lookups";
const OUTPUT: [&str; 5] = [ID, NUM, KIND, CODE, DOC];
/// Rows of a page: what writers make by default, and what somebody makes who looks up rows.
const PAGES: [usize; 2] = [PAGE_ROWS, 2_000];
/// Lookups before those that count.
const WARM_UP: usize = 200;
/// Milliseconds that half of the warm lookups may take.
const GOAL_MS: f64 = 2.0;
/// Bytes that a cold lookup may read.
const GOAL_BYTES: f64 = 200_000.0;
/// What the numbers of the rows that are looked up are drawn for; no column uses it.
const PURPOSE: u64 = 15;

/// What some lookups took.
#[derive(Debug, Default)]
struct Lookups {
    walls_ms: Vec<f64>,
    requests: Vec<f64>,
    bytes: Vec<f64>,
}

impl Lookups {
    fn p50(&self) -> f64 {
        percentile(&self.walls_ms, 0.5)
    }

    fn times(&self) -> String {
        format!("{:.3} ms p50, {:.3} ms p99", self.p50(), percentile(&self.walls_ms, 0.99))
    }

    fn reads(&self) -> String {
        format!(
            "{:.1} requests and {:.1} KB per row, {:.1} KB at most",
            mean(&self.requests),
            mean(&self.bytes) / 1e3,
            percentile(&self.bytes, 1.0) / 1e3
        )
    }

    fn detail(&self) -> Value {
        json!({ "walls_ms": self.walls_ms, "requests": self.requests, "bytes": self.bytes })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// A loaded lake, and where its rows are.
struct Place {
    lake: FilterLake,
    node: LocalNode,
    files: HashMap<String, FileId>,
    output: Vec<FieldId>,
}

/// Measures and adds to the report.
///
/// # Errors
/// A lookup fails or finds another row.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    for page_rows in PAGES {
        let place = Place::open(options, page_rows).await?;
        let name = format!("one row of {}, pages of {page_rows} rows", place.lake.rows);
        note(&name);
        place.report_warm(options, &name, report).await?;
        place.report_cold(options, &name, report).await?;
        if page_rows == PAGE_ROWS {
            place.report_peers(options, &name, report).await?;
        }
        place.node.stop().await;
    }
    Ok(())
}

impl Place {
    async fn open(options: &Options, page_rows: usize) -> Result<Self> {
        let lake = FilterLake::of(options, page_rows)?;
        lake.warm()?;
        let node = LocalNode::serving(COLLECTION, &lake.directory, fields()).await?;
        let name = |location: &str| {
            let name = Path::new(location).file_name().and_then(|name| name.to_str());
            name.map(str::to_owned).with_context(|| format!("no name in {location}"))
        };
        let files = node.snapshot.manifest().files.iter();
        let files = files.map(|file| Ok((name(&file.location)?, file.id)));
        let files = files.collect::<Result<_>>()?;
        let output = OUTPUT
            .iter()
            .map(|&name| {
                let field = node.snapshot.schema().fields.iter().find(|field| field.name == name);
                field.map(|field| field.id).with_context(|| format!("no field {name}"))
            })
            .collect::<Result<_>>()?;
        Ok(Self { lake, node, files, output })
    }

    /// The value of [`ID`] in the row of a lookup.
    fn id(&self, lookup: usize) -> u64 {
        draw(lookup as u64, PURPOSE, self.lake.rows)
    }

    fn row(&self, id: u64) -> Result<RowId> {
        let (name, row) = self.lake.position(id).context("the lake has no such row")?;
        let file = self.files.get(&name).with_context(|| format!("no file {name}"))?;
        Ok(RowId::new(*file, u32::try_from(row)?))
    }

    /// Looks up a row by a filter and adds what it took.
    async fn look_up(
        &self,
        engine: &QueryEngine,
        snapshot: &Arc<Snapshot>,
        lookup: usize,
        filter: &str,
        lookups: &mut Lookups,
    ) -> Result<()> {
        let begun = Instant::now();
        let filter = parse(filter, snapshot.schema(), &Templates::new())?;
        let request = QueryRequest {
            filter: Some(filter),
            output: self.output.clone(),
            ..QueryRequest::default()
        };
        let result = engine.query(snapshot, request).await?;
        lookups.walls_ms.push(begun.elapsed().as_secs_f64() * 1e3);
        lookups.requests.push(result.cost.io.read_requests as f64);
        lookups.bytes.push(result.cost.io.bytes_read as f64);
        let id = self.id(lookup);
        ensure!(result.rows == [self.row(id)?], "found {:?} instead of row {id}", result.rows);
        let ids = result.columns.first().context("no columns")?;
        let ids = ids.values.as_primitive_opt::<Int64Type>().context("ids of another type")?;
        ensure!(ids.values() == &[id.cast_signed()], "row {id} has the values of {ids:?}");
        Ok(())
    }

    fn by_key(&self, lookup: usize) -> Result<String> {
        Ok(format!("{VIRTUAL_PK_NAME} == {}", self.row(self.id(lookup))?.get()))
    }

    fn by_column(&self, lookup: usize) -> String {
        format!("{ID} == {}", self.id(lookup))
    }

    async fn report_warm(&self, options: &Options, name: &str, report: &mut Report) -> Result<()> {
        let (engine, snapshot) = (self.node.engine(), &self.node.snapshot);
        let (mut by_key, mut by_column) = (Lookups::default(), Lookups::default());
        for lookup in 0..WARM_UP + options.lookups {
            // What came before the first counted one goes.
            if lookup == WARM_UP {
                (by_key, by_column) = (Lookups::default(), Lookups::default());
            }
            let filter = self.by_key(lookup)?;
            self.look_up(engine, snapshot, lookup, &filter, &mut by_key).await?;
            let filter = self.by_column(lookup);
            self.look_up(engine, snapshot, lookup, &filter, &mut by_column).await?;
        }
        for (what, goal, lookups) in [
            ("by primary key", Goal::AtMost(GOAL_MS), &by_key),
            ("by a column in order, no index", Goal::None, &by_column),
        ] {
            report.add(
                format!("{name}, {what}, warm: p50 in ms"),
                goal,
                lookups.p50(),
                format!("{}; {}", lookups.times(), lookups.reads()),
                lookups.detail(),
            );
        }
        Ok(())
    }

    async fn report_cold(&self, options: &Options, name: &str, report: &mut Report) -> Result<()> {
        let mut lookups = Lookups::default();
        for lookup in 0..options.lookups.div_ceil(10) {
            let known = &self.node.snapshot;
            let (schema, manifest) = (Arc::clone(known.schema()), Arc::clone(known.manifest()));
            let engine = QueryEngine::new(&EngineOptions::default())?;
            let snapshot =
                Arc::new(Snapshot::new(schema, manifest, Arc::clone(known.store()), None));
            let filter = self.by_key(lookup)?;
            self.look_up(&engine, &snapshot, lookup, &filter, &mut lookups).await?;
        }
        report.add(
            format!("{name}, by primary key, cold: bytes read"),
            Goal::AtMost(GOAL_BYTES),
            mean(&lookups.bytes),
            format!("{}; {}", lookups.reads(), lookups.times()),
            lookups.detail(),
        );
        Ok(())
    }

    async fn report_peers(&self, options: &Options, name: &str, report: &mut Report) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let lake = &self.lake.directory;
        for mut peer in SqlPeer::all(options.python.as_deref(), lake, threads).await? {
            let mut lookups = Lookups::default();
            for lookup in 0..options.lookups.div_ceil(10) {
                let id = self.id(lookup);
                let sql = format!("select {} from rows where {ID} = {id}", OUTPUT.join(", "));
                let answer = peer.ask(&sql).await?;
                let found = answer.rows.first().and_then(|row| row.first()).and_then(Value::as_u64);
                ensure!(answer.rows.len() == 1 && found == Some(id), "{sql}: {:?}", answer.rows);
                lookups.walls_ms.push(answer.wall_s * 1e3);
            }
            report.add(
                format!("{name}, {} {}: p50 in ms", peer.system.name(), peer.version),
                Goal::None,
                lookups.p50(),
                lookups.times(),
                json!({ "walls_ms": lookups.walls_ms }),
            );
        }
        Ok(())
    }
}
