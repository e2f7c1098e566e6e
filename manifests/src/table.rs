//! What a manifest keeps of a table's snapshot, so that the next refresh reads only what changed.
//!
//! A folder of files has none of this. Nothing here knows the metadata of a table format beyond
//! the terms that Iceberg shares with its relatives: snapshots, manifests, sequence numbers,
//! column ids and delete files.

use pandion_types::{FieldId, FileId};

use crate::StatValue;

/// The snapshot of a table that a manifest was made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableState {
    /// The table's own UUID. Another table at the same place is another table.
    pub uuid: String,
    /// URI of the metadata file that was read; empty when a catalog handed the metadata over.
    pub metadata_location: String,
    /// The snapshot; `None` for a table without any.
    pub snapshot_id: Option<i64>,
    /// The snapshot's sequence number; 0 for tables of version 1.
    pub sequence_number: i64,
    /// When the snapshot was made, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// When the oldest snapshot that the table still has was made, in milliseconds since 1970.
    pub oldest_snapshot_ms: i64,
    /// The schema that the columns were resolved in.
    pub schema_id: i32,
    /// URIs of the manifest files of the snapshot, for data and for deletes. Files and delete files
    /// name the one that lists them by its place here.
    pub manifests: Vec<String>,
    /// The columns that the collection's fields are read from, sorted by field.
    pub columns: Vec<TableColumn>,
    /// The delete files of the snapshot.
    pub deletes: Vec<DeleteFile>,
    /// Files that are no longer in the table, and may be again in an older snapshot of it: they
    /// keep their ids. Sorted by URI.
    pub retired: Vec<RetiredFile>,
}

/// The column of a table that a field is read from.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    /// The field of the collection.
    pub field: FieldId,
    /// The id of the column, by which files are read whatever the column was called when they were
    /// written.
    pub column_id: i32,
    /// The column's name in the table's schema.
    pub name: String,
    /// Names that the column has in files without column ids; empty when the table maps none.
    pub names: Vec<String>,
    /// The column's type as the Iceberg specification writes it (`long`, `fixed[512]`,
    /// `list<float>`). Files may hold a narrower one.
    pub column_type: String,
    /// The value of rows in files that were written before the column existed; `None` means null.
    pub default: Option<StatValue>,
}

/// What a table's metadata says of a data file beyond its content.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableFile {
    /// Place of the manifest that lists the file, in [`TableState::manifests`].
    pub manifest: u32,
    /// The file's data sequence number: deletes of lower numbers do not concern it.
    pub sequence_number: i64,
    /// The partition spec that `partition` is a value of.
    pub spec_id: i32,
    /// The partition's value in a canonical text; equal texts mean equal partitions. Empty for an
    /// unpartitioned spec.
    pub partition: String,
    /// The `_row_id` of the first row, in tables with row lineage.
    pub first_row_id: Option<i64>,
    /// Values that identity partitioning gives to fields whose column the file may lack; the inner
    /// `None` is null. Sorted by field.
    pub constants: Vec<(FieldId, Option<StatValue>)>,
    /// The buckets that bucket partitioning has put all values of a field into. Sorted by field.
    pub buckets: Vec<Bucket>,
    /// Places in [`TableState::deletes`] of the delete files that concern the file, ascending.
    pub deletes: Vec<u32>,
}

/// All values of a field in a file hash into one bucket (Iceberg specification, appendix B).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The field.
    pub field: FieldId,
    /// How many buckets there are.
    pub buckets: u32,
    /// The bucket; `None` is that of null.
    pub bucket: Option<u32>,
}

/// A file that says which rows of data files are dead.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteFile {
    /// Path inside the source's object store.
    pub location: String,
    /// URI as messages name it.
    pub uri: String,
    /// Bytes of the object.
    pub size: u64,
    /// Deleted positions or keys in it.
    pub records: u64,
    /// What it holds.
    pub kind: DeleteKind,
    /// Place of the manifest that lists it, in [`TableState::manifests`].
    pub manifest: u32,
    /// Its data sequence number.
    pub sequence_number: i64,
    /// The partition spec that `partition` is a value of.
    pub spec_id: i32,
    /// The partition's value, as in [`TableFile::partition`].
    pub partition: String,
    /// URI, as the table writes it, of the one data file that it concerns, if it says so.
    pub data_file: Option<String>,
}

/// The three ways to delete rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeleteKind {
    /// Positions of rows in data files.
    Position,
    /// Values of columns; rows that have them are dead.
    Equality {
        /// The columns' ids.
        column_ids: Vec<i32>,
        /// Whether the delete file's partition spec has no fields, so that all data files are
        /// concerned.
        global: bool,
    },
    /// A bitmap of positions of one data file, inside a Puffin file.
    Vector {
        /// Where the blob begins in the file, in bytes.
        offset: u64,
        /// Bytes of the blob.
        length: u64,
    },
}

/// A file that left the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetiredFile {
    /// The file's URI.
    pub uri: String,
    /// The id that it had.
    pub id: FileId,
    /// When the first snapshot that was seen without it was made, in milliseconds since 1970.
    pub since_ms: i64,
}

impl TableState {
    /// The column that a field is read from.
    #[must_use]
    pub fn column(&self, field: FieldId) -> Option<&TableColumn> {
        let at = self.columns.binary_search_by_key(&field, |column| column.field).ok()?;
        self.columns.get(at)
    }
}
