//! The columns of a table that a collection's fields are read from.
//!
//! Columns are found by name once, in the schema that is read, and by id from then on. Nothing here
//! looks at files.

use std::collections::HashMap;

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use pandion_manifest::{StatValue, TableColumn};
use pandion_types::{CollectionSchema, DataType, Error, FieldSchema, Result, Subject};

use crate::guard::{corrupt, unsupported};
use crate::values;

/// Columns that an error lists.
const LISTED_MAX: usize = 100;

/// A field and the column that it is read from.
#[derive(Clone, Debug)]
pub(crate) struct MappedColumn {
    pub(crate) field: FieldSchema,
    pub(crate) column: TableColumn,
}

/// The columns of all mapped fields, sorted by field.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    mapped: Vec<MappedColumn>,
    /// Places in `mapped`, by column id.
    by_column: HashMap<i32, Vec<usize>>,
}

impl Columns {
    /// Finds the column of every mapped field and checks that it fits. The report is complete: all
    /// problems of all fields.
    ///
    /// # Errors
    /// `InvalidArgument` about the source or a field: `Column 'x' not found in schema`, with the
    /// columns that there are; types that do not fit, with what the column can be mapped to;
    /// `Unsupported` for types and defaults that are not read.
    pub(crate) fn resolve(
        collection: &CollectionSchema,
        schema: &Schema,
        names: &HashMap<i32, Vec<String>>,
    ) -> Result<Self> {
        let mut mapped = Vec::new();
        let mut problems: Vec<Error> = Vec::new();
        for field in collection.mapped_fields() {
            match resolve_field(field, schema, names) {
                Ok(column) => mapped.push(MappedColumn { field: field.clone(), column }),
                Err(problem) => problems.push(problem),
            }
        }
        if let Some(first) = problems.first() {
            let all: Vec<_> = problems.iter().map(Error::message).collect();
            return Err(Error::new(first.kind(), all.join("; ")).about(first.subject()));
        }
        Ok(Self::of(mapped))
    }

    /// The columns that were resolved before, for those fields that the collection still has.
    pub(crate) fn known(collection: &CollectionSchema, columns: &[TableColumn]) -> Self {
        let mapped = columns.iter().filter_map(|column| {
            let field = collection.field_by_id(column.field)?.clone();
            Some(MappedColumn { field, column: column.clone() })
        });
        Self::of(mapped.collect())
    }

    fn of(mut mapped: Vec<MappedColumn>) -> Self {
        mapped.sort_by_key(|mapped| mapped.field.id);
        let mut by_column: HashMap<i32, Vec<usize>> = HashMap::new();
        for (at, mapped) in mapped.iter().enumerate() {
            by_column.entry(mapped.column.column_id).or_default().push(at);
        }
        Self { mapped, by_column }
    }

    /// Sorted by field.
    pub(crate) fn mapped(&self) -> &[MappedColumn] {
        &self.mapped
    }

    /// Places in [`Self::mapped`] of the fields that are read from a column.
    pub(crate) fn of_column(&self, column_id: i32) -> &[usize] {
        self.by_column.get(&column_id).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a manifest keeps.
    pub(crate) fn table_columns(&self) -> Vec<TableColumn> {
        self.mapped.iter().map(|mapped| mapped.column.clone()).collect()
    }
}

/// Whether statistics of files under the one resolution are those under the other.
pub(crate) fn same_statistics(left: &[TableColumn], right: &[TableColumn]) -> bool {
    let key = |column: &TableColumn| (column.field, column.column_id);
    left.len() == right.len()
        && left
            .iter()
            .zip(right)
            .all(|(left, right)| key(left) == key(right) && left.column_type == right.column_type)
}

fn resolve_field(
    field: &FieldSchema,
    schema: &Schema,
    names: &HashMap<i32, Vec<String>>,
) -> Result<TableColumn> {
    let name = field.external_field.as_deref().unwrap_or(&field.name);
    let columns = schema.as_struct().fields();
    let label = format!("field '{}' (external_field '{name}')", field.name);
    let Some(column) = columns.iter().find(|column| column.name == name) else {
        let nested = schema.field_by_name(name).map_or("", |_| {
            ", where it is nested in another column: only columns at the top level can be mapped, \
             structs as JSON"
        });
        let mut there: Vec<_> =
            columns.iter().map(|column| column.name.as_str()).take(LISTED_MAX).collect();
        if columns.len() > LISTED_MAX {
            there.push("..");
        }
        return Err(Error::invalid_argument(format!(
            "{label}: Column '{name}' not found in schema{nested}; the table's columns are {}",
            there.join(", ")
        ))
        .about(Subject::Source));
    };
    let column_type = type_text(&column.field_type)?;
    check_type(field, column, &column_type)?;
    Ok(TableColumn {
        field: field.id,
        column_id: column.id,
        name: column.name.clone(),
        names: names.get(&column.id).cloned().unwrap_or_default(),
        column_type,
        default: default_of(field, column)?,
    })
}

/// Checks that a column can be the source of a field, as far as types tell.
fn check_type(field: &FieldSchema, column: &NestedField, column_type: &str) -> Result<()> {
    pandion_source::columns::check_iceberg(field, column_type)?;
    let Type::Primitive(PrimitiveType::Fixed(length)) = column.field_type.as_ref() else {
        return Ok(());
    };
    let vector = field.vector_type().filter(|_| field.data_type.is_dense_vector());
    match vector.map(|vector| vector.bytes() as u64) {
        Some(bytes) if bytes != *length => Err(Error::invalid_argument(format!(
            "vector byte width mismatch for field '{}' (external_field '{}'), expected {bytes}, \
             actual {length}",
            field.name, column.name
        ))
        .about(Subject::Field)),
        _ => Ok(()),
    }
}

/// The value of rows in files that were written before the column existed.
fn default_of(field: &FieldSchema, column: &NestedField) -> Result<Option<StatValue>> {
    let Some(default) = &column.initial_default else { return Ok(None) };
    let value = match (default.as_primitive_literal(), column.field_type.as_primitive_type()) {
        (Some(literal), Some(kind)) => values::value(&literal, kind, field.data_type),
        _ => None,
    };
    let value = value.filter(|_| field.data_type != DataType::Geometry);
    value.map(Some).ok_or_else(|| {
        unsupported(format!(
            "field '{}' (external_field '{}'): the column has an initial default that cannot be a \
             {}",
            field.name, column.name, field.data_type
        ))
    })
}

/// A type as the specification writes it: by name where that tells everything, else in its JSON.
pub(crate) fn type_text(kind: &Type) -> Result<String> {
    let primitive = |kind: &Type| match kind {
        Type::Primitive(PrimitiveType::Fixed(length)) => Some(format!("fixed[{length}]")),
        Type::Primitive(primitive) => Some(primitive.to_string()),
        Type::Struct(_) | Type::List(_) | Type::Map(_) => None,
    };
    let short = match kind {
        Type::Primitive(_) => primitive(kind),
        Type::List(list) => {
            primitive(&list.element_field.field_type).map(|element| format!("list<{element}>"))
        }
        Type::Map(map) => primitive(&map.key_field.field_type)
            .zip(primitive(&map.value_field.field_type))
            .map(|(key, value)| format!("map<{key}, {value}>")),
        Type::Struct(_) => None,
    };
    match short {
        Some(short) => Ok(short),
        None => serde_json::to_string(kind).map_err(|error| {
            corrupt("a type of the table's schema cannot be written out").caused_by(error)
        }),
    }
}

#[cfg(test)]
mod tests;
