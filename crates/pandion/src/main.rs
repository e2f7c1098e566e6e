//! The Pandion binary: parses the command line, starts what it asks for, and prints.

mod demo;
mod serve;
mod settings;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::settings::Log;

/// Milvus searches on your own Parquet files, without copying them.
#[derive(Debug, Parser)]
#[command(name = "pandion", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve Milvus clients.
    Serve(serve::Arguments),
    /// Make a small lake in a temporary directory and show the whole loop on it.
    Demo(demo::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell it to when standard error is closed.
            drop(writeln!(io::stderr(), "pandion: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Sends logs to standard error.
fn start_logging(log: &Log) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&log.level)?;
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let started = if log.json { builder.json().try_init() } else { builder.try_init() };
    started.map_err(|error| anyhow::anyhow!("starting the log failed: {error}"))
}
