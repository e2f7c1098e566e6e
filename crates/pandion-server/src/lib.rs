//! pandion-server
