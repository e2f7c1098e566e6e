//! pandion-catalog
