//! Rules of the house that no compiler checks.
//!
//! Every rule reports all it finds, with file and line. What stood before a rule was made is listed
//! in `tidy-ratchet.txt` with its reason; an entry that is no longer needed is itself a finding, so
//! that the list only shrinks.

mod files;
mod layers;
mod lock;
mod mask;
mod ratchet;

use anyhow::Result;

use crate::process::say;
use crate::workspace::Workspace;

use ratchet::Ratchet;

/// Checks every rule and prints what it finds. Returns whether nothing was found.
///
/// # Errors
/// When the workspace cannot be read.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    let mut ratchet = Ratchet::load(workspace)?;
    let mut findings = Vec::new();
    layers::check(workspace, &mut ratchet, &mut findings);
    lock::check(workspace, &mut findings)?;
    let files = workspace.files()?;
    for file in &files {
        if let Some(text) = workspace.text(file)? {
            files::check(file, &text, &mut ratchet, &mut findings);
        }
    }
    findings.extend(ratchet.unused());
    for finding in &findings {
        say(finding)?;
    }
    say(&format!("tidy: {} files read, {} findings", files.len(), findings.len()))?;
    Ok(findings.is_empty())
}
