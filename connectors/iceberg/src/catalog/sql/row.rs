//! A row of `iceberg_tables`, by the names of its columns: writers have different sets of them.

use pandion_types::Result;

use crate::guard::corrupt;

/// What names a row; together the table's primary key.
#[derive(Debug)]
pub(super) struct RowKey {
    pub(super) catalog: String,
    /// All levels, parted by dots.
    pub(super) namespace: String,
    pub(super) table: String,
}

/// What a row says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CatalogRow {
    /// The URI of the metadata file.
    pub(super) metadata_location: Option<String>,
    /// `TABLE` or `VIEW`, where the writer knows of views.
    pub(super) kind: Option<String>,
}

impl CatalogRow {
    /// The question for the row, with `placeholder` for what stands before the numbers of the three
    /// parameters. All columns are asked for, since not every catalog has `iceberg_type`.
    pub(super) fn question(placeholder: char) -> String {
        format!(
            "SELECT * FROM {} WHERE catalog_name = {placeholder}1 AND table_namespace = \
             {placeholder}2 AND table_name = {placeholder}3 LIMIT {}",
            super::CATALOG_TABLE,
            super::ROWS_MAX
        )
    }

    /// Takes a column's value over, if it is one of those wanted. A null is `None`.
    pub(super) fn take(
        &mut self,
        column: &str,
        value: impl FnOnce() -> Result<Option<String>>,
    ) -> Result<()> {
        if column.eq_ignore_ascii_case("metadata_location") {
            self.metadata_location = value()?;
        } else if column.eq_ignore_ascii_case("iceberg_type") {
            self.kind = value()?;
        }
        Ok(())
    }
}

/// The error for a value that is no text.
pub(super) fn no_text(place: &str) -> pandion_types::Error {
    corrupt(format!("{place}: a column of {} that should be text is not", super::CATALOG_TABLE))
}
