//! The entries of manifests as files of a manifest of ours.

use std::sync::Arc;

use bytes::Bytes;
use iceberg::spec::{DataContentType, DataFileFormat, PrimitiveLiteral};
use pandion_manifest::{ColumnStatistics, DataFile, DeleteFile, DeleteKind, TableFile};
use pandion_source::SourceRoot;
use pandion_types::{ContentTag, FileId, FileIdentity, Result};

use crate::columns::Columns;
use crate::guard::{corrupt, unsupported};
use crate::manifests::{Entry, ReadManifest};
use crate::partition::{self, MappedPartition};
use crate::paths::TablePaths;
use crate::statistics;

/// The column of a position delete file that names data files (Iceberg specification, "Reserved
/// Field IDs").
pub(crate) const DELETE_PATH_COLUMN: i32 = i32::MAX - 101;
/// The column of a position delete file that counts rows.
pub(crate) const DELETE_POSITION_COLUMN: i32 = i32::MAX - 102;

/// A delete file that was read from its manifest, with what narrows the files that it concerns.
#[derive(Clone, Debug)]
pub(crate) struct NewDelete {
    pub(crate) file: DeleteFile,
    /// Bounds of the paths of the data files that it names, if known.
    pub(crate) paths: Option<(String, String)>,
    /// What is known of its keys, for columns that are mapped, sorted by field.
    pub(crate) keys: Vec<ColumnStatistics>,
}

/// What the entries of a manifest are turned into.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) data: Vec<DataFile>,
    pub(crate) deletes: Vec<NewDelete>,
}

/// What all entries of a manifest share.
#[derive(Clone, Copy)]
struct OfManifest {
    manifest: u32,
    spec_id: i32,
    is_unpartitioned: bool,
}

/// Turns entries into files.
#[derive(Clone, Debug)]
pub(crate) struct FileMaker {
    pub(crate) root: SourceRoot,
    pub(crate) paths: TablePaths,
    pub(crate) columns: Arc<Columns>,
}

impl FileMaker {
    /// The live files of the manifest that stands at `manifest` in the list.
    ///
    /// # Errors
    /// `Unsupported`, naming the file, for other formats than Parquet, for encrypted files, and for
    /// what lies outside the store; `Corrupt` for entries that make no sense.
    pub(crate) fn files(&self, read: &ReadManifest, manifest: u32) -> Result<Files> {
        let metadata = &read.metadata;
        let partition =
            MappedPartition::new(&metadata.partition_spec, &metadata.schema, &self.columns);
        let is_unpartitioned = metadata.partition_spec.is_unpartitioned();
        let mut files = Files::default();
        let of = OfManifest { manifest, spec_id: read.spec_id, is_unpartitioned };
        for entry in &read.entries {
            let path = entry.file.file_path();
            let named = |error: pandion_types::Error| error.context(format!("file {path}"));
            if entry.file.key_metadata().is_some_and(|key| !key.is_empty()) {
                return Err(unsupported(format!(
                    "file {path} is encrypted: encrypted tables are not supported"
                )));
            }
            if entry.file.content_type() == DataContentType::Data {
                let file = self.data_file(entry, of, &partition).map_err(named)?;
                files.data.push(file);
            } else {
                let file = self.delete_file(entry, of).map_err(named)?;
                files.deletes.push(file);
            }
        }
        Ok(files)
    }

    fn data_file(
        &self,
        entry: &Entry,
        of: OfManifest,
        partition: &MappedPartition,
    ) -> Result<DataFile> {
        let file = &entry.file;
        only_parquet(file.file_format(), "data files")?;
        let rows = file.record_count();
        if rows > u64::from(u32::MAX) {
            return Err(unsupported(format!(
                "it has {rows} rows: more than {} in one file are not supported",
                u32::MAX
            )));
        }
        let location = self.paths.locate(file.file_path())?;
        let mut columns = statistics::of_file(file, &self.columns, rows);
        let mut table = TableFile {
            manifest: of.manifest,
            sequence_number: entry.sequence_number,
            spec_id: of.spec_id,
            partition: partition::text(file.partition()),
            first_row_id: entry.first_row_id,
            ..TableFile::default()
        };
        partition.apply(file.partition(), &self.columns, rows, &mut columns, &mut table)?;
        let identity = FileIdentity {
            uri: self.root.uri_of(&location),
            size: file.file_size_in_bytes(),
            tag: ContentTag::Immutable,
        };
        Ok(DataFile {
            id: FileId::LAST,
            location: location.into(),
            identity,
            footer_digest: *blake3::hash(&[]).as_bytes(),
            row_groups: vec![rows],
            columns,
            footer: Bytes::new(),
            deletes: None,
            table: Some(table),
        })
    }

    /// What is known of the keys in a delete file, which may hold other columns beside them.
    fn key_statistics(
        &self,
        file: &iceberg::spec::DataFile,
        column_ids: &[i32],
    ) -> Vec<ColumnStatistics> {
        let all = statistics::of_file(file, &self.columns, file.record_count());
        let mapped = self.columns.mapped().iter().zip(all);
        let keys = mapped.filter(|(mapped, _)| column_ids.contains(&mapped.column.column_id));
        keys.map(|(_, statistics)| statistics).collect()
    }

    fn delete_file(&self, entry: &Entry, of: OfManifest) -> Result<NewDelete> {
        let file = &entry.file;
        let mut data_file = file.referenced_data_file();
        let mut paths = None;
        let mut keys = Vec::new();
        let kind = match (file.content_type(), file.file_format()) {
            (DataContentType::PositionDeletes, DataFileFormat::Puffin) => {
                if data_file.is_none() {
                    return Err(corrupt("the deletion vector names no data file"));
                }
                vector(file)?
            }
            (DataContentType::EqualityDeletes, format) => {
                only_parquet(format, "equality delete files")?;
                let column_ids = file.equality_ids().filter(|ids| !ids.is_empty());
                let column_ids = column_ids.ok_or_else(|| {
                    corrupt("the equality delete file does not say which columns it compares")
                })?;
                keys = self.key_statistics(file, &column_ids);
                DeleteKind::Equality { column_ids, global: of.is_unpartitioned }
            }
            (_, format) => {
                only_parquet(format, "position delete files")?;
                paths = path_bounds(file);
                // Bounds that are one path say what `referenced_data_file` says, which older
                // writers leave out.
                let only = paths.as_ref().filter(|(lower, upper)| lower == upper);
                data_file = data_file.or_else(|| only.map(|(path, _)| path.clone()));
                DeleteKind::Position
            }
        };
        let location = self.paths.locate(file.file_path())?;
        let file = DeleteFile {
            uri: self.root.uri_of(&location),
            location: location.into(),
            size: file.file_size_in_bytes(),
            records: file.record_count(),
            kind,
            manifest: of.manifest,
            sequence_number: entry.sequence_number,
            spec_id: of.spec_id,
            partition: partition::text(file.partition()),
            data_file,
        };
        Ok(NewDelete { file, paths, keys })
    }
}

fn only_parquet(format: DataFileFormat, what: &str) -> Result<()> {
    if format == DataFileFormat::Parquet {
        return Ok(());
    }
    Err(unsupported(format!("its format is {format}: only {what} in Parquet are supported")))
}

/// Where the deletion vector lies in its file.
fn vector(file: &iceberg::spec::DataFile) -> Result<DeleteKind> {
    let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let place = number(file.content_offset()).zip(number(file.content_size_in_bytes()));
    let (offset, length) = place
        .ok_or_else(|| corrupt("the deletion vector does not say where it lies in its file"))?;
    if offset.checked_add(length).is_none_or(|end| end > file.file_size_in_bytes()) {
        return Err(corrupt(format!(
            "the deletion vector of {length} bytes at {offset} lies beyond the end of its file of \
             {} bytes",
            file.file_size_in_bytes()
        )));
    }
    Ok(DeleteKind::Vector { offset, length })
}

fn path_bounds(file: &iceberg::spec::DataFile) -> Option<(String, String)> {
    let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>| match bounds
        .get(&DELETE_PATH_COLUMN)?
        .literal()
    {
        PrimitiveLiteral::String(path) => Some(path.clone()),
        _ => None,
    };
    bound(file.lower_bounds()).zip(bound(file.upper_bounds()))
}
