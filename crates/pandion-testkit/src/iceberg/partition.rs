//! Rows by partition, and the names of partitions in paths.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, AsArray as _, RecordBatch, UInt32Array};
use iceberg::spec::{PartitionSpec, Schema, Struct, StructType, Type};
use iceberg::transform::create_transform_function;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::values::{Literals, literals};

/// What stays as it is in the name of a partition.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// The rows of a batch by partition, in the order in which partitions first occur. Without
/// partition fields there is one partition, also for no rows.
///
/// # Errors
/// A source column that is not in the schema, or that the transform does not take.
pub(super) fn split(
    batch: &RecordBatch,
    schema: &Schema,
    spec: &PartitionSpec,
) -> anyhow::Result<Vec<(Struct, UInt32Array)>> {
    let rows = u32::try_from(batch.num_rows()).context("too many rows")?;
    if spec.fields().is_empty() {
        return Ok(vec![(Struct::empty(), UInt32Array::from_iter_values(0..rows))]);
    }
    let columns: Vec<Literals> = spec
        .fields()
        .iter()
        .map(|field| {
            let (source, source_type) = source(batch, schema, field.source_id)?;
            let values = create_transform_function(&field.transform)?.transform(source)?;
            literals(&values, &field.transform.result_type(&source_type)?)
        })
        .collect::<anyhow::Result<_>>()?;
    let mut numbers: HashMap<Struct, usize> = HashMap::new();
    let mut groups: Vec<(Struct, Vec<u32>)> = Vec::new();
    for (at, row) in (0..rows).enumerate() {
        let partition: Struct = columns.iter().map(|column| column[at].clone()).collect();
        let group = *numbers.entry(partition.clone()).or_insert_with(|| {
            groups.push((partition, Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(row);
    }
    Ok(groups.into_iter().map(|(partition, rows)| (partition, rows.into())).collect())
}

/// The column with a field id, also inside structs.
fn source(batch: &RecordBatch, schema: &Schema, id: i32) -> anyhow::Result<(ArrayRef, Type)> {
    find(batch.columns(), schema.as_struct(), id)
        .with_context(|| format!("no column has the field id {id}"))
}

fn find(columns: &[ArrayRef], fields: &StructType, id: i32) -> Option<(ArrayRef, Type)> {
    columns.iter().zip(fields.fields()).find_map(|(column, field)| {
        if field.id == id {
            return Some((Arc::clone(column), (*field.field_type).clone()));
        }
        let Type::Struct(nested) = field.field_type.as_ref() else { return None };
        find(column.as_struct_opt()?.columns(), nested, id)
    })
}

/// The folders of a partition, such as `kind=a/ts_day=2024-01-01/`; empty without partition fields.
///
/// # Errors
/// A spec whose source columns the schema lacks.
pub(super) fn folders(
    spec: &PartitionSpec,
    schema: &Schema,
    partition: &Struct,
) -> anyhow::Result<String> {
    let partition_type = spec.partition_type(schema)?;
    let fields = spec.fields().iter().zip(partition_type.fields()).zip(partition.fields());
    let names = fields.map(|((field, result), value)| {
        let value = field.transform.to_human_string(&result.field_type, value.as_ref());
        let (name, value) = (encoded(&field.name), encoded(&value));
        format!("{name}={value}/")
    });
    Ok(names.collect())
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}
