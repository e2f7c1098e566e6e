//! The Python side of the tests: virtual environments with pinned packages, and pytest in one of them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::installed::Installed;
use crate::node;
use crate::process::{output, run, succeeds};
use crate::tally::Tally;
use crate::workspace::Workspace;

const TESTS: &str = "tests/python";
/// Servers of others that the tests start. Their packages do not go together with the client's.
const FIXTURES: &str = "tests/fixtures";

/// Runs pytest on `tests/python` against the binaries of the development build. `arguments` go to
/// pytest as they are.
///
/// # Errors
/// When Python, Node, the packages, or a binary cannot be had, or pytest leaves no report.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<(bool, Tally)> {
    let python = environment(workspace, TESTS)?;
    let fixtures = environment(workspace, FIXTURES)?;
    let node = node::install(workspace)?;
    let descriptors = descriptor_set(workspace)?;
    let report = workspace.target.join("pytest.xml");
    if report.exists() {
        std::fs::remove_file(&report).with_context(|| format!("remove {}", report.display()))?;
    }
    let mut pytest = Command::new(&python);
    pytest
        .args(["-m", "pytest", "-p", "no:cacheprovider"])
        .arg(format!("--junitxml={}", report.display()))
        .args(arguments)
        .current_dir(workspace.root.join(TESTS))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PANDION_BIN", workspace.debug_binary("pandion"))
        .env("PANDION_S3_BIN", workspace.debug_binary("pandion-testkit-s3"))
        .env("PANDION_LAKE_BIN", workspace.debug_binary("pandion-testkit-lake"))
        .env("PANDION_ICEBERG_BIN", workspace.debug_binary("pandion-testkit-iceberg"))
        .env("PANDION_SECOND_S3_PYTHON", fixtures)
        .env("PANDION_NODE_BIN", node.binary)
        .env("PANDION_NODE_CLIENT", node.client)
        .env("PANDION_DESCRIPTOR_SET", descriptors);
    let succeeded = run(&mut pytest)?;
    let text = std::fs::read_to_string(&report)
        .with_context(|| format!("pytest left no report at {}", report.display()))?;
    Ok((succeeded, Tally::from_junit(&text)?))
}

/// Writes the descriptors of our wire types to a file.
fn descriptor_set(workspace: &Workspace) -> Result<PathBuf> {
    let file = workspace.target.join("pandion-descriptors.bin");
    let example = workspace.binary("debug/examples", "descriptor_set");
    if !run(Command::new(example).arg(&file))? {
        bail!("the descriptors of the wire types could not be written");
    }
    Ok(file)
}

/// The interpreter of an environment that holds the packages pinned in `requirements.txt` in a folder.
/// An environment is made once per requirements file and Python version.
///
/// # Errors
/// When Python cannot make environments, or the registry does not give what is pinned.
pub(crate) fn environment(workspace: &Workspace, folder: &str) -> Result<PathBuf> {
    let requirements = workspace.root.join(folder).join("requirements.txt");
    let pinned = std::fs::read_to_string(&requirements)
        .with_context(|| format!("read {}", requirements.display()))?;
    let system = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let version = output(Command::new(&system).arg("--version"))?;
    let installed = Installed::new(workspace, "venv", &format!("{version}\n{pinned}"));
    let python = installed.folder().join("bin").join("python");
    let works = || succeeds(Command::new(&python).arg("--version"));
    installed.ensure(works, |folder| make(&system, &python, folder, &requirements))?;
    Ok(python)
}

fn make(system: &OsStr, python: &Path, folder: &Path, requirements: &Path) -> Result<()> {
    ensure_venv_module(system)?;
    if !run(Command::new(system).args(["-m", "venv"]).arg(folder))? {
        bail!("python could not make a virtual environment");
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    if !run(Command::new(python).args(install).arg(requirements))? {
        bail!("the packages in {} could not be installed", requirements.display());
    }
    Ok(())
}

/// Debian ships Python without the module that makes environments.
fn ensure_venv_module(system: &OsStr) -> Result<()> {
    let present = || succeeds(Command::new(system).args(["-c", "import venv, ensurepip"]));
    if present() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("python has no venv module; install it (on Debian: python3-venv)");
    }
    let as_root = succeeds(Command::new("sh").args(["-c", "test \"$(id -u)\" = 0"]));
    let apt_get = |arguments: &[&str]| {
        let mut command = Command::new(if as_root { "apt-get" } else { "sudo" });
        if !as_root {
            command.args(["-n", "apt-get"]);
        }
        run(command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let installed =
        apt_get(&["update", "-qq"])? && apt_get(&["install", "-y", "-qq", "python3-venv"])?;
    if !installed || !present() {
        bail!("python3-venv could not be installed");
    }
    Ok(())
}
