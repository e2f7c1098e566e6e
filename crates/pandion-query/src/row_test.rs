//! Terms of a filter that DataFusion has no operator for, or a slower one.
//!
//! These are the terms that look inside a value (JSON paths, elements and length of arrays), that
//! calculate with Milvus's rules, that search in text or in shapes, and those with long lists of
//! values. The meaning is that of `pandion_filter::typed`: a missing value, or one of another kind
//! than the term asks for, is unknown.
//!
//! A term is compiled once; then it is tested on whole columns, without a step per row that
//! allocates or looks at types again.

mod arithmetic;
mod bits;
mod columns;
mod documents;
mod list_columns;
mod lists;
mod operands;
mod plan;
#[cfg(test)]
mod reference;
mod sets;
mod text;
mod values;

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType as ArrowType, Schema};
use datafusion::common::Result as DataFusionResult;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use pandion_filter::Predicate;
use pandion_types::{FieldId, Result};

use self::plan::Plan;
use crate::compile::Columns;

/// How much of a term's text is kept to be shown. A list may have a million values.
const SHOWN_BYTES_MAX: usize = 1024;

/// One term, with the columns that it reads.
pub(crate) struct RowTest {
    plan: Arc<Plan>,
    text: Arc<TermText>,
    columns: Vec<Arc<dyn PhysicalExpr>>,
}

impl RowTest {
    /// The expression that tests a term.
    ///
    /// # Errors
    /// `InvalidArgument` when a regular expression or well-known text is none; `Internal` for terms
    /// that are no row tests, and when the batch lacks a column.
    pub(crate) fn compile(term: &Predicate, columns: &Columns) -> Result<Arc<dyn PhysicalExpr>> {
        let mut fields: Vec<FieldId> = Vec::new();
        term.visit_fields(&mut |field| {
            if !fields.contains(&field.id) {
                fields.push(field.id);
            }
        });
        let children =
            fields.iter().map(|&field| columns.column(field)).collect::<Result<Vec<_>>>()?;
        let plan = Plan::new(term, &fields)?;
        Ok(Arc::new(Self {
            plan: Arc::new(plan),
            text: Arc::new(TermText::of(term)),
            columns: children,
        }))
    }
}

/// The text of a term, by which two tests are told apart.
#[derive(PartialEq, Eq, Hash)]
struct TermText {
    shown: String,
    /// Of the whole text.
    digest: [u8; 32],
}

impl TermText {
    fn of(term: &Predicate) -> Self {
        let mut writer = TextWriter { shown: String::new(), hasher: blake3::Hasher::new() };
        // Writing to memory does not fail, and a term that has no text has none to be shown.
        if write!(writer, "{term}").is_err() {
            writer.shown.push('?');
        }
        Self { shown: writer.shown, digest: writer.hasher.finalize().into() }
    }
}

/// Keeps the beginning of what is written, and the digest of all of it.
struct TextWriter {
    shown: String,
    hasher: blake3::Hasher,
}

impl fmt::Write for TextWriter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.hasher.update(text.as_bytes());
        let room = SHOWN_BYTES_MAX.saturating_sub(self.shown.len());
        if room > 0 {
            let end = text.floor_char_boundary(room);
            self.shown.push_str(text.get(..end).unwrap_or_default());
            if end < text.len() {
                self.shown.push_str(" ...");
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RowTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowTest({})", self.text.shown)
    }
}

impl fmt::Display for RowTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text.shown)
    }
}

impl PartialEq for RowTest {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.columns == other.columns
    }
}

impl Eq for RowTest {}

impl Hash for RowTest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        self.columns.hash(state);
    }
}

impl PhysicalExpr for RowTest {
    fn data_type(&self, _: &Schema) -> DataFusionResult<ArrowType> {
        Ok(ArrowType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> DataFusionResult<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> DataFusionResult<ColumnarValue> {
        let rows = batch.num_rows();
        let arrays = self
            .columns
            .iter()
            .map(|column| column.evaluate(batch).and_then(|values| values.into_array(rows)));
        let arrays: Vec<ArrayRef> = arrays.collect::<DataFusionResult<_>>()?;
        Ok(ColumnarValue::Array(Arc::new(self.plan.test(&arrays)?)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.columns.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> DataFusionResult<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self {
            plan: Arc::clone(&self.plan),
            text: Arc::clone(&self.text),
            columns: children,
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text.shown)
    }
}

/// An offset of Arrow's as an index.
#[inline]
fn start_of(offset: i32) -> usize {
    #[expect(clippy::cast_sign_loss, reason = "Arrow's offsets are not negative")]
    let start = offset as usize;
    start
}

#[cfg(test)]
mod tests;
