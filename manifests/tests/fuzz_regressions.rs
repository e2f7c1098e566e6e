//! Inputs that once were a problem, or are likely to become one, go through the check of the fuzz
//! target, and so do the golden files. `cargo xtask fuzz` looks for more of them.

#[path = "../fuzz/checks.rs"]
mod checks;

use std::path::Path;

#[test]
fn inputs_that_were_a_problem_are_none_any_more() {
    for folder in ["fuzz/regressions/decode", "golden"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut inputs = 0;
        for entry in folder.read_dir().unwrap() {
            checks::decode(&std::fs::read(entry.unwrap().path()).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0, "{} holds no input", folder.display());
    }
}
