//! Collections: create, rename, alter, drop.

use std::collections::{BTreeMap, HashSet};

use pandion_types::{CollectionId, CollectionSchema, Error, ErrorKind, Result, Secret, Subject};

use super::alias::name_conflict;
use super::{PropertyChange, job};
use crate::changes::Changes;
use crate::names::check_collection_name;
use crate::{Catalog, CatalogState, Collection, PublishPolicy};

/// The property that stands for the schema's description.
const DESCRIPTION: &str = "collection.description";
/// The properties that only a refresh may change.
const REFRESH_ONLY: [&str; 2] = ["collection.external_source", "collection.external_spec"];

/// A collection to create. The schema is complete: ids, primary key and redaction are done.
pub struct CreateCollection {
    /// Name of the database; empty for the default one.
    pub database: String,
    /// Name of the collection.
    pub name: String,
    /// Fields, source and redacted specification.
    pub schema: CollectionSchema,
    /// What the source needs and nobody may see.
    pub secret: Option<Secret>,
    /// Properties as the user gave them.
    pub properties: BTreeMap<String, String>,
    /// Milvus's number of the consistency level.
    pub consistency_level: i32,
    /// Now, in milliseconds since 1970.
    pub now_ms: i64,
}

impl std::fmt::Debug for CreateCollection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreateCollection")
            .field("database", &self.database)
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl Catalog {
    /// Creates a collection. Doing so again with the same parameters is no error and gives the
    /// collection that is there.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none or a schema in which a name or an id stands
    /// twice; `NotFound` about the database; `AlreadyExists` when the collection has other
    /// parameters; `Conflict` about the alias that has the name; and those of every command.
    pub async fn create_collection(&self, request: CreateCollection) -> Result<CollectionId> {
        self.change(move |state, changes| create(state, changes, &request)).await
    }

    /// Drops a collection: its record, its secret, its jobs but the newest. The source's files and
    /// the manifests are not touched. A job that is under way ends as failed. A collection that
    /// does not exist is no error.
    ///
    /// # Errors
    /// `NotFound` about the database; `Conflict` when `name` is an alias or the collection has
    /// aliases; and those of every command.
    pub async fn drop_collection(&self, database: &str, name: &str, now_ms: i64) -> Result<()> {
        let (database, name) = (database.to_owned(), name.to_owned());
        self.change(move |state, changes| drop(state, changes, &database, &name, now_ms)).await
    }

    /// Renames a collection, or moves it to another database. It stays loaded.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none, is taken, or when `name` is an alias; `NotFound`
    /// about a database or the collection; `Conflict` when an alias has the new name, or when a
    /// collection with aliases is to move; and those of every command.
    pub async fn rename_collection(
        &self,
        (database, name): (&str, &str),
        (new_database, new_name): (&str, &str),
        now_ms: i64,
    ) -> Result<()> {
        let from = (database.to_owned(), name.to_owned());
        let to = (new_database.to_owned(), new_name.to_owned());
        self.change(move |state, changes| rename(state, changes, &from, &to, now_ms)).await
    }

    /// Changes the properties of a collection. `collection.description` is its description.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection; `InvalidArgument` for the properties that
    /// only a refresh may change; and those of every command.
    pub async fn alter_collection(
        &self,
        database: &str,
        name: &str,
        change: PropertyChange,
        now_ms: i64,
    ) -> Result<()> {
        let (database, name) = (database.to_owned(), name.to_owned());
        self.change(move |state, changes| {
            let before = state.collection(&database, &name)?;
            let mut collection = alter(before, &change)?;
            if collection != **before {
                collection.updated_ms = now_ms;
                changes.put_collection(&collection)?;
            }
            Ok(())
        })
        .await
    }
}

fn create(
    state: &CatalogState,
    changes: &mut Changes,
    request: &CreateCollection,
) -> Result<CollectionId> {
    check_collection_name(&request.name)?;
    check_schema(&request.schema)?;
    let database = state.database(&request.database)?;
    if state.alias(&request.database, &request.name).is_ok() {
        return Err(name_conflict(&database.name, &request.name));
    }
    if let Ok(present) = state.collection_by_name(&request.database, &request.name) {
        let same = present.schema == request.schema
            && present.properties == request.properties
            && present.consistency_level == request.consistency_level
            && state.secret(present.id) == request.secret.as_ref();
        if same {
            return Ok(present.id);
        }
        let name = &request.name;
        let message =
            format!("create duplicate collection with different parameters, collection: {name}");
        return Err(Error::new(ErrorKind::AlreadyExists, message).about(Subject::Collection));
    }
    let id = CollectionId(changes.take_id(state)?);
    changes.put_collection(&Collection {
        id,
        database: database.id,
        name: request.name.clone(),
        schema: request.schema.clone(),
        properties: request.properties.clone(),
        consistency_level: request.consistency_level,
        created_ms: request.now_ms,
        updated_ms: request.now_ms,
        indexes: BTreeMap::new(),
        loaded: false,
        publish: PublishPolicy::Immediate,
        manifest: None,
        loaded_manifest: None,
    })?;
    if request.secret.is_some() {
        changes.set_secret(id, request.secret.as_ref());
    }
    Ok(id)
}

/// What every look-up relies on: names and ids are unique.
fn check_schema(schema: &CollectionSchema) -> Result<()> {
    let (mut names, mut ids) = (HashSet::new(), HashSet::new());
    for field in &schema.fields {
        if !names.insert(&field.name) {
            let message = format!("duplicated field name {}", field.name);
            return Err(Error::invalid_argument(message));
        }
        if !ids.insert(field.id) {
            let message = format!("field {} has the id {} of another", field.name, field.id);
            return Err(Error::invalid_argument(message));
        }
    }
    Ok(())
}

fn drop(
    state: &CatalogState,
    changes: &mut Changes,
    database: &str,
    name: &str,
    now_ms: i64,
) -> Result<()> {
    let refused = |message: String| Err(Error::conflict(message).about(Subject::Collection));
    if state.alias(database, name).is_ok() {
        return refused(format!("cannot drop the collection via alias = {name}"));
    }
    let collection = match state.collection_by_name(database, name) {
        Ok(collection) => collection,
        Err(error) if error.subject() == Subject::Collection => return Ok(()),
        Err(error) => return Err(error),
    };
    let aliases = state.aliases_of(collection.id);
    if !aliases.is_empty() {
        return refused(format!(
            "unable to drop the collection [{name}] because it has associated aliases [{}], \
             please remove all aliases before dropping the collection",
            aliases.join(" ")
        ));
    }
    job::end_with_collection(state, changes, collection.id, now_ms)?;
    if state.secret(collection.id).is_some() {
        changes.set_secret(collection.id, None);
    }
    changes.delete_collection(collection.id);
    Ok(())
}

fn rename(
    state: &CatalogState,
    changes: &mut Changes,
    (database, name): &(String, String),
    (new_database, new_name): &(String, String),
    now_ms: i64,
) -> Result<()> {
    check_collection_name(new_name)?;
    let target = state.database(new_database)?;
    let refused =
        |message: String| Err(Error::invalid_argument(format!("{message}: invalid parameter")));
    if state.alias(database, name).is_ok() {
        return refused(format!("unsupported use an alias to rename collection, alias:{name}"));
    }
    if state.alias(new_database, new_name).is_ok() {
        return Err(name_conflict(&target.name, new_name));
    }
    if state.collection_by_name(new_database, new_name).is_ok() {
        return refused(format!(
            "duplicated new collection name {}:{new_name} with other collection name or alias",
            target.name
        ));
    }
    let mut collection = state.collection_by_name(database, name)?.as_ref().clone();
    if collection.database != target.id && !state.aliases_of(collection.id).is_empty() {
        let message = "fail to rename db name, must drop all aliases of this collection before \
                       rename: invalid parameter";
        return Err(Error::conflict(message).about(Subject::Collection));
    }
    collection.database = target.id;
    collection.name.clone_from(new_name);
    collection.updated_ms = now_ms;
    changes.put_collection(&collection)
}

fn alter(before: &Collection, change: &PropertyChange) -> Result<Collection> {
    if let Some(name) = change.names().find(|name| REFRESH_ONLY.contains(name)) {
        return Err(Error::invalid_argument(format!(
            "{name} of collection {} cannot be altered, use RefreshExternalCollection instead",
            before.name
        )));
    }
    let mut collection = before.clone();
    change.apply(&mut collection.properties);
    if change.delete.iter().any(|name| name == DESCRIPTION) {
        collection.schema.description.clear();
    }
    if let Some(description) = collection.properties.remove(DESCRIPTION) {
        collection.schema.description = description;
    }
    Ok(collection)
}
