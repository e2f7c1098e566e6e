//! Folders of packages that the tests need, made once for what is pinned and kept in the target folder.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// A folder that holds packages, complete or absent, whenever somebody else looks at it.
#[derive(Debug)]
pub(crate) struct Installed {
    folder: PathBuf,
}

impl Installed {
    /// The folder for packages that this text pins.
    pub(crate) fn new(workspace: &Workspace, kind: &str, pinned: &str) -> Self {
        let key = fnv1a(pinned.as_bytes());
        Self { folder: workspace.target.join(format!("{kind}-{key:016x}")) }
    }

    /// Where it is, made or not.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes the folder unless it is complete and `works`.
    ///
    /// # Errors
    /// Those of `make`, and when the folder cannot be written.
    pub(crate) fn ensure(
        &self,
        works: impl FnOnce() -> bool,
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let complete = self.folder.join("complete");
        if complete.exists() && works() {
            return Ok(());
        }
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder)
                .with_context(|| format!("remove the half-made {}", self.folder.display()))?;
        }
        make(&self.folder)?;
        std::fs::write(&complete, "").with_context(|| format!("write {}", complete.display()))
    }
}

/// The 64-bit FNV-1a hash: short, and the same for ever, which the standard hasher does not promise.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_is_half_made_is_made_anew_and_what_is_complete_is_kept() {
        let parent = std::env::temp_dir().join(format!("xtask-installed-{}", std::process::id()));
        let installed = Installed { folder: parent.join("packages") };
        let file = installed.folder().join("file");
        let make = |text: &'static str| {
            let file = file.clone();
            move |folder: &Path| {
                std::fs::create_dir_all(folder)?;
                Ok(std::fs::write(file, text)?)
            }
        };
        let text = || std::fs::read_to_string(&file).unwrap();

        installed.ensure(|| true, make("first")).unwrap();
        installed.ensure(|| true, make("second")).unwrap();
        assert_eq!(text(), "first");
        installed.ensure(|| false, make("third")).unwrap();
        assert_eq!(text(), "third");
        std::fs::remove_file(installed.folder().join("complete")).unwrap();
        let broken = installed.ensure(|| true, |_| anyhow::bail!("no network"));
        assert_eq!(broken.unwrap_err().to_string(), "no network");
        assert!(!file.exists());
        installed.ensure(|| true, make("fourth")).unwrap();
        assert_eq!(text(), "fourth");
        std::fs::remove_dir_all(parent).unwrap();
    }
}
