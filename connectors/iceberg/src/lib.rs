//! Iceberg tables as sources of rows.
