//! Which snapshot of a table is read.

use std::sync::Arc;

use iceberg::spec::{SchemaRef, SnapshotRef, TableMetadata};
use pandion_source::SnapshotChoice;
use pandion_types::{Error, Result, Subject};

use crate::guard::corrupt;
use crate::metadata::schema_of;

/// The branch that is read when nothing is chosen.
const MAIN: &str = "main";
/// Snapshots, branches or tags that an error lists.
const LISTED_MAX: usize = 20;

/// What a choice came to.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// `None` for a table without any snapshot.
    pub(crate) snapshot: Option<SnapshotRef>,
    /// The schema to read it in.
    pub(crate) schema: SchemaRef,
}

/// Finds the snapshot in a table. The newest of a branch is read in the table's current schema, any
/// other in the schema that it was written in.
///
/// # Errors
/// `NotFound` about the source, listing what there is, when the table has no such snapshot.
pub(crate) fn resolve(choice: &SnapshotChoice, metadata: &TableMetadata) -> Result<Chosen> {
    let (snapshot, in_current_schema) = match choice {
        SnapshotChoice::Latest => (metadata.current_snapshot().cloned(), true),
        SnapshotChoice::Branch(name) if name == MAIN => {
            (metadata.current_snapshot().cloned(), true)
        }
        SnapshotChoice::Branch(name) => (Some(named(metadata, name, true)?), true),
        SnapshotChoice::Tag(name) => (Some(named(metadata, name, false)?), false),
        SnapshotChoice::Timestamp(ms) => (Some(at_time(metadata, *ms)?), false),
        SnapshotChoice::Id(id) => {
            let found = metadata.snapshot_by_id(*id);
            (Some(Arc::clone(found.ok_or_else(|| no_snapshot(metadata, *id))?)), false)
        }
    };
    let schema = match &snapshot {
        Some(snapshot) if !in_current_schema => schema_of(metadata, snapshot)?,
        _ => Arc::clone(metadata.current_schema()),
    };
    Ok(Chosen { snapshot, schema })
}

fn no_snapshot(metadata: &TableMetadata, id: i64) -> Error {
    let mut all: Vec<_> = metadata.snapshots().collect();
    all.sort_by_key(|snapshot| std::cmp::Reverse(snapshot.timestamp_ms()));
    let all = all.iter().map(|snapshot| snapshot.snapshot_id().to_string());
    not_found(&format!("the table has no snapshot {id}"), "its snapshots", all.collect())
}

fn not_found(what: &str, kind: &str, mut there: Vec<String>) -> Error {
    let more = there.len().saturating_sub(LISTED_MAX);
    there.truncate(LISTED_MAX);
    let there = match (there.is_empty(), more) {
        (true, _) => format!("{kind}: none"),
        (false, 0) => format!("{kind}: {}", there.join(", ")),
        (false, more) => format!("{kind}: {} and {more} more", there.join(", ")),
    };
    Error::not_found(Subject::Source, format!("{what}; {there}"))
}

/// The snapshot of a branch or tag.
fn named(metadata: &TableMetadata, name: &str, wants_branch: bool) -> Result<SnapshotRef> {
    let refs = references(metadata)?;
    let (kind, other) = if wants_branch { ("branch", "tag") } else { ("tag", "branch") };
    match (refs.iter().find(|(known, _)| known == name), metadata.snapshot_for_ref(name)) {
        (Some((_, is_branch)), Some(snapshot)) if *is_branch == wants_branch => {
            Ok(Arc::clone(snapshot))
        }
        (Some(_), Some(_)) => Err(Error::invalid_argument(format!(
            "{name:?} is a {other} of the table, not a {kind}: choose it as a {other}"
        ))
        .about(Subject::Source)),
        _ => {
            let kinds = if wants_branch { "its branches" } else { "its tags" };
            let there = refs.into_iter().filter(|(_, is_branch)| *is_branch == wants_branch);
            let there = there.map(|(name, _)| name).collect();
            Err(not_found(&format!("the table has no {kind} {name:?}"), kinds, there))
        }
    }
}

/// Names of the table's branches and tags, and whether each is a branch. The library shows them in
/// no other way than by writing the metadata out.
fn references(metadata: &TableMetadata) -> Result<Vec<(String, bool)>> {
    let written = serde_json::to_value(metadata)
        .map_err(|error| corrupt("the table's metadata cannot be written out").caused_by(error))?;
    let refs = written.get("refs").and_then(serde_json::Value::as_object);
    let mut refs: Vec<_> = refs
        .into_iter()
        .flatten()
        .map(|(name, reference)| {
            let kind = reference.get("type").and_then(serde_json::Value::as_str);
            (name.clone(), kind == Some("branch"))
        })
        .collect();
    refs.sort();
    Ok(refs)
}

/// The snapshot that was current at a time: the last entry of the table's log up to then, or, where
/// no log was kept, the last ancestor of the current snapshot.
fn at_time(metadata: &TableMetadata, ms: i64) -> Result<SnapshotRef> {
    let log = metadata.history();
    if let Some(entry) = log.iter().rfind(|entry| entry.timestamp_ms() <= ms) {
        let found = metadata.snapshot_by_id(entry.snapshot_id).cloned();
        return found.ok_or_else(|| {
            Error::not_found(
                Subject::Source,
                format!(
                    "snapshot {}, which was current at {ms} ms, has been expired from the table",
                    entry.snapshot_id
                ),
            )
        });
    }
    let mut current = metadata.current_snapshot().filter(|_| log.is_empty());
    // As many steps as there are snapshots, should the parents form a ring.
    for _ in 0..metadata.snapshots().len() {
        match current {
            Some(snapshot) if snapshot.timestamp_ms() <= ms => return Ok(Arc::clone(snapshot)),
            Some(snapshot) => {
                let parent = snapshot.parent_snapshot_id();
                current = parent.and_then(|parent| metadata.snapshot_by_id(parent));
            }
            None => break,
        }
    }
    let first = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms()).min();
    let first = first.map_or("it has no snapshot".to_owned(), |first| {
        format!("its first snapshot is of {first} ms")
    });
    Err(Error::not_found(
        Subject::Source,
        format!("the table has no snapshot older than or at {ms} ms; {first}"),
    ))
}

#[cfg(test)]
mod tests;
