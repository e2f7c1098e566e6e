//! The Milvus gRPC door.
//!
//! Handlers parse a request, ask whether the caller may do it, call the node, and encode what comes
//! back. They decide nothing about collections or rows.

mod aliases;
mod collections;
mod databases;
mod hybrid;
mod indexes;
mod loading;
mod methods;
mod partitions;
mod querying;
mod reading;
mod refreshing;
mod reply;
mod searching;
mod system;
mod writes;

use std::sync::Arc;
use std::time::Instant;

use pandion_catalog::{Collection, DEFAULT_DATABASE};
use pandion_query::QueryCost;
use pandion_source::SnapshotChoice;
use pandion_types::{CollectionId, Error, Result};
use tonic::metadata::MetadataMap;

use crate::access::{self, Action, Principal, Resource};
use crate::clock;
use crate::node::Node;
use crate::time_travel::split_name;

/// Largest request that is taken, in bytes; Milvus's own limit.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 << 20;
/// Largest answer that is given, in bytes; Milvus's own limit.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The service; one for all connections.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    node: Arc<Node>,
}

/// What is known of whoever sent a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    principal: Principal,
    /// The database that the connection works in.
    pub(crate) database: Option<String>,
}

impl Door {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    fn caller(&self, metadata: &MetadataMap) -> Result<Caller> {
        let database = metadata
            .get("dbname")
            .map(|name| {
                name.to_str().map(str::to_owned).map_err(|error| {
                    Error::invalid_argument("the dbname of the request is not plain text")
                        .caused_by(error)
                })
            })
            .transpose()?
            .filter(|name| !name.is_empty());
        Ok(Caller { principal: Principal::Anonymous, database })
    }

    pub(crate) fn authorize(
        &self,
        caller: &Caller,
        action: Action,
        resource: Resource<'_>,
    ) -> Result<()> {
        access::authorize(caller.principal, action, resource)
    }

    /// The collection that a request names, which the caller may at least know of.
    pub(crate) fn collection(
        &self,
        caller: &Caller,
        database: &str,
        name: &str,
    ) -> Result<Arc<Collection>> {
        let state = self.node.catalog().state();
        let collection = Arc::clone(state.collection(caller.database_of(database), name)?);
        self.authorize(caller, Action::Describe, Resource::Collection(&collection))?;
        Ok(collection)
    }

    /// As [`Self::collection`], for requests that read: behind the name may stand the snapshot of
    /// its table that they read.
    pub(crate) fn collection_at(
        &self,
        caller: &Caller,
        database: &str,
        name: &str,
    ) -> Result<(Arc<Collection>, Option<SnapshotChoice>)> {
        let (name, choice) = split_name(name, clock::unix_ms())?;
        Ok((self.collection(caller, database, name)?, choice))
    }

    /// As [`Self::collection`], for requests that name it by number.
    pub(crate) fn collection_by_id(&self, caller: &Caller, id: i64) -> Result<Arc<Collection>> {
        let state = self.node.catalog().state();
        let collection = Arc::clone(state.collection_by_id(CollectionId(id))?);
        self.authorize(caller, Action::Describe, Resource::Collection(&collection))?;
        Ok(collection)
    }

    /// Notes what a search or query cost.
    pub(crate) fn count_read(&self, kind: &'static str, cost: &QueryCost, started: Instant) {
        let elapsed = started.elapsed();
        self.node.metrics().count_read(kind, cost, elapsed);
        tracing::debug!(
            kind,
            elapsed_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            read_requests = cost.io.read_requests,
            bytes_read = cost.io.bytes_read,
            rows_decoded = cost.io.rows_decoded,
            rows_filtered = cost.rows_filtered,
            distances = cost.distances,
            files = cost.files,
            files_pruned = cost.files_pruned,
            row_groups_pruned = cost.row_groups_pruned,
            "answered"
        );
    }
}

impl Caller {
    /// The database that a request means: the one in its body, else the connection's, else the
    /// default one.
    pub(crate) fn database_of<'a>(&'a self, in_request: &'a str) -> &'a str {
        if in_request.is_empty() {
            self.database.as_deref().unwrap_or(DEFAULT_DATABASE)
        } else {
            in_request
        }
    }
}
