//! Loading and releasing: whether a collection may be queried, and which version it serves.

use pandion_types::{Error, FieldSchema, Result, Subject};

use crate::{Catalog, CatalogState, Collection, PublishPolicy};

/// A collection to load.
#[derive(Clone, Debug)]
pub struct LoadRequest {
    /// Name of the database; empty for the default one.
    pub database: String,
    /// Name or alias of the collection.
    pub collection: String,
    /// When the collection serves versions that a later refresh publishes.
    pub publish: PublishPolicy,
    /// Whether a collection that is loaded already moves on to the newest version. Without it a
    /// second load changes nothing.
    pub refresh: bool,
}

impl Catalog {
    /// Loads a collection: from now on it may be queried, at its newest version.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection, or about the index when there is none at
    /// all; `Conflict` about the index that names the vector fields without one; and those of
    /// every command.
    pub async fn load(&self, request: LoadRequest) -> Result<()> {
        self.change(move |state, changes| {
            let before = state.collection(&request.database, &request.collection)?;
            let collection = load(before, &request)?;
            if collection != **before {
                changes.put_collection(&collection)?;
            }
            Ok(())
        })
        .await
    }

    /// Releases a collection: it may no longer be queried. No error when it is not loaded.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection, and those of every command.
    pub async fn release(&self, database: &str, collection: &str) -> Result<()> {
        let (database, name) = (database.to_owned(), collection.to_owned());
        self.change(move |state: &CatalogState, changes| {
            let mut collection = state.collection(&database, &name)?.as_ref().clone();
            if collection.loaded {
                collection.loaded = false;
                collection.loaded_manifest = None;
                changes.put_collection(&collection)?;
            }
            Ok(())
        })
        .await
    }
}

fn load(before: &Collection, request: &LoadRequest) -> Result<Collection> {
    if before.indexes.is_empty() {
        return Err(
            Error::not_found(Subject::Index, "index not found").with("collection", &before.name)
        );
    }
    let without_index: Vec<_> = before
        .schema
        .vector_fields()
        .filter(|field: &&FieldSchema| before.indexes_of(field.id).next().is_none())
        .map(|field| field.name.as_str())
        .collect();
    if !without_index.is_empty() {
        let message = format!(
            "there is no vector index on field: [{}], please create index firstly",
            without_index.join(" ")
        );
        return Err(Error::conflict(message).about(Subject::Index));
    }
    let mut collection = before.clone();
    if !before.loaded || request.refresh {
        collection.loaded = true;
        collection.publish = request.publish;
        collection.loaded_manifest = match request.publish {
            PublishPolicy::Immediate => None,
            PublishPolicy::OnLoad => before.manifest.clone(),
        };
    }
    Ok(collection)
}
