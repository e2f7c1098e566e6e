//! pandion-proto
