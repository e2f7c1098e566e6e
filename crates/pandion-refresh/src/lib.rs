//! pandion-refresh
