//! Indexes: create, alter, drop, and which kinds may stand on which field.

use std::collections::BTreeMap;

use pandion_filter::PathSegment;
use pandion_index::scalar::{IndexedValues, ScalarIndexSpec, resolve_spec};
use pandion_types::{DataType, Error, ErrorKind, FieldSchema, MetricType, Result, Subject};

use super::PropertyChange;
use crate::changes::Changes;
use crate::names::check_index_name;
use crate::{Catalog, CatalogState, Collection, IndexId, IndexRecord};

const INDEX_TYPE: &str = "index_type";
const METRIC_TYPE: &str = "metric_type";
/// Further parameters as the text of a JSON object.
const PARAMS: &str = "params";
const AUTO_INDEX: &str = "AUTOINDEX";
const FLAT: &str = "FLAT";
const BIN_FLAT: &str = "BIN_FLAT";
/// What may change after an index was made, because it does not change the index.
const MUTABLE: [&str; 1] = ["mmap.enabled"];

const DENSE_TYPES: [&str; 16] = [
    FLAT,
    "IVF_FLAT",
    "IVF_SQ8",
    "IVF_PQ",
    "IVF_RABITQ",
    "HNSW",
    "HNSW_SQ",
    "HNSW_PQ",
    "HNSW_PRQ",
    "SCANN",
    "DISKANN",
    "AISAQ",
    "GPU_BRUTE_FORCE",
    "GPU_IVF_FLAT",
    "GPU_IVF_PQ",
    "GPU_CAGRA",
];
const BINARY_TYPES: [&str; 3] = [BIN_FLAT, "BIN_IVF_FLAT", "MINHASH_LSH"];
const SPARSE_TYPES: [&str; 2] = ["SPARSE_INVERTED_INDEX", "SPARSE_WAND"];
const SCALAR_TYPES: [&str; 7] =
    ["STL_SORT", "TRIE", "Trie", "BITMAP", "INVERTED", "NGRAM", "RTREE"];
/// Metrics of binary vectors that Milvus has and Pandion has not.
const OTHER_BINARY_METRICS: [&str; 3] = ["SUBSTRUCTURE", "SUPERSTRUCTURE", "MHJACCARD"];

/// An index to create.
#[derive(Clone, Debug, Default)]
pub struct CreateIndex {
    /// Name of the database; empty for the default one.
    pub database: String,
    /// Name or alias of the collection.
    pub collection: String,
    /// Name of the field.
    pub field: String,
    /// Name of the index; empty for that of the field, and for a path of a JSON field for the
    /// field's name with the path, as in `field/a/0`.
    pub name: String,
    /// `index_type`, `metric_type`, further parameters; `params` may hold some as a JSON object.
    pub params: BTreeMap<String, String>,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

impl Catalog {
    /// Creates an index. Doing so again with the same parameters is no error and gives the index
    /// that is there.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection; `InvalidArgument` for a field that does
    /// not exist, a type or metric that does not exist or does not fit the field; `Unsupported`
    /// for one that Milvus has and Pandion has not; `AlreadyExists` when the field has another
    /// index or the name is taken; and those of every command.
    pub async fn create_index(&self, request: CreateIndex) -> Result<IndexId> {
        self.change(move |state, changes| create(state, changes, &request)).await
    }

    /// Changes the properties of an index that do not change the index itself.
    ///
    /// # Errors
    /// `NotFound` about the database, the collection or the index; `InvalidArgument` for another
    /// property; `Conflict` when the collection is loaded; and those of every command.
    pub async fn alter_index(
        &self,
        database: &str,
        collection: &str,
        index: &str,
        change: PropertyChange,
    ) -> Result<()> {
        let (database, name) = (database.to_owned(), collection.to_owned());
        let index = index.to_owned();
        self.change(move |state, changes| {
            let before = state.collection(&database, &name)?;
            let collection = alter(before, &index, &change)?;
            if collection != **before {
                changes.put_collection(&collection)?;
            }
            Ok(())
        })
        .await
    }

    /// Drops the index with this name; every index of the collection for the empty name. No error
    /// when there is none.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection; `Conflict` when the index is on a vector
    /// field of a loaded collection; and those of every command.
    pub async fn drop_index(&self, database: &str, collection: &str, index: &str) -> Result<()> {
        let (database, name) = (database.to_owned(), collection.to_owned());
        let index = index.to_owned();
        self.change(move |state, changes| {
            let before = state.collection(&database, &name)?;
            let collection = drop(before, &index)?;
            if collection != **before {
                changes.put_collection(&collection)?;
            }
            Ok(())
        })
        .await
    }
}

fn create(state: &CatalogState, changes: &mut Changes, request: &CreateIndex) -> Result<IndexId> {
    let mut collection = state.collection(&request.database, &request.collection)?.as_ref().clone();
    let Ok(field) = collection.schema.field(&request.field) else {
        let message = format!("cannot create index on non-exist field: {}", request.field);
        return Err(Error::invalid_argument(message));
    };
    let (params, metric) = resolve(field, &request.params)?;
    let path = path_of(field, &params);
    let rivals: Vec<&IndexRecord> = collection
        .indexes_of(field.id)
        .filter(|index| path_of(field, &index.params) == path)
        .collect();
    let name = match (request.name.as_str(), rivals.first()) {
        ("", Some(rival)) => rival.name.clone(),
        ("", None) => default_name(field, path.as_deref()),
        (name, _) => name.to_owned(),
    };
    // The default name is made of that of a field, which has rules of its own.
    if name != default_name(field, path.as_deref()) {
        check_index_name(&name)?;
    }
    if let Some(present) = collection.index(&name).or_else(|| rivals.first().copied()) {
        if (present.field, &present.name, &present.params) == (field.id, &name, &params) {
            return Ok(present.id);
        }
        let message = "CreateIndex failed: at most one distinct index is allowed per field, \
                       creating multiple indexes on same field is not supported";
        return Err(Error::new(ErrorKind::AlreadyExists, message).about(Subject::Index));
    }
    let id = IndexId(changes.take_id(state)?);
    let index =
        IndexRecord { id, name, field: field.id, params, metric, created_ms: request.now_ms };
    collection.indexes.insert(id, index);
    changes.put_collection(&collection)?;
    Ok(id)
}

/// The path that an index with these parameters is of; `None` for fields other than JSON. Two
/// indexes of a JSON field may not share one, however each is written.
fn path_of(field: &FieldSchema, params: &BTreeMap<String, String>) -> Option<Vec<PathSegment>> {
    match resolve_spec(field, params) {
        Ok(ScalarIndexSpec { values: IndexedValues::Json { path, .. }, .. }) => Some(path),
        Ok(_) | Err(_) => None,
    }
}

fn default_name(field: &FieldSchema, path: Option<&[PathSegment]>) -> String {
    let mut name = field.name.clone();
    for step in path.unwrap_or_default() {
        name.push('/');
        match step {
            PathSegment::Key(key) => name.push_str(key),
            PathSegment::Index(at) => name.push_str(&at.to_string()),
        }
    }
    name
}

type Resolved = (BTreeMap<String, String>, Option<MetricType>);

/// The parameters in their complete form, if such an index may stand on the field.
fn resolve(field: &FieldSchema, given: &BTreeMap<String, String>) -> Result<Resolved> {
    let mut params = flatten(given)?;
    let index_type = params.get(INDEX_TYPE).filter(|text| !text.is_empty()).cloned();
    let index_type = index_type.unwrap_or_else(|| AUTO_INDEX.to_owned());
    check_type(field, &index_type)?;
    let metric = if field.data_type.is_vector() {
        Some(resolve_metric(field, &index_type, &params)?)
    } else {
        params.remove(METRIC_TYPE);
        params.insert(INDEX_TYPE.to_owned(), index_type.clone());
        resolve_spec(field, &params)?;
        None
    };
    if metric.is_some() && index_type == AUTO_INDEX {
        let known = [&[INDEX_TYPE, METRIC_TYPE][..], &MUTABLE].concat();
        if params.keys().any(|name| !known.contains(&name.as_str())) {
            let message = "only metric type can be passed when use AutoIndex";
            return Err(Error::invalid_argument(message));
        }
    }
    params.insert(INDEX_TYPE.to_owned(), index_type);
    if let Some(metric) = metric {
        params.insert(METRIC_TYPE.to_owned(), metric.name().to_owned());
    }
    Ok((params, metric))
}

/// Puts the members of the JSON object in `params` beside the other parameters.
fn flatten(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
    let mut params = given.clone();
    let Some(text) = params.remove(PARAMS).filter(|text| !text.trim().is_empty()) else {
        return Ok(params);
    };
    let members: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| {
            Error::invalid_argument(format!("index params {text} are no JSON object"))
                .caused_by(error)
        })?;
    for (name, value) in members {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        params.entry(name).or_insert(value);
    }
    Ok(params)
}

fn check_type(field: &FieldSchema, index_type: &str) -> Result<()> {
    let types_of_field: &[&str] = match field.data_type {
        DataType::BinaryVector => &BINARY_TYPES,
        DataType::SparseFloatVector => &SPARSE_TYPES,
        data_type if data_type.is_dense_vector() => &DENSE_TYPES,
        _ => &SCALAR_TYPES,
    };
    let is_known = [&DENSE_TYPES[..], &BINARY_TYPES, &SPARSE_TYPES, &SCALAR_TYPES]
        .iter()
        .any(|types| types.contains(&index_type));
    let is_served = match index_type {
        AUTO_INDEX => field.data_type != DataType::SparseFloatVector,
        FLAT | BIN_FLAT => true,
        _ => !field.data_type.is_vector(),
    };
    let name = field.data_type.name();
    if index_type != AUTO_INDEX && !is_known {
        return Err(Error::invalid_argument("invalid parameter")
            .with("expected", "valid index")
            .with("actual", format!("invalid index type: {index_type}")));
    }
    if index_type != AUTO_INDEX && !types_of_field.contains(&index_type) {
        let message = format!("data type {name} can't build with this index {index_type}");
        return Err(Error::invalid_argument(format!("{message}: invalid parameter")));
    }
    if is_served {
        return Ok(());
    }
    let instead = match field.data_type {
        DataType::SparseFloatVector => "Pandion has no index for sparse vectors",
        DataType::BinaryVector => "use AUTOINDEX or BIN_FLAT",
        _ => "use AUTOINDEX or FLAT",
    };
    Err(Error::unsupported(format!(
        "index type {index_type} is not supported yet on field {} of type {name}, {instead}",
        field.name
    ))
    .about(Subject::Index))
}

fn resolve_metric(
    field: &FieldSchema,
    index_type: &str,
    params: &BTreeMap<String, String>,
) -> Result<MetricType> {
    let invalid = |message: String| {
        Error::invalid_argument(format!("{message}: invalid parameter"))
            .with("expected", "valid index params")
            .with("actual", "invalid index params")
    };
    let Some(text) = params.get(METRIC_TYPE).filter(|text| !text.is_empty()) else {
        if index_type == AUTO_INDEX {
            return Ok(MetricType::default_for(field.data_type));
        }
        return Err(invalid("metric type not set for vector index".to_owned()));
    };
    match text.parse::<MetricType>() {
        Ok(metric) if metric.supports(field.data_type) => return Ok(metric),
        Ok(_) | Err(_) => {}
    }
    let kind = match field.data_type {
        DataType::BinaryVector => "binary",
        DataType::Int8Vector => "int",
        _ => "float",
    };
    let upper = text.to_ascii_uppercase();
    if kind == "binary" && OTHER_BINARY_METRICS.contains(&upper.as_str()) {
        return Err(Error::unsupported(format!(
            "metric type {upper} is not supported yet on field {}, use HAMMING or JACCARD",
            field.name
        ))
        .about(Subject::Index));
    }
    Err(invalid(format!("{kind} vector index does not support metric type: {text}")))
}

fn alter(before: &Collection, index: &str, change: &PropertyChange) -> Result<Collection> {
    let Some(id) = before.index(index).map(|index| index.id) else {
        return Err(Error::not_found(Subject::Index, "index not found").with("indexName", index));
    };
    if let Some(name) = change.names().find(|name| !MUTABLE.contains(name)) {
        let message = format!("{name} is not a configable index property: invalid parameter");
        return Err(Error::invalid_argument(message));
    }
    if before.loaded {
        let message = "can't alter index on loaded collection, please release the collection \
                       first: collection already loaded";
        return Err(Error::conflict(message)
            .about(Subject::Index)
            .with("collection", &before.name));
    }
    let mut collection = before.clone();
    if let Some(index) = collection.indexes.get_mut(&id) {
        change.apply(&mut index.params);
    }
    Ok(collection)
}

fn drop(before: &Collection, index: &str) -> Result<Collection> {
    let mut collection = before.clone();
    collection.indexes.retain(|_, present| !index.is_empty() && present.name != index);
    let mut dropped =
        before.indexes.values().filter(|index| !collection.indexes.contains_key(&index.id));
    let is_vector = |index: &IndexRecord| {
        let field = before.schema.field_by_id(index.field);
        field.is_some_and(|field| field.data_type.is_vector())
    };
    if before.loaded && dropped.any(is_vector) {
        let message =
            format!("vector index cannot be dropped on loaded collection: {}", before.name);
        return Err(Error::conflict(message).about(Subject::Index));
    }
    Ok(collection)
}
