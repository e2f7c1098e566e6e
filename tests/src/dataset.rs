//! Rows of typed values: read from a text file, computed, or drawn at random.
//!
//! A data set on disk is `tests/filters/data/<name>.jsonl`. Its first line names the columns and says
//! how the rows are cut into files, row groups and pages; each line after it is a row, in which a
//! column that is left out is null. Floats that JSON cannot write are strings (`"NaN"`, `"inf"`,
//! `"-inf"`), instants are ISO 8601, shapes are well-known text. A document of a JSON column is
//! written as it is, or as a string that holds its text.
//!
//! Every data set has a column `id` that numbers its rows from 1, which is what scripts call a row.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use pandion_filter::{TimeZone, parse_timestamp};
use pandion_types::{CollectionSchema, DataType, FieldId, FieldSchema, VIRTUAL_PK_NAME};
use serde_json::{Map, Value as Json};

/// Name of the vector column that every data set gets: component 0 is the row's number.
pub const VECTOR: &str = "vector";

/// Components of each vector.
pub const DIM: usize = 4;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// Of a Bool column.
    Bool(bool),
    /// Of a column of integers.
    Int(i64),
    /// Of a Float column, in which case it is one of an `f32`, or of a Double column.
    Float(f64),
    /// Of a VarChar, Text, JSON or Geometry column.
    Text(String),
    /// Microseconds since 1970 of a Timestamptz column.
    Timestamp(i64),
    /// Of an Array column.
    List(Vec<Datum>),
}

/// A value for each column, in the order of the columns; `None` for null.
pub type Row = Vec<Option<Datum>>;

/// A column.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its name, in the collection and in the files.
    pub name: String,
    /// The type of its values.
    pub data_type: DataType,
    /// The type of the elements of an array column.
    pub element_type: Option<DataType>,
    /// Parameters of the field, `enable_match` for instance.
    pub params: BTreeMap<String, String>,
}

impl Column {
    /// A column without parameters. `type_name` is a type as messages write it, or `Array<..>`.
    ///
    /// # Errors
    /// There is no such type.
    pub fn new(name: &str, type_name: &str) -> Result<Self> {
        let element = type_name.strip_prefix("Array<").and_then(|rest| rest.strip_suffix('>'));
        let data_type = if element.is_some() { DataType::Array } else { named(type_name)? };
        let element_type = element.map(named).transpose()?;
        Ok(Self { name: name.to_owned(), data_type, element_type, params: BTreeMap::new() })
    }
}

/// How many rows go into one file, row group and page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Rows of a file, but for the last one.
    pub file: usize,
    /// Rows of a row group, but for the last one of each file.
    pub row_group: usize,
    /// Rows of a page, but for the last one of each row group.
    pub page: usize,
}

/// A table, and how it is cut into files.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// What scripts call it.
    pub name: String,
    /// The columns; the first is `id`.
    pub columns: Vec<Column>,
    /// The rows in the order in which they lie in the files.
    pub rows: Vec<Row>,
    /// How they are cut.
    pub layout: Layout,
}

impl Dataset {
    /// The data set with this name.
    ///
    /// # Errors
    /// There is none, or its file breaks a rule of the format.
    pub fn named(name: &str) -> Result<Self> {
        if name == "series" {
            return series();
        }
        let path = filters_folder().join("data").join(format!("{name}.jsonl"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("read the data set {}", path.display()))?;
        Self::read(name, &text).with_context(|| format!("data set {name}"))
    }

    /// Reads the text of a data set.
    ///
    /// # Errors
    /// The text breaks a rule of the format.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        let mut lines = text.lines();
        let head: Json = serde_json::from_str(lines.next().unwrap_or_default())
            .context("the first line has to be an object")?;
        let columns = head.get("columns").and_then(Json::as_array).context("no columns")?;
        let columns = columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        let layout = layout(&head).context("file, row_group or page is missing")?;
        let mut rows = Vec::new();
        for (at, line) in lines.enumerate() {
            let row = row(line, &columns).with_context(|| format!("row {}", at + 1))?;
            rows.push(row);
        }
        let dataset = Self { name: name.to_owned(), columns, rows, layout };
        dataset.check()?;
        Ok(dataset)
    }

    /// The schema of a collection over the data set: the primary key, the columns and a vector.
    #[must_use]
    pub fn schema(&self) -> CollectionSchema {
        let key = FieldSchema {
            nullable: false,
            is_primary_key: true,
            auto_id: true,
            external_field: None,
            ..field(VIRTUAL_PK_NAME, DataType::Int64)
        };
        let columns = self.columns.iter().map(|column| FieldSchema {
            element_type: column.element_type,
            type_params: column.params.clone(),
            ..field(&column.name, column.data_type)
        });
        let vector = FieldSchema {
            type_params: BTreeMap::from([("dim".to_owned(), DIM.to_string())]),
            ..field(VECTOR, DataType::FloatVector)
        };
        let mut fields: Vec<FieldSchema> =
            std::iter::once(key).chain(columns).chain(std::iter::once(vector)).collect();
        for (field, id) in fields.iter_mut().zip(100..) {
            field.id = FieldId(id);
        }
        CollectionSchema { fields, ..CollectionSchema::default() }
    }

    fn check(&self) -> Result<()> {
        ensure!(self.columns.first().is_some_and(|first| first.name == "id"), "id comes first");
        for (row, number) in self.rows.iter().zip(1..) {
            let id = row.first().and_then(Option::as_ref);
            ensure!(id == Some(&Datum::Int(number)), "row {number} has the id {id:?}");
        }
        Ok(())
    }
}

/// The folder of the scripts.
#[must_use]
pub fn filters_folder() -> PathBuf {
    // Asked for when the test runs: a checkout may have built it and be gone.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    package.unwrap_or_default().join("filters")
}

fn field(name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(0, name, data_type)
}

fn named(type_name: &str) -> Result<DataType> {
    let found = DataType::ALL.into_iter().find(|data_type| data_type.name() == type_name);
    found.with_context(|| format!("there is no type {type_name}"))
}

fn column(entry: &Json) -> Result<Column> {
    let text = |name: &str| entry.get(name).and_then(Json::as_str);
    let (name, type_name) = (text("name").context("no name")?, text("type").context("no type")?);
    let mut column = Column::new(name, type_name)?;
    if entry.get("match") == Some(&Json::Bool(true)) {
        column.params.insert("enable_match".to_owned(), "true".to_owned());
    }
    Ok(column)
}

fn layout(head: &Json) -> Option<Layout> {
    let rows = |name: &str| usize::try_from(head.get(name)?.as_u64()?).ok();
    Some(Layout { file: rows("file")?, row_group: rows("row_group")?, page: rows("page")? })
}

fn row(line: &str, columns: &[Column]) -> Result<Row> {
    let mut members: Map<String, Json> = serde_json::from_str(line)?;
    let mut row = Vec::with_capacity(columns.len());
    for column in columns {
        let value = members.remove(&column.name).filter(|value| !value.is_null());
        let datum = value.map(|value| match column.element_type {
            None => datum(column.data_type, value),
            Some(element_type) => list(element_type, value),
        });
        row.push(datum.transpose().with_context(|| format!("column {}", column.name))?);
    }
    match members.keys().next() {
        None => Ok(row),
        Some(unknown) => bail!("there is no column {unknown}"),
    }
}

fn list(element_type: DataType, value: Json) -> Result<Datum> {
    let Json::Array(elements) = value else { bail!("{value} is no list") };
    let elements = elements.into_iter().map(|element| datum(element_type, element));
    Ok(Datum::List(elements.collect::<Result<_>>()?))
}

fn datum(data_type: DataType, value: Json) -> Result<Datum> {
    let datum = match (data_type, value) {
        (DataType::Bool, Json::Bool(value)) => Some(Datum::Bool(value)),
        (DataType::Float, value) => float(&value).map(|value| Datum::Float(narrowed(value))),
        (DataType::Double, value) => float(&value).map(Datum::Float),
        (DataType::Timestamptz, Json::String(text)) => {
            parse_timestamp(&text, TimeZone::default()).ok().map(Datum::Timestamp)
        }
        (DataType::Json, Json::String(text)) => Some(Datum::Text(text)),
        (DataType::Json, document) => Some(Datum::Text(document.to_string())),
        (_, Json::String(text)) => Some(Datum::Text(text)),
        (_, value) => value.as_i64().filter(|_| data_type.is_integer()).map(Datum::Int),
    };
    datum.with_context(|| format!("the value does not fit the type {data_type}"))
}

fn float(value: &Json) -> Option<f64> {
    match value {
        Json::String(text) => text.parse().ok(),
        other => other.as_f64(),
    }
}

/// The value that a Float column holds of it.
#[expect(clippy::cast_possible_truncation, reason = "rounding to binary32 is what is asked for")]
#[must_use]
pub fn narrowed(value: f64) -> f64 {
    f64::from(value as f32)
}

/// 4,000 rows by formula, cut into files, row groups and pages of which filters leave many out.
///
/// `n` rises, `r` jumps about below 1000, `c` takes seven values, `x` is a quarter of `r` with every
/// eleventh row null, and `j` holds both and, in every third row, a list.
fn series() -> Result<Dataset> {
    let types = [
        ("id", "Int64"),
        ("n", "Int64"),
        ("r", "Int32"),
        ("c", "VarChar"),
        ("x", "Double"),
        ("j", "JSON"),
    ];
    let columns = types
        .iter()
        .map(|(name, data_type)| Column::new(name, data_type))
        .collect::<Result<_>>()?;
    let rows = (1..=4000_i64).map(|id| {
        let r = id * 7919 % 1000;
        let x = (id % 11 != 0).then(|| f64::from(i32::try_from(r).unwrap_or_default()) / 4.0);
        let more = if id % 3 == 0 { format!(", \"l\": [{}, {r}]", id % 5) } else { String::new() };
        vec![
            Some(Datum::Int(id)),
            Some(Datum::Int(id * 10)),
            Some(Datum::Int(r)),
            Some(Datum::Text(format!("c{}", r % 7))),
            x.map(Datum::Float),
            Some(Datum::Text(format!("{{\"r\": {r}, \"s\": \"v{}\"{more}}}", r % 10))),
        ]
    });
    let layout = Layout { file: 1500, row_group: 700, page: 100 };
    Ok(Dataset { name: "series".to_owned(), columns, rows: rows.collect(), layout })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_sets_are_read_and_checked() {
        let head = r#"{"columns": [{"name": "id", "type": "Int64"}, {"name": "f", "type": "Float"},
            {"name": "l", "type": "Array<Int8>"}, {"name": "j", "type": "JSON"}],
            "file": 2, "row_group": 2, "page": 1}"#
            .replace('\n', " ");
        let read = |rows: &str| Dataset::read("x", &format!("{head}\n{rows}"));
        let dataset =
            read("{\"id\": 1, \"f\": 0.1, \"l\": [1, 2]}\n{\"id\": 2, \"j\": {\"k\": 1.0}}")
                .unwrap();
        let list = Datum::List(vec![Datum::Int(1), Datum::Int(2)]);
        let tenth = Datum::Float(f64::from(0.1_f32));
        assert_eq!(dataset.rows[0], [Some(Datum::Int(1)), Some(tenth), Some(list), None]);
        assert_eq!(dataset.rows[1][3], Some(Datum::Text("{\"k\":1.0}".to_owned())));
        assert_eq!(dataset.schema().fields.len(), 6);
        let wrong = [
            "{\"id\": 2}",
            "{\"id\": 1, \"f\": true}",
            "{\"id\": 1, \"g\": 1}",
            "{\"id\": 1, \"l\": 1}",
        ];
        for rows in wrong {
            assert!(read(rows).is_err(), "{rows}");
        }
    }

    #[test]
    fn every_data_set_of_the_folder_is_in_order() {
        for name in ["edges", "places", "series"] {
            let dataset = Dataset::named(name).unwrap();
            assert!(dataset.rows.len() > dataset.layout.file, "{name} has several files");
            assert!(
                dataset.layout.file > dataset.layout.row_group,
                "{name} has several row groups"
            );
        }
    }
}
