//! pandion-benches
