//! Other systems as processes that answer SQL over the same files, one statement at a time
//! (`peers/sql_peers.py`), so that they and we can take turns.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::report::note;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/sql_peers.py");
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// A system whose answers are compared with ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SqlSystem {
    DuckDb,
    DataFusion,
}

impl SqlSystem {
    pub(crate) const ALL: [Self; 2] = [Self::DuckDb, Self::DataFusion];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::DuckDb => "duckdb",
            Self::DataFusion => "datafusion",
        }
    }
}

/// One statement's answer.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct SqlAnswer {
    pub(crate) rows: Vec<Vec<Value>>,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
}

impl SqlAnswer {
    /// The number that a `select count(*)` gave.
    pub(crate) fn count(&self) -> Result<u64> {
        let count = self.rows.first().and_then(|row| row.first()).and_then(Value::as_u64);
        count.with_context(|| format!("no count in {:?}", self.rows))
    }
}

/// A running system. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct SqlPeer {
    pub(crate) system: SqlSystem,
    pub(crate) version: String,
    _child: Child,
    statements: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl SqlPeer {
    /// All systems over the files of a directory; none without a Python.
    ///
    /// # Errors
    /// One cannot run: a comparison with the rest would mislead.
    pub(crate) async fn all(
        python: Option<&Path>,
        lake: &Path,
        threads: usize,
    ) -> Result<Vec<Self>> {
        let Some(python) = python else { return Ok(Vec::new()) };
        let mut peers = Vec::new();
        for system in SqlSystem::ALL {
            let peer = Self::start(system, python, lake, threads)
                .await
                .with_context(|| format!("starting {}", system.name()))?;
            note(&format!("{} {} answers SQL", system.name(), peer.version));
            peers.push(peer);
        }
        Ok(peers)
    }

    async fn start(system: SqlSystem, python: &Path, lake: &Path, threads: usize) -> Result<Self> {
        let mut child = Command::new(python)
            .args([SCRIPT, "--peer", system.name(), "--threads", &threads.to_string()])
            .arg("--lake")
            .arg(lake)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", python.display()))?;
        let statements = child.stdin.take().context("it takes no statements")?;
        let stdout = child.stdout.take().context("it gives no answers")?;
        let mut answers = BufReader::new(stdout).lines();
        let hello = next(&mut answers).await?;
        let version = hello["version"].as_str().context("it does not name its version")?.to_owned();
        Ok(Self { system, version, _child: child, statements, answers })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// The system refuses the statement or takes minutes.
    pub(crate) async fn ask(&mut self, sql: &str) -> Result<SqlAnswer> {
        let line = format!("{}\n", json!({ "sql": sql }));
        self.statements.write_all(line.as_bytes()).await.context("asking a peer")?;
        let answer = next(&mut self.answers)
            .await
            .with_context(|| format!("{}: {sql}", self.system.name()))?;
        serde_json::from_value(answer).context("a peer's answer cannot be read")
    }
}

async fn next(lines: &mut Lines<BufReader<ChildStdout>>) -> Result<Value> {
    let line = timeout(STATEMENT_TIMEOUT, lines.next_line())
        .await
        .context("a peer does not answer in time")??
        .context("a peer has ended")?;
    let value: Value =
        serde_json::from_str(&line).with_context(|| format!("a peer says {line}"))?;
    match value["error"].as_str() {
        Some(error) => bail!("{error}"),
        None => Ok(value),
    }
}
