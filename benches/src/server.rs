//! The release binary as a child process, with a data directory of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::process::Usage;

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// What a server is allowed to read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allow<'a> {
    /// Files below this directory.
    Directory(&'a Path),
    /// The object store at this `HOST:PORT`.
    Endpoint(&'a str),
    /// The object stores and catalogs at these `HOST:PORT`s.
    Endpoints(&'a [String]),
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: u32,
    address: String,
    /// From the start of the process to the line that says that it serves.
    pub(crate) started_in: Duration,
    data: TempDir,
}

impl Server {
    /// Starts a server with an empty data directory.
    ///
    /// # Errors
    /// There is no binary, or it does not serve in time.
    pub(crate) async fn start(allow: Allow<'_>) -> Result<Self> {
        let binary = binary()?;
        let data = tempfile::tempdir().context("making a data directory")?;
        let mut command = Command::new(&binary);
        command.arg("serve").arg("--data-dir").arg(data.path());
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        match allow {
            Allow::Directory(directory) => command.arg("--local-root").arg(directory),
            Allow::Endpoint(endpoint) => command.args(["--allow-endpoint", endpoint]),
            Allow::Endpoints(endpoints) => {
                command.args(endpoints.iter().flat_map(|endpoint| ["--allow-endpoint", endpoint]))
            }
        };
        command.env("PANDION_LOG__LEVEL", "warn").stdin(Stdio::null()).stdout(Stdio::piped());
        let begun = Instant::now();
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;
        let stdout = child.stdout.take().context("the server has no output")?;
        let line = timeout(START_TIMEOUT, BufReader::new(stdout).lines().next_line())
            .await
            .context("the server did not start in time")??
            .context("the server ended before it served")?;
        let started_in = begun.elapsed();
        let address = address(&line).with_context(|| format!("no address in {line:?}"))?;
        let pid = child.id().context("the server has ended")?;
        Ok(Self { child, pid, address: address.to_owned(), started_in, data })
    }

    /// `http://ADDRESS:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Where the server keeps what is its own.
    pub(crate) fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// What the process has used so far.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid)
    }

    /// Kills the process and waits for its end.
    ///
    /// # Errors
    /// It does not end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        timeout(STOP_TIMEOUT, self.child.kill()).await.context("the server does not end")??;
        Ok(())
    }
}

/// The address in `pandion serves Milvus clients at http://ADDRESS (health at ..)`.
fn address(line: &str) -> Option<&str> {
    line.split_whitespace().find(|word| word.starts_with("http://"))
}

/// The binary named by `PANDION_BIN`, or the one beside this program.
fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("PANDION_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("looking for this program")?;
    let binary = own.with_file_name("pandion");
    ensure!(binary.is_file(), "there is no {}: build it, or set PANDION_BIN", binary.display());
    if cfg!(debug_assertions) {
        bail!("this is a debug build: its numbers would mean nothing");
    }
    Ok(binary)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_address_is_found_in_the_first_line() {
        let line = "pandion serves Milvus clients at http://127.0.0.1:9 (health at http://a:1/h)";
        assert_eq!(super::address(line), Some("http://127.0.0.1:9"));
        assert_eq!(super::address("nothing"), None);
    }
}
