//! What searches and queries share: filters and costs.

use std::collections::HashMap;

use chrono_tz::Tz;
use pandion_filter::{Filter, ParseOptions, Templates, TimeZone, parse_with};
use pandion_proto::common::Status;
use pandion_proto::schema;
use pandion_query::QueryCost;
use pandion_types::{CollectionSchema, Result};

use crate::status;
use crate::template_codec::{TemplateValue, decode_templates};

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
