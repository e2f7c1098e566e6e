//! Files that a commit writes: Parquet with the field ids of the table's schema, described for the
//! manifest.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::Context as _;
use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Array, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use bytes::Bytes;
use iceberg::metadata_columns::{
    RESERVED_COL_NAME_LAST_UPDATED_SEQUENCE_NUMBER, RESERVED_COL_NAME_ROW_ID,
    RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER, RESERVED_FIELD_ID_ROW_ID,
};
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, PartitionSpecRef, SchemaRef, Struct,
};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_writer::{ArrowWriter, ArrowWriterOptions};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;

use super::change::Defect;
use super::metrics::Metrics;
use super::oracle::FileRows;
use super::partition::{folders, split};
use super::project::without_ids;
use crate::convert::to_u64;

/// Where rows came from, for rows that a compaction copies: `_row_id` and
/// `_last_updated_sequence_number`, a value or null for each row.
#[derive(Clone, Debug)]
pub(super) struct Lineage {
    pub(super) row_ids: ArrayRef,
    pub(super) updated: ArrayRef,
}

impl Lineage {
    pub(super) fn new(row_ids: Int64Array, updated: Int64Array) -> Self {
        Self { row_ids: Arc::new(row_ids), updated: Arc::new(updated) }
    }

    fn take(&self, rows: &UInt32Array) -> anyhow::Result<Self> {
        let row_ids = take(&self.row_ids, rows, None)?;
        Ok(Self { row_ids, updated: take(&self.updated, rows, None)? })
    }

    pub(super) fn row_id(&self, row: usize) -> Option<i64> {
        let ids = self.row_ids.as_primitive::<Int64Type>();
        ids.is_valid(row).then(|| ids.value(row))
    }

    pub(super) fn last_updated(&self, row: usize) -> Option<i64> {
        let numbers = self.updated.as_primitive::<Int64Type>();
        numbers.is_valid(row).then(|| numbers.value(row))
    }
}

/// How files are written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) properties: WriterProperties,
    pub(super) field_ids: bool,
    pub(super) bound_length_max: Option<usize>,
}

/// What a data file is made of.
#[derive(Clone, Debug)]
pub(super) struct NewData {
    pub(super) schema: SchemaRef,
    pub(super) spec: PartitionSpecRef,
    pub(super) batch: RecordBatch,
    pub(super) lineage: Option<Lineage>,
}

/// A file to be put, and how the manifest describes it.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) file: DataFile,
    pub(super) bytes: Bytes,
}

impl NewData {
    /// The rows by partition, each with its folders.
    pub(super) fn partitions(&self) -> anyhow::Result<Vec<(Struct, String, Self)>> {
        let groups = split(&self.batch, &self.schema, &self.spec)?;
        let one = |(partition, rows): (Struct, UInt32Array)| {
            let folders = folders(&self.spec, &self.schema, &partition)?;
            let columns = self.batch.columns().iter().map(|column| take(column, &rows, None));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let batch = RecordBatch::try_new(self.batch.schema(), columns)?;
            let lineage = self.lineage.as_ref().map(|lineage| lineage.take(&rows)).transpose()?;
            Ok((partition, folders, Self { batch, lineage, ..self.clone() }))
        };
        groups.into_iter().map(one).collect()
    }

    /// The data file with this URI.
    pub(super) fn file(
        self,
        uri: String,
        partition: Struct,
        style: &Style,
        defect: Option<&Defect>,
    ) -> anyhow::Result<(NewFile, FileRows)> {
        let written = match &self.lineage {
            Some(lineage) => with_lineage(&self.batch, lineage)?,
            None => self.batch.clone(),
        };
        let (bytes, footer) = encode(&written, style)?;
        let mut builder = described(&uri, &bytes, Some(&footer));
        builder.content(DataContentType::Data).partition(partition.clone());
        builder.partition_spec_id(self.spec.spec_id());
        Metrics::of(&self.batch, &self.schema, style.bound_length_max)?.describe(&mut builder);
        let rows = to_u64(self.batch.num_rows());
        builder.record_count(if defect == Some(&Defect::RecordCount) { rows + 1 } else { rows });
        if let Some(Defect::DataFormat(format)) = defect {
            builder.file_format(*format);
        }
        if defect == Some(&Defect::FileSize) {
            builder.file_size_in_bytes(to_u64(bytes.len()) + 1);
        }
        let file = builder.build().context("a data file lacks something")?;
        let rows = FileRows {
            uri,
            spec: self.spec,
            partition,
            schema: self.schema,
            batch: self.batch,
            lineage: self.lineage,
        };
        Ok((NewFile { file, bytes }, rows))
    }
}

fn with_lineage(batch: &RecordBatch, lineage: &Lineage) -> anyhow::Result<RecordBatch> {
    let field = |name: &str, id: i32| {
        let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
        Arc::new(Field::new(name, DataType::Int64, true).with_metadata(metadata))
    };
    let mut fields = batch.schema_ref().fields().to_vec();
    fields.push(field(RESERVED_COL_NAME_ROW_ID, RESERVED_FIELD_ID_ROW_ID));
    fields.push(field(
        RESERVED_COL_NAME_LAST_UPDATED_SEQUENCE_NUMBER,
        RESERVED_FIELD_ID_LAST_UPDATED_SEQUENCE_NUMBER,
    ));
    let mut columns = batch.columns().to_vec();
    columns.extend([Arc::clone(&lineage.row_ids), Arc::clone(&lineage.updated)]);
    Ok(RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns)?)
}

/// A Parquet file without Arrow's own schema in it, which other writers do not leave.
pub(super) fn encode(
    batch: &RecordBatch,
    style: &Style,
) -> anyhow::Result<(Bytes, ParquetMetaData)> {
    let schema = if style.field_ids { batch.schema() } else { without_ids(batch.schema_ref()) };
    let options = ArrowWriterOptions::new()
        .with_properties(style.properties.clone())
        .with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, schema, options)
        .context("the schema has no Parquet form")?;
    writer.write(batch).context("cannot write a batch")?;
    let footer = writer.close().context("cannot write the footer")?;
    Ok((bytes.into(), footer))
}

/// What the manifest says of any file, with what it takes from a Parquet file's footer.
pub(super) fn described(
    uri: &str,
    bytes: &Bytes,
    footer: Option<&ParquetMetaData>,
) -> DataFileBuilder {
    let mut builder = DataFileBuilder::default();
    builder.file_path(uri.to_owned()).file_size_in_bytes(to_u64(bytes.len()));
    let Some(footer) = footer else {
        builder.file_format(DataFileFormat::Puffin);
        return builder;
    };
    builder.file_format(DataFileFormat::Parquet);
    let mut column_sizes: HashMap<i32, u64> = HashMap::new();
    let mut split_offsets = Vec::new();
    for group in footer.row_groups() {
        for column in group.columns() {
            let info = column.column_descr().self_type().get_basic_info();
            if info.has_id() {
                let size = u64::try_from(column.compressed_size()).unwrap_or(0);
                *column_sizes.entry(info.id()).or_default() += size;
            }
        }
        if let Some(first) = group.columns().first() {
            let data = first.data_page_offset();
            split_offsets.push(first.dictionary_page_offset().map_or(data, |page| page.min(data)));
        }
    }
    builder.column_sizes(column_sizes).split_offsets(Some(split_offsets));
    builder
}
