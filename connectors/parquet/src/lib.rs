//! pandion-connector-parquet
