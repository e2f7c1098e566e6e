//! Who may do what: the one place that every door asks.

use pandion_catalog::Collection;
use pandion_types::Result;

/// Who asks. Without authentication everybody is nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Principal {
    /// A caller whose identity was not asked for.
    Anonymous,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// See names, schemas, indexes and jobs.
    Describe,
    /// Create, change or drop.
    Change,
    /// Read rows.
    Read,
    /// Read the source again.
    Refresh,
}

/// What it is to be done to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resource<'a> {
    /// The server as a whole: databases, version, health.
    Server,
    /// One database.
    Database(&'a str),
    /// One collection.
    Collection(&'a Collection),
}

/// Whether `principal` may do `action` to `resource`.
///
/// There are no users yet, so that everything is allowed; the server makes up for it by listening
/// on loopback addresses only, unless it is told otherwise.
///
/// # Errors
/// `PermissionDenied` when it may not.
pub(crate) fn authorize(
    principal: Principal,
    action: Action,
    resource: Resource<'_>,
) -> Result<()> {
    match principal {
        Principal::Anonymous => {
            tracing::trace!(?action, resource = resource.name(), "allowed");
            Ok(())
        }
    }
}

impl Resource<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Server => "server",
            Self::Database(name) => name,
            Self::Collection(collection) => &collection.name,
        }
    }
}
