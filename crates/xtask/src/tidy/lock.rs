//! One version of each stack whose types cross our seams: two of them would compile, and then not
//! fit each other.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

const FILE: &str = "Cargo.lock";
const SINGLE: &[&str] =
    &["arrow", "parquet", "datafusion", "object_store", "tonic", "prost", "reqwest", "iceberg"];

/// Checks the lock file and that every crate takes the workspace's lints.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn check(workspace: &Workspace, findings: &mut Vec<String>) -> Result<()> {
    let lock = workspace.text(FILE)?.with_context(|| format!("{FILE} is no text"))?;
    findings.extend(duplicates(&lock));
    for package in &workspace.packages {
        let file = &package.manifest_path;
        let text =
            std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        // The generated wire types are not ours to lint.
        if package.name != "pandion-proto" && !text.contains("[lints]\nworkspace = true") {
            findings.push(format!("{}: does not take the workspace's lints", package.name));
        }
    }
    Ok(())
}

fn duplicates(lock: &str) -> Vec<String> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let value = |key: &str| {
            let line = package.lines().find(|line| line.starts_with(key))?;
            line[key.len()..].strip_prefix(" = \"")?.strip_suffix('"')
        };
        if let (Some(name), Some(version)) = (value("name"), value("version"))
            && SINGLE.iter().any(|stack| of_stack(stack, name))
        {
            versions.entry(name).or_default().push(version);
        }
    }
    let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
    several
        .map(|(name, versions)| format!("{FILE}: {name} is there as {}", versions.join(", ")))
        .collect()
}

/// `arrow` and `arrow-schema`, but not `arrowhead`.
fn of_stack(stack: &str, name: &str) -> bool {
    name.strip_prefix(stack).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_versions_of_a_stack_are_found_and_of_others_are_not() {
        let package = |name: &str, version: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\ndependencies = [\n \"x\",\n]\n\n"
            )
        };
        let lock = [
            package("arrow-schema", "58.4.1"),
            package("arrow-schema", "57.0.0"),
            package("prost", "0.14.4"),
            package("syn", "1.0.0"),
            package("syn", "2.0.0"),
            package("arrowhead", "1.0.0"),
            package("arrowhead", "2.0.0"),
        ];
        assert_eq!(
            duplicates(&lock.concat()),
            ["Cargo.lock: arrow-schema is there as 58.4.1, 57.0.0"]
        );
    }
}
