//! Rows as a schema sees them: columns found by field id, promoted, or filled with their default.

use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use arrow::array::{Array, ArrayRef, AsArray as _, ListArray, MapArray, RecordBatch, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef};
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::spec::{NestedFieldRef, Schema, Type};

use super::values::constant;

/// The Arrow schema of a table's schema, with field ids where Parquet writers look for them.
///
/// # Errors
/// A type without an Arrow form.
pub(super) fn arrow_schema(schema: &Schema) -> anyhow::Result<ArrowSchemaRef> {
    Ok(Arc::new(schema_to_arrow_schema(schema).context("the schema has no Arrow form")?))
}

/// A batch whose columns are found by name, in the Arrow types of the schema.
///
/// # Errors
/// A column that is missing and required, that the schema lacks, or of another type.
pub(super) fn conform(batch: &RecordBatch, schema: &Schema) -> anyhow::Result<RecordBatch> {
    let fields = schema.as_struct().fields();
    for column in batch.schema_ref().fields() {
        let known = fields.iter().any(|field| &field.name == column.name());
        ensure!(known, "the table has no column {}", column.name());
    }
    let arrow = arrow_schema(schema)?;
    let columns = fields.iter().zip(arrow.fields()).map(|(field, target)| {
        let found = batch.column_by_name(&field.name);
        if found.is_none() && field.write_default.is_none() {
            ensure!(!field.required, "column {} is missing and required", field.name);
        }
        match found {
            Some(array) => value(array, &field.field_type, &field.field_type, target),
            // Writers fill what they are not given with the write default.
            None => constant(field.write_default.as_ref(), target.data_type(), batch.num_rows()),
        }
        .with_context(|| format!("column {}", field.name))
    });
    rows(&arrow, columns.collect::<anyhow::Result<_>>()?, batch.num_rows())
}

/// A batch that was written with the schema `from`, as a reader with the schema `to` sees it.
///
/// # Errors
/// Schemas between which no evolution leads.
pub(super) fn project(
    batch: &RecordBatch,
    from: &Schema,
    to: &Schema,
) -> anyhow::Result<RecordBatch> {
    let arrow = arrow_schema(to)?;
    let old = from.as_struct().fields();
    let new = to.as_struct().fields();
    let columns = fields(batch.columns(), old, new, arrow.fields(), batch.num_rows())?;
    rows(&arrow, columns, batch.num_rows())
}

fn rows(
    schema: &ArrowSchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> anyhow::Result<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .context("the columns do not fit the schema")
}

fn fields(
    columns: &[ArrayRef],
    old: &[NestedFieldRef],
    new: &[NestedFieldRef],
    targets: &arrow::datatypes::Fields,
    rows: usize,
) -> anyhow::Result<Vec<ArrayRef>> {
    let one = |(field, target): (&NestedFieldRef, &Arc<Field>)| {
        match old.iter().position(|candidate| candidate.id == field.id) {
            Some(at) => value(&columns[at], &old[at].field_type, &field.field_type, target),
            None => constant(field.initial_default.as_ref(), target.data_type(), rows),
        }
        .with_context(|| format!("field {}", field.name))
    };
    new.iter().zip(targets).map(one).collect()
}

fn value(array: &ArrayRef, from: &Type, to: &Type, target: &Field) -> anyhow::Result<ArrayRef> {
    match (from, to, target.data_type()) {
        (Type::Struct(old), Type::Struct(new), DataType::Struct(targets)) => {
            let found = array.as_struct_opt().context("the column is no struct")?;
            let (old, new) = (old.fields(), new.fields());
            let columns = fields(found.columns(), old, new, targets, found.len())?;
            let nulls = found.nulls().cloned();
            Ok(Arc::new(StructArray::try_new(targets.clone(), columns, nulls)?))
        }
        (Type::List(old), Type::List(new), DataType::List(element)) => {
            let plain = if array.as_list_opt::<i32>().is_some() {
                Arc::clone(array)
            } else {
                cast(array, target.data_type()).context("the column is no list")?
            };
            let found = plain.as_list::<i32>();
            let (old, new) = (&old.element_field.field_type, &new.element_field.field_type);
            let values = value(found.values(), old, new, element)?;
            let offsets = found.offsets().clone();
            let nulls = found.nulls().cloned();
            Ok(Arc::new(ListArray::try_new(Arc::clone(element), offsets, values, nulls)?))
        }
        (Type::Map(old), Type::Map(new), DataType::Map(entries, sorted)) => {
            let found = array.as_map_opt().context("the column is no map")?;
            let DataType::Struct(targets) = entries.data_type() else { bail!("a map of no pairs") };
            let (keys, values) = (&old.key_field.field_type, &old.value_field.field_type);
            let keys = value(found.keys(), keys, &new.key_field.field_type, &targets[0])?;
            let values = value(found.values(), values, &new.value_field.field_type, &targets[1])?;
            let pairs = StructArray::try_new(targets.clone(), vec![keys, values], None)?;
            let (offsets, nulls) = (found.offsets().clone(), found.nulls().cloned());
            let entries = Arc::clone(entries);
            Ok(Arc::new(MapArray::try_new(entries, offsets, pairs, nulls, *sorted)?))
        }
        (Type::Primitive(_), Type::Primitive(_), data_type) => {
            cast(array, data_type).with_context(|| format!("the column is no {data_type}"))
        }
        _ => bail!("{from} does not evolve to {to}"),
    }
}

/// A schema without the ids of its fields, as writers that know nothing of Iceberg write it.
pub(super) fn without_ids(schema: &ArrowSchema) -> ArrowSchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| plain(field)).collect();
    Arc::new(ArrowSchema::new(fields))
}

fn plain(field: &Field) -> Field {
    let data_type = match field.data_type() {
        DataType::List(element) => DataType::List(Arc::new(plain(element))),
        DataType::Map(entries, sorted) => DataType::Map(Arc::new(plain(entries)), *sorted),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| plain(field)).collect())
        }
        other => other.clone(),
    };
    Field::new(field.name(), data_type, field.is_nullable())
}
