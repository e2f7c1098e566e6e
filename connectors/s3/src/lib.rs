//! pandion-connector-s3
