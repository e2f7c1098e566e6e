//! The files whose columns are filtered and whose rows are looked up: numbers in order and not,
//! strings that repeat and that do not, JSON documents, arrays.
//!
//! Every value follows from the row's number alone. The files are kept between runs.

use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, Int64Builder, ListBuilder, RecordBatch,
    StringArray, StringBuilder,
};
use arrow::datatypes::{DataType as ArrowType, Field, Schema};
use pandion_proto::schema::{DataType, FieldSchema};
use pandion_testkit::lake::{Codec, ID, Layout, VEC, write_parquet};
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use crate::Options;
use crate::client::field;
use crate::lake::place;
use crate::report::note;

const FILES: u64 = 10;
/// What files of some hundred megabytes have, by the default of one writer or another.
const ROW_GROUP_ROWS: usize = 200_000;
/// Rows of a page where nothing else is asked for: the limit that writers have by default.
pub(crate) const PAGE_ROWS: usize = 20_000;

/// Random numbers below [`NUM_END`].
pub(crate) const NUM: &str = "num";
pub(crate) const NUM_END: u64 = 1_000_000;
/// One of 20 values with 4.2 % of the rows each, 11 with 1 %, or 500 with 0.01 %.
pub(crate) const KIND: &str = "kind";
/// Sixteen hexadecimal digits, hardly ever twice the same.
pub(crate) const CODE: &str = "code";
/// `{"a": number below NUM_END, "b": {"c": string as in KIND}, "tags": [string, string]}`.
pub(crate) const DOC: &str = "doc";
/// Two numbers of four each, one of a hundred, and one to three of 20,000.
pub(crate) const NUMS: &str = "nums";
/// The same as strings: a letter for where it comes from, and the number.
pub(crate) const TAGS: &str = "tags";

const HUNDRED: u64 = 100;
const MANY: u64 = 100_000;

/// A directory of such files.
#[derive(Debug)]
pub(crate) struct FilterLake {
    pub(crate) directory: PathBuf,
    pub(crate) rows: u64,
}

impl FilterLake {
    /// The lake with pages of so many rows, written if it is not there yet.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn of(options: &Options, page_rows: usize) -> Result<Self> {
        let rows = options.filter_rows;
        ensure!(rows >= FILES, "the lake has {FILES} files: give it as many rows at least");
        let directory = place(options)?.join(format!("filters-{rows}-{page_rows}"));
        let lake = Self { directory, rows };
        if !lake.directory.is_dir() {
            note(&format!("writing {}", lake.directory.display()));
            lake.write(page_rows)?;
        }
        Ok(lake)
    }

    /// Reads every file once, so that nobody waits for the disk. Returns their bytes.
    pub(crate) fn warm(&self) -> Result<u64> {
        let read = |file: u64| {
            let mut file = File::open(self.directory.join(file_name(file)))?;
            std::io::copy(&mut file, &mut std::io::sink())
        };
        let bytes = (0..FILES).map(read).sum::<std::io::Result<u64>>();
        bytes.with_context(|| format!("reading {}", self.directory.display()))
    }

    /// The name of the file that holds a row, and the row's number in it.
    pub(crate) fn position(&self, id: u64) -> Option<(String, u64)> {
        let file = (0..FILES).find(|&file| self.rows_of(file).contains(&id))?;
        Some((file_name(file), id - self.rows_of(file).start))
    }

    fn rows_of(&self, file: u64) -> Range<u64> {
        self.rows * file / FILES..self.rows * (file + 1) / FILES
    }

    fn write(&self, page_rows: usize) -> Result<()> {
        let partial = self.directory.with_extension("partial");
        if partial.is_dir() {
            fs::remove_dir_all(&partial)?;
        }
        fs::create_dir_all(&partial)?;
        (0..FILES).into_par_iter().try_for_each(|file| {
            write_file(&partial.join(file_name(file)), self.rows_of(file), page_rows)
        })?;
        fs::rename(&partial, &self.directory)
            .with_context(|| format!("making {}", self.directory.display()))
    }
}

/// The fields of a collection over such a lake.
pub(crate) fn fields() -> Vec<FieldSchema> {
    let text = || [("max_length", "256".to_owned())];
    let array = |name, element: DataType| FieldSchema {
        element_type: element.into(),
        ..field(
            name,
            DataType::Array,
            &[("max_capacity", "16".to_owned()), ("max_length", "16".to_owned())],
        )
    };
    vec![
        field(ID, DataType::Int64, &[]),
        field(NUM, DataType::Int64, &[]),
        field(KIND, DataType::VarChar, &text()),
        field(CODE, DataType::VarChar, &text()),
        field(DOC, DataType::Json, &[]),
        array(NUMS, DataType::Int64),
        array(TAGS, DataType::VarChar),
        // Milvus has no collection without vectors.
        field(VEC, DataType::FloatVector, &[("dim", "2".to_owned())]),
    ]
}

/// A number below `end` that follows from the row and from what it is for.
pub(crate) fn draw(id: u64, purpose: u64, end: u64) -> u64 {
    hash(id, purpose) % end
}

/// The finaliser of splitmix64, over a number for each row and purpose.
fn hash(id: u64, purpose: u64) -> u64 {
    let mixed = (id * 16 + purpose).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// A value of [`KIND`], by a number below 10,000.
fn kind(drawn: u64) -> String {
    match drawn {
        ..8_400 => format!("large-{:02}", drawn % 20),
        8_400..9_500 => format!("middle-{:02}", (drawn - 8_400) % 11),
        _ => format!("rare-{:03}", drawn - 9_500),
    }
}

fn elements(id: u64) -> impl Iterator<Item = u64> {
    let few = [draw(id, 6, 4), 4 + draw(id, 7, 4), HUNDRED + draw(id, 8, 100)];
    let many = (0..=draw(id, 12, 3)).map(move |at| MANY + draw(id, 9 + at, 20_000));
    few.into_iter().chain(many)
}

/// An element of [`TAGS`], by that of [`NUMS`].
pub(crate) fn tag(element: u64) -> String {
    match element {
        ..HUNDRED => format!("a-{element}"),
        HUNDRED..MANY => format!("b-{}", element - HUNDRED),
        _ => format!("c-{}", element - MANY),
    }
}

fn file_name(file: u64) -> String {
    format!("part-{file:05}.parquet")
}

fn write_file(file: &Path, rows: Range<u64>, page_rows: usize) -> Result<()> {
    let layout = Layout {
        codec: Codec::Zstd,
        row_group_rows: ROW_GROUP_ROWS,
        page_rows,
        ..Layout::default()
    };
    let mut properties = layout.properties().into_builder();
    // A dictionary of values that hardly repeat is given up by most writers after a page; this one
    // would keep a megabyte of it, which every reader of a single row would have to read.
    for column in [ID, NUM, CODE, DOC] {
        properties = properties.set_column_dictionary_enabled(ColumnPath::from(column), false);
    }
    let kinds: Vec<String> = (0..10_000).map(kind).collect();
    let starts = rows.clone().step_by(ROW_GROUP_ROWS);
    let batches =
        starts.map(|start| batch(start..rows.end.min(start + ROW_GROUP_ROWS as u64), &kinds));
    let to = File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    let written = write_parquet(BufWriter::new(to), schema(), properties.build(), batches)?;
    ensure!(written as u64 == rows.end - rows.start, "{} has {written} rows", file.display());
    Ok(())
}

fn schema() -> Arc<Schema> {
    let list = |element: ArrowType| ArrowType::List(Arc::new(Field::new("item", element, true)));
    let columns = [
        (ID, ArrowType::Int64),
        (NUM, ArrowType::Int64),
        (KIND, ArrowType::Utf8),
        (CODE, ArrowType::Utf8),
        (DOC, ArrowType::Utf8),
        (NUMS, list(ArrowType::Int64)),
        (TAGS, list(ArrowType::Utf8)),
        (VEC, ArrowType::FixedSizeList(vector_element(), 2)),
    ];
    let fields = columns.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new(fields.to_vec()))
}

fn vector_element() -> Arc<Field> {
    Arc::new(Field::new("element", ArrowType::Float32, true))
}

fn batch(ids: Range<u64>, kinds: &[String]) -> Result<RecordBatch> {
    let kind_of = |id, purpose| {
        usize::try_from(draw(id, purpose, 10_000)).map_or("", |at| kinds[at].as_str())
    };
    let numbers = |of: &dyn Fn(u64) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(ids.clone().map(|id| of(id).cast_signed())))
    };
    let doc = |id| {
        format!(
            r#"{{"a":{},"b":{{"c":"{}"}},"tags":["t{}","u{}"]}}"#,
            draw(id, 3, NUM_END),
            kind_of(id, 4),
            draw(id, 5, 100),
            draw(id, 5, 7)
        )
    };
    let mut nums = ListBuilder::new(Int64Builder::new());
    let mut tags = ListBuilder::new(StringBuilder::new());
    for id in ids.clone() {
        for element in elements(id) {
            nums.values().append_value(element.cast_signed());
            tags.values().append_value(tag(element));
        }
        nums.append(true);
        tags.append(true);
    }
    let components = ids.clone().flat_map(|id| [(id % 97) as f32, (id % 89) as f32]);
    let vectors = Float32Array::from_iter_values(components);
    let columns: Vec<ArrayRef> = vec![
        numbers(&|id| id),
        numbers(&|id| draw(id, 0, NUM_END)),
        Arc::new(StringArray::from_iter_values(ids.clone().map(|id| kind_of(id, 1)))),
        Arc::new(StringArray::from_iter_values(
            ids.clone().map(|id| format!("{:016x}", hash(id, 2))),
        )),
        Arc::new(StringArray::from_iter_values(ids.clone().map(doc))),
        Arc::new(nums.finish()),
        Arc::new(tags.finish()),
        Arc::new(FixedSizeListArray::try_new(vector_element(), 2, Arc::new(vectors), None)?),
    ];
    RecordBatch::try_new(schema(), columns).context("columns do not fit the schema")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_shares_that_are_promised() {
        let ids = 0..100_000_u64;
        let share =
            |is: &dyn Fn(u64) -> bool| ids.clone().filter(|&id| is(id)).count() as f64 / 100_000.0;
        let near = |found: f64, wanted: f64| (found / wanted - 1.0).abs() < 0.2;
        assert!(near(share(&|id| kind(draw(id, 1, 10_000)) == "large-07"), 0.042));
        assert!(near(share(&|id| kind(draw(id, 1, 10_000)) == "middle-10"), 0.01));
        assert!(near(share(&|id| kind(draw(id, 1, 10_000)).starts_with("rare-")), 0.05));
        for few in 0..8 {
            assert!(near(share(&|id| elements(id).any(|element| element == few)), 0.25));
        }
        assert!(near(share(&|id| elements(id).any(|element| element == HUNDRED + 9)), 0.01));
        let in_range = |id| elements(id).any(|element| (MANY..MANY + 100).contains(&element));
        assert!(near(share(&in_range), 0.01));
        assert_eq!([tag(3), tag(142), tag(100_007)], ["a-3", "b-42", "c-7"]);
    }

    #[test]
    fn every_row_has_one_position() {
        let lake = FilterLake { directory: PathBuf::new(), rows: 25 };
        let positions: Vec<(String, u64)> = (0..25).filter_map(|id| lake.position(id)).collect();
        assert_eq!(positions.len(), 25);
        assert_eq!(positions[0], ("part-00000.parquet".to_owned(), 0));
        assert_eq!(positions[2], ("part-00001.parquet".to_owned(), 0));
        assert_eq!(positions[24], ("part-00009.parquet".to_owned(), 2));
        assert_eq!(lake.position(25), None);
    }

    #[test]
    fn a_batch_holds_what_its_predicates_expect() {
        let kinds: Vec<String> = (0..10_000).map(kind).collect();
        let batch = batch(40..60, &kinds).unwrap();
        assert_eq!(batch.num_rows(), 20);
        let doc = batch.column_by_name(DOC).unwrap();
        let doc = doc.as_any().downcast_ref::<StringArray>().unwrap();
        let document: serde_json::Value = serde_json::from_str(doc.value(3)).unwrap();
        assert_eq!(document["a"], draw(43, 3, NUM_END));
        assert_eq!(document["b"]["c"], kind(draw(43, 4, 10_000)));
    }
}
