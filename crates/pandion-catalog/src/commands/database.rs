//! Databases: create, alter, drop.

use std::collections::BTreeMap;

use pandion_types::{Error, ErrorKind, Result, Subject};

use super::PropertyChange;
use crate::changes::Changes;
use crate::names::check_database_name;
use crate::{Catalog, CatalogState, Database, DatabaseId};

/// The most databases beside the default one.
pub const MAX_DATABASES: usize = 64;

impl Catalog {
    /// Creates a database.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none, `AlreadyExists`, `Conflict` when there are
    /// [`MAX_DATABASES`]; and those that every command has: `Conflict` when this process is fenced
    /// or only reads, `Unavailable` when the outcome is unknown.
    pub async fn create_database(
        &self,
        name: &str,
        properties: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<DatabaseId> {
        let name = name.to_owned();
        self.change(move |state, changes| {
            let id = create(state, changes, &name)?;
            let (name, properties) = (name.clone(), properties.clone());
            changes.put_database(&Database { id, name, properties, created_ms: now_ms })?;
            Ok(id)
        })
        .await
    }

    /// Changes the properties of a database.
    ///
    /// # Errors
    /// `NotFound` about the database, and those of every command.
    pub async fn alter_database(&self, name: &str, change: PropertyChange) -> Result<()> {
        let name = name.to_owned();
        self.change(move |state, changes| {
            let before = state.database(&name)?;
            let mut database = before.as_ref().clone();
            change.apply(&mut database.properties);
            if database != **before {
                changes.put_database(&database)?;
            }
            Ok(())
        })
        .await
    }

    /// Drops a database that holds no collection.
    ///
    /// # Errors
    /// `NotFound` about the database, `Conflict` when it is the default one or not empty, and
    /// those of every command.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.change(move |state, changes| drop(state, changes, &name)).await
    }
}

fn create(state: &CatalogState, changes: &mut Changes, name: &str) -> Result<DatabaseId> {
    check_database_name(name)?;
    if state.database(name).is_ok() {
        let message = format!("database already exist: {name}");
        return Err(Error::new(ErrorKind::AlreadyExists, message).about(Subject::Database));
    }
    if state.databases().count() > MAX_DATABASES {
        let error = Error::conflict("exceeded the limit number of database");
        return Err(error.with("limit", MAX_DATABASES).about(Subject::Database));
    }
    changes.take_id(state).map(DatabaseId)
}

fn drop(state: &CatalogState, changes: &mut Changes, name: &str) -> Result<()> {
    let database = state.database(name)?;
    let refused = |message: String| Err(Error::conflict(message).about(Subject::Database));
    if database.id == DatabaseId::DEFAULT {
        return refused("can not drop default database".to_owned());
    }
    if state.all_collections().any(|collection| collection.database == database.id) {
        return refused(format!(
            "database:{name} not empty, must drop all collections before drop database"
        ));
    }
    changes.delete_database(database.id);
    Ok(())
}
