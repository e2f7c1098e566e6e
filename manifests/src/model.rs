//! The manifest in memory, and the mapping from a row id to a place in a file.
//!
//! A value built by hand may break the rules of the format; [`Manifest::check`] says so, and
//! neither encoding nor decoding lets such a value pass.

use std::cmp::Ordering;

use bytes::Bytes;
use pandion_types::{
    CollectionId, FieldId, FieldSchema, FileId, FileIdentity, ManifestVersion, RowId,
};

use crate::{DeleteVector, TableFile, TableState};

/// One immutable version of a collection's rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The collection.
    pub collection: CollectionId,
    /// The version, counted from 1.
    pub version: ManifestVersion,
    /// The next file id to hand out: larger than any id ever given, also to files now gone.
    pub next_file_id: u32,
    /// Version of the collection's schema that the columns were checked against.
    pub schema_version: i32,
    /// The snapshot that the files are of, when the source is a table.
    pub table: Option<TableState>,
    /// The data files, sorted by file id.
    pub files: Vec<DataFile>,
}

/// One file of the lake and what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct DataFile {
    /// The collection's number for this identity.
    pub id: FileId,
    /// Path inside the source's object store.
    pub location: String,
    /// The content that every read is pinned to.
    pub identity: FileIdentity,
    /// BLAKE3 of `footer`.
    pub footer_digest: [u8; 32],
    /// Rows of each row group, in order. One number, the rows of the file, while the footer has
    /// not been read.
    pub row_groups: Vec<u64>,
    /// Statistics of the mapped columns, sorted by field.
    pub columns: Vec<ColumnStatistics>,
    /// The Parquet footer (thrift `FileMetaData`, without the trailing length and magic), so that
    /// it is read from the lake once per identity. Empty while it has not been read: a table's
    /// metadata tells all that a manifest needs.
    pub footer: Bytes,
    /// The dead rows; `None` when every row lives.
    pub deletes: Option<DeleteVector>,
    /// What the table says of the file.
    pub table: Option<TableFile>,
}

/// What a file's metadata says of one mapped column.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnStatistics {
    /// The field that the column is mapped to.
    pub field: FieldId,
    /// Rows without a value, at most the rows of the file; `None` when unknown.
    pub null_count: Option<u64>,
    /// A lower bound of the values; `None` when unknown.
    pub min: Option<StatValue>,
    /// An upper bound of the values; `None` when unknown.
    pub max: Option<StatValue>,
}

/// A bound of a column's values.
#[derive(Clone, Debug, PartialEq)]
pub enum StatValue {
    /// A boolean.
    Bool(bool),
    /// Int8 to Int64, and Timestamptz in microseconds.
    Int(i64),
    /// Float and Double; never NaN.
    Float(f64),
    /// `VarChar` and Text.
    String(String),
}

impl PartialOrd for StatValue {
    /// Values of different kinds have no order.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.partial_cmp(right),
            (Self::Int(left), Self::Int(right)) => left.partial_cmp(right),
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(right),
            (Self::String(left), Self::String(right)) => left.partial_cmp(right),
            _ => None,
        }
    }
}

impl DataFile {
    /// Rows of the file, dead ones included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.row_groups.iter().sum()
    }

    /// Rows of the file that are not deleted.
    #[must_use]
    pub fn live_rows(&self) -> u64 {
        self.rows() - self.deletes.as_ref().map_or(0, DeleteVector::count)
    }

    /// Whether the footer has been read.
    #[must_use]
    pub fn has_footer(&self) -> bool {
        !self.footer.is_empty()
    }

    /// The number, counted from 0 in the file, of the first row of a row group. The number of row
    /// groups stands for the end of the file. `None` beyond that.
    #[must_use]
    pub fn row_group_start(&self, row_group: usize) -> Option<u64> {
        self.row_groups.get(..row_group).map(|before| before.iter().sum())
    }

    /// The row group that holds a row of the file, and the row's number in it, both counted from
    /// 0. `None` when the file has fewer rows. Costs a walk over the row groups.
    #[must_use]
    pub fn locate(&self, row_in_file: u32) -> Option<(usize, u64)> {
        let mut rest = u64::from(row_in_file);
        for (row_group, &rows) in self.row_groups.iter().enumerate() {
            if rest < rows {
                return Some((row_group, rest));
            }
            rest -= rows;
        }
        None
    }

    /// The statistics of the column that a field is mapped to.
    #[must_use]
    pub fn column(&self, field: FieldId) -> Option<&ColumnStatistics> {
        self.columns
            .binary_search_by_key(&field, |column| column.field)
            .ok()
            .and_then(|at| self.columns.get(at))
    }
}

impl Manifest {
    /// Rows of all files that are not deleted.
    #[must_use]
    pub fn live_rows(&self) -> u64 {
        self.files.iter().map(DataFile::live_rows).sum()
    }

    /// What caches and indexes call the column that a field is read from. In a folder of files it is
    /// the column's name; in a table, where names come and go, its id and its type, and the names by
    /// which it is looked for in files without ids.
    #[must_use]
    pub fn column_key(&self, field: &FieldSchema) -> String {
        match self.table.as_ref().and_then(|table| table.column(field.id)) {
            Some(column) if column.names.is_empty() => {
                format!("#{} {}", column.column_id, column.column_type)
            }
            Some(column) => {
                format!("#{} {} {:?}", column.column_id, column.column_type, column.names)
            }
            None => field.external_field.as_ref().unwrap_or(&field.name).clone(),
        }
    }

    /// The file with this id.
    #[must_use]
    pub fn file(&self, id: FileId) -> Option<&DataFile> {
        self.files.binary_search_by_key(&id, |file| file.id).ok().and_then(|at| self.files.get(at))
    }

    /// Where a row lies: its file, its row group, and its number in that row group, both counted
    /// from 0. `None` when this version has no such row.
    #[must_use]
    pub fn locate(&self, row: RowId) -> Option<(&DataFile, usize, u64)> {
        let file = self.file(row.file())?;
        let (row_group, row_in_group) = file.locate(row.row_in_file())?;
        Some((file, row_group, row_in_group))
    }
}

#[cfg(test)]
mod tests {
    use crate::samples::{data_file, manifest};
    use pandion_types::{FileId, RowId};

    #[test]
    fn every_row_is_found_in_its_row_group_and_none_beyond_the_end() {
        let file = data_file(3, vec![2, 0, 3]);
        let found: Vec<_> = (0..6).map(|row| file.locate(row)).collect();
        assert_eq!(
            found,
            [Some((0, 0)), Some((0, 1)), Some((2, 0)), Some((2, 1)), Some((2, 2)), None]
        );
        let starts: Vec<_> = (0..5).map(|group| file.row_group_start(group)).collect();
        assert_eq!(starts, [Some(0), Some(2), Some(2), Some(5), None]);
    }

    #[test]
    fn a_row_id_leads_to_file_row_group_and_row() {
        let manifest = manifest(vec![data_file(2, vec![4]), data_file(7, vec![1, 5])]);
        let at = |file, row| {
            manifest
                .locate(RowId::new(FileId::new(file).unwrap(), row))
                .map(|(file, group, row)| (file.id.get(), group, row))
        };
        assert_eq!(at(2, 3), Some((2, 0, 3)));
        assert_eq!(at(2, 4), None);
        assert_eq!(at(7, 1), Some((7, 1, 0)));
        assert_eq!(at(3, 0), None);
        assert_eq!(manifest.live_rows(), 10);
    }
}
