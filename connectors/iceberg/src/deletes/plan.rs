//! Which delete files concern which data files (Iceberg specification, "Scan planning").
//!
//! Decided from metadata alone: sequence numbers, partitions, and what a delete file says of the
//! files or keys in it. A delete file that is left in without need costs a look; one that is left
//! out wrongly would bring dead rows back, so in doubt it stays in.

use std::collections::HashMap;

use pandion_manifest::{ColumnStatistics, DataFile, DeleteFile, DeleteKind, Manifest, TableFile};
use pandion_types::Result;

use crate::entries::NewDelete;
use crate::guard::corrupt;
use crate::paths::TablePaths;

/// A delete file of the snapshot.
#[derive(Clone, Debug)]
pub(crate) enum PlannedDelete {
    /// Just read from its manifest.
    New(NewDelete),
    /// Taken over, with its place in the table before.
    Kept(DeleteFile, u32),
}

impl PlannedDelete {
    pub(crate) fn file(&self) -> &DeleteFile {
        match self {
            Self::New(new) => &new.file,
            Self::Kept(file, _) => file,
        }
    }

    pub(crate) fn into_file(self) -> DeleteFile {
        match self {
            Self::New(new) => new.file,
            Self::Kept(file, _) => file,
        }
    }
}

/// Delete files by what they may concern, as places in the list of all. Those of a partition or of
/// one file are sorted by sequence number.
#[derive(Debug, Default)]
struct Index<'a> {
    vectors: HashMap<String, u32>,
    positions_of_file: HashMap<String, Numbered>,
    positions: HashMap<(i32, &'a str), Numbered>,
    equalities: HashMap<(i32, &'a str), Numbered>,
    global_equalities: Numbered,
}

/// Sequence numbers and places.
type Numbered = Vec<(i64, u32)>;

/// Fills in [`TableFile::deletes`] of every file. `before` is the manifest before, if that is of
/// the same table.
///
/// Costs a look-up per data file and a step per delete file that concerns it.
///
/// # Errors
/// `Corrupt` about the source when a data file has two deletion vectors, or one that is older than
/// itself.
pub(crate) fn assign(
    files: &mut [DataFile],
    deletes: &[PlannedDelete],
    paths: &TablePaths,
    before: Option<&Manifest>,
) -> Result<()> {
    let index = Index::new(deletes, paths)?;
    let known = Known::new(before);
    for file in files {
        let Some(table) = &file.table else { continue };
        let mut concerned = index.concerning(file, table, deletes, &known)?;
        concerned.sort_unstable();
        concerned.dedup();
        if let Some(table) = &mut file.table {
            table.deletes = concerned;
        }
    }
    Ok(())
}

impl<'a> Index<'a> {
    fn new(deletes: &'a [PlannedDelete], paths: &TablePaths) -> Result<Self> {
        let mut index = Self::default();
        for (at, delete) in deletes.iter().enumerate() {
            let at = u32::try_from(at)
                .map_err(|error| corrupt("the table has too many delete files").caused_by(error))?;
            let delete = delete.file();
            let entry = (delete.sequence_number, at);
            let partition = (delete.spec_id, delete.partition.as_str());
            let data_file = delete.data_file.as_deref().map(|uri| paths.locate(uri)).transpose()?;
            match (&delete.kind, data_file) {
                (DeleteKind::Vector { .. }, Some(location)) => {
                    if let Some(other) = index.vectors.insert(location.to_string(), at) {
                        let other = deletes.get(other as usize).map(PlannedDelete::file);
                        return Err(corrupt(format!(
                            "data file {location} has two deletion vectors, in {} and in {}",
                            other.map_or("", |other| &other.uri),
                            delete.uri
                        )));
                    }
                }
                (DeleteKind::Vector { .. }, None) => {
                    let uri = &delete.uri;
                    return Err(corrupt(format!("a deletion vector in {uri} names no data file")));
                }
                (DeleteKind::Position, Some(location)) => {
                    index.positions_of_file.entry(location.into()).or_default().push(entry);
                }
                (DeleteKind::Position, None) => {
                    index.positions.entry(partition).or_default().push(entry);
                }
                (DeleteKind::Equality { global: true, .. }, _) => {
                    index.global_equalities.push(entry);
                }
                (DeleteKind::Equality { global: false, .. }, _) => {
                    index.equalities.entry(partition).or_default().push(entry);
                }
            }
        }
        index.positions_of_file.values_mut().for_each(|list| list.sort_unstable());
        index.positions.values_mut().for_each(|list| list.sort_unstable());
        index.equalities.values_mut().for_each(|list| list.sort_unstable());
        index.global_equalities.sort_unstable();
        Ok(index)
    }

    fn concerning(
        &self,
        file: &DataFile,
        table: &TableFile,
        deletes: &[PlannedDelete],
        known: &Known<'_>,
    ) -> Result<Vec<u32>> {
        let sequence_number = table.sequence_number;
        let partition = (table.spec_id, table.partition.as_str());
        let mut concerned = Vec::new();
        let mut add = |at: u32| {
            if deletes.get(at as usize).is_some_and(|delete| known.may_concern(delete, file)) {
                concerned.push(at);
            }
        };
        // From this number on they are not older than the data, or newer.
        let not_older = |list: &'_ Numbered, first: i64| -> Vec<u32> {
            let start = list.partition_point(|(number, _)| *number < first);
            list.get(start..).unwrap_or_default().iter().map(|(_, at)| *at).collect()
        };
        let newer = sequence_number.saturating_add(1);
        if let Some(&at) = self.vectors.get(&file.location) {
            let delete = deletes.get(at as usize).map(PlannedDelete::file);
            if let Some(older) = delete.filter(|delete| delete.sequence_number < sequence_number) {
                return Err(corrupt(format!(
                    "the deletion vector in {} is older than its data file {}",
                    older.uri, file.identity.uri
                )));
            }
            add(at);
        } else {
            // A vector holds what position deletes said before it.
            let of_file = self.positions_of_file.get(&file.location);
            let of_partition = self.positions.get(&partition);
            for list in of_file.into_iter().chain(of_partition) {
                not_older(list, sequence_number).into_iter().for_each(&mut add);
            }
        }
        let of_partition = self.equalities.get(&partition);
        for list in of_partition.into_iter().chain([&self.global_equalities]) {
            not_older(list, newer).into_iter().for_each(&mut add);
        }
        Ok(concerned)
    }
}

/// What the manifest before knew of which delete file concerns which data file.
struct Known<'a> {
    files: HashMap<&'a str, KnownFile<'a>>,
}

struct KnownFile<'a> {
    deletes: &'a [u32],
    /// Position deletes were not looked at, since a deletion vector stood in for them.
    has_vector: bool,
}

impl<'a> Known<'a> {
    fn new(before: Option<&'a Manifest>) -> Self {
        let table = before.and_then(|before| before.table.as_ref());
        let files = before.map(|before| before.files.as_slice()).unwrap_or_default();
        let known = files.iter().filter_map(|file| {
            let deletes = file.table.as_ref()?.deletes.as_slice();
            let is_vector = |at: &u32| {
                let delete = table.and_then(|table| table.deletes.get(*at as usize));
                delete.is_some_and(|delete| matches!(delete.kind, DeleteKind::Vector { .. }))
            };
            let has_vector = deletes.iter().any(is_vector);
            Some((file.identity.uri.as_str(), KnownFile { deletes, has_vector }))
        });
        Self { files: known.collect() }
    }

    /// Whether a delete file that the rules let concern a data file can hold anything about it.
    fn may_concern(&self, delete: &PlannedDelete, file: &DataFile) -> bool {
        match delete {
            PlannedDelete::Kept(delete, at) => {
                let Some(known) = self.files.get(file.identity.uri.as_str()) else { return true };
                let is_open = known.has_vector && delete.kind == DeleteKind::Position;
                is_open || known.deletes.binary_search(at).is_ok()
            }
            PlannedDelete::New(new) => match (&new.file.kind, &new.paths) {
                (DeleteKind::Position, Some((lower, upper))) => {
                    path_within(&file.location, lower, upper)
                }
                (DeleteKind::Equality { .. }, _) => keys_may_meet(&new.keys, &file.columns),
                _ => true,
            },
        }
    }
}

/// Whether a file at `location` can be named between two URIs. Compared behind the bucket, which all
/// names between the two share if the two do; else it may.
fn path_within(location: &str, lower: &str, upper: &str) -> bool {
    let start = |uri: &str| {
        let authority = uri.find("://").map(|at| at + "://".len())?;
        uri.get(authority..)?.find('/').map(|at| authority + at + 1)
    };
    match (start(lower), start(upper)) {
        (Some(at), Some(end)) if at == end && lower.get(..at) == upper.get(..end) => {
            let (lower, upper) = (lower.get(at..), upper.get(end..));
            lower.is_none_or(|lower| lower <= location)
                && upper.is_none_or(|upper| location <= upper)
        }
        _ => true,
    }
}

/// Whether keys within the one bounds can equal values within the other.
fn keys_may_meet(keys: &[ColumnStatistics], columns: &[ColumnStatistics]) -> bool {
    keys.iter().all(|key| {
        let Ok(at) = columns.binary_search_by_key(&key.field, |column| column.field) else {
            return true;
        };
        columns.get(at).is_none_or(|column| may_meet(key, column))
    })
}

fn may_meet(key: &ColumnStatistics, column: &ColumnStatistics) -> bool {
    // Null equals null, and bounds say nothing of NaN.
    let may_be_null = key.null_count != Some(0) && column.null_count != Some(0);
    let is_float = |bound: &Option<pandion_manifest::StatValue>| {
        matches!(bound, Some(pandion_manifest::StatValue::Float(_)))
    };
    if may_be_null || is_float(&key.min) || is_float(&key.max) {
        return true;
    }
    let is_above = |min: &Option<_>, max: &Option<_>| match (min, max) {
        (Some(min), Some(max)) => max < min,
        _ => false,
    };
    !is_above(&key.min, &column.max) && !is_above(&column.min, &key.max)
}

#[cfg(test)]
mod tests;
