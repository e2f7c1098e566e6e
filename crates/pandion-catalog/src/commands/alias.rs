//! Aliases: create, point elsewhere, drop.

use pandion_types::{Error, ErrorKind, Result, Subject};

use crate::changes::Changes;
use crate::names::check_alias_name;
use crate::{Alias, Catalog, CatalogState};

impl Catalog {
    /// Gives a collection another name. Doing so again is no error.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none; `NotFound` about the database or the collection,
    /// which must be given by its name; about the alias: `Conflict` when a collection has the
    /// name, `AlreadyExists` when another collection has the alias; and those of every command.
    pub async fn create_alias(
        &self,
        database: &str,
        alias: &str,
        collection: &str,
        now_ms: i64,
    ) -> Result<()> {
        let request = Request::new(database, alias, collection, now_ms);
        self.change(move |state, changes| create(state, changes, &request)).await
    }

    /// Points an alias to another collection.
    ///
    /// # Errors
    /// As [`Catalog::create_alias`], and `NotFound` about the alias.
    pub async fn alter_alias(
        &self,
        database: &str,
        alias: &str,
        collection: &str,
        now_ms: i64,
    ) -> Result<()> {
        let request = Request::new(database, alias, collection, now_ms);
        self.change(move |state, changes| alter(state, changes, &request)).await
    }

    /// Takes an alias away.
    ///
    /// # Errors
    /// `NotFound` about the database or the alias, and those of every command.
    pub async fn drop_alias(&self, database: &str, alias: &str) -> Result<()> {
        let (database, alias) = (database.to_owned(), alias.to_owned());
        self.change(move |state, changes| {
            changes.delete_alias(state.alias(&database, &alias)?);
            Ok(())
        })
        .await
    }
}

struct Request {
    database: String,
    alias: String,
    collection: String,
    now_ms: i64,
}

impl Request {
    fn new(database: &str, alias: &str, collection: &str, now_ms: i64) -> Self {
        Self {
            database: database.to_owned(),
            alias: alias.to_owned(),
            collection: collection.to_owned(),
            now_ms,
        }
    }

    /// The alias as it is to be, if both names allow it.
    fn resolve(&self, state: &CatalogState) -> Result<Alias> {
        check_alias_name(&self.alias)?;
        let database = state.database(&self.database)?;
        if state.collection_by_name(&self.database, &self.alias).is_ok() {
            return Err(name_conflict(&database.name, &self.alias));
        }
        let collection = state.collection_by_name(&self.database, &self.collection)?;
        Ok(Alias {
            database: database.id,
            name: self.alias.clone(),
            collection: collection.id,
            created_ms: self.now_ms,
        })
    }
}

fn create(state: &CatalogState, changes: &mut Changes, request: &Request) -> Result<()> {
    let alias = request.resolve(state)?;
    let Ok(present) = state.alias(&request.database, &request.alias) else {
        return changes.put_alias(&alias);
    };
    if present.collection == alias.collection {
        return Ok(());
    }
    let other = state.collection_by_id(present.collection)?;
    let message = format!(
        "{} is alias to another collection: {}: alias already exist",
        alias.name, other.name
    );
    Err(Error::new(ErrorKind::AlreadyExists, message)
        .about(Subject::Alias)
        .with("database", &state.database(&request.database)?.name)
        .with("alias", &alias.name))
}

fn alter(state: &CatalogState, changes: &mut Changes, request: &Request) -> Result<()> {
    let alias = request.resolve(state)?;
    let present = state.alias(&request.database, &request.alias)?;
    if present.collection == alias.collection {
        return Ok(());
    }
    changes.put_alias(&alias)
}

/// A name that should be an alias is a collection's, or the other way round.
pub(super) fn name_conflict(database: &str, alias: &str) -> Error {
    Error::conflict("alias and collection name conflict")
        .about(Subject::Alias)
        .with("database", database)
        .with("alias", alias)
}
