//! Measures what the project promises, end to end, and prints one table of measure, goal, value
//! and whether the goal is met.
//!
//! Every number comes from a run that it makes itself: nothing is read from an earlier one, and a
//! wrong answer of a search ends the run. It is no micro-benchmark and keeps no history.

mod bandwidth;
mod client;
mod door;
mod exact;
mod filter_lake;
mod filters;
mod first_answer;
mod iceberg;
mod lake;
mod node;
mod peers;
mod pk;
mod predicates;
mod process;
mod refresh;
mod report;
mod server;
mod sql_peers;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use crate::lake::Form;
use crate::report::Report;

/// Measures what Pandion promises and prints it as a table.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to measure; everything when absent.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Requests and time of refreshes of many small files on an S3 server.
    Refresh,
    /// Exact search beside the machine's memory bandwidth, in the library and over gRPC.
    Exact,
    /// From files to the first right answer, beside other systems, and the memory that it takes.
    FirstAnswer,
    /// Counting the rows of filters, with and without indexes, beside other systems.
    Filters,
    /// Looking up one row by its primary key: time, requests and bytes.
    Pk,
    /// What the gRPC door adds to a filtered exact search.
    Door,
    /// Refreshes of Iceberg tables, deletes and time travel: requests, time, searches.
    Iceberg,
    /// All of it.
    All,
}

/// How large and how often.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Rows to search.
    #[arg(long, global = true, default_value_t = 1_000_000)]
    rows: usize,
    /// Dimension of their vectors.
    #[arg(long, global = true, default_value_t = 128)]
    dim: usize,
    /// How files hold the vectors that are searched first.
    #[arg(long, global = true, value_enum, value_delimiter = ',', value_name = "LAYOUT,..",
        default_values = ["fsl-none", "fsl-zstd", "list-none"])]
    layouts: Vec<Form>,
    /// Files to refresh.
    #[arg(long, global = true, default_value_t = 1_000)]
    files: usize,
    /// Times that a short measurement is repeated; the median counts.
    #[arg(long, global = true, default_value_t = 25)]
    rounds: usize,
    /// Times that a long measurement is repeated; the median counts.
    #[arg(long, global = true, default_value_t = 3)]
    repeats: usize,
    /// Rows that are filtered and looked up.
    #[arg(long, global = true, default_value_t = 10_000_000)]
    filter_rows: u64,
    /// Times that a filter is counted by each system; the median counts.
    #[arg(long, global = true, default_value_t = 7)]
    filter_rounds: usize,
    /// Rows that are looked up one by one; cold and by others a tenth of them.
    #[arg(long, global = true, default_value_t = 2_000)]
    lookups: usize,
    /// Searches through the door and past it.
    #[arg(long, global = true, default_value_t = 4_000)]
    searches: usize,
    /// Data files of the Iceberg tables whose refreshes are counted.
    #[arg(long, global = true, default_value_t = 10_000)]
    table_files: usize,
    /// Rows of two numbers each of which a tenth is deleted, beside the rows that are searched.
    #[arg(long, global = true, default_value_t = 10_000_000)]
    narrow_rows: usize,
    /// Write the numbers to this file as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep the generated lakes here; beside the build's output when absent.
    #[arg(long, global = true, value_name = "DIR")]
    lakes: Option<PathBuf>,
    /// A Python with the packages of `peers/requirements.txt`; without it no peer is measured.
    #[arg(long, global = true, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Also measure the peers that take minutes, on the first layout.
    #[arg(long, global = true)]
    slow_peers: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = arguments.options;
    ensure!(
        options.rows > 0 && options.dim > 0 && options.files > 0,
        "there is nothing to measure"
    );
    let counts = [options.rounds, options.repeats, options.filter_rounds, options.lookups];
    ensure!(options.searches > 0 && !counts.contains(&0), "a measurement is made once at least");
    let command = arguments.command.unwrap_or(Command::All);
    let wanted = |part| command == Command::All || command == part;
    let mut report = Report::default();
    if wanted(Command::Refresh) {
        refresh::measure(&options, &mut report).await?;
    }
    if wanted(Command::Exact) {
        exact::measure(&options, &mut report).await?;
    }
    if wanted(Command::FirstAnswer) {
        first_answer::measure(&options, &mut report).await?;
    }
    if wanted(Command::Filters) {
        filters::measure(&options, &mut report).await?;
    }
    if wanted(Command::Pk) {
        pk::measure(&options, &mut report).await?;
    }
    if wanted(Command::Door) {
        door::measure(&options, &mut report).await?;
    }
    if wanted(Command::Iceberg) {
        iceberg::measure(&options, &mut report).await?;
    }
    report.print()?;
    if let Some(file) = &options.out {
        report.write_json(file)?;
    }
    Ok(())
}
