//! Runs `peers/load_peers.py`, which measures other systems over the same files.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::report::{median, note};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/load_peers.py");

/// More than the script takes when every peer uses up its own limit.
const TIMEOUT: Duration = Duration::from_secs(3 * 3600);

/// What the script says of one system.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) peer: String,
    pub(crate) version: String,
    /// Whether it takes the rows over, as opposed to scanning the files for the one query.
    pub(crate) loads: bool,
    wall_s: Vec<f64>,
    cpu_s: Vec<f64>,
    /// The share of the nearest rows that it found.
    pub(crate) recall: f64,
    pub(crate) peak_bytes: f64,
    /// Why there are no numbers.
    pub(crate) error: Option<String>,
}

impl Peer {
    pub(crate) fn wall(&self) -> f64 {
        median(self.wall_s.iter().copied())
    }

    pub(crate) fn cpu(&self) -> f64 {
        median(self.cpu_s.iter().copied())
    }
}

/// Measures the peers over the files in a directory.
///
/// # Errors
/// The script cannot run. A peer that cannot is an entry that says so.
pub(crate) async fn run(
    python: &Path,
    lake: &Path,
    truth: &Path,
    repeats: usize,
    slow: bool,
) -> Result<Vec<Peer>> {
    note("measuring peers");
    let folder = tempfile::tempdir().context("making a temporary directory")?;
    let out = folder.path().join("peers.json");
    let mut command = Command::new(python);
    command.arg(SCRIPT).arg("--lake").arg(lake).arg("--truth").arg(truth).arg("--out").arg(&out);
    command.args(["--repeats", &repeats.to_string()]);
    if slow {
        command.arg("--slow");
    }
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", python.display()))?;
    let status = tokio::time::timeout(TIMEOUT, child.wait())
        .await
        .context("the peers do not come to an end")??;
    ensure!(status.success(), "{SCRIPT} failed: {status}");
    let text = std::fs::read_to_string(&out).context("the peers left no numbers")?;
    serde_json::from_str(&text).context("the peers' numbers cannot be read")
}
