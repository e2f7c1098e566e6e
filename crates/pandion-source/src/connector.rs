//! The seam between a kind of source and the rest.

use async_trait::async_trait;
use pandion_manifest::{DataFile, DeleteVector, Manifest, TableState};
use pandion_types::{Error, FileIdentity, Result, Subject};

use crate::{IoStats, PinnedObject, SnapshotChoice};

/// One data file of a source, as it is now.
#[derive(Clone, Debug)]
pub enum SourceFile {
    /// An object that a listing found, pinned to the identity that the listing gave. Its content is
    /// told by its footer.
    Found(PinnedObject),
    /// A file of which the table's metadata tells all that a manifest needs. Its id is that of
    /// the manifest before, if that had the file, and else not yet given; its `deletes` are to be
    /// asked for with [`Connector::delete_vectors`].
    Known(Box<DataFile>),
}

impl SourceFile {
    /// The content that reads are pinned to.
    #[must_use]
    pub fn identity(&self) -> &FileIdentity {
        match self {
            Self::Found(object) => &object.identity,
            Self::Known(file) => &file.identity,
        }
    }
}

/// The data files of a source at one point in time.
#[derive(Clone, Debug)]
pub struct SourceState {
    /// The files, sorted by URI; no URI stands twice.
    pub files: Vec<SourceFile>,
    /// The snapshot that the files are of, when the source is a table. `retired` is left empty.
    pub table: Option<TableState>,
}

/// Resolves a source to its data files.
#[async_trait]
pub trait Connector: std::fmt::Debug + Send + Sync {
    /// Looks at the source once, completely or not at all: a listing that breaks off is an error,
    /// never a shorter list. Reads no data file. `before` is the manifest that serves now, so that
    /// only what changed since need be read; what is not read again is taken from it.
    ///
    /// # Errors
    /// `NotFound` about the source when the bucket, folder or table does not exist,
    /// `PermissionDenied`, `Unavailable`, `Corrupt`.
    async fn resolve(&self, before: Option<&Manifest>, stats: &IoStats) -> Result<SourceState>;

    /// The table as another snapshot of it has it, read in the columns that `now` has them in: a
    /// column that was added later holds its default or null, one that was renamed is the same.
    /// What `now` knows of files is not read again.
    ///
    /// # Errors
    /// As [`Self::resolve`]; `NotFound` about the source, naming the snapshots that there are, for
    /// one that the table does not have; `Unsupported` for a source without snapshots.
    async fn resolve_at(
        &self,
        choice: &SnapshotChoice,
        _now: &Manifest,
        _stats: &IoStats,
    ) -> Result<SourceState> {
        Err(Error::unsupported(format!(
            "{choice} cannot be read: only collections over tables (format iceberg-table) have \
             snapshots"
        ))
        .about(Subject::Source))
    }

    /// The dead rows of each file of `now`, in its order. A file's vector in `before` is taken over
    /// when the same delete files concern it, and extended when more do.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Unsupported` about the source, naming the delete file that cannot be
    /// read or contradicts the table; those of the store.
    async fn delete_vectors(
        &self,
        _before: Option<&Manifest>,
        now: &Manifest,
        _stats: &IoStats,
    ) -> Result<Vec<Option<DeleteVector>>> {
        // A source without a table has no deletes.
        Ok(vec![None; now.files.len()])
    }
}
