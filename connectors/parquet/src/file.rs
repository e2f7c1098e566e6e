//! One Parquet file, open.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::Array;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use pandion_manifest::{StatValue, TableColumn};
use pandion_source::PinnedObject;
use pandion_types::{Error, FieldId, FieldSchema, Result, ResultExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::sync::OnceCell;

use crate::mapping::{Column, Found, Mapping, Source, columns_of};
use crate::vectors::layout::Layout;
use crate::{constant, footer, guard};

/// A Parquet file whose footer has been decoded. Cheap to clone; clones share what was decoded.
#[derive(Clone)]
pub struct ParquetFile {
    inner: Arc<Inner>,
    mapping: Arc<Mapping>,
}

struct Inner {
    object: PinnedObject,
    arrow: ArrowReaderMetadata,
    columns: Vec<Column>,
    /// The row in the file at which each row group begins, and at the end the rows of the file.
    starts: Vec<u32>,
    /// As `arrow`, with the page index.
    indexed: OnceCell<ArrowReaderMetadata>,
    /// As `indexed`, each for one row group only.
    indexed_groups: Vec<OnceCell<ArrowReaderMetadata>>,
}

impl fmt::Debug for ParquetFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParquetFile")
            .field("identity", &self.inner.object.identity)
            .field("rows", &self.rows())
            .field("row_groups", &self.row_groups())
            .finish_non_exhaustive()
    }
}

impl ParquetFile {
    /// Opens a file of a folder, whose footer [`read_footer`](crate::read_footer) gave. Reads
    /// nothing. Fields are read from the columns that their `external_field` names.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when the footer is malformed or says what cannot be true of a
    /// file of this size; `Unsupported` for encrypted columns, columns in other files, and more
    /// than 2^32 - 1 rows.
    pub fn open(object: PinnedObject, footer: &Bytes) -> Result<Self> {
        let uri = &object.identity.uri;
        let metadata = Arc::new(footer::parse(uri, footer, object.identity.size)?);
        let arrow = arrow_metadata(uri, &metadata)?;
        let columns = columns_of(&metadata, arrow.schema());
        let mut starts = vec![0_u32];
        let mut rows = 0_u32;
        for group in metadata.row_groups() {
            // The footer's check has bounded the sum.
            rows = rows.saturating_add(u32::try_from(group.num_rows()).unwrap_or(u32::MAX));
            starts.push(rows);
        }
        let indexed_groups = metadata.row_groups().iter().map(|_| OnceCell::new()).collect();
        let indexed = OnceCell::new();
        let inner = Inner { object, arrow, columns, starts, indexed, indexed_groups };
        Ok(Self { inner: Arc::new(inner), mapping: Arc::new(Mapping::Names) })
    }

    /// Opens a file of a table, as [`Self::open`] does one of a folder, whose columns are found by
    /// their ids: see [`Self::of_table`].
    ///
    /// # Errors
    /// As [`Self::open`] and [`Self::of_table`].
    pub fn open_of_table(
        object: PinnedObject,
        footer: &Bytes,
        columns: &[TableColumn],
        constants: &[(FieldId, Option<StatValue>)],
    ) -> Result<Self> {
        Self::open(object, footer)?.of_table(columns, constants)
    }

    /// The same file as one of a table with these columns; what has been decoded is shared.
    /// `constants` are the values that identity partitioning gives to fields in this file.
    ///
    /// A field is read from the column that has its column's id. If there is none, its rows have
    /// the constant; else the values of the column that the table's name mapping names, if the file
    /// has no column ids at all; else the default; else null. Such a field costs no request. Values
    /// of an earlier, narrower type of the table's column are widened to the current one.
    ///
    /// # Errors
    /// `InvalidArgument` that names the file when it has no column ids and the table no name
    /// mapping.
    pub fn of_table(
        &self,
        columns: &[TableColumn],
        constants: &[(FieldId, Option<StatValue>)],
    ) -> Result<Self> {
        let (found, metadata) = (&self.inner.columns, self.metadata());
        let mapping = Mapping::of_table(columns, constants, found, metadata);
        let mapping = Arc::new(mapping.context(|| self.uri())?);
        Ok(Self { inner: Arc::clone(&self.inner), mapping })
    }

    /// The object that the file is read from.
    #[must_use]
    pub fn object(&self) -> &PinnedObject {
        &self.inner.object
    }

    /// The decoded footer, without the page index.
    #[must_use]
    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        self.inner.arrow.metadata()
    }

    /// The columns as Arrow reads them.
    #[must_use]
    pub fn arrow_schema(&self) -> &SchemaRef {
        self.inner.arrow.schema()
    }

    /// Rows of the file.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.inner.starts.last().copied().map_or(0, u64::from)
    }

    /// Number of row groups.
    #[must_use]
    pub fn row_groups(&self) -> usize {
        self.metadata().num_row_groups()
    }

    /// The rows of the file that lie in `row_group`; empty when there is no such row group.
    #[must_use]
    pub fn row_group_rows(&self, row_group: usize) -> Range<u32> {
        match self.inner.starts.get(row_group..row_group.saturating_add(2)) {
            Some(&[start, end]) => start..end,
            _ => 0..0,
        }
    }

    /// Bytes of a field's values in a row group before compression, as the footer says. Of a field
    /// that the file has no column for, what its values take in memory.
    ///
    /// # Errors
    /// `InvalidArgument` when the file lacks the column; `Internal` for a row group that it has not.
    pub fn uncompressed_bytes(&self, field: &FieldSchema, row_group: usize) -> Result<u64> {
        let group = self.row_group(row_group)?;
        let leaves = match self.source(field)? {
            Source::Column(found) => found.column.leaves.clone(),
            Source::Value(value) => {
                let rows = u64::try_from(group.num_rows()).unwrap_or(0);
                let one = constant::array(field, value, 1).context(|| self.uri())?;
                return Ok(
                    rows.saturating_mul(one.to_data().get_slice_memory_size().unwrap_or(0) as u64)
                );
            }
        };
        let columns = group.columns().get(leaves).unwrap_or_default().iter();
        Ok(columns.map(|column| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum())
    }

    /// The place in [`Self::arrow_schema`] of the column that holds the values of a field as the
    /// field has them, but for how Arrow writes them down; `None` when there is no such column: the
    /// file lacks it, or holds an earlier type of it.
    #[must_use]
    pub fn plain_column(&self, field: &FieldSchema) -> Option<usize> {
        // Places in the two schemas differ where Arrow leaves out a group.
        let is_whole = self.inner.columns.len() == self.arrow_schema().fields().len();
        match self.resolve(field) {
            Ok(Source::Column(Found { column, projection: None })) if is_whole => Some(column.root),
            _ => None,
        }
    }

    pub(crate) fn uri(&self) -> &str {
        &self.inner.object.identity.uri
    }

    pub(crate) fn arrow(&self) -> &ArrowReaderMetadata {
        &self.inner.arrow
    }

    pub(crate) fn indexed(&self) -> &OnceCell<ArrowReaderMetadata> {
        &self.inner.indexed
    }

    pub(crate) fn indexed_groups(&self) -> &[OnceCell<ArrowReaderMetadata>] {
        &self.inner.indexed_groups
    }

    /// The first row of each row group, and the rows of the file.
    pub(crate) fn starts(&self) -> &[u32] {
        &self.inner.starts
    }

    pub(crate) fn row_group(&self, row_group: usize) -> Result<&RowGroupMetaData> {
        self.metadata().row_groups().get(row_group).ok_or_else(|| {
            Error::internal(format!(
                "{} has {} row groups, there is no row group {row_group}",
                self.uri(),
                self.row_groups()
            ))
        })
    }

    /// Where the values of `field` come from.
    ///
    /// # Errors
    /// As [`Mapping::resolve`], naming the file.
    pub(crate) fn source(&self, field: &FieldSchema) -> Result<Source<'_>> {
        self.resolve(field).context(|| self.uri())
    }

    /// As [`Self::source`], with errors that do not name the file.
    pub(crate) fn resolve(&self, field: &FieldSchema) -> Result<Source<'_>> {
        self.mapping.resolve(&self.inner.columns, field)
    }
}

impl Column {
    /// How the column holds the vectors of `field`.
    pub(crate) fn vector_layout(
        &self,
        metadata: &ParquetMetaData,
        field: &FieldSchema,
    ) -> Result<Layout> {
        let schema = metadata.file_metadata().schema_descr();
        let root = schema.root_schema().get_fields().get(self.root);
        match (root, self.leaves.len()) {
            (Some(root), 1) => Layout::new(field, root, &schema.column(self.leaves.start)),
            _ => Err(Error::invalid_argument(format!(
                "field type mismatch for {}: the column is nested",
                field.data_type
            ))),
        }
    }
}

/// What Arrow reads the columns as. The schema that a writer of Arrow left in the file refines it,
/// if it can be used: it alone tells lists of a fixed size from others.
fn arrow_metadata(uri: &str, metadata: &Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata> {
    let place = format!("{uri}: schema");
    let new = |options| {
        guard::guarded(&place, || {
            ArrowReaderMetadata::try_new(Arc::clone(metadata), options)
                .map_err(|error| guard::foreign(error, &place))
        })
    };
    let hinted = new(ArrowReaderOptions::new())
        .or_else(|_bad_hint| new(ArrowReaderOptions::new().with_skip_arrow_metadata(true)))?;
    let schema = hinted.schema();
    let plain = plain_fields(schema.fields());
    if &plain == schema.fields() {
        return Ok(hinted);
    }
    let plain = Arc::new(Schema::new_with_metadata(plain, schema.metadata().clone()));
    // A type that cannot be had plainly is left as it is, and refused if a field is mapped to it.
    Ok(new(ArrowReaderOptions::new().with_schema(plain)).unwrap_or(hinted))
}

/// The fields without dictionaries: how a writer kept repeated strings in memory (as pandas does
/// with categories) says nothing about the column.
fn plain_fields(fields: &Fields) -> Fields {
    fields.iter().map(plain_field).collect()
}

fn plain_field(field: &Arc<Field>) -> Arc<Field> {
    let plain = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(element) => DataType::List(plain_field(element)),
        DataType::LargeList(element) => DataType::LargeList(plain_field(element)),
        _ => return Arc::clone(field),
    };
    Arc::new(field.as_ref().clone().with_data_type(plain))
}
