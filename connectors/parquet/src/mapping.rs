//! Which column of a file a field is read from.
//!
//! In a folder of files that is the column of the field's name. In a table it is the column with
//! the table's column id, whatever it was called when the file was written; what a file lacks has a
//! value all the same. The rules are those of the Iceberg specification ("Column projection"), but
//! for one that readers add to it: ids are never guessed from the order of columns.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, SchemaRef};
use pandion_manifest::{StatValue, TableColumn};
use pandion_source::columns::{IcebergType, Projection};
use pandion_types::{Error, ErrorKind, FieldId, FieldSchema, Result, Subject};
use parquet::basic::LogicalType;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::Type;

/// A top-level column of a file.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its id, by which tables name it.
    id: Option<i32>,
    /// Its place among the top-level columns.
    pub(crate) root: usize,
    /// The leaves below it.
    pub(crate) leaves: Range<usize>,
    /// What Arrow reads it as; `None` for a group without leaves.
    pub(crate) arrow: Option<Arc<Field>>,
    /// Whether it holds variants, which are not read.
    is_variant: bool,
    /// How its bytes become text, if they are UUIDs.
    uuid: Option<Projection>,
}

/// Where the values of a field come from in one file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// From a column.
    Column(Found<'a>),
    /// From no column: every row has this value, or null.
    Value(Option<&'a StatValue>),
}

/// A column of the file, and what is done to its values before they become those of a field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) column: &'a Column,
    /// `None` when they are taken as they are.
    pub(crate) projection: Option<&'a Projection>,
}

/// How the fields of a collection are looked up in one file.
#[derive(Debug)]
pub(crate) enum Mapping {
    /// By their `external_field`.
    Names,
    /// By column ids: what the file has of the column of each field.
    Table(Vec<(FieldId, Held)>),
}

/// What a file has of a column of the table.
#[derive(Debug)]
pub(crate) enum Held {
    /// The column at this place, whose values lead to the table's type so.
    Column(usize, Projection),
    /// Nothing, and every row has this value.
    Value(Option<StatValue>),
    /// A column that cannot be read.
    Unreadable(ErrorKind, String),
}

impl<'a> Found<'a> {
    /// The type of the values that become those of a field; `None` for a group without leaves.
    pub(crate) fn read_as(&self) -> Option<&'a DataType> {
        match self.projection {
            Some(projection) => Some(projection.arrow_type()),
            None => self.held_as(),
        }
    }

    /// The type that the values have in the file.
    pub(crate) fn held_as(&self) -> Option<&'a DataType> {
        self.column.arrow.as_ref().map(|field| field.data_type())
    }
}

impl Mapping {
    /// Looks the columns of a table up in a file, which is described by `found` and `metadata`.
    /// `constants` are the values that identity partitioning gives to fields.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, not naming the file, when columns cannot be told: the
    /// file has no column ids, and the table no other names for its columns.
    pub(crate) fn of_table(
        columns: &[TableColumn],
        constants: &[(FieldId, Option<StatValue>)],
        found: &[Column],
        metadata: &ParquetMetaData,
    ) -> Result<Self> {
        let has_ids = has_ids(metadata.file_metadata().schema_descr().root_schema());
        let is_named = columns.iter().any(|column| !column.names.is_empty());
        let held = |column: &TableColumn| {
            let of_id = |held: &Column| held.id == Some(column.column_id);
            if let Some(held) = the_one(column, found, of_id) {
                return Ok(held);
            }
            if let Some((_, value)) = constants.iter().find(|(field, _)| *field == column.field) {
                return Ok(Held::Value(value.clone()));
            }
            if !has_ids && !is_named {
                return Err(Error::invalid_argument(
                    "the file has no column ids, and the table no name mapping \
                     (schema.name-mapping.default) that says which of its columns are which",
                )
                .about(Subject::Source));
            }
            let of_name = |held: &Column| column.names.contains(&held.name);
            let named = if has_ids { None } else { the_one(column, found, of_name) };
            Ok(named.unwrap_or_else(|| Held::Value(column.default.clone())))
        };
        let held = columns.iter().map(|column| Ok((column.field, held(column)?)));
        Ok(Self::Table(held.collect::<Result<_>>()?))
    }

    /// Where the values of `field` come from.
    ///
    /// # Errors
    /// `InvalidArgument` or `Unsupported` about the source, not naming the file, when the file has
    /// no such column, or not one that can be read; `Internal` for a field that was not mapped.
    pub(crate) fn resolve<'a>(
        &'a self,
        found: &'a [Column],
        field: &FieldSchema,
    ) -> Result<Source<'a>> {
        let Self::Table(mapped) = self else { return by_name(found, field) };
        let mapped = mapped.iter().find(|(mapped, _)| *mapped == field.id);
        match mapped.map(|(_, held)| held) {
            Some(Held::Value(value)) => Ok(Source::Value(value.as_ref())),
            Some(Held::Unreadable(kind, what)) => {
                let name = column_name(field);
                let label = format!("field '{}' (external_field '{name}')", field.name);
                let message = match kind {
                    ErrorKind::InvalidArgument => {
                        format!("field type mismatch for {label}, {what}")
                    }
                    _ => format!("{label}: {what}"),
                };
                Err(Error::new(*kind, message).about(Subject::Source))
            }
            Some(Held::Column(at, projection)) => {
                let column = found.get(*at).ok_or_else(|| Error::internal("a column was lost"))?;
                let projection = Some(projection).filter(|projection| !projection.keeps());
                Ok(Source::Column(Found { column, projection }))
            }
            None => Err(Error::internal(format!(
                "field '{}' is not mapped to a column of the table",
                field.name
            ))),
        }
    }
}

/// The only column of the file that `is_it`, as a column of the table; `None` when there is none.
fn the_one(
    column: &TableColumn,
    found: &[Column],
    is_it: impl Fn(&Column) -> bool,
) -> Option<Held> {
    let mut fitting = found.iter().enumerate().filter(|(_, held)| is_it(held));
    let (at, held) = fitting.next()?;
    if fitting.next().is_some() {
        let message = format!(
            "column {} ('{}') stands more than once in the file",
            column.column_id, column.name
        );
        return Some(Held::Unreadable(ErrorKind::Corrupt, message));
    }
    let Some(arrow) = &held.arrow else {
        let message = format!("column '{}' of the file is an empty group", held.name);
        return Some(Held::Unreadable(ErrorKind::Unsupported, message));
    };
    let projection = IcebergType::parse(&column.column_type)
        .and_then(|column_type| Projection::new(&column_type, arrow));
    Some(match projection {
        Ok(projection) => Held::Column(at, projection),
        Err(error) => Held::Unreadable(error.kind(), error.message().to_owned()),
    })
}

fn by_name<'a>(found: &'a [Column], field: &FieldSchema) -> Result<Source<'a>> {
    let name = column_name(field);
    let wrong = |what: &str| {
        Error::invalid_argument(format!("Column '{name}' {what}")).about(Subject::Source)
    };
    let mut named = found.iter().filter(|column| column.name == name);
    let column = match (named.next(), named.count()) {
        (None, _) => return Err(wrong("not found in schema")),
        (Some(_), more) if more > 0 => {
            return Err(wrong(&format!("stands {} times in schema", more + 1)));
        }
        (Some(column), _) => column,
    };
    if column.arrow.is_none() {
        return Err(wrong("is an empty group"));
    }
    if column.is_variant {
        let message = format!("Column '{name}' is a variant, which is not supported");
        return Err(Error::unsupported(message).about(Subject::Source));
    }
    let projection = column.uuid.as_ref().filter(|_| field.data_type.is_string());
    Ok(Source::Column(Found { column, projection }))
}

/// The name of the column that a field is read from.
pub(crate) fn column_name(field: &FieldSchema) -> &str {
    field.external_field.as_deref().unwrap_or(&field.name)
}

/// The top-level columns of a file.
pub(crate) fn columns_of(metadata: &ParquetMetaData, arrow: &SchemaRef) -> Vec<Column> {
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = vec![0..0; schema.root_schema().get_fields().len()];
    for leaf in 0..schema.num_columns() {
        if let Some(range) = leaves.get_mut(schema.get_column_root_idx(leaf)) {
            let start = if range.start == range.end { leaf } else { range.start };
            *range = start..leaf + 1;
        }
    }
    // Arrow leaves out groups without leaves, and nothing else.
    let mut arrow = arrow.fields().iter();
    let roots = schema.root_schema().get_fields().iter().zip(leaves).enumerate();
    roots
        .map(|(root, (node, leaves))| {
            let info = node.get_basic_info();
            let arrow = if leaves.is_empty() { None } else { arrow.next().cloned() };
            let logical = info.logical_type_ref();
            let bytes = arrow.as_ref().map(|field| field.data_type());
            let is_uuid = matches!(logical, Some(LogicalType::Uuid))
                && bytes == Some(&DataType::FixedSizeBinary(16));
            Column {
                name: node.name().to_owned(),
                id: id_of(node),
                root,
                leaves,
                arrow,
                is_variant: matches!(logical, Some(LogicalType::Variant { .. })),
                uuid: is_uuid.then(Projection::uuid),
            }
        })
        .collect()
}

/// Some writers say with a negative number that there is no id.
fn id_of(node: &Type) -> Option<i32> {
    let info = node.get_basic_info();
    info.has_id().then(|| info.id()).filter(|&id| id >= 0)
}

/// Whether a column at any depth has an id.
fn has_ids(node: &Type) -> bool {
    let below = if node.is_group() { node.get_fields() } else { &[] };
    below.iter().any(|node| id_of(node).is_some() || has_ids(node))
}

#[cfg(test)]
mod tests;
