//! The records at one version of the log, with the look-ups that the doors and the commands need.
//!
//! A state never changes once it is handed out. It is a function of the log alone: replaying the
//! commits and reading a checkpoint give the same state.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use pandion_types::{CollectionId, Error, JobId, Result, Secret, Subject};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::changes::{self, to_value};
use crate::{
    Alias, Change, Checkpoint, Collection, Commit, DEFAULT_DATABASE, Database, DatabaseId, History,
    Lease, ManifestPointer, RefreshJob, Version,
};

/// Everything that the catalogue holds, at one version.
#[derive(Clone)]
pub struct CatalogState {
    version: Version,
    lease: Lease,
    next_id: i64,
    databases: BTreeMap<DatabaseId, Arc<Database>>,
    collections: BTreeMap<CollectionId, Arc<Collection>>,
    aliases: BTreeMap<(DatabaseId, String), Arc<Alias>>,
    jobs: BTreeMap<JobId, Arc<RefreshJob>>,
    secrets: BTreeMap<CollectionId, Secret>,
    /// Records of a kind that this release does not know, kept for the one that does.
    unknown: BTreeMap<String, Value>,
    database_ids: BTreeMap<String, DatabaseId>,
    collection_ids: BTreeMap<(DatabaseId, String), CollectionId>,
    active_jobs: BTreeMap<CollectionId, JobId>,
}

impl Default for CatalogState {
    /// The state before the first transaction: the default database, and nothing in it.
    fn default() -> Self {
        let default = Database {
            id: DatabaseId::DEFAULT,
            name: DEFAULT_DATABASE.to_owned(),
            properties: BTreeMap::new(),
            created_ms: 0,
        };
        Self {
            version: Version::EMPTY,
            lease: Lease::default(),
            next_id: DatabaseId::DEFAULT.0 + 1,
            database_ids: [(default.name.clone(), default.id)].into(),
            databases: [(default.id, Arc::new(default))].into(),
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            jobs: BTreeMap::new(),
            secrets: BTreeMap::new(),
            unknown: BTreeMap::new(),
            collection_ids: BTreeMap::new(),
            active_jobs: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for CatalogState {
    /// Counts only: the records are many, and secrets are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CatalogState")
            .field("version", &self.version)
            .field("lease", &self.lease)
            .field("databases", &self.databases.len())
            .field("collections", &self.collections.len())
            .field("aliases", &self.aliases.len())
            .field("jobs", &self.jobs.len())
            .finish_non_exhaustive()
    }
}

impl CatalogState {
    /// How many transactions the state includes.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Who may write.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The databases in the order of their creation, the default one first.
    pub fn databases(&self) -> impl Iterator<Item = &Arc<Database>> {
        self.databases.values()
    }

    /// The database with this name; the default one for the empty name.
    ///
    /// # Errors
    /// `NotFound` about the database.
    pub fn database(&self, name: &str) -> Result<&Arc<Database>> {
        let name = if name.is_empty() { DEFAULT_DATABASE } else { name };
        self.database_ids.get(name).and_then(|id| self.databases.get(id)).ok_or_else(|| {
            Error::not_found(Subject::Database, "database not found").with("database", name)
        })
    }

    /// The database with this number.
    #[must_use]
    pub fn database_by_id(&self, id: DatabaseId) -> Option<&Arc<Database>> {
        self.databases.get(&id)
    }

    /// The collections of a database in the order of their creation.
    ///
    /// # Errors
    /// `NotFound` about the database.
    pub fn collections(&self, database: &str) -> Result<Vec<Arc<Collection>>> {
        let id = self.database(database)?.id;
        Ok(self.all_collections().filter(|it| it.database == id).map(Arc::clone).collect())
    }

    /// The collections of every database in the order of their creation.
    pub fn all_collections(&self) -> impl Iterator<Item = &Arc<Collection>> {
        self.collections.values()
    }

    /// The collection with this name or alias.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection.
    pub fn collection(&self, database: &str, name: &str) -> Result<&Arc<Collection>> {
        let database = self.database(database)?;
        self.named(database.id, name)
            .or_else(|| {
                let alias = self.aliases.get(&(database.id, name.to_owned()))?;
                self.collections.get(&alias.collection)
            })
            .ok_or_else(|| collection_not_found(&database.name, name))
    }

    /// The collection with this name; an alias does not count.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection.
    pub fn collection_by_name(&self, database: &str, name: &str) -> Result<&Arc<Collection>> {
        let database = self.database(database)?;
        self.named(database.id, name).ok_or_else(|| collection_not_found(&database.name, name))
    }

    /// The collection with this number, in whichever database it is.
    ///
    /// # Errors
    /// `NotFound` about the collection.
    pub fn collection_by_id(&self, id: CollectionId) -> Result<&Arc<Collection>> {
        self.collections.get(&id).ok_or_else(|| {
            Error::not_found(Subject::Collection, "collection not found").with("collection", id)
        })
    }

    /// The alias with this name.
    ///
    /// # Errors
    /// `NotFound` about the database or the alias.
    pub fn alias(&self, database: &str, name: &str) -> Result<&Arc<Alias>> {
        let database = self.database(database)?;
        self.aliases.get(&(database.id, name.to_owned())).ok_or_else(|| {
            Error::not_found(Subject::Alias, "alias not found")
                .with("database", &database.name)
                .with("alias", name)
        })
    }

    /// The aliases of a database by name; only those of one collection when its name is given.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection.
    pub fn aliases(&self, database: &str, collection: Option<&str>) -> Result<Vec<Arc<Alias>>> {
        let id = self.database(database)?.id;
        let of = collection.map(|name| self.collection(database, name)).transpose()?;
        let of = of.map(|collection| collection.id);
        let aliases = self.aliases.values().filter(|alias| {
            alias.database == id && of.is_none_or(|collection| alias.collection == collection)
        });
        Ok(aliases.map(Arc::clone).collect())
    }

    /// The names of a collection's aliases, sorted.
    #[must_use]
    pub fn aliases_of(&self, collection: CollectionId) -> Vec<String> {
        let aliases = self.aliases.values().filter(|alias| alias.collection == collection);
        aliases.map(|alias| alias.name.clone()).collect()
    }

    /// The job with this number.
    ///
    /// # Errors
    /// `NotFound` about the job.
    pub fn job(&self, id: JobId) -> Result<&Arc<RefreshJob>> {
        self.jobs
            .get(&id)
            .ok_or_else(|| Error::not_found(Subject::Job, format!("refresh job {id} not found")))
    }

    /// The jobs of a database, newest first; only those of one collection when its name is given.
    ///
    /// # Errors
    /// `NotFound` about the database or the collection; `InvalidArgument` when the collection is
    /// not an external one.
    pub fn jobs(&self, database: &str, collection: Option<&str>) -> Result<Vec<Arc<RefreshJob>>> {
        let id = self.database(database)?.id;
        let of = collection.map(|name| self.collection(database, name)).transpose()?;
        if let Some(collection) = of {
            ensure_external(collection)?;
        }
        let of = of.map(|collection| collection.id);
        let jobs = self.jobs.values().rev().filter(|job| {
            job.database == id && of.is_none_or(|collection| job.collection == collection)
        });
        Ok(jobs.map(Arc::clone).collect())
    }

    /// The jobs of all databases, oldest first.
    pub fn all_jobs(&self) -> impl Iterator<Item = &Arc<RefreshJob>> {
        self.jobs.values()
    }

    /// The job that holds the collection.
    #[must_use]
    pub fn active_job(&self, collection: CollectionId) -> Option<&Arc<RefreshJob>> {
        self.active_jobs.get(&collection).and_then(|id| self.jobs.get(id))
    }

    /// What the collection's source needs and nobody may see.
    #[must_use]
    pub fn secret(&self, collection: CollectionId) -> Option<&Secret> {
        self.secrets.get(&collection)
    }

    /// Every manifest that a collection serves or may serve: what must not be deleted.
    pub fn manifests(&self) -> impl Iterator<Item = (CollectionId, &ManifestPointer)> {
        self.collections.values().flat_map(|collection| {
            let pointers = [&collection.manifest, &collection.loaded_manifest];
            pointers.into_iter().flatten().map(|pointer| (collection.id, pointer))
        })
    }

    pub(crate) fn next_id(&self) -> i64 {
        self.next_id
    }

    fn named(&self, database: DatabaseId, name: &str) -> Option<&Arc<Collection>> {
        let id = self.collection_ids.get(&(database, name.to_owned()))?;
        self.collections.get(id)
    }
}

/// From and to the log.
impl CatalogState {
    /// The newest state of a history.
    pub(crate) fn replay(history: &History) -> Result<Self> {
        let mut state = Self::default();
        for (key, value) in &history.checkpoint.entries {
            state.put(key, value)?;
        }
        state.version = history.checkpoint.version;
        for commit in &history.commits {
            state.apply(commit)?;
        }
        Ok(state)
    }

    /// The state as a checkpoint keeps it.
    pub(crate) fn checkpoint(&self) -> Result<Checkpoint> {
        let mut entries = self.unknown.clone();
        let mut add = |key: String, value: Result<Value>| {
            value.map(|value| {
                entries.insert(key, value);
            })
        };
        add(changes::LEASE.to_owned(), to_value(changes::LEASE, &self.lease))?;
        add(changes::NEXT_ID.to_owned(), to_value(changes::NEXT_ID, &self.next_id))?;
        for database in self.databases.values() {
            let key = changes::database_key(database.id);
            let value = to_value(&key, database.as_ref());
            add(key, value)?;
        }
        for collection in self.collections.values() {
            let key = changes::collection_key(collection.id);
            let value = to_value(&key, collection.as_ref());
            add(key, value)?;
        }
        for alias in self.aliases.values() {
            let key = changes::alias_key(alias.database, &alias.name);
            let value = to_value(&key, alias.as_ref());
            add(key, value)?;
        }
        for job in self.jobs.values() {
            let key = changes::job_key(job.id);
            let value = to_value(&key, job.as_ref());
            add(key, value)?;
        }
        for (&collection, secret) in &self.secrets {
            let value = Value::String(secret.expose().to_owned());
            add(changes::secret_key(collection), Ok(value))?;
        }
        Ok(Checkpoint { version: self.version, entries })
    }

    /// Applies the next commit. After an error the state is of no more use.
    pub(crate) fn apply(&mut self, commit: &Commit) -> Result<()> {
        let context = |error: Error| error.context(format!("catalogue commit {}", commit.version));
        if commit.version != self.version.next() {
            let message = format!("follows version {}", self.version);
            return Err(context(Error::corrupt(message)));
        }
        if commit.transaction.epoch < self.lease.epoch {
            let message = format!(
                "was written under epoch {}, after epoch {} had begun",
                commit.transaction.epoch, self.lease.epoch
            );
            return Err(context(Error::corrupt(message)));
        }
        for change in &commit.transaction.changes {
            match change {
                Change::Put { key, value } => self.put(key, value).map_err(context)?,
                Change::Delete { key } => self.delete(key).map_err(context)?,
            }
        }
        self.version = commit.version;
        Ok(())
    }

    fn put(&mut self, key: &str, value: &Value) -> Result<()> {
        match split(key) {
            (changes::LEASE, "") => self.lease = parse(key, value)?,
            (changes::NEXT_ID, "") => self.next_id = parse(key, value)?,
            (changes::DATABASE, _) => {
                let database: Database = parse(key, value)?;
                self.forget_database(database.id);
                self.database_ids.insert(database.name.clone(), database.id);
                self.databases.insert(database.id, Arc::new(database));
            }
            (changes::COLLECTION, _) => {
                let collection: Collection = parse(key, value)?;
                self.forget_collection(collection.id);
                let name = (collection.database, collection.name.clone());
                self.collection_ids.insert(name, collection.id);
                self.collections.insert(collection.id, Arc::new(collection));
            }
            (changes::ALIAS, _) => {
                let alias: Alias = parse(key, value)?;
                self.aliases.insert((alias.database, alias.name.clone()), Arc::new(alias));
            }
            (changes::JOB, _) => {
                let job: RefreshJob = parse(key, value)?;
                self.forget_job(job.id);
                if job.state.is_active() {
                    self.active_jobs.insert(job.collection, job.id);
                }
                self.jobs.insert(job.id, Arc::new(job));
            }
            (changes::SECRET, id) => {
                let text: String = parse(key, value)?;
                self.secrets.insert(CollectionId(parse_id(key, id)?), Secret::new(text));
            }
            _ => {
                self.unknown.insert(key.to_owned(), value.clone());
            }
        }
        Ok(())
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        match split(key) {
            (changes::DATABASE, id) => self.forget_database(DatabaseId(parse_id(key, id)?)),
            (changes::COLLECTION, id) => self.forget_collection(CollectionId(parse_id(key, id)?)),
            (changes::JOB, id) => self.forget_job(JobId(parse_id(key, id)?)),
            (changes::SECRET, id) => {
                self.secrets.remove(&CollectionId(parse_id(key, id)?));
            }
            (changes::ALIAS, rest) => {
                let (database, name) = split(rest);
                let database = DatabaseId(parse_id(key, database)?);
                self.aliases.remove(&(database, name.to_owned()));
            }
            _ => {
                self.unknown.remove(key);
            }
        }
        Ok(())
    }

    fn forget_database(&mut self, id: DatabaseId) {
        if let Some(database) = self.databases.remove(&id) {
            self.database_ids.remove(&database.name);
        }
    }

    fn forget_collection(&mut self, id: CollectionId) {
        if let Some(collection) = self.collections.remove(&id) {
            self.collection_ids.remove(&(collection.database, collection.name.clone()));
        }
    }

    fn forget_job(&mut self, id: JobId) {
        if let Some(job) = self.jobs.remove(&id)
            && self.active_jobs.get(&job.collection) == Some(&id)
        {
            self.active_jobs.remove(&job.collection);
        }
    }
}

/// Refuses a collection whose rows do not come from a source.
pub(crate) fn ensure_external(collection: &Collection) -> Result<()> {
    if collection.schema.is_external() {
        return Ok(());
    }
    let message = format!("collection {} is not an external collection", collection.name);
    Err(Error::invalid_argument(message).about(Subject::Collection))
}

fn collection_not_found(database: &str, name: &str) -> Error {
    Error::not_found(Subject::Collection, "collection not found")
        .with("database", database)
        .with("collection", name)
}

fn split(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or((key, ""))
}

fn parse<T: DeserializeOwned>(key: &str, value: &Value) -> Result<T> {
    // The parser's text may quote the record, and the record may be a secret.
    T::deserialize(value).map_err(|_error| {
        Error::corrupt(format!("catalogue record {key} is not what its key says"))
    })
}

fn parse_id(key: &str, text: &str) -> Result<i64> {
    text.parse::<i64>().map_err(|error| {
        Error::corrupt(format!("catalogue key {key} has no number")).caused_by(error)
    })
}
