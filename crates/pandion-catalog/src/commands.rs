//! The commands, by noun. Each is a pure function `decide(state, request, changes)`; the methods of
//! [`Catalog`](crate::Catalog) only run it.
//!
//! No command reads a clock, a source or a manifest. What a request means beyond the catalogue
//! (whether a source may be reached, whether a field's type fits) is checked by who sends it.

mod alias;
mod collection;
mod database;
mod index;
mod job;
mod load;

use std::collections::BTreeMap;

pub use collection::CreateCollection;
pub use database::MAX_DATABASES;
pub use index::CreateIndex;
pub use job::{FINISHED_JOBS_KEPT, JobUpdate, Publication, RefreshRequest, SourceBinding};
pub use load::LoadRequest;

/// Properties to set and to take away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PropertyChange {
    /// Set to these values.
    pub set: BTreeMap<String, String>,
    /// Taken away; a name that is not there is passed over.
    pub delete: Vec<String>,
}

impl PropertyChange {
    /// Every name that the change speaks of.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.set.keys().map(String::as_str).chain(self.delete.iter().map(String::as_str))
    }

    fn apply(&self, properties: &mut BTreeMap<String, String>) {
        for name in &self.delete {
            properties.remove(name);
        }
        properties.extend(self.set.iter().map(|(name, value)| (name.clone(), value.clone())));
    }
}

#[cfg(test)]
mod tests;
