//! The vectors of rows that are named by their primary keys.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use pandion_index::QueryBatch;
use pandion_types::{Error, FieldId, FieldSchema, Result, RowId};

use crate::counters::Counters;
use crate::engine::QueryEngine;
use crate::request::OutputColumn;
use crate::snapshot::Snapshot;

/// Keys that an error names, at most.
const NAMED_KEYS_MAX: usize = 10;

impl QueryEngine {
    /// The vectors of the rows with these primary keys, in the order of the keys, which may repeat.
    ///
    /// # Errors
    /// `InvalidArgument` when no row has a key, or its vector is null; those of the files and the
    /// store.
    pub async fn vectors_of(
        &self,
        snapshot: &Arc<Snapshot>,
        field: FieldId,
        keys: &[i64],
    ) -> Result<QueryBatch> {
        let rows = rows(snapshot, keys)?;
        let counters = Arc::new(Counters::default());
        let columns = self
            .take(snapshot, &[field], rows, &counters)
            .await
            .map_err(|error| error.context("the vectors of the primary keys"))?;
        let column = columns
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("the vectors of the rows were lost"))?;
        batch(&column, keys)
    }
}

fn rows(snapshot: &Snapshot, keys: &[i64]) -> Result<Vec<RowId>> {
    let found: Vec<Option<RowId>> = keys.iter().map(|&key| snapshot.row(key)).collect();
    let mut missing = keys.iter().zip(&found).filter(|(_, row)| row.is_none());
    let named: Vec<&i64> = missing.by_ref().map(|(key, _)| key).take(NAMED_KEYS_MAX).collect();
    if named.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut text = String::new();
    for key in named {
        let written = write!(text, "{}{key}", if text.is_empty() { "" } else { " " });
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    let more = missing.count();
    if more > 0 {
        let written = write!(text, " and {more} more");
        debug_assert!(written.is_ok(), "writing to a String does not fail");
    }
    Err(Error::invalid_argument(format!(
        "some of the provided primary key IDs do not exist: missing IDs = [{text}]"
    )))
}

fn batch(column: &OutputColumn, keys: &[i64]) -> Result<QueryBatch> {
    let OutputColumn { field, values } = column;
    let vector_type = field
        .vector_type()
        .ok_or_else(|| Error::internal(format!("field {} holds no vectors", field.name)))?;
    if let Some(at) = (0..values.len()).find(|&at| values.is_null(at)) {
        let key = keys.get(at).copied().unwrap_or_default();
        return Err(Error::invalid_argument(format!(
            "the vector of field {} is null for primary key {key}, it cannot be searched for",
            field.name
        )));
    }
    let vectors: Vec<Vec<u8>> = if let Some(lists) = values.as_fixed_size_list_opt() {
        (0..lists.len())
            .map(|at| {
                let vector = lists.value(at);
                let components =
                    vector.as_primitive_opt::<Float32Type>().ok_or_else(|| not_vectors(field))?;
                Ok(components.values().iter().flat_map(|value| value.to_le_bytes()).collect())
            })
            .collect::<Result<_>>()?
    } else {
        let bytes = values.as_fixed_size_binary_opt().ok_or_else(|| not_vectors(field))?;
        (0..bytes.len()).map(|at| bytes.value(at).to_vec()).collect()
    };
    QueryBatch::new(vector_type, &vectors)
}

fn not_vectors(field: &FieldSchema) -> Error {
    Error::internal(format!("the column of field {} does not hold vectors", field.name))
}
