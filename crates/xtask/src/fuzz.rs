//! `cargo xtask fuzz`: every fuzz target of the repository for a bounded time.
//!
//! A target is a file in the `fuzz/fuzz_targets` folder of a crate. It starts from the inputs in
//! `fuzz/regressions/<target>`, which a test of the crate replays, and from what earlier runs on this
//! machine found worth keeping below the target directory; the one of filters starts from the scripts
//! in `tests/filters` too. `fuzz/<target>.dict` is its dictionary, where there is one. What makes a
//! target fail is left where libFuzzer says: make it a file in `regressions` together with the fix.
//!
//! This needs a nightly toolchain, and installs cargo-fuzz below the target directory.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::{cargo, complain, run, say, succeeds};
use crate::workspace::Workspace;

const VERSION: &str = "0.13.2";

/// What one run may take. The inputs that the formats and the language can tell apart are short.
const LIMITS: [&str; 3] = ["-rss_limit_mb=2048", "-timeout=10", "-max_len=4096"];

/// How long each target runs when nobody says.
const SECONDS_DEFAULT: u64 = 60;

/// A fuzz target.
#[derive(Debug, PartialEq, Eq)]
struct Target {
    /// The `fuzz` folder, relative to the root.
    folder: String,
    name: String,
}

/// Runs every target; `false` when one found something.
///
/// # Errors
/// When the arguments are wrong or the tools cannot be had.
pub(crate) fn run_all(workspace: &Workspace, arguments: &[String]) -> Result<bool> {
    let seconds = seconds(arguments)?;
    let targets = targets(&workspace.files()?);
    ensure!(!targets.is_empty(), "there is no fuzz target");
    let tool = tool(workspace)?;
    let mut found = Vec::new();
    for target in &targets {
        say(&format!("== {}/{} for {seconds} s", target.folder, target.name))?;
        if !run_one(workspace, &tool, target, seconds)? {
            found.push(format!("{}/{}", target.folder, target.name));
        }
    }
    if !found.is_empty() {
        complain(&format!("failed: {}", found.join(", ")));
    }
    Ok(found.is_empty())
}

fn run_one(workspace: &Workspace, tool: &Path, target: &Target, seconds: u64) -> Result<bool> {
    let folder = workspace.root.join(&target.folder);
    let kept = workspace.target.join("fuzz-corpus").join(&target.folder).join(&target.name);
    std::fs::create_dir_all(&kept).with_context(|| format!("make {}", kept.display()))?;
    let mut command = nightly(tool);
    command.arg("run").arg("--fuzz-dir").arg(&folder);
    command.arg("--target-dir").arg(workspace.target.join("fuzz")).arg(&target.name).arg(kept);
    let regressions = folder.join("regressions").join(&target.name);
    if regressions.is_dir() {
        command.arg(regressions);
    }
    if target.folder == "crates/pandion-filter/fuzz" {
        command.arg(filters(workspace)?);
    }
    command.arg("--").args(LIMITS).arg(format!("-max_total_time={seconds}"));
    let dictionary = folder.join(format!("{}.dict", target.name));
    if dictionary.is_file() {
        command.arg(format!("-dict={}", dictionary.display()));
    }
    run(command.current_dir(&workspace.root))
}

/// A folder with a file for each filter of the scripts.
fn filters(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("fuzz-corpus").join("scripts");
    std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let mut number = 0;
    for file in workspace.files()? {
        if !(file.starts_with("tests/filters/") && file.ends_with(".slt")) {
            continue;
        }
        for filter in workspace.text(&file)?.unwrap_or_default().lines().filter_map(filter_of) {
            let path = folder.join(format!("{number:05}"));
            std::fs::write(&path, filter).with_context(|| format!("write {}", path.display()))?;
            number += 1;
        }
    }
    Ok(folder)
}

/// The filter of a line of a script.
fn filter_of(line: &str) -> Option<&str> {
    ["query ", "subset ", "error "].into_iter().find_map(|word| line.strip_prefix(word))
}

/// The targets among these files.
fn targets(files: &[String]) -> Vec<Target> {
    let target = |file: &String| {
        let (folder, name) = file.rsplit_once("/fuzz_targets/")?;
        let name = name.strip_suffix(".rs").filter(|name| !name.contains('/'))?;
        Some(Target { folder: folder.to_owned(), name: name.to_owned() })
    };
    files.iter().filter_map(target).collect()
}

/// Seconds that each target runs.
fn seconds(arguments: &[String]) -> Result<u64> {
    let number = match arguments {
        [] => return Ok(SECONDS_DEFAULT),
        [name, number] if name == "--seconds" => number,
        [one] if one.starts_with("--seconds=") => &one["--seconds=".len()..],
        _ => bail!("fuzz takes `--seconds N` only"),
    };
    number.parse().ok().filter(|seconds| *seconds > 0).context("--seconds needs a number above 0")
}

/// The program of cargo-fuzz, installed once per version.
fn tool(workspace: &Workspace) -> Result<PathBuf> {
    ensure!(
        succeeds(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])),
        "fuzzing needs a nightly toolchain: rustup toolchain install nightly"
    );
    let root = workspace.target.join(format!("cargo-fuzz-{VERSION}"));
    let program = root.join("bin").join(format!("cargo-fuzz{}", std::env::consts::EXE_SUFFIX));
    if succeeds(Command::new(&program).arg("--version")) {
        return Ok(program);
    }
    let install = ["install", "--locked", "cargo-fuzz", "--version", VERSION, "--root"];
    if !run(cargo().args(install).arg(&root))? {
        bail!("cargo-fuzz {VERSION} could not be installed");
    }
    Ok(program)
}

/// The program under the nightly toolchain. Told nothing of the cargo that runs us, it takes the
/// toolchain's own.
fn nightly(program: &Path) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly"]).arg(program).env_remove("CARGO");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_time_is_bounded_and_can_be_chosen() {
        assert_eq!(seconds(&[]).unwrap(), SECONDS_DEFAULT);
        assert_eq!(seconds(&owned(&["--seconds", "5"])).unwrap(), 5);
        assert_eq!(seconds(&owned(&["--seconds=7"])).unwrap(), 7);
        for wrong in [&["--seconds"][..], &["--seconds=0"], &["--seconds", "x"], &["parse"]] {
            assert!(seconds(&owned(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn targets_are_files_in_their_folder() {
        let files = owned(&[
            "crates/a/fuzz/checks.rs",
            "crates/a/fuzz/fuzz_targets/one.rs",
            "crates/a/fuzz/fuzz_targets/shared/two.rs",
            "b/fuzz/fuzz_targets/notes.md",
        ]);
        let expected = Target { folder: "crates/a/fuzz".to_owned(), name: "one".to_owned() };
        assert_eq!(targets(&files), [expected]);
    }

    #[test]
    fn filters_are_taken_from_scripts() {
        assert_eq!(filter_of("query a == 1"), Some("a == 1"));
        assert_eq!(filter_of("error b"), Some("b"));
        assert_eq!(filter_of("= 1-3"), None);
    }
}
