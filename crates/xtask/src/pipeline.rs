//! What `cargo xtask test` does, stage by stage, and the shorter commands made of the same stages.
//!
//! A stage that fails does not hide the ones after it, except where those could only repeat the
//! failure: nothing is tested that did not build.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::process::{cargo, complain, run, run_watched, say, succeeds};
use crate::tally::Tally;
use crate::workspace::Workspace;
use crate::{node, python, tidy};

/// The tests kill the server at named points; only this feature compiles those points in.
const TEST_FEATURES: [&str; 2] = ["--features", "pandion/fault-points"];

/// One step of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Formatting.
    Format,
    /// Lints, on the features that users get.
    Clippy,
    /// The rules that no compiler checks.
    Tidy,
    /// Licences and advisories, where cargo-deny is installed.
    Deny,
    /// Everything that the next two run.
    Build,
    /// Unit, contract, property and documentation tests.
    Rust,
    /// The Node client that the next one drives, installed.
    Node,
    /// Real clients against the real server.
    Python,
}

impl Stage {
    /// Every stage, in order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Format,
        Self::Clippy,
        Self::Tidy,
        Self::Deny,
        Self::Build,
        Self::Rust,
        Self::Node,
        Self::Python,
    ];

    /// The stage with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Format => "fmt",
            Self::Clippy => "clippy",
            Self::Tidy => "tidy",
            Self::Deny => "deny",
            Self::Build => "build",
            Self::Rust => "rust",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    fn needs_build(self) -> bool {
        matches!(self, Self::Rust | Self::Python)
    }

    /// Runs the stage. Returns whether it is in order and the tests it counted.
    fn perform(self, workspace: &Workspace) -> Result<(bool, Tally)> {
        let uncounted = |succeeded: bool| (succeeded, Tally::default());
        match self {
            Self::Format => {
                run(&mut in_root(workspace, &["fmt", "--all", "--check"])).map(uncounted)
            }
            Self::Clippy => {
                let arguments =
                    ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
                run(&mut in_root(workspace, &arguments)).map(uncounted)
            }
            Self::Tidy => tidy::run(workspace).map(uncounted),
            Self::Deny => deny(workspace).map(uncounted),
            Self::Build => build(workspace, &["--bins", "--examples", "--tests"]).map(uncounted),
            Self::Rust => rust(workspace),
            Self::Node => node::install(workspace).map(|_| uncounted(true)),
            // Chosen alone it has had no build stage; after one this build finds nothing to do.
            Self::Python if !build(workspace, &["--bins", "--examples"])? => Ok(uncounted(false)),
            Self::Python => python::test(workspace, &[]),
        }
    }
}

/// Runs the stages and prints the sum as the last line. Returns whether all is in order.
///
/// # Errors
/// When standard output is closed; a stage that cannot run is a failed stage.
pub(crate) fn test(workspace: &Workspace, stages: &[Stage]) -> Result<bool> {
    let mut sum = Tally::default();
    let mut failed = Vec::new();
    let mut built = true;
    for &stage in stages {
        let name = stage.name();
        if stage.needs_build() && !built {
            say(&format!("\n== {name}: not run, because the build failed"))?;
            sum += Tally::FAILURE;
            failed.push(name);
            continue;
        }
        say(&format!("\n== {name}"))?;
        let start = Instant::now();
        let (succeeded, counted) = stage.perform(workspace).unwrap_or_else(|error| {
            complain(&format!("{name}: {error:#}"));
            (false, Tally::default())
        });
        sum += counted;
        if !succeeded {
            built &= stage != Stage::Build;
            failed.push(name);
            if counted.failed == 0 {
                sum += Tally::FAILURE;
            }
        }
        let verdict = if succeeded { "ok" } else { "FAILED" };
        let seconds = start.elapsed().as_secs_f64();
        say(&format!("== {name}: {verdict} in {seconds:.1} s"))?;
    }
    if !failed.is_empty() {
        say(&format!("\nfailed: {}", failed.join(", ")))?;
    }
    say(&sum.to_string())?;
    Ok(failed.is_empty() && sum.failed == 0)
}

/// Builds the binaries and runs pytest with these arguments.
///
/// # Errors
/// When pytest cannot run.
pub(crate) fn python_only(workspace: &Workspace, arguments: &[String]) -> Result<bool> {
    if !build(workspace, &["--bins", "--examples"])? {
        return Ok(false);
    }
    let (succeeded, counted) = python::test(workspace, arguments)?;
    say(&counted.to_string())?;
    Ok(succeeded)
}

/// Formats every file.
///
/// # Errors
/// When cargo cannot be started.
pub(crate) fn format(workspace: &Workspace) -> Result<bool> {
    run(&mut in_root(workspace, &["fmt", "--all"]))
}

/// Builds what the benchmarks measure, without the points that tests kill it at, and runs them.
///
/// # Errors
/// When cargo or the benchmarks cannot be started.
pub(crate) fn bench(workspace: &Workspace, arguments: &[String]) -> Result<bool> {
    let packages = ["-p", "pandion", "-p", "pandion-testkit", "-p", "pandion-benches"];
    if !run(in_root(workspace, &["build", "--release", "--bins"]).args(packages))? {
        return Ok(false);
    }
    let mut benches = Command::new(workspace.binary("release", "pandion-benches"));
    benches
        .args(arguments)
        .current_dir(&workspace.root)
        .env("PANDION_BIN", workspace.binary("release", "pandion"))
        .env("PANDION_S3_BIN", workspace.binary("release", "pandion-testkit-s3"));
    run(&mut benches)
}

/// Naming examples makes cargo unify features as it does for tests, so that a build for the Python
/// tests and one for the Rust tests share everything.
fn build(workspace: &Workspace, targets: &[&str]) -> Result<bool> {
    let mut command = cargo();
    command.args(["build", "--workspace"]).args(targets).args(TEST_FEATURES);
    run(command.current_dir(&workspace.root))
}

fn rust(workspace: &Workspace) -> Result<(bool, Tally)> {
    let mut sum = Tally::default();
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(TEST_FEATURES);
    let succeeded = run_watched(command.current_dir(&workspace.root), |line| {
        if let Some(counted) = Tally::from_harness_line(line) {
            sum += counted;
        }
    })?;
    Ok((succeeded, sum))
}

fn deny(workspace: &Workspace) -> Result<bool> {
    if !succeeds(&mut in_root(workspace, &["deny", "--version"])) {
        say("cargo-deny is not installed: licences and advisories are not checked here")?;
        return Ok(true);
    }
    run(&mut in_root(workspace, &["deny", "check"]))
}

/// Cargo with these arguments, started in the root.
fn in_root(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = cargo();
    command.args(arguments).current_dir(&workspace.root);
    command
}
