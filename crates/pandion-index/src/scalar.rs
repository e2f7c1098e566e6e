//! Scalar indexes: which rows of one file meet a term of a filter, without reading the column.
//!
//! An index covers all rows of one file, for one field or one path of a JSON field. It is built
//! once, by showing a [`ScalarIndexBuilder`] the value of every row, and is immutable from then on:
//! a checksummed, versioned block of bytes that any process can open. An index answers a term
//! exactly as a scan of the column would, including for which rows the term is unknown, or it does
//! not answer at all.
//!
//! Nothing here reads files, knows Arrow or combines terms.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use pandion_filter::{PathSegment, Predicate};
use pandion_types::{DataType, Error, Result, Subject};

use crate::Bitmap;

mod builder;
mod cell;
mod format;
mod interner;
mod json_path;
mod ngram;
mod on_field;
mod params;
mod pieces;
mod plan;
mod postings;
mod re2;
mod remap;
mod rtree;
mod section;
mod spec;
mod values;

use builder::ValueBuilder;
use format::{Reader, damaged};
use ngram::{NgramBuilder, NgramIndex};
use remap::Absorb;
use rtree::{RTreeIndex, RTreeIndexBuilder};
use values::ValueIndex;

pub use on_field::on_field;
pub use params::resolve_spec;
pub use re2::compile_regex;
pub use remap::{MovedRows, ROW_GONE, remap_scalar_index};

/// Rises when bytes that an earlier release wrote can no longer be read. It is part of the name of
/// a stored index, so that a new release builds anew instead of failing.
pub const SCALAR_INDEX_FORMAT: u32 = 1;

/// The kinds of scalar index that clients know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarIndexKind {
    /// Whatever serves the column best, decided when the column is seen.
    Auto,
    /// One bitmap for each distinct value; for columns with few of them.
    Bitmap,
    /// Rows by value.
    Inverted,
    /// Values in order.
    Sort,
    /// Strings in order, for prefixes.
    Trie,
    /// Rows by the pieces of their strings, for `like` and regular expressions.
    Ngram {
        /// Characters of the shortest pieces; 1 or more.
        min: u32,
        /// Characters of the longest pieces; not less than `min`.
        max: u32,
    },
    /// Shapes by their bounding boxes.
    RTree,
}

/// What is indexed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IndexedValues {
    /// A field of single values of this type: Bool, an integer, Float, Double, VarChar, Text,
    /// Timestamptz or Geometry.
    Field(DataType),
    /// The elements of an array field, which are of this type.
    Elements(DataType),
    /// The values at a path of a JSON field that are of one kind; other values are not in the index.
    Json {
        /// The steps from the root; empty for the document itself.
        path: Vec<PathSegment>,
        /// Bool, Double, VarChar, or Array of one of these.
        cast: JsonCast,
    },
}

/// The kind of JSON values that an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonCast {
    /// `true` and `false`.
    Bool,
    /// Numbers, integers included.
    Double,
    /// Strings.
    Text,
    /// The elements of arrays that are booleans.
    BoolElements,
    /// The elements of arrays that are numbers.
    DoubleElements,
    /// The elements of arrays that are strings.
    TextElements,
}

/// What an index is, besides the rows that it covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScalarIndexSpec {
    /// How values are arranged.
    pub kind: ScalarIndexKind,
    /// What is indexed.
    pub values: IndexedValues,
}

/// The value of one row, as it is shown to a builder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Datum<'a> {
    /// No value: a null, a JSON path that leads nowhere, an element that does not exist.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of any width, or an instant in microseconds. Of JSON, an integer of 64 bits.
    Int(i64),
    /// A number; of a `Float` field the same number as a double. Of JSON, every number that is no
    /// [`Self::Int`].
    Float(f64),
    /// A string, or a shape as well-known text.
    Text(&'a str),
    /// An array. The elements of an array field are of its element type. Those of a JSON array are
    /// all shown, in any kind: the ones that the index does not hold, JSON nulls and arrays
    /// included, best as [`Self::Other`].
    List(&'a [Datum<'a>]),
    /// A JSON value of another kind than the index holds: neither null nor indexed. Showing such a
    /// value itself comes to the same.
    Other,
}

/// Which rows meet a term.
#[derive(Clone, Debug)]
pub enum Lookup {
    /// The answer of a scan.
    Exact {
        /// The rows for which the term is true.
        matches: Bitmap,
        /// The rows for which it is unknown; `None` when it is known for all.
        unknown: Option<Arc<Bitmap>>,
    },
    /// Every row for which the term is true, and some for which it is not.
    Candidates(Bitmap),
}

/// What a lookup would find, told without doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// About as many rows meet the term.
    pub rows: u64,
    /// Entries of the index that the lookup would touch: row numbers, terms, boxes.
    pub entries: u64,
    /// Whether the answer would be [`Lookup::Exact`].
    pub exact: bool,
}

/// An index that can be asked.
pub trait ScalarIndex: Any + Send + Sync + fmt::Debug {
    /// What it is.
    fn spec(&self) -> &ScalarIndexSpec;

    /// Rows that it covers.
    fn rows(&self) -> usize;

    /// Bytes that it holds in memory.
    fn memory_bytes(&self) -> usize;

    /// What [`Self::lookup`] would find; `None` when it would not answer. Touches no row: takes time
    /// logarithmic in the number of values, times the number of literals of the term, and for
    /// shapes the time of the search.
    fn estimate(&self, term: &Predicate) -> Option<Estimate>;

    /// The rows that meet a term: one predicate that is neither a connective nor a constant. `None`
    /// when the index cannot tell, for terms of another type or on another JSON path too. An opened
    /// index does not know which field it is of and answers for any of its type: [`on_field`] ties
    /// it to one.
    ///
    /// # Errors
    /// `InvalidArgument` for a regular expression or well-known text that is none.
    fn lookup(&self, term: &Predicate) -> Result<Option<Lookup>>;
}

/// A builder of an index.
///
/// # Errors
/// `Unsupported` when such an index cannot be of such values.
pub fn scalar_index_builder(spec: &ScalarIndexSpec) -> Result<Box<dyn ScalarIndexBuilder>> {
    Ok(builder_of(spec)?)
}

fn builder_of(spec: &ScalarIndexSpec) -> Result<Box<dyn Absorb>> {
    let refused = || {
        let spec = spec.canonical();
        Error::unsupported(format!("there is no scalar index {spec}")).about(Subject::Index)
    };
    match spec.kind {
        _ if rtree::is_of_shapes(spec) => Ok(Box::new(RTreeIndexBuilder::new(spec.clone()))),
        ScalarIndexKind::RTree => Err(refused()),
        ScalarIndexKind::Ngram { .. } if ngram::is_of_strings(&spec.values) => {
            let builder = NgramBuilder::new(spec.clone()).ok_or_else(refused)?;
            Ok(Box::new(builder))
        }
        ScalarIndexKind::Ngram { .. } => Err(refused()),
        ScalarIndexKind::Auto
        | ScalarIndexKind::Bitmap
        | ScalarIndexKind::Inverted
        | ScalarIndexKind::Sort
        | ScalarIndexKind::Trie => {
            let sections = spec.values.sections().ok_or_else(refused)?;
            Ok(Box::new(ValueBuilder::new(spec.clone(), sections)))
        }
    }
}

/// Opens the bytes that a builder made. Reads all of them once, to check them; keeps them, and
/// copies them only when they do not start at a multiple of 8.
///
/// # Errors
/// `Corrupt` when they are not such bytes, or not what was written; `Unavailable` when a copy is
/// needed and has no room.
pub fn open_scalar_index(bytes: Bytes) -> Result<Arc<dyn ScalarIndex>> {
    let reader = Reader::open(bytes)?;
    let spec = ScalarIndexSpec::decode(reader.get::<u8>(builder::SPEC)?.as_slice())?;
    if rtree::is_of_shapes(&spec) {
        return Ok(Arc::new(RTreeIndex::open(&reader, spec)?));
    }
    if let Some(index) = NgramIndex::open(&reader, spec.clone())? {
        return Ok(Arc::new(index));
    }
    let sections = spec.values.sections().ok_or_else(|| damaged("it is of no known values"))?;
    Ok(Arc::new(ValueIndex::open(&reader, spec, sections)?))
}

/// Takes the values of a column and makes an index of them.
pub trait ScalarIndexBuilder: Send + fmt::Debug {
    /// The value of the next row.
    ///
    /// # Errors
    /// `Internal` for a value of another kind than the index is of; `Unsupported` when there are
    /// more rows or bytes than an index holds.
    fn push(&mut self, value: Datum<'_>) -> Result<()>;

    /// The bytes of the index, to be opened again later.
    ///
    /// # Errors
    /// `Unavailable` when the memory cannot be had.
    fn finish(self: Box<Self>) -> Result<Bytes>;
}

#[cfg(test)]
mod tests;
