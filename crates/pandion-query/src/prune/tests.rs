//! Pruning in files of tables, whose columns had other names and types when they were written.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Float32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pandion_connector_parquet::read_footer;
use pandion_filter::Templates;
use pandion_manifest::TableColumn;
use pandion_source::PinnedObject;
use pandion_types::{CollectionSchema, ContentTag, DataType, FieldId, FileIdentity};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::filter::CompiledFilter;

const ROWS: i64 = 300;

fn field(id: i64, name: &str, data_type: DataType) -> FieldSchema {
    FieldSchema::mapped(id, name, data_type)
}

fn schema() -> CollectionSchema {
    let fields = vec![
        field(101, "up", DataType::Int64),
        field(102, "down", DataType::Int64),
        field(103, "text", DataType::VarChar),
        field(104, "real", DataType::Double),
        field(105, "added", DataType::Int64),
    ];
    CollectionSchema { fields, ..CollectionSchema::default() }
}

fn table() -> Vec<TableColumn> {
    let column = |field: i64, column_id, column_type: &str| TableColumn {
        field: FieldId(field),
        column_id,
        name: String::new(),
        names: Vec::new(),
        column_type: column_type.to_owned(),
        default: (field == 105).then_some(StatValue::Int(7)),
    };
    vec![
        column(101, 1, "long"),
        column(102, 2, "long"),
        column(103, 3, "string"),
        column(104, 4, "double"),
        column(105, 5, "long"),
    ]
}

/// Row groups of 100 rows, pages of 10; the names of two columns are those of each other, and the
/// name of a column that came later is that of one that is gone.
async fn file() -> ParquetFile {
    let rows = || 0..ROWS;
    let real = rows().map(|row| f32::from(i16::try_from(row).unwrap()) / 4.0);
    let columns: Vec<(&str, i32, ArrayRef)> = vec![
        ("added", 9, Arc::new(Int64Array::from_iter_values(rows()))),
        ("down", 1, Arc::new(Int64Array::from_iter_values(rows()))),
        ("up", 2, Arc::new(Int32Array::from_iter_values((0..300).map(|row| 1000 - row)))),
        ("was", 3, Arc::new(StringArray::from_iter_values(rows().map(|row| format!("{row:04}"))))),
        ("real", 4, Arc::new(Float32Array::from_iter_values(real))),
    ];
    let fields: Vec<Field> = (columns.iter())
        .map(|(name, id, array)| {
            let id = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
            Field::new(*name, array.data_type().clone(), true).with_metadata(id)
        })
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(100))
        .set_data_page_row_count_limit(10)
        .set_write_batch_size(10)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, schema, Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Path::from("a.parquet");
    let size = bytes.len() as u64;
    store.put(&location, Bytes::from(bytes).into()).await.unwrap();
    let identity =
        FileIdentity { uri: "memory://a.parquet".to_owned(), size, tag: ContentTag::Immutable };
    let object = PinnedObject::new(store, location, identity);
    let footer = read_footer(&object, &IoStats::default()).await.unwrap();
    ParquetFile::open_of_table(object, &footer, &table(), &[]).unwrap()
}

fn kept(plan: &ParquetAccessPlan) -> BTreeSet<i64> {
    let mut rows = BTreeSet::new();
    for (start, access) in (0..).step_by(100).zip(plan.inner()) {
        match access {
            RowGroupAccess::Skip => {}
            RowGroupAccess::Scan => rows.extend(start..start + 100),
            RowGroupAccess::Selection(selection) => {
                let mut at = start;
                for part in selection.iter() {
                    let count = i64::try_from(part.row_count).unwrap();
                    if !part.skip {
                        rows.extend(at..at + count);
                    }
                    at += count;
                }
            }
        }
    }
    rows
}

async fn check(text: &str, matches: impl Fn(i64) -> bool, kept_max: usize) {
    let schema = schema();
    let filter = pandion_filter::parse(text, &schema, &Templates::new()).unwrap();
    let filter = CompiledFilter::new(&filter, &schema, 0).unwrap();
    let file = file().await;
    for _ in 0..2 {
        let plan = filter.pruner().pages(&file, &IoStats::default()).await.unwrap();
        let kept = kept(&plan);
        let lost: Vec<i64> = (0..ROWS).filter(|row| matches(*row) && !kept.contains(row)).collect();
        assert_eq!(lost, Vec::<i64>::new(), "{text}");
        assert!(kept.len() <= kept_max, "{text}: {} rows are left", kept.len());
    }
}

#[tokio::test]
async fn statistics_are_those_of_the_column_with_the_id() {
    check("up == 55", |row| row == 55, 10).await;
    check("up >= 200", |row| row >= 200, 100).await;
    check("up == 945", |_| false, 0).await;
    check("text == \"0123\"", |row| row == 123, 10).await;
    check("up >= 250 and text < \"0260\"", |row| (250..260).contains(&row), 10).await;
}

#[tokio::test]
async fn columns_that_were_narrower_or_did_not_exist_lose_no_row() {
    let all = usize::try_from(ROWS).unwrap();
    check("down == 945", |row| row == 55, all).await;
    check("down == 55", |_| false, all).await;
    check("real == 0.5", |row| row == 2, all).await;
    check("added == 7", |_| true, all).await;
    check("added == 8", |_| false, all).await;
    check("added is null", |_| false, all).await;
}

#[tokio::test]
async fn a_column_without_statistics_does_not_keep_the_others_from_being_used() {
    check("up == 55 and added == 7", |row| row == 55, 10).await;
    check("up == 55 and down == 945", |row| row == 55, 10).await;
    check("up == 55 or added == 8", |row| row == 55, 300).await;
}
