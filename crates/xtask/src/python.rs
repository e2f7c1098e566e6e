//! The Python side of the tests: a virtual environment with pinned packages, and pytest in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process::{output, run, succeeds};
use crate::tally::Tally;
use crate::workspace::Workspace;

const TESTS: &str = "tests/python";

/// Runs pytest on `tests/python` against the binaries of the development build. `arguments` go to
/// pytest as they are.
///
/// # Errors
/// When Python, the packages, or a binary cannot be had, or pytest leaves no report.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<(bool, Tally)> {
    let python = environment(workspace)?;
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

/// The interpreter of an environment that holds the pinned packages. An environment is made once
/// per requirements file and Python version, and is complete or absent.
fn environment(workspace: &Workspace) -> Result<PathBuf> {
    let requirements = workspace.root.join(TESTS).join("requirements.txt");
    let pinned = std::fs::read_to_string(&requirements)
        .with_context(|| format!("read {}", requirements.display()))?;
    let system = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let version = output(Command::new(&system).arg("--version"))?;
    let key = fnv1a(format!("{version}\n{pinned}").as_bytes());
    let folder = workspace.target.join(format!("venv-{key:016x}"));
    let python = folder.join("bin").join("python");
    let complete = folder.join("complete");
    if complete.exists() && succeeds(Command::new(&python).arg("--version")) {
        return Ok(python);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context("remove a half-made environment")?;
    }
    ensure_venv_module(&system)?;
    if !run(Command::new(&system).args(["-m", "venv"]).arg(&folder))? {
        bail!("python could not make a virtual environment");
    }
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
    if !run(Command::new(&python).args(install).arg(&requirements))? {
        bail!("the packages in {} could not be installed", requirements.display());
    }
    std::fs::write(&complete, "").with_context(|| format!("write {}", complete.display()))?;
    Ok(python)
}

/// Debian ships Python without the module that makes environments.
fn ensure_venv_module(system: &std::ffi::OsStr) -> Result<()> {
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

/// The 64-bit FNV-1a hash: short, and the same for ever, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::fnv1a;

    #[test]
    fn hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
