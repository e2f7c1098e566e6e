//! What collections over Iceberg tables cost: requests and time of refreshes, deletes, searches of
//! other snapshots.
//!
//! The tables lie on an S3 server in this process, and are named by their folder, by a metadata
//! file or in a REST catalog; the server that is measured is a process of its own on the same
//! cores. Every read is told apart by the kind of object that it reads, and the receipt of a refresh
//! must count as the S3 server does.

mod deletes;
mod many_files;
mod reading;
mod searches;
mod world;

use anyhow::Result;

use crate::Options;
use crate::report::Report;

/// Measures and adds to the report.
///
/// # Errors
/// A refresh or a search fails, or gives a wrong answer.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    many_files::measure(options, report).await?;
    deletes::measure(options, report).await
}
