//! What a request tells of how it was answered, when asked to explain itself.

use pandion_query::QueryCost;
use serde_json::json;

/// The parameter of a search or query that asks for it, and the key of the answer's status under
/// which it stands.
pub(crate) const EXPLAIN: &str = "explain";

/// The JSON text that stands under [`EXPLAIN`]; `rows` is the number of rows in the answer.
///
/// The keys are documented in the user guide.
pub(crate) fn explain(cost: &QueryCost, rows: usize) -> String {
    let stages = cost.stages;
    json!({
        "strategy": strategy(cost),
        "version": cost.version,
        // As text: the ids of snapshots do not fit the numbers of every reader of JSON.
        "table_snapshot_id": cost.table_snapshot_id.map(|id| id.to_string()),
        "files": cost.files,
        "files_pruned": cost.files_pruned,
        "row_groups": cost.row_groups,
        "row_groups_pruned": cost.row_groups_pruned,
        "rows": rows,
        "rows_matched": cost.rows_matched,
        "rows_deleted": cost.rows_deleted,
        "rows_filtered": cost.rows_filtered,
        "rows_decoded": cost.io.rows_decoded,
        "index_lookups": cost.index_lookups,
        "files_from_index": cost.files_from_index,
        "files_from_cache": cost.files_from_cache,
        "distances": cost.distances,
        "requests": cost.io.read_requests,
        "bytes": cost.io.bytes_read,
        "cache_hits": cost.io.cache_hits,
        "cache_misses": cost.io.cache_misses,
        "stages": {
            "prune_us": stages.prune_us,
            "index_us": stages.index_us,
            "filter_us": stages.filter_us,
            "vectors_us": stages.vectors_us,
            "compare_us": stages.compare_us,
            "columns_us": stages.columns_us,
            "take_us": stages.take_us,
        },
    })
    .to_string()
}

/// How the matching rows were found: one or several of `cached matches`, `scalar index` and `scan`,
/// joined by ` + `; else `statistics` when they alone decided, and `all rows` when nothing had to
/// be decided.
fn strategy(cost: &QueryCost) -> String {
    let ways = [
        ("cached matches", cost.files_from_cache > 0),
        ("scalar index", cost.files_from_index > 0),
        ("scan", cost.rows_filtered > 0),
    ];
    let used: Vec<&str> = ways.iter().filter(|(_, used)| *used).map(|(way, _)| *way).collect();
    match used.is_empty() {
        false => used.join(" + "),
        true if cost.files_pruned + cost.row_groups_pruned > 0 => "statistics".to_owned(),
        true => "all rows".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strategy_names_every_way_that_was_used() {
        let of = |from_cache, from_index, filtered, pruned| {
            strategy(&QueryCost {
                files_from_cache: from_cache,
                files_from_index: from_index,
                rows_filtered: filtered,
                files_pruned: pruned,
                ..QueryCost::default()
            })
        };
        assert_eq!(of(0, 0, 0, 0), "all rows");
        assert_eq!(of(0, 0, 0, 3), "statistics");
        assert_eq!(of(0, 0, 9, 3), "scan");
        assert_eq!(of(1, 2, 9, 0), "cached matches + scalar index + scan");
    }
}
