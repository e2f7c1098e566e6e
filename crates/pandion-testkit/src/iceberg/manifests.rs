//! Manifests and manifest lists: what a snapshot holds, and how the next one's differ from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, FormatVersion, ManifestContentType, ManifestFile,
    ManifestList, ManifestListWriter, ManifestWriter, ManifestWriterBuilder, PartitionSpecRef,
    SchemaRef,
};

use super::metadata::SnapshotEntry;

/// What tells the files of a table apart: the URI, and where the content starts for one of several
/// deletion vectors in a Puffin file.
pub(super) type FileKey = (String, Option<i64>);

/// Inherited from the manifest list, as the entries of new files say.
const UNASSIGNED: i64 = -1;

/// A live file of a snapshot.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) file: DataFile,
    pub(super) snapshot_id: i64,
    pub(super) sequence_number: i64,
    pub(super) file_sequence_number: i64,
    /// The row id of the file's first row, once it has one.
    pub(super) first_row_id: Option<i64>,
}

impl Entry {
    pub(super) fn key(&self) -> FileKey {
        key(&self.file)
    }

    /// The file as an entry of a later manifest has it.
    fn assigned(&self) -> anyhow::Result<DataFile> {
        match self.first_row_id {
            Some(id) if self.file.first_row_id() != Some(id) => with_first_row_id(&self.file, id),
            _ => Ok(self.file.clone()),
        }
    }
}

pub(super) fn key(file: &DataFile) -> FileKey {
    (file.file_path().to_owned(), file.content_offset())
}

/// A manifest of a snapshot and its live files. Its schema and spec are those it was written with.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) file: ManifestFile,
    pub(super) schema: SchemaRef,
    pub(super) spec: PartitionSpecRef,
    pub(super) entries: Vec<Entry>,
}

impl Manifest {
    pub(super) fn holds_deletes(&self) -> bool {
        self.file.content == ManifestContentType::Deletes
    }
}

/// New files of one partition spec and one kind.
#[derive(Debug)]
pub(super) struct Added {
    pub(super) schema: SchemaRef,
    pub(super) spec: PartitionSpecRef,
    pub(super) content: ManifestContentType,
    pub(super) files: Vec<DataFile>,
    /// Inherited from the snapshot, unless it is given.
    pub(super) sequence_number: Option<i64>,
}

/// Which snapshot manifests are written for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) format_version: FormatVersion,
    pub(super) snapshot_id: i64,
    pub(super) sequence_number: i64,
}

/// A manifest and its bytes.
type Written = (Manifest, Bytes);

impl Commit {
    /// Writes a manifest of new files. Its name is `uri`.
    ///
    /// # Errors
    /// Files that do not fit schema and spec.
    pub(super) async fn add(self, uri: &str, added: Added) -> anyhow::Result<Written> {
        let Added { schema, spec, content, files, sequence_number } = added;
        let io = FileIO::new_with_memory();
        let mut writer = self.writer(&io, uri, &schema, &spec, content)?;
        let mut entries = Vec::new();
        for file in files {
            writer.add_file(file.clone(), sequence_number.unwrap_or(UNASSIGNED))?;
            entries.push(Entry {
                first_row_id: file.first_row_id(),
                file,
                snapshot_id: self.snapshot_id,
                sequence_number: sequence_number.unwrap_or(self.sequence_number),
                file_sequence_number: self.sequence_number,
            });
        }
        self.close(&io, uri, writer, Manifest::unwritten(schema, spec, entries)).await
    }

    /// Writes a manifest again without the files in `removed`, which it lists as deleted.
    ///
    /// # Errors
    /// None in practice: the files were in a manifest before.
    pub(super) async fn rewrite(
        self,
        uri: &str,
        manifest: &Manifest,
        removed: &BTreeSet<FileKey>,
    ) -> anyhow::Result<Written> {
        let io = FileIO::new_with_memory();
        let (schema, spec) = (&manifest.schema, &manifest.spec);
        let mut writer = self.writer(&io, uri, schema, spec, manifest.file.content)?;
        let mut entries = Vec::new();
        for entry in &manifest.entries {
            let file = entry.assigned()?;
            let (sequence, file_sequence) =
                (entry.sequence_number, Some(entry.file_sequence_number));
            if removed.contains(&entry.key()) {
                writer.add_delete_file(file, sequence, file_sequence)?;
            } else {
                let entry = entry.clone();
                writer.add_existing_file(file, entry.snapshot_id, sequence, file_sequence)?;
                entries.push(entry);
            }
        }
        let held = Manifest::unwritten(Arc::clone(schema), Arc::clone(spec), entries);
        self.close(&io, uri, writer, held).await
    }

    fn writer(
        self,
        io: &FileIO,
        uri: &str,
        schema: &SchemaRef,
        spec: &PartitionSpecRef,
        content: ManifestContentType,
    ) -> anyhow::Result<ManifestWriter> {
        let output = io.new_output(uri)?;
        let (schema, spec) = (Arc::clone(schema), spec.as_ref().clone());
        let builder = ManifestWriterBuilder::new(output, Some(self.snapshot_id), schema, spec);
        Ok(match (self.format_version, content) {
            (FormatVersion::V1, _) => builder.build_v1(),
            (FormatVersion::V2, ManifestContentType::Data) => builder.build_v2_data(),
            (FormatVersion::V2, ManifestContentType::Deletes) => builder.build_v2_deletes(),
            (FormatVersion::V3, ManifestContentType::Data) => builder.build_v3_data(),
            (FormatVersion::V3, ManifestContentType::Deletes) => builder.build_v3_deletes(),
        })
    }

    async fn close(
        self,
        io: &FileIO,
        uri: &str,
        writer: ManifestWriter,
        mut manifest: Manifest,
    ) -> anyhow::Result<Written> {
        manifest.file = writer.write_manifest_file().await.context("cannot write a manifest")?;
        let bytes = io.new_input(uri)?.read().await?;
        Ok((manifest, bytes))
    }

    /// Writes the manifest list of a snapshot, which gives sequence numbers and row ids to new
    /// manifests. Returns the manifests with them, the bytes, and the next free row id.
    ///
    /// # Errors
    /// Manifests that do not belong to this snapshot or its ancestors.
    pub(super) async fn list(
        self,
        snapshot: &SnapshotEntry,
        manifests: Vec<Arc<Manifest>>,
        next_row_id: u64,
    ) -> anyhow::Result<(Vec<Arc<Manifest>>, Bytes, u64)> {
        let io = FileIO::new_with_memory();
        let uri = &snapshot.manifest_list;
        let output = io.new_output(uri)?.writer().await?;
        let (id, parent, sequence) = (self.snapshot_id, snapshot.parent, self.sequence_number);
        let mut writer = match self.format_version {
            FormatVersion::V1 => ManifestListWriter::v1(output, id, parent),
            FormatVersion::V2 => ManifestListWriter::v2(output, id, parent, sequence),
            FormatVersion::V3 => {
                ManifestListWriter::v3(output, id, parent, sequence, Some(next_row_id))
            }
        };
        writer.add_manifests(manifests.iter().map(|manifest| manifest.file.clone()))?;
        let next_row_id = writer.next_row_id().unwrap_or(next_row_id);
        writer.close().await.context("cannot write a manifest list")?;
        let bytes = io.new_input(uri)?.read().await?;
        let list = ManifestList::parse_with_version(&bytes, self.format_version)
            .context("the manifest list is not well-formed")?;
        let files = list.consume_entries().into_iter();
        let assigned = manifests.into_iter().zip(files).map(|(manifest, file)| {
            if file == manifest.file {
                return Ok(manifest);
            }
            let manifest = Arc::unwrap_or_clone(manifest);
            let entries = with_row_ids(manifest.entries, &file)?;
            Ok(Arc::new(Manifest { file, entries, ..manifest }))
        });
        Ok((assigned.collect::<anyhow::Result<_>>()?, bytes, next_row_id))
    }
}

impl Manifest {
    /// A manifest whose file is described when it is written.
    fn unwritten(schema: SchemaRef, spec: PartitionSpecRef, entries: Vec<Entry>) -> Self {
        let file = ManifestFile {
            manifest_path: String::new(),
            manifest_length: 0,
            partition_spec_id: spec.spec_id(),
            content: ManifestContentType::Data,
            sequence_number: UNASSIGNED,
            min_sequence_number: UNASSIGNED,
            added_snapshot_id: UNASSIGNED,
            added_files_count: None,
            existing_files_count: None,
            deleted_files_count: None,
            added_rows_count: None,
            existing_rows_count: None,
            deleted_rows_count: None,
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        };
        Self { file, schema, spec, entries }
    }
}

/// Data files without a row id take theirs from the manifest, one after the other.
fn with_row_ids(mut entries: Vec<Entry>, manifest: &ManifestFile) -> anyhow::Result<Vec<Entry>> {
    let Some(first) = manifest.first_row_id else { return Ok(entries) };
    let mut next = i64::try_from(first).context("too many row ids")?;
    for entry in &mut entries {
        if entry.first_row_id.is_none() && entry.file.content_type() == DataContentType::Data {
            entry.first_row_id = Some(next);
            next += i64::try_from(entry.file.record_count()).context("too many rows")?;
        }
    }
    Ok(entries)
}

/// A copy of an entry's file with the row id that it inherited.
fn with_first_row_id(file: &DataFile, first_row_id: i64) -> anyhow::Result<DataFile> {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .first_row_id(Some(first_row_id));
    builder.build().context("a data file lacks something")
}

/// How many files, rows and so on, as snapshot summaries count them.
pub(super) fn count<'a>(
    files: impl Iterator<Item = &'a DataFile>,
    content: DataContentType,
) -> (i64, i64) {
    let found = files.filter(|file| file.content_type() == content);
    found.fold((0, 0), |(files, rows), file| {
        (files + 1, rows + i64::try_from(file.record_count()).unwrap_or(0))
    })
}
