//! Whether a file's columns fit a collection's fields, told from the footer alone.

use std::fmt;

use pandion_source::columns;
use pandion_types::FieldSchema;
use parquet::basic::Compression;

use crate::constant;
use crate::file::ParquetFile;
use crate::mapping::{Column, Source, column_name};

/// One thing that keeps a column from being read as a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnProblem {
    /// The column of the file.
    pub column: String,
    /// The field that is mapped to it.
    pub field: String,
    /// The row group, when not the whole file is concerned.
    pub row_group: Option<usize>,
    /// What is wrong. It does not name the file.
    pub message: String,
}

impl fmt::Display for ColumnProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "column '{}' of field '{}'", self.column, self.field)?;
        if let Some(group) = self.row_group {
            write!(f, ", row group {group}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl ParquetFile {
    /// Checks the column of every one of `fields` that is mapped to one. The report is complete:
    /// all problems of all fields, in the order of the fields. Reads nothing.
    ///
    /// Lengths of the lists in a column of vectors are checked as far as the footer tells: by the
    /// number of values in each row group. Values themselves are seen only when they are read.
    #[must_use]
    pub fn check(&self, fields: &[FieldSchema]) -> Vec<ColumnProblem> {
        let mapped = fields.iter().filter(|field| field.external_field.is_some());
        mapped.flat_map(|field| self.check_field(field)).collect()
    }

    fn check_field(&self, field: &FieldSchema) -> Vec<ColumnProblem> {
        let name = column_name(field);
        let problem = |row_group, message: String| ColumnProblem {
            column: name.to_owned(),
            field: field.name.clone(),
            row_group,
            message,
        };
        let found = match self.resolve(field) {
            Ok(Source::Column(found)) => found,
            Ok(Source::Value(value)) => {
                let made = constant::array(field, value, 0);
                return made
                    .err()
                    .map(|error| problem(None, error.message().to_owned()))
                    .into_iter()
                    .collect();
            }
            Err(error) => return vec![problem(None, error.message().to_owned())],
        };
        let (column, mut problems) = (found.column, Vec::new());
        if let Some(arrow_type) = found.read_as()
            && let Err(error) = columns::check(field, arrow_type)
        {
            problems.push(problem(None, error.message().to_owned()));
        }
        let by_group = self.check_row_groups(field, column);
        problems.extend(by_group.into_iter().map(|(group, message)| problem(Some(group), message)));
        // What the type alone forbids has been said above, in the words of the type.
        if problems.is_empty()
            && field.data_type.is_dense_vector()
            && let Err(error) = column.vector_layout(self.metadata(), field)
        {
            problems.push(problem(None, error.message().to_owned()));
        }
        problems
    }

    fn check_row_groups(&self, field: &FieldSchema, column: &Column) -> Vec<(usize, String)> {
        let layout = column.vector_layout(self.metadata(), field).ok();
        let mut problems = Vec::new();
        for (number, group) in self.metadata().row_groups().iter().enumerate() {
            for leaf in column.leaves.clone() {
                let chunk = group.column(leaf);
                if chunk.compression() == Compression::LZO {
                    problems.push((number, "codec LZO is not supported".to_owned()));
                }
                let (rows, values) = (
                    u64::try_from(group.num_rows()).unwrap_or(0),
                    u64::try_from(chunk.num_values()).unwrap_or(0),
                );
                if let Some(layout) = layout.filter(|layout| !layout.admits(rows, values)) {
                    problems.push((
                        number,
                        format!(
                            "vector list length mismatch: {values} values in {rows} rows are not \
                             vectors of {} values",
                            layout.per_row
                        ),
                    ));
                }
            }
        }
        problems
    }
}
