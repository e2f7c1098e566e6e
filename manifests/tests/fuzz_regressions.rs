//! Inputs that once were a problem, or are likely to become one, go through the check of the fuzz
//! target, and so do the golden files. `cargo xtask fuzz` looks for more of them.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::PathBuf;

#[test]
fn inputs_that_were_a_problem_are_none_any_more() {
    for folder in ["fuzz/regressions/decode", "golden"] {
        let folder = package().join(folder);
        let mut inputs = 0;
        for entry in folder.read_dir().unwrap() {
            checks::decode(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} holds no input", folder.display());
    }
}

/// Asked for when the test runs: a checkout may have built it and be gone.
fn package() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default())
}
