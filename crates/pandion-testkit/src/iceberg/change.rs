//! What one commit does to a table, and what may be wrong with what it writes.

use arrow::array::RecordBatch;
use iceberg::spec::DataFileFormat;

/// How position deletes of several data files are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeleteLayout {
    /// As few files as possible: a position delete file per partition, or one Puffin file.
    #[default]
    Shared,
    /// A file for each data file. Position delete files name it as `referenced_data_file`.
    PerFile,
}

/// Rows that are deleted wherever these columns have these values; null equals null.
#[derive(Clone, Debug)]
pub struct EqualityDelete {
    /// The columns that are compared.
    pub columns: Vec<String>,
    /// The values; in a partitioned table also those of the partition's source columns, unless the
    /// delete holds in all partitions. Other columns are left out.
    pub rows: RecordBatch,
    /// Whether the delete holds in all partitions of a partitioned table.
    pub in_all_partitions: bool,
}

/// One commit. Deletes act on the rows that were there before it; what it appends stays.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// What the snapshot says it does; worked out if it is missing.
    pub operation: Option<&'static str>,
    /// New rows: a data file for each batch and partition.
    pub appended: Vec<RecordBatch>,
    /// URIs of data files that go. Deletion vectors and position delete files of these alone go
    /// with them.
    pub removed: Vec<String>,
    /// Dead rows of data files by URI: position delete files in format version 2, deletion vectors
    /// in version 3, which also hold what earlier ones held.
    pub positions: Vec<(String, Vec<u64>)>,
    /// How `positions` are laid out.
    pub layout: DeleteLayout,
    /// Equality deletes, a delete file for each and each partition.
    pub equality: Vec<EqualityDelete>,
    /// The data sequence number of new data files, where it is not the snapshot's: compactions keep
    /// that of the snapshot they read, so that later equality deletes stay in force.
    pub data_sequence_number: Option<i64>,
    /// What is wrong with the files of this commit. The rows that the writer remembers are those of
    /// an intact table.
    pub defect: Option<Defect>,
}

/// What may be wrong with the files of a commit. It is wrong with every file of the commit that can
/// have the defect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Data files do not exist.
    DataFileMissing,
    /// Delete files do not exist.
    DeleteFileMissing,
    /// Delete files end in their middle.
    DeleteFileTruncated,
    /// Deletion vectors have another checksum.
    VectorChecksum,
    /// Deletion vectors begin with other magic bytes, though the checksum is right.
    VectorMagic,
    /// The manifest tells another cardinality than the deletion vector has.
    VectorCardinality,
    /// The manifest tells a length that ends in the middle of the deletion vector.
    VectorLength,
    /// The manifest tells an offset at which no deletion vector begins.
    VectorOffset,
    /// The manifest does not name the data file of a deletion vector.
    VectorWithoutDataFile,
    /// The manifest has two deletion vectors for the same data file.
    VectorTwice,
    /// Equality delete files without the ids of the columns to compare.
    NoEqualityIds,
    /// Equality delete files by a field that the table never had.
    UnknownEqualityId,
    /// Position deletes also name a row after the end of the file.
    PositionBeyondEnd,
    /// The manifest says that data files have this format, whatever they have.
    DataFormat(DataFileFormat),
    /// The manifest says that delete files have this format, whatever they have.
    DeleteFormat(DataFileFormat),
    /// The manifest tells one row more than data files have.
    RecordCount,
    /// The manifest tells a size that data files do not have.
    FileSize,
}

impl Change {
    /// A commit that appends rows.
    #[must_use]
    pub fn append(batches: &[RecordBatch]) -> Self {
        Self { appended: batches.to_vec(), ..Self::default() }
    }

    /// The same commit with something wrong.
    #[must_use]
    pub fn with_defect(self, defect: Defect) -> Self {
        Self { defect: Some(defect), ..self }
    }

    /// What the snapshot's summary calls it.
    pub(super) fn operation(&self) -> &'static str {
        let deletes = !self.positions.is_empty() || !self.equality.is_empty();
        match self.operation {
            Some(operation) => operation,
            None if !deletes && self.removed.is_empty() => "append",
            None if self.appended.is_empty() => "delete",
            None => "overwrite",
        }
    }
}
