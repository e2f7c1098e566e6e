//! pandion-query
