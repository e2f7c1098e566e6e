//! Delete files: positions in data files, values that rows are equal to, deletion vectors.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use bytes::Bytes;
use iceberg::metadata_columns::{
    RESERVED_COL_NAME_DELETE_FILE_PATH, RESERVED_COL_NAME_DELETE_FILE_POS,
    RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS,
};
use iceberg::spec::{
    DataContentType, DataFileBuilder, DataFileFormat, Literal, NestedField, PartitionSpecRef,
    PrimitiveType, Schema, SchemaRef, Struct, Type,
};
use roaring::RoaringTreemap;

use super::change::{Defect, EqualityDelete};
use super::files::{NewFile, Style, described, encode};
use super::metrics::Metrics;
use super::oracle::LiveFile;
use super::partition::{folders, split};
use super::project::arrow_schema;
use super::values::literals;
use super::vector::puffin_bytes;
use crate::convert::to_u64;

/// A field id that no table made here has.
const UNKNOWN_FIELD_ID: i32 = 999_999;

/// The dead positions of one data file.
pub(super) type Positions = (LiveFile, RoaringTreemap);

/// A position delete file for data files of one partition, sorted by file and position.
///
/// # Errors
/// None in practice.
pub(super) fn position_file(
    uri: &str,
    targets: &[Positions],
    style: &Style,
    defect: Option<&Defect>,
) -> anyhow::Result<NewFile> {
    let schema = position_schema()?;
    let mut rows: Vec<(&str, i64)> = Vec::new();
    for (target, positions) in targets {
        for position in positions {
            rows.push((&target.rows.uri, i64::try_from(position).context("not a position")?));
        }
    }
    rows.sort_unstable();
    let files: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0)));
    let positions: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.1)));
    let batch = RecordBatch::try_new(arrow_schema(&schema)?, vec![files, positions])?;
    // Readers find columns of delete files by id, also in tables that are read by name.
    let style = Style { field_ids: true, bound_length_max: None, ..style.clone() };
    let (bytes, footer) = encode(&batch, &style)?;
    let mut builder = described(uri, &bytes, Some(&footer));
    Metrics::of(&batch, &schema, None)?.describe(&mut builder);
    let (first, _) = targets.first().context("a delete file of nothing")?;
    builder
        .content(DataContentType::PositionDeletes)
        .record_count(to_u64(batch.num_rows()))
        .partition(first.rows.partition.clone())
        .partition_spec_id(first.rows.spec.spec_id());
    if targets.len() == 1 {
        builder.referenced_data_file(Some(first.rows.uri.clone()));
    }
    finish(builder, bytes, defect)
}

fn position_schema() -> anyhow::Result<Schema> {
    let field = |id: i32, name: &str, primitive: PrimitiveType| {
        Arc::new(NestedField::required(id, name, Type::Primitive(primitive)))
    };
    let fields = [
        field(
            RESERVED_FIELD_ID_DELETE_FILE_PATH,
            RESERVED_COL_NAME_DELETE_FILE_PATH,
            PrimitiveType::String,
        ),
        field(
            RESERVED_FIELD_ID_DELETE_FILE_POS,
            RESERVED_COL_NAME_DELETE_FILE_POS,
            PrimitiveType::Long,
        ),
    ];
    Ok(Schema::builder().with_fields(fields).build()?)
}

fn finish(
    mut builder: DataFileBuilder,
    mut bytes: Bytes,
    defect: Option<&Defect>,
) -> anyhow::Result<NewFile> {
    if let Some(Defect::DeleteFormat(format)) = defect {
        builder.file_format(*format);
    }
    if defect == Some(&Defect::DeleteFileTruncated) {
        bytes.truncate(bytes.len() / 2);
    }
    let file = builder.build().context("a delete file lacks something")?;
    Ok(NewFile { file, bytes })
}

/// One Puffin file with a deletion vector for each data file: an entry for each vector, the first of
/// which brings the bytes.
///
/// # Errors
/// None in practice.
pub(super) fn vector_file(
    uri: &str,
    targets: &[Positions],
    defect: Option<&Defect>,
) -> anyhow::Result<Vec<NewFile>> {
    let vectors: Vec<(String, RoaringTreemap)> =
        targets.iter().map(|(file, dead)| (file.rows.uri.clone(), dead.clone())).collect();
    let (bytes, blobs) = puffin_bytes(&vectors, defect)?;
    let mut files = Vec::new();
    for ((target, positions), blob) in targets.iter().zip(blobs) {
        let is = |wanted: Defect| defect == Some(&wanted);
        let cardinality = positions.len() + u64::from(is(Defect::VectorCardinality));
        let offset = i64::try_from(blob.offset)? + i64::from(is(Defect::VectorOffset)) * 3;
        let length = i64::try_from(blob.length)? - i64::from(is(Defect::VectorLength)) * 5;
        let named = (!is(Defect::VectorWithoutDataFile)).then(|| target.rows.uri.clone());
        let mut builder = described(uri, &bytes, None);
        builder
            .content(DataContentType::PositionDeletes)
            .file_format(DataFileFormat::Puffin)
            .record_count(cardinality)
            .partition(target.rows.partition.clone())
            .partition_spec_id(target.rows.spec.spec_id())
            .referenced_data_file(named)
            .content_offset(Some(offset))
            .content_size_in_bytes(Some(length));
        files.push(finish(builder, bytes.clone(), defect)?);
    }
    Ok(files)
}

/// What equality deletes compare rows with.
#[derive(Debug)]
pub(super) struct EqualityKeys {
    /// The compared columns.
    schema: SchemaRef,
    spec: PartitionSpecRef,
    partition: Struct,
    keys: HashSet<Vec<Option<Literal>>>,
}

impl EqualityKeys {
    /// The positions of a data file that the deletes reach, whether or not they are dead already.
    ///
    /// # Errors
    /// A data file whose schema does not evolve to the compared columns.
    pub(super) fn positions(&self, file: &LiveFile) -> anyhow::Result<RoaringTreemap> {
        let here = self.spec.fields().is_empty()
            || (self.spec.spec_id() == file.rows.spec.spec_id()
                && self.partition == file.rows.partition);
        if !here {
            return Ok(RoaringTreemap::new());
        }
        let rows = keys(&file.rows.batch_as(&self.schema)?, &self.schema)?;
        let reached = rows.iter().enumerate().filter(|(_, key)| self.keys.contains(*key));
        Ok(reached.map(|(position, _)| to_u64(position)).collect())
    }
}

fn keys(batch: &RecordBatch, schema: &Schema) -> anyhow::Result<Vec<Vec<Option<Literal>>>> {
    let fields = schema.as_struct().fields();
    let columns = batch.columns().iter().zip(fields);
    let columns = columns
        .map(|(column, field)| literals(column, &field.field_type))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let row = |row: usize| columns.iter().map(|column| column[row].clone()).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// The equality delete files of a delete, one for each partition, and what they compare with.
/// `name` makes a URI from the folders of a partition.
///
/// # Errors
/// A column that the table or the rows lack.
pub(super) fn equality_files(
    delete: &EqualityDelete,
    schema: &SchemaRef,
    spec: &PartitionSpecRef,
    style: &Style,
    defect: Option<&Defect>,
    mut name: impl FnMut(&str) -> String,
) -> anyhow::Result<Vec<(NewFile, EqualityKeys)>> {
    let (batch, written) = narrowed(&delete.rows, schema)?;
    let ids = ids_of(&delete.columns, &written)?;
    let compared = Schema::builder();
    let fields = ids.iter().filter_map(|id| written.field_by_id(*id)).map(Arc::clone);
    let compared = Arc::new(compared.with_fields(fields).build()?);
    let mut files = Vec::new();
    for (partition, rows) in split(&batch, &written, spec)? {
        let batch = arrow::compute::take_record_batch(&batch, &rows as &UInt32Array)?;
        let style = Style { field_ids: true, ..style.clone() };
        let (bytes, footer) = encode(&batch, &style)?;
        let uri = name(&folders(spec, schema, &partition)?);
        let mut builder = described(&uri, &bytes, Some(&footer));
        Metrics::of(&batch, &written, style.bound_length_max)?.describe(&mut builder);
        let ids = match defect {
            Some(Defect::NoEqualityIds) => None,
            Some(Defect::UnknownEqualityId) => Some(vec![UNKNOWN_FIELD_ID]),
            _ => Some(ids.clone()),
        };
        builder
            .content(DataContentType::EqualityDeletes)
            .record_count(to_u64(batch.num_rows()))
            .partition(partition.clone())
            .partition_spec_id(spec.spec_id())
            .equality_ids(ids);
        let columns = super::project::project(&batch, &written, &compared)?;
        let keys = EqualityKeys {
            schema: Arc::clone(&compared),
            spec: Arc::clone(spec),
            partition,
            keys: keys(&columns, &compared)?.into_iter().collect(),
        };
        files.push((finish(builder, bytes, defect)?, keys));
    }
    Ok(files)
}

fn ids_of(columns: &[String], schema: &Schema) -> anyhow::Result<Vec<i32>> {
    let id = |column: &String| {
        let id = schema.field_id_by_name(column);
        id.with_context(|| format!("the rows of the delete have no column {column}"))
    };
    let ids = columns.iter().map(id).collect::<anyhow::Result<Vec<i32>>>()?;
    ensure!(!ids.is_empty(), "an equality delete compares at least one column");
    Ok(ids)
}

/// The columns of the table that the rows of a delete have, all of them optional, as in the files
/// that writers of upserts leave.
fn narrowed(rows: &RecordBatch, schema: &Schema) -> anyhow::Result<(RecordBatch, SchemaRef)> {
    let given: HashMap<&str, ()> =
        rows.schema_ref().fields().iter().map(|field| (field.name().as_str(), ())).collect();
    let fields = schema.as_struct().fields().iter();
    let fields = fields.filter(|field| given.contains_key(field.name.as_str())).map(|field| {
        let mut field = field.as_ref().clone();
        field.required = false;
        Arc::new(field)
    });
    let narrow = Arc::new(Schema::builder().with_fields(fields).build()?);
    Ok((super::project::conform(rows, &narrow)?, narrow))
}
