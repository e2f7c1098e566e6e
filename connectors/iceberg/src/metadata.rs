//! The table's metadata: which file is the newest, and what it says.
//!
//! Nothing here chooses a snapshot.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use iceberg::spec::TableMetadata;
use object_store::path::{Path, PathPart};
use pandion_source::{IoStats, SourceRoot, list_flat_prefix, read_whole};
use pandion_types::{Error, ErrorKind, Result, Subject};
use serde::Deserialize;

use crate::guard::{corrupt, decode, foreign, unsupported};
use crate::place::{LoadedMetadata, TablePlace, is_metadata_file};

/// Bytes of the largest metadata file, compressed and not.
const METADATA_BYTES_MAX: u64 = 256 << 20;
/// Bytes of the largest version hint.
const HINT_BYTES_MAX: u64 = 4096;
/// Versions behind the hinted one that are looked for before the folder is listed instead.
const HINT_LAG_MAX: u64 = 8;
/// Metadata files of one version that are compared.
const CANDIDATES_MAX: usize = 16;

const METADATA_FOLDER: &str = "metadata";
const HINT_FILE: &str = "version-hint.text";
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads the metadata that `place` says is the table's.
///
/// # Errors
/// `NotFound` about the source when there is none; `Corrupt`, `Unsupported` naming the file; those
/// of the store or the catalog.
pub(crate) async fn load(
    root: &SourceRoot,
    place: &TablePlace,
    stats: &IoStats,
) -> Result<LoadedMetadata> {
    match place {
        TablePlace::Metadata(location) => read(root, location, stats).await,
        TablePlace::Catalog(loader) => loader.load(stats).await,
        TablePlace::Folder(folder) => {
            let folder = Path::from_iter(folder.parts().chain([PathPart::from(METADATA_FOLDER)]));
            match hinted(root, &folder, stats).await? {
                Some(loaded) => Ok(loaded),
                None => newest(root, &folder, stats).await,
            }
        }
    }
}

async fn read(root: &SourceRoot, location: &Path, stats: &IoStats) -> Result<LoadedMetadata> {
    let bytes = read_whole(root, location, METADATA_BYTES_MAX, stats).await?;
    let uri = root.uri_of(location);
    let metadata = decode(uri.clone(), move |place| parse(&bytes, place)).await?;
    Ok(LoadedMetadata { metadata: Arc::new(metadata), location: uri })
}

/// As [`read`]; `None` when there is no such file.
async fn read_if_there(
    root: &SourceRoot,
    location: &Path,
    stats: &IoStats,
) -> Result<Option<LoadedMetadata>> {
    absent(read(root, location, stats).await)
}

fn absent<T>(read: Result<T>) -> Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The metadata that the hint leads to, followed to the versions after it: writers replace the hint
/// after the metadata. `None` when there is no hint or it is of no use.
async fn hinted(
    root: &SourceRoot,
    folder: &Path,
    stats: &IoStats,
) -> Result<Option<LoadedMetadata>> {
    let at = |name: &str| Path::from_iter(folder.parts().chain([PathPart::from(name)]));
    let hint = read_whole(root, &at(HINT_FILE), HINT_BYTES_MAX, stats).await;
    let hint = match absent(hint) {
        Ok(Some(hint)) => hint,
        Ok(None) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(None),
        Err(error) => return Err(error),
    };
    let hint = String::from_utf8_lossy(&hint).trim().to_owned();
    let Ok(version) = hint.parse::<u64>() else {
        let name = if is_metadata_file(&hint) { hint } else { format!("{hint}.metadata.json") };
        // A name that leads out of the folder is none of a metadata file.
        let is_name = name.len() > ".metadata.json".len() && !name.contains(['/', '\\']);
        return if is_name { read_if_there(root, &at(&name), stats).await } else { Ok(None) };
    };
    let mut found = None;
    for version in version..=version.saturating_add(HINT_LAG_MAX) {
        let name = at(&format!("v{version}.metadata.json"));
        match read_if_there(root, &name, stats).await {
            Ok(Some(next)) => found = Some(next),
            // The next version is not there, so that the last one found is the newest.
            Ok(None) => return Ok(found),
            // Stores say so of what is not there to those who may not list.
            Err(error) if found.is_some() && error.kind() == ErrorKind::PermissionDenied => {
                return Ok(found);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The metadata file of the highest version in the folder, found with one listing.
async fn newest(root: &SourceRoot, folder: &Path, stats: &IoStats) -> Result<LoadedMetadata> {
    let listed = SourceRoot { prefix: folder.clone(), ..root.clone() };
    let objects = absent(list_flat_prefix(&listed, "", stats).await)?.unwrap_or_default();
    let mut by_version: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
    for object in objects {
        if let Some(version) = object.location.filename().and_then(version_of) {
            by_version.entry(version).or_default().push(object.location);
        }
    }
    let Some((version, candidates)) = by_version.pop_last() else {
        return Err(Error::not_found(
            Subject::Source,
            format!(
                "no Iceberg table at {}: its folder {METADATA_FOLDER} holds no metadata file \
                     (*.metadata.json)",
                root.uri_of(&table_folder(folder))
            ),
        ));
    };
    if candidates.len() > CANDIDATES_MAX {
        return Err(corrupt(format!(
            "{} holds {} metadata files of version {version}: name the right one in \
             external_source",
            root.uri_of(folder),
            candidates.len()
        )));
    }
    let mut read: Vec<LoadedMetadata> = stream::iter(candidates)
        .map(|location| async move { read(root, &location, stats).await })
        .buffered(CANDIDATES_MAX)
        .try_collect()
        .await?;
    read.sort_by(|left, right| {
        let key = |loaded: &LoadedMetadata| loaded.metadata.last_updated_ms();
        key(left).cmp(&key(right)).then_with(|| left.location.cmp(&right.location))
    });
    read.pop().ok_or_else(|| Error::internal("a version has a metadata file"))
}

fn table_folder(metadata_folder: &Path) -> Path {
    let parts: Vec<_> = metadata_folder.parts().collect();
    Path::from_iter(parts.iter().take(parts.len().saturating_sub(1)).cloned())
}

/// The version that a metadata file's name gives, in either convention: `v3.metadata.json`,
/// `00003-<uuid>.metadata.json`, compressed or not. `None` for other files.
fn version_of(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".metadata.json")?;
    let stem = stem.strip_suffix(".gz").unwrap_or(stem);
    match stem.strip_prefix('v') {
        Some(digits) => digits.parse().ok(),
        None => stem.split_once('-')?.0.parse().ok(),
    }
}

/// Decodes table metadata, which may be compressed; `place` names them in errors.
///
/// # Errors
/// `Corrupt` and `Unsupported` about the source.
pub(crate) fn parse(bytes: &Bytes, place: &str) -> Result<TableMetadata> {
    let mut unpacked = Vec::new();
    let json: &[u8] = if bytes.starts_with(&GZIP_MAGIC) {
        flate2::read::MultiGzDecoder::new(bytes.as_ref())
            .take(METADATA_BYTES_MAX + 1)
            .read_to_end(&mut unpacked)
            .map_err(|error| {
                corrupt(format!("{place}: the metadata cannot be decompressed")).caused_by(error)
            })?;
        if unpacked.len() as u64 > METADATA_BYTES_MAX {
            return Err(unsupported(format!(
                "{place}: the metadata have more than {METADATA_BYTES_MAX} bytes"
            )));
        }
        &unpacked
    } else {
        bytes
    };
    match serde_json::from_slice::<TableMetadata>(json) {
        Ok(metadata) => check_defaults(json, &metadata, place).map(|()| metadata),
        Err(error) => Err(explain(json, place).caused_by(error)),
    }
}

/// What is wrong with metadata that the library cannot read: it says only that they fit nothing.
fn explain(json: &[u8], place: &str) -> Error {
    let value: serde_json::Value = match serde_json::from_slice(json) {
        Ok(value) => value,
        Err(error) => {
            return corrupt(format!("{place}: the table metadata are no JSON: {error}"));
        }
    };
    match value.get("format-version").and_then(serde_json::Value::as_u64) {
        None => return corrupt(format!("{place}: the table metadata have no format-version")),
        Some(1..=3) => {}
        Some(version) => {
            return unsupported(format!(
                "{place}: Iceberg format version {version} is not supported; versions 1 to 3 are"
            ));
        }
    }
    if let Some((name, kind)) = unknown_type(&value) {
        return unsupported(format!(
            "{place}: column {name:?} has the type {kind}, which is not supported; tables that \
             have such a column cannot be read"
        ));
    }
    // What the library finds wrong with metadata that are read as the version they claim.
    let reason = TableMetadata::deserialize(value).err().map(|error| error.to_string());
    let reason = reason.unwrap_or_default();
    corrupt(format!("{place}: the table metadata are not as the specification says ({reason})"))
}

/// The first column of a type that the library does not have.
fn unknown_type(metadata: &serde_json::Value) -> Option<(String, String)> {
    const UNKNOWN: [&str; 4] = ["variant", "unknown", "geometry", "geography"];
    let schemas = metadata.get("schemas")?.as_array()?;
    let fields = schemas.iter().filter_map(|schema| schema.get("fields")?.as_array()).flatten();
    let mut types = fields.filter_map(|field| {
        Some((field.get("name")?.as_str()?.to_owned(), field.get("type")?.as_str()?.to_owned()))
    });
    types.find(|(_, kind)| UNKNOWN.iter().any(|unknown| kind.starts_with(unknown)))
}

#[derive(Deserialize)]
struct Schemas {
    #[serde(default)]
    schemas: Vec<Fields>,
}

#[derive(Deserialize)]
struct Fields {
    #[serde(rename = "schema-id", default)]
    schema_id: i32,
    fields: Vec<Default>,
}

#[derive(Deserialize)]
struct Default {
    id: i32,
    name: String,
    #[serde(rename = "initial-default")]
    initial_default: Option<serde_json::Value>,
}

/// The library drops defaults that it cannot read, which would turn them into nulls.
fn check_defaults(json: &[u8], metadata: &TableMetadata, place: &str) -> Result<()> {
    const NEEDLE: &[u8] = b"initial-default";
    if !json.windows(NEEDLE.len()).any(|window| window == NEEDLE) {
        return Ok(());
    }
    let read: Schemas = serde_json::from_slice(json).map_err(|error| {
        corrupt(format!("{place}: the table's schemas cannot be read")).caused_by(error)
    })?;
    for schema in read.schemas {
        let Some(parsed) = metadata.schema_by_id(schema.schema_id) else { continue };
        let parsed: HashMap<i32, _> =
            parsed.as_struct().fields().iter().map(|field| (field.id, field)).collect();
        for field in schema.fields.into_iter().filter(|field| field.initial_default.is_some()) {
            if parsed.get(&field.id).is_some_and(|parsed| parsed.initial_default.is_none()) {
                return Err(unsupported(format!(
                    "{place}: the initial default of column {:?} cannot be read",
                    field.name
                )));
            }
        }
    }
    Ok(())
}

/// The names that a column has in files without column ids, by column id, from the table's
/// property; empty when the table has none.
///
/// # Errors
/// `Corrupt` about the source when the property is malformed.
pub(crate) fn name_mapping(metadata: &TableMetadata) -> Result<HashMap<i32, Vec<String>>> {
    let key = iceberg::spec::DEFAULT_SCHEMA_NAME_MAPPING;
    let Some(text) = metadata.properties().get(key) else { return Ok(HashMap::new()) };
    let mapping: iceberg::spec::NameMapping = serde_json::from_str(text).map_err(|error| {
        corrupt(format!("the table's property {key} is no name mapping")).caused_by(error)
    })?;
    let fields = mapping.fields().iter();
    Ok(fields.filter_map(|field| Some((field.field_id()?, field.names().to_vec()))).collect())
}

/// The schema with this id.
///
/// # Errors
/// `Corrupt` about the source when there is none.
pub(crate) fn schema_of(
    metadata: &TableMetadata,
    snapshot: &iceberg::spec::Snapshot,
) -> Result<iceberg::spec::SchemaRef> {
    let place = format!("snapshot {}", snapshot.snapshot_id());
    snapshot.schema(metadata).map_err(|error| foreign(error, &place))
}

#[cfg(test)]
mod tests;
