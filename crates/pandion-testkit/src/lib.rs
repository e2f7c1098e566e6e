//! pandion-testkit
