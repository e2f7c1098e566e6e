//! One file with every Arrow encoding that a Milvus field can be read from, a column for each, and
//! the values that a reader must find there.
//!
//! Columns are named `type_encoding`. Every column has nulls; lists may be empty; no list has null
//! elements. Sparse vectors and lists of vectors are not among them.

mod encode;
mod scalars;
mod vectors;

use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{Field, Schema};
use bytes::Bytes;
use pandion_types::{DataType, FieldId, FieldSchema};

use super::layout::{Layout, parquet_bytes};
use crate::convert::to_i64;

/// Dimension of all vectors.
pub const DIM: usize = 16;

/// More rows would leave the range of timestamps in nanoseconds.
const ROWS_MAX: usize = 100_000;

/// The number of the first user field of a collection.
const FIRST_FIELD_ID: i64 = 100;

/// A value as a client sees it, whatever its encoding in the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of any width.
    Int(i64),
    /// A Float.
    Float(f32),
    /// A Double.
    Double(f64),
    /// A VarChar or Text.
    Text(String),
    /// A JSON document.
    Json(serde_json::Value),
    /// An array; its elements are of one kind.
    Array(Vec<Self>),
    /// A Timestamptz, in microseconds since 1970 UTC.
    TimestampMicros(i64),
    /// A Geometry as well-known text.
    Wkt(String),
    /// A vector in Milvus's bytes: little-endian components, or bits.
    Vector(Vec<u8>),
}

/// A column of the file.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name of the column and of the field.
    pub name: String,
    /// Type of the field to map it to.
    pub data_type: DataType,
    /// Type of the elements of an array.
    pub element_type: Option<DataType>,
    /// What a reader must find, row by row.
    pub values: Vec<Value>,
    /// What is written.
    pub array: ArrayRef,
}

/// The file before it is written.
#[derive(Clone, Debug)]
pub struct AllTypes {
    /// The columns, in the order of the file.
    pub columns: Vec<Column>,
}

impl AllTypes {
    /// The columns with so many rows; rows are the same whatever their number.
    ///
    /// # Errors
    /// More than 100,000 rows, or an array that Arrow refuses to build.
    pub fn new(rows: usize) -> anyhow::Result<Self> {
        anyhow::ensure!(rows <= ROWS_MAX, "{rows} rows are more than {ROWS_MAX}");
        let mut columns = scalars::columns(rows);
        columns.extend(vectors::columns(rows)?);
        Ok(Self { columns })
    }

    /// The fields that map every column.
    #[must_use]
    pub fn fields(&self) -> Vec<FieldSchema> {
        self.columns.iter().zip(FIRST_FIELD_ID..).map(|(column, id)| column.field(id)).collect()
    }

    /// The column with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn column(&self, name: &str) -> anyhow::Result<&Column> {
        let found = self.columns.iter().find(|column| column.name == name);
        found.with_context(|| format!("no column is named {name}"))
    }

    /// The rows as Arrow has them.
    ///
    /// # Errors
    /// Arrow refuses the columns.
    pub fn batch(&self) -> anyhow::Result<RecordBatch> {
        let field =
            |column: &Column| Field::new(&column.name, column.array.data_type().clone(), true);
        let schema = Schema::new(self.columns.iter().map(field).collect::<Vec<_>>());
        let arrays = self.columns.iter().map(|column| Arc::clone(&column.array)).collect();
        RecordBatch::try_new(Arc::new(schema), arrays).context("columns of different lengths")
    }

    /// The Parquet file.
    ///
    /// # Errors
    /// As [`Self::batch`], or the writer's.
    pub fn bytes(&self, layout: &Layout) -> anyhow::Result<Bytes> {
        parquet_bytes(&self.batch()?, layout.properties())
    }
}

impl Column {
    fn new<T>(
        name: impl Into<String>,
        data_type: DataType,
        rows: &[Option<T>],
        value: impl Fn(&T) -> Value,
        array: ArrayRef,
    ) -> Self {
        let values = rows.iter().map(|row| row.as_ref().map_or(Value::Null, &value)).collect();
        Self { name: name.into(), data_type, element_type: None, values, array }
    }

    fn field(&self, id: i64) -> FieldSchema {
        let parameter = |name: &str, value: String| (name.to_owned(), value);
        let max_length = parameter("max_length", "65535".to_owned());
        let type_params = match self.data_type {
            data_type if data_type.is_vector() => vec![parameter("dim", DIM.to_string())],
            data_type if data_type.is_string() => vec![max_length],
            DataType::Array => vec![parameter("max_capacity", "4096".to_owned()), max_length],
            _ => Vec::new(),
        };
        FieldSchema {
            id: FieldId(id),
            name: self.name.clone(),
            description: String::new(),
            data_type: self.data_type,
            element_type: self.element_type,
            nullable: true,
            is_primary_key: false,
            auto_id: false,
            external_field: Some(self.name.clone()),
            type_params: type_params.into_iter().collect(),
        }
    }
}

/// The values that `make` gives for each row, null in every fifth; a shift keeps the nulls of
/// neighbouring columns apart.
fn rows_of<T>(rows: usize, shift: usize, make: impl Fn(i64) -> T) -> Vec<Option<T>> {
    (0..rows).map(|row| ((row + shift) % 5 != 3).then(|| make(to_i64(row)))).collect()
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::super::layout::Codec;
    use super::*;

    #[test]
    fn the_file_reads_back_with_its_types() {
        for (codec, v2_pages) in [(Codec::None, false), (Codec::Zstd, true)] {
            let all = AllTypes::new(53).unwrap();
            let layout = Layout { codec, v2_pages, row_group_rows: 20, ..Layout::default() };
            let bytes = all.bytes(&layout).unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            let schema = Arc::clone(reader.schema());
            let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
            let read = concat_batches(&schema, &batches).unwrap();
            for (column, array) in all.columns.iter().zip(read.columns()) {
                assert_eq!(column.array.data_type(), array.data_type(), "{}", column.name);
                assert_eq!(column.array.as_ref(), array.as_ref(), "{}", column.name);
            }
        }
    }

    #[test]
    fn every_type_is_there_and_every_column_has_nulls_and_values() {
        let all = AllTypes::new(20).unwrap();
        for data_type in DataType::ALL {
            let is_there = all.columns.iter().any(|column| column.data_type == data_type);
            assert_eq!(is_there, data_type != DataType::SparseFloatVector, "{data_type}");
        }
        for column in &all.columns {
            let nulls = column.values.iter().filter(|value| **value == Value::Null).count();
            assert_eq!(nulls, 4, "{}", column.name);
            assert_eq!(column.array.null_count(), 4, "{}", column.name);
            assert_eq!(column.values.len(), 20, "{}", column.name);
        }
        let fields = all.fields();
        assert_eq!(fields.len(), all.columns.len());
        for field in &fields {
            let is_sized = field.vector_type().is_some_and(|vector| vector.dim == DIM);
            assert_eq!(is_sized, field.data_type.is_vector(), "{}", field.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let all = AllTypes::new(1).unwrap();
        let names: std::collections::BTreeSet<&str> =
            all.columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names.len(), all.columns.len());
        assert!(all.column("float_vector_fixed_size_list").is_ok());
        assert!(AllTypes::new(ROWS_MAX + 1).is_err());
        assert!(all.column("nothing").unwrap_err().to_string().contains("nothing"));
    }
}
