//! Refresh jobs: from what a source holds now to a new published version of a collection.
//!
//! The course of a job is a state machine without I/O (`machine`); the runner performs its effects.
//! A job changes nothing that anybody can see until its last step, one catalogue transaction.
//!
//! Nothing here decides who may refresh, speaks a network protocol, or writes to a source.
#![warn(missing_docs)]

mod diff;
mod fault;
mod footers;
mod indexes;
mod machine;
mod manifests;
mod runner;
mod service;
mod snapshots;
mod sources;
mod travel;
mod verify;

pub use diff::Diff;
pub use indexes::{IndexCoverage, IndexService, IndexState};
pub use machine::{Effect, Event, Receipt, Start, State, step};
pub use manifests::ManifestStore;
pub use runner::{ALLOW_EMPTY_PROPERTY, VERIFY_PROPERTY, WAIT_FOR_INDEX_PROPERTY};
pub use service::{RefreshService, UnixMs};
pub use snapshots::Snapshots;
pub use sources::SourceOpener;
