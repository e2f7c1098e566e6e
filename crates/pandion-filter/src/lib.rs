//! pandion-filter
