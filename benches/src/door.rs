//! What the gRPC door adds to a search: the same filtered exact search through it and past it, in
//! one process, in turns.
//!
//! The time through the door is that of a client: it encodes the request, waits on loopback and
//! decodes the answer. Past it the parsed request is handed to the engine behind the door.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use pandion_filter::{Templates, parse};
use pandion_index::QueryBatch;
use pandion_proto::schema::{DataType, SearchResultData, i_ds};
use pandion_query::{QueryOptions, Refinement, SearchRequest, SearchResult};
use pandion_testkit::lake::{ID, Lake, Layout, NUM, VEC, VectorsSpec};
use pandion_types::{FieldId, MetricType, VectorElement, VectorType};
use serde_json::json;

use crate::Options;
use crate::client::{field, search_request};
use crate::lake::K;
use crate::node::LocalNode;
use crate::report::{Goal, Report, note, percentile};

const COLLECTION: &str = "door";
const ROWS: usize = 10_000;
/// Requests that take turns, so that not one line of data is in a processor's cache all the time.
const VARIANTS: usize = 16;
/// Searches before those that count.
const WARM_UP: usize = 200;
/// Microseconds that the door may add to half of the searches.
const GOAL_US: f64 = 200.0;

/// Measures and adds to the report.
///
/// # Errors
/// A search fails, or the two ways find different rows.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    note("searching through the door and past it");
    let spec = VectorsSpec {
        rows: ROWS,
        dim: options.dim,
        layout: Layout { row_group_rows: ROWS, ..Layout::default() },
        ..VectorsSpec::default()
    };
    let folder = tempfile::tempdir().context("making a directory for a lake")?;
    let directory = folder.path().join("lake");
    Lake::in_directory(&directory, spec.clone())?.append(ROWS)?;
    let directory = directory.canonicalize().context("resolving the lake's directory")?;
    let fields = vec![
        field(ID, DataType::Int64, &[]),
        field(NUM, DataType::Int32, &[]),
        field(VEC, DataType::FloatVector, &[("dim", options.dim.to_string())]),
    ];
    let mut node = LocalNode::serving(COLLECTION, &directory, fields).await?;
    let queries = spec.queries(VARIANTS);
    for output in [&[][..], &[ID][..]] {
        compare(options, &mut node, &queries, output, report).await?;
    }
    node.stop().await;
    Ok(())
}

async fn compare(
    options: &Options,
    node: &mut LocalNode,
    queries: &[Vec<f32>],
    output: &[&str],
    report: &mut Report,
) -> Result<()> {
    let (mut through, mut past) = (Vec::new(), Vec::new());
    for search in 0..WARM_UP + options.searches {
        let at = search % queries.len();
        let mut request = search_request(COLLECTION, &queries[at..=at], K, output)?;
        request.dsl = filter(at);
        let begun = Instant::now();
        let answer = node.client.search(request).await?;
        let wall_through = begun.elapsed().as_secs_f64() * 1e6;

        let request = direct_request(node, &queries[at], &filter(at), output)?;
        let begun = Instant::now();
        let found = node.engine().search(&node.snapshot, request).await?;
        let wall_past = begun.elapsed().as_secs_f64() * 1e6;
        if search < WARM_UP {
            check_same(&answer, &found)?;
            continue;
        }
        through.push(wall_through);
        past.push(wall_past);
    }
    let both = |share| (percentile(&through, share), percentile(&past, share));
    let (p50, p99) = (both(0.5), both(0.99));
    let added = p50.0 - p50.1;
    let what = if output.is_empty() { "no output field" } else { "one output field" };
    report.add(
        format!("door, filtered exact search over {ROWS} rows, {what}: µs that gRPC adds to p50"),
        Goal::AtMost(GOAL_US),
        added,
        format!(
            "{added:.0} µs (p50 {:.0} through gRPC, {:.0} in process; p99 {:.0} and {:.0})",
            p50.0, p50.1, p99.0, p99.1
        ),
        json!({ "grpc_us": through, "in_process_us": past }),
    );
    Ok(())
}

/// About half of the rows.
fn filter(variant: usize) -> String {
    format!("{NUM} < {}", 500 + variant)
}

fn direct_request(
    node: &LocalNode,
    query: &[f32],
    filter: &str,
    output: &[&str],
) -> Result<SearchRequest> {
    let schema = node.snapshot.schema();
    let id = |name: &str| -> Result<FieldId> {
        let field = schema.fields.iter().find(|field| field.name == name);
        Ok(field.with_context(|| format!("no field {name}"))?.id)
    };
    let vector_type = VectorType { element: VectorElement::Float32, dim: query.len() };
    Ok(SearchRequest {
        field: id(VEC)?,
        queries: QueryBatch::new(vector_type, &[bytemuck::cast_slice(query)])?,
        metric: MetricType::L2,
        limit: K,
        offset: 0,
        range: None,
        filter: Some(parse(filter, schema, &Templates::new())?),
        output: output.iter().map(|name| id(name)).collect::<Result<_>>()?,
        options: QueryOptions::default(),
        refinement: Refinement::default(),
    })
}

fn check_same(answer: &SearchResultData, found: &SearchResult) -> Result<()> {
    let ids = answer.ids.as_ref().and_then(|ids| ids.id_field.as_ref());
    let Some(i_ds::IdField::IntId(ids)) = ids else { anyhow::bail!("an answer without ids") };
    let hits = found.hits.first().context("no answer past the door")?;
    let direct: Vec<i64> = hits.iter().map(|hit| hit.row.get()).collect();
    ensure!(ids.data == direct, "{:?} through the door, {direct:?} past it", ids.data);
    ensure!(hits.len() == K, "{} rows of {K}", hits.len());
    let scores = hits.iter().map(|hit| hit.score);
    ensure!(answer.scores.iter().copied().eq(scores), "other distances through the door");
    Ok(())
}
