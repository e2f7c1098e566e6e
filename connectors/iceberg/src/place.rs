//! Where a table is: what a source may point at.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use object_store::path::Path;
use pandion_source::IoStats;
use pandion_types::Result;

use crate::catalog::RestCatalog;

/// What the names of metadata files end in.
const METADATA_ENDINGS: [&str; 2] = [".metadata.json", ".metadata.json.gz"];

/// What says which metadata file is the table's.
#[derive(Clone, Debug)]
pub enum TablePlace {
    /// This metadata file and no other: the table as it was when the file was written.
    Metadata(Path),
    /// The newest metadata file below the table's folder.
    Folder(Path),
    /// A catalog.
    Catalog(Arc<dyn TableLoader>),
}

impl TablePlace {
    /// What a path inside of a store means: a metadata file by its name, else the table's folder.
    #[must_use]
    pub fn at(path: Path) -> Self {
        let is_metadata = path.filename().is_some_and(is_metadata_file);
        if is_metadata { Self::Metadata(path) } else { Self::Folder(path) }
    }
}

/// Whether a file of this name holds table metadata.
pub(crate) fn is_metadata_file(name: &str) -> bool {
    METADATA_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// The metadata of a table, and where it came from.
#[derive(Clone)]
pub struct LoadedMetadata {
    /// The metadata.
    pub metadata: Arc<TableMetadata>,
    /// URI of the metadata file; empty when whoever handed the metadata over did not say.
    pub location: String,
}

impl fmt::Debug for LoadedMetadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoadedMetadata({} at {:?})", self.metadata.uuid(), self.location)
    }
}

/// Hands over the current metadata of one table.
#[async_trait]
pub trait TableLoader: fmt::Debug + Send + Sync {
    /// Asks for the metadata as it is now. Counts its requests as reads.
    ///
    /// # Errors
    /// `NotFound` about the source when there is no such table; `PermissionDenied`, `Unavailable`,
    /// `Corrupt`.
    async fn load(&self, stats: &IoStats) -> Result<LoadedMetadata>;
}

#[async_trait]
impl TableLoader for RestCatalog {
    async fn load(&self, stats: &IoStats) -> Result<LoadedMetadata> {
        let table = self.load_table(stats).await?;
        let location = table.metadata_location.unwrap_or_default();
        Ok(LoadedMetadata { metadata: Arc::new(table.metadata), location })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_files_are_told_by_their_names() {
        let is_file =
            |path: &str| matches!(TablePlace::at(Path::from(path)), TablePlace::Metadata(_));
        assert!(is_file("wh/t/metadata/v3.metadata.json"));
        assert!(is_file("wh/t/metadata/00001-x.gz.metadata.json"));
        assert!(is_file("wh/t/metadata/v3.metadata.json.gz"));
        assert!(!is_file("wh/t"));
        assert!(!is_file("wh/metadata.json/t"));
    }
}
