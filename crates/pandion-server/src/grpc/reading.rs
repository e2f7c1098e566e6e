//! Query, and what all answers with rows have in common.

use std::collections::HashMap;
use std::time::Instant;

use chrono_tz::Tz;
use pandion_filter::{Filter, ParseOptions, Templates, TimeZone, parse_with};
use pandion_proto::common::Status;
use pandion_proto::milvus;
use pandion_proto::schema::{self, FieldData};
use pandion_query::{OutputColumn, QueryCost, QueryOptions, QueryRequest};
use pandion_types::{CollectionSchema, Result, VIRTUAL_PK_NAME};

use super::{Caller, Door};
use crate::access::{Action, Resource};
use crate::clock;
use crate::field_data::{encode_column, encode_count};
use crate::output_fields::{QueryOutput, query_output};
use crate::query_params::decode_query_params;
use crate::status;
use crate::template_codec::{TemplateValue, decode_templates};

pub(super) async fn query(
    door: &Door,
    caller: &Caller,
    request: milvus::QueryRequest,
) -> Result<milvus::QueryResults> {
    let started = Instant::now();
    let collection = door.collection(caller, &request.db_name, &request.collection_name)?;
    door.authorize(caller, Action::Read, Resource::Collection(&collection))?;
    super::partitions::check(&request.partition_names)?;
    let params = decode_query_params(&request)?;
    if let Some(feature) = params.features.first() {
        return Err(feature.refusal());
    }
    let snapshot = door.node().snapshot(&collection).await?;
    let schema = snapshot.schema();
    let output = query_output(schema, &request.output_fields)?;
    let timezone = params.timezone.unwrap_or(Tz::UTC);
    let counts = matches!(output, QueryOutput::Count(_));
    params.check_use(!request.expr.trim().is_empty(), counts)?;
    let filter = filter(schema, &request.expr, &request.expr_template_values, timezone)?;
    let engine = door.node().engine();
    let (fields_data, output_fields, cost) = match output {
        QueryOutput::Count(name) => {
            let (count, cost) =
                engine.count(&snapshot, filter.as_ref(), QueryOptions::default()).await?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            (vec![encode_count(&name, count)], vec![name], cost)
        }
        QueryOutput::Fields(fields) => {
            let asked = QueryRequest {
                filter,
                output: fields.iter().map(|field| field.id).collect(),
                limit: params.limit,
                offset: params.offset,
                options: QueryOptions::default(),
            };
            let result = engine.query(&snapshot, asked).await?;
            let names = fields.into_iter().map(|field| field.name).collect();
            (encode_columns(&result.columns, timezone)?, names, result.cost)
        }
    };
    door.count_read("query", &cost, started);
    Ok(milvus::QueryResults {
        status: Some(with_cost(&cost)),
        fields_data,
        collection_name: collection.name.clone(),
        output_fields,
        session_ts: clock::hybrid_timestamp(),
        primary_field_name: VIRTUAL_PK_NAME.to_owned(),
        ..milvus::QueryResults::default()
    })
}

/// Parses the filter of a request; `None` when it keeps every row.
pub(super) fn filter(
    schema: &CollectionSchema,
    text: &str,
    templates: &HashMap<String, schema::TemplateValue>,
    timezone: Tz,
) -> Result<Option<Filter>> {
    let mut named = Templates::new();
    for (name, value) in decode_templates(templates)? {
        named.insert(name, template(value));
    }
    let time_zone: TimeZone = timezone.name().parse()?;
    let options = ParseOptions { time_zone };
    let filter = parse_with(text, schema, &named, &options)?;
    Ok((!filter.is_match_all()).then_some(filter))
}

fn template(value: TemplateValue) -> pandion_filter::TemplateValue {
    use pandion_filter::TemplateValue as Filter;
    match value {
        TemplateValue::Bool(value) => Filter::Bool(value),
        TemplateValue::Int64(value) => Filter::Int64(value),
        TemplateValue::Double(value) => Filter::Double(value),
        TemplateValue::String(value) => Filter::String(value),
        TemplateValue::List(values) => Filter::Array(values.into_iter().map(template).collect()),
    }
}

pub(super) fn encode_columns(columns: &[OutputColumn], timezone: Tz) -> Result<Vec<FieldData>> {
    columns.iter().map(|column| encode_column(&column.field, &column.values, timezone)).collect()
}

/// Success, with what the answer cost under the keys that clients know and under our own.
pub(super) fn with_cost(cost: &QueryCost) -> Status {
    let looked_up = cost.io.cache_hits + cost.io.cache_misses;
    #[expect(clippy::cast_precision_loss, reason = "a ratio to show")]
    let hit_ratio = if looked_up == 0 { 0.0 } else { cost.io.cache_hits as f64 / looked_up as f64 };
    let pairs = [
        ("scanned_remote_bytes", cost.io.bytes_read.to_string()),
        ("scanned_total_bytes", cost.io.bytes_read.to_string()),
        ("cache_hit_ratio", hit_ratio.to_string()),
        ("read_requests", cost.io.read_requests.to_string()),
        ("bytes_read", cost.io.bytes_read.to_string()),
        ("rows_decoded", cost.io.rows_decoded.to_string()),
        ("rows_filtered", cost.rows_filtered.to_string()),
        ("distances", cost.distances.to_string()),
        ("files", cost.files.to_string()),
        ("files_pruned", cost.files_pruned.to_string()),
        ("row_groups", cost.row_groups.to_string()),
        ("row_groups_pruned", cost.row_groups_pruned.to_string()),
    ];
    let extra_info = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Status { extra_info, ..status::success() }
}
