//! Where the workspace lies and what it consists of, as cargo tells it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::process::{cargo, output};

/// The answer of `cargo metadata`, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(crate) struct Workspace {
    /// The folder of the root `Cargo.toml`.
    #[serde(rename = "workspace_root")]
    pub(crate) root: PathBuf,
    /// Where builds go; follows `CARGO_TARGET_DIR` and cargo's configuration.
    #[serde(rename = "target_directory")]
    pub(crate) target: PathBuf,
    /// The workspace's own packages.
    pub(crate) packages: Vec<Package>,
}

/// A package of the workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its `Cargo.toml`.
    pub(crate) manifest_path: PathBuf,
    /// What it depends on, directly.
    pub(crate) dependencies: Vec<Dependency>,
}

/// An edge from a package.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// `dev`, `build`, or nothing for an ordinary dependency.
    pub(crate) kind: Option<String>,
    /// Set when it is a package of this workspace.
    pub(crate) path: Option<PathBuf>,
}

impl Workspace {
    /// Asks cargo about the workspace around the current directory.
    ///
    /// # Errors
    /// When cargo does not answer, or not in the known form.
    pub(crate) fn load() -> Result<Self> {
        let arguments = ["metadata", "--no-deps", "--format-version", "1"];
        let text = output(cargo().args(arguments))?;
        serde_json::from_str(&text).context("read the answer of cargo metadata")
    }

    /// A binary of the development build.
    pub(crate) fn debug_binary(&self, name: &str) -> PathBuf {
        self.binary("debug", name)
    }

    /// A binary of the build with this profile folder.
    pub(crate) fn binary(&self, profile: &str, name: &str) -> PathBuf {
        let folder = self.target.join(profile);
        folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// The text files that git knows or would take, relative to the root and sorted.
    ///
    /// # Errors
    /// When the workspace is no git checkout.
    pub(crate) fn files(&self) -> Result<Vec<String>> {
        let mut git = std::process::Command::new("git");
        let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
        let listing = output(git.args(arguments).current_dir(&self.root))?;
        let mut files: Vec<String> = listing
            .split_terminator('\0')
            .filter(|file| self.root.join(file).is_file())
            .map(str::to_owned)
            .collect();
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }

    /// The text of a file, or nothing when it is no UTF-8.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn text(&self, file: &str) -> Result<Option<String>> {
        read_text(&self.root.join(file))
    }
}

fn read_text(path: &Path) -> Result<Option<String>> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(String::from_utf8(bytes).ok())
}
