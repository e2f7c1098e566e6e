//! The keys of the records, and the changes that a command decides on.
//!
//! | key | value |
//! |---|---|
//! | `lease` | [`Lease`] |
//! | `next_id` | the next number for a database, collection, index or job |
//! | `database/<id>` | [`Database`] |
//! | `collection/<id>` | [`Collection`] |
//! | `alias/<database id>/<name>` | [`Alias`] |
//! | `job/<id>` | [`RefreshJob`] |
//! | `secret/<collection id>` | text that the source needs and nobody may see |

use pandion_types::{CollectionId, Error, JobId, Result, Secret};
use serde::Serialize;
use serde_json::Value;

use crate::{Alias, CatalogState, Change, Collection, Database, DatabaseId, Lease, RefreshJob};

pub(crate) const LEASE: &str = "lease";
pub(crate) const NEXT_ID: &str = "next_id";
pub(crate) const DATABASE: &str = "database";
pub(crate) const COLLECTION: &str = "collection";
pub(crate) const ALIAS: &str = "alias";
pub(crate) const JOB: &str = "job";
pub(crate) const SECRET: &str = "secret";

/// What a command changes; empty when all is as asked for already.
#[derive(Default)]
pub(crate) struct Changes {
    changes: Vec<Change>,
    ids_taken: i64,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(crate) fn into_vec(self) -> Vec<Change> {
        self.changes
    }

    /// A number that nothing else has or had.
    pub(crate) fn take_id(&mut self, state: &CatalogState) -> Result<i64> {
        let id = state.next_id() + self.ids_taken;
        self.ids_taken += 1;
        self.put(NEXT_ID.to_owned(), &(id + 1))?;
        Ok(id)
    }

    pub(crate) fn put_lease(&mut self, lease: &Lease) -> Result<()> {
        self.put(LEASE.to_owned(), lease)
    }

    pub(crate) fn put_database(&mut self, database: &Database) -> Result<()> {
        self.put(database_key(database.id), database)
    }

    pub(crate) fn delete_database(&mut self, id: DatabaseId) {
        self.delete(database_key(id));
    }

    pub(crate) fn put_collection(&mut self, collection: &Collection) -> Result<()> {
        self.put(collection_key(collection.id), collection)
    }

    pub(crate) fn delete_collection(&mut self, id: CollectionId) {
        self.delete(collection_key(id));
    }

    pub(crate) fn put_alias(&mut self, alias: &Alias) -> Result<()> {
        self.put(alias_key(alias.database, &alias.name), alias)
    }

    pub(crate) fn delete_alias(&mut self, alias: &Alias) {
        self.delete(alias_key(alias.database, &alias.name));
    }

    pub(crate) fn put_job(&mut self, job: &RefreshJob) -> Result<()> {
        self.put(job_key(job.id), job)
    }

    pub(crate) fn delete_job(&mut self, id: JobId) {
        self.delete(job_key(id));
    }

    /// Makes `secret` the collection's secret; `None` takes it away.
    pub(crate) fn set_secret(&mut self, id: CollectionId, secret: Option<&Secret>) {
        let key = secret_key(id);
        match secret {
            Some(secret) => {
                let value = Value::String(secret.expose().to_owned());
                self.changes.push(Change::Put { key, value });
            }
            None => self.delete(key),
        }
    }

    fn put<T: Serialize>(&mut self, key: String, record: &T) -> Result<()> {
        let value = to_value(&key, record)?;
        self.changes.push(Change::Put { key, value });
        Ok(())
    }

    fn delete(&mut self, key: String) {
        self.changes.push(Change::Delete { key });
    }
}

pub(crate) fn to_value<T: Serialize>(key: &str, record: &T) -> Result<Value> {
    serde_json::to_value(record).map_err(|error| {
        Error::internal(format!("catalogue record {key} is no JSON")).caused_by(error)
    })
}

pub(crate) fn database_key(id: DatabaseId) -> String {
    format!("{DATABASE}/{id}")
}

pub(crate) fn collection_key(id: CollectionId) -> String {
    format!("{COLLECTION}/{id}")
}

pub(crate) fn alias_key(database: DatabaseId, name: &str) -> String {
    format!("{ALIAS}/{database}/{name}")
}

pub(crate) fn job_key(id: JobId) -> String {
    format!("{JOB}/{id}")
}

pub(crate) fn secret_key(id: CollectionId) -> String {
    format!("{SECRET}/{id}")
}
