//! pandion-tests
