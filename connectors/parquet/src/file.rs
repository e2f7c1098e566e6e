//! One Parquet file, open.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use bytes::Bytes;
use pandion_source::PinnedObject;
use pandion_types::{Error, FieldSchema, Result, Subject};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use tokio::sync::OnceCell;

use crate::vectors::layout::Layout;
use crate::{footer, guard};

/// A Parquet file whose footer has been decoded. Cheap to clone; clones share what was decoded.
#[derive(Clone)]
pub struct ParquetFile {
    inner: Arc<Inner>,
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

/// A top-level column.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Its place among the top-level columns.
    pub(crate) root: usize,
    /// The leaves below it.
    pub(crate) leaves: Range<usize>,
    /// What Arrow reads it as; `None` for a group without leaves.
    pub(crate) arrow_type: Option<DataType>,
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
    /// Opens the file whose footer [`read_footer`](crate::read_footer) gave. Reads nothing.
    ///
    /// # Errors
    /// `Corrupt`, naming the file, when the footer is malformed or says what cannot be true of a
    /// file of this size; `Unsupported` for encrypted columns, columns in other files, and more
    /// than 2^32 - 1 rows.
    pub fn open(object: PinnedObject, footer: &Bytes) -> Result<Self> {
        let uri = &object.identity.uri;
        let metadata = Arc::new(footer::parse(uri, footer, object.identity.size)?);
        let arrow = arrow_metadata(uri, &metadata)?;
        let columns = columns(&metadata, arrow.schema());
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
        Ok(Self { inner: Arc::new(inner) })
    }

    /// TEMP
    ///
    /// # Errors
    /// TEMP
    pub fn open_of_table(
        object: PinnedObject,
        footer: &Bytes,
        _columns: &[pandion_manifest::TableColumn],
        _constants: &[(pandion_types::FieldId, Option<pandion_manifest::StatValue>)],
    ) -> Result<Self> {
        Self::open(object, footer)
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

    /// Bytes of a field's values in a row group before compression, as the footer says.
    ///
    /// # Errors
    /// `InvalidArgument` when the file lacks the column; `Internal` for a row group that it has not.
    pub fn uncompressed_bytes(&self, field: &FieldSchema, row_group: usize) -> Result<u64> {
        let root = self.column(field)?.root;
        let schema = self.metadata().file_metadata().schema_descr();
        let columns = self.row_group(row_group)?.columns().iter().enumerate();
        let of_field = columns.filter(|(leaf, _)| schema.get_column_root_idx(*leaf) == root);
        Ok(of_field.map(|(_, column)| u64::try_from(column.uncompressed_size()).unwrap_or(0)).sum())
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

    pub(crate) fn columns(&self) -> &[Column] {
        &self.inner.columns
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

    /// The column that `field` is mapped to.
    pub(crate) fn column(&self, field: &FieldSchema) -> Result<&Column> {
        let name = column_name(field);
        let mut found = self.columns().iter().filter(|column| column.name == name);
        let problem = match (found.next(), found.next()) {
            (Some(column), None) => return Ok(column),
            (None, _) => format!("Column '{name}' not found in schema"),
            (Some(_), Some(_)) => format!("Column '{name}' stands more than once in schema"),
        };
        Err(Error::invalid_argument(format!("{}: {problem}", self.uri())).about(Subject::Source))
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

/// The name of the column that a field is read from.
pub(crate) fn column_name(field: &FieldSchema) -> &str {
    field.external_field.as_deref().unwrap_or(&field.name)
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

fn columns(metadata: &ParquetMetaData, arrow: &SchemaRef) -> Vec<Column> {
    let schema = metadata.file_metadata().schema_descr();
    let mut leaves = vec![0..0; schema.root_schema().get_fields().len()];
    for leaf in 0..schema.num_columns() {
        if let Some(range) = leaves.get_mut(schema.get_column_root_idx(leaf)) {
            let start = if range.start == range.end { leaf } else { range.start };
            *range = start..leaf + 1;
        }
    }
    let roots = schema.root_schema().get_fields().iter().zip(leaves).enumerate();
    roots
        .map(|(root, (node, leaves))| Column {
            name: node.name().to_owned(),
            root,
            leaves,
            arrow_type: arrow
                .field_with_name(node.name())
                .ok()
                .map(|field| field.data_type().clone()),
        })
        .collect()
}
