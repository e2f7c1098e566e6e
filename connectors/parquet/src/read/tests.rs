use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Int8Array, Int64Array, StringArray,
    StringDictionaryBuilder, TimestampMillisecondArray,
};
use arrow::datatypes::{Int8Type, Int64Type, TimestampMicrosecondType};
use pandion_types::{DataType, ErrorKind};
use parquet::arrow::arrow_reader::RowSelector;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use proptest::prelude::*;

use super::*;
use crate::testing::{field, open, vector_field, write};

const ROWS: usize = 20_000;

/// Pages of 500 rows, row groups of 7,000.
fn paged() -> WriterProperties {
    WriterProperties::builder()
        .set_data_page_row_count_limit(500)
        .set_write_batch_size(100)
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(7000))
        .build()
}

fn columns_of(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let count = i64::try_from(rows).unwrap();
    let texts = (0..rows).map(|row| (row % 10 != 3).then(|| format!("text of row {row}")));
    vec![
        ("n", Arc::new(Int64Array::from_iter_values(0..count)) as ArrayRef),
        ("s", Arc::new(StringArray::from_iter(texts))),
        ("b", Arc::new(BooleanArray::from_iter((0..rows).map(|row| Some(row % 3 == 0))))),
        ("x", Arc::new(Float32Array::from_iter_values((0..rows).map(|_| 0.5)))),
    ]
}

fn fields() -> [FieldSchema; 2] {
    [field("s", DataType::VarChar), field("n", DataType::Int64)]
}

#[tokio::test]
async fn columns_come_in_the_order_of_the_fields_with_canonical_types() {
    let mut categories = StringDictionaryBuilder::<Int8Type>::new();
    categories.extend((0..100).map(|row| Some(["red", "green"][row % 2])));
    let times = (0..100).map(|row| (row != 5).then_some(row * 1000));
    let file = open(write(
        &[
            ("t", Arc::new(TimestampMillisecondArray::from_iter(times)) as ArrayRef),
            ("c", Arc::new(categories.finish())),
            ("i", Arc::new(Int8Array::from_iter_values(0..100))),
        ],
        WriterProperties::default(),
    ))
    .await;
    let mut renamed = field("colour", DataType::VarChar);
    renamed.external_field = Some("c".to_owned());
    let fields = [field("i", DataType::Int8), renamed, field("t", DataType::Timestamptz)];
    assert_eq!(file.check(&fields), []);
    let stats = IoStats::default();
    let batches = file.read(&fields, 0, None, &stats).await.unwrap();
    let [batch] = batches.as_slice() else { panic!("{} batches", batches.len()) };
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["i", "colour", "t"]);
    for (field, array) in fields.iter().zip(batch.columns()) {
        assert_eq!(array.data_type(), &columns::canonical_type(field).unwrap());
    }
    assert_eq!(batch.column(0).as_primitive::<Int8Type>().value(99), 99);
    assert_eq!(batch.column(1).as_string::<i32>().value(3), "green");
    let times = batch.column(2).as_primitive::<TimestampMicrosecondType>();
    assert_eq!((times.value(7), times.is_null(5)), (7_000_000, true));
    assert_eq!(stats.counts().rows_decoded, 100);
}

#[tokio::test]
async fn a_selection_fetches_only_its_pages() {
    let bytes = write(&columns_of(ROWS), paged());
    let size = bytes.len() as u64;
    let file = open(bytes).await;
    let stats = IoStats::default();
    file.page_index(&stats).await.unwrap();
    let index = stats.counts();
    assert_eq!(index.read_requests, 1);
    // Rows 1,200 and 1,201 of the second row group lie in one page of each column.
    let selection = RowSelection::from(vec![
        RowSelector::skip(1200),
        RowSelector::select(2),
        RowSelector::skip(5798),
    ]);
    let batches = file.read(&fields(), 1, Some(selection), &stats).await.unwrap();
    let [batch] = batches.as_slice() else { panic!("{} batches", batches.len()) };
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[8200, 8201]);
    assert_eq!(batch.column(0).as_string::<i32>().value(1), "text of row 8201");
    let counts = stats.counts();
    assert!(counts.read_requests <= index.read_requests + 2, "{counts:?}");
    // Two pages: 500 numbers, and 500 texts of some 20 bytes.
    let read = counts.bytes_read - index.bytes_read;
    assert!(read < 24_000 || counts.read_requests == index.read_requests + 1, "{read} of {size}");
    assert_eq!(counts.rows_decoded, 2);
}

#[tokio::test]
async fn rows_are_taken_in_order_across_row_groups_and_the_index_is_read_once() {
    let file = open(write(&columns_of(ROWS), paged())).await;
    let stats = IoStats::default();
    let rows = [0, 1, 2, 499, 500, 6999, 7000, 13_999, 14_000, 19_999];
    for round in 1..=2 {
        let batch = file.take(&fields(), &rows, &stats).await.unwrap();
        let numbers: Vec<i64> = rows.iter().map(|&row| i64::from(row)).collect();
        assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &numbers);
        assert_eq!(batch.column(0).as_string::<i32>().value(3), "text of row 499");
        assert_eq!(stats.counts().rows_decoded, round * 10);
    }
    let empty = file.take(&fields(), &[], &stats).await.unwrap();
    assert_eq!((empty.num_rows(), empty.num_columns()), (0, 2));
    let wrong = [vec![3, 2], vec![4, 4], vec![u32::try_from(ROWS).unwrap()]];
    for rows in wrong {
        assert_eq!(
            file.take(&fields(), &rows, &stats).await.unwrap_err().kind(),
            ErrorKind::Internal
        );
    }
}

#[tokio::test]
async fn of_a_large_page_index_only_the_part_of_the_row_group_is_read() {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(8000))
        .set_data_page_row_count_limit(20)
        .set_write_batch_size(20)
        .set_dictionary_enabled(false)
        .build();
    let bytes = write(&columns_of(24_000), properties);
    let (file, whole) = (open(bytes.clone()).await, open(bytes).await);
    let (of_file, of_whole) = (IoStats::default(), IoStats::default());
    whole.page_index(&of_whole).await.unwrap();
    for row in [16_001, 16_002] {
        let part = file.take(&fields(), &[row], &of_file).await.unwrap();
        assert_eq!(part, whole.take(&fields(), &[row], &of_whole).await.unwrap());
    }
    let (part, all) = (of_file.counts(), of_whole.counts());
    assert!(part.bytes_read * 3 < all.bytes_read * 2, "{part:?}, {all:?}");
    // The part is read once for both rows, as the whole is.
    assert_eq!(part.read_requests, all.read_requests);
}

#[tokio::test]
async fn a_file_without_page_index_is_read_whole_and_right() {
    let properties = WriterProperties::builder()
        .set_offset_index_disabled(true)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::GZIP(parquet::basic::GzipLevel::default()))
        .build();
    let file = open(write(&columns_of(3000), properties)).await;
    let stats = IoStats::default();
    let index = file.page_index(&stats).await.unwrap();
    assert!(index.offset_index().is_none());
    assert_eq!(stats.counts().read_requests, 0, "there is nothing to read");
    let batch = file.take(&fields(), &[7, 2999], &stats).await.unwrap();
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[7, 2999]);
}

#[tokio::test]
async fn no_fields_give_rows_and_cost_nothing() {
    let file = open(write(&columns_of(100), WriterProperties::default())).await;
    let stats = IoStats::default();
    let batches = file.read(&[], 0, None, &stats).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 100);
    assert_eq!(file.take(&[], &[3, 9], &stats).await.unwrap().num_rows(), 2);
    assert_eq!(stats.counts().read_requests, 0);
}

#[tokio::test]
async fn columns_that_are_not_there_or_of_another_type_are_named() {
    let file = open(write(&columns_of(10), WriterProperties::default())).await;
    let stats = IoStats::default();
    let missing = file.read(&[field("S", DataType::VarChar)], 0, None, &stats).await.unwrap_err();
    assert_eq!(missing.message(), "s3://bucket/a.parquet: Column 'S' not found in schema");
    let other = file.take(&[field("s", DataType::Int64)], &[1], &stats).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidArgument);
    assert!(other.message().contains("expected Arrow int64, actual Arrow string"), "{other}");
    let fields = [
        field("S", DataType::VarChar),
        field("n", DataType::Int64),
        field("s", DataType::Int64),
        vector_field("x", DataType::FloatVector, 4),
    ];
    let problems = file.check(&fields);
    let named: Vec<_> = problems
        .iter()
        .map(|problem| (problem.column.as_str(), problem.field.as_str(), problem.row_group))
        .collect();
    assert_eq!(named, [("S", "S", None), ("s", "s", None), ("x", "x", None)], "{problems:?}");
    assert_eq!(problems[0].message, "Column 'S' not found in schema");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn any_rows_can_be_taken(
        rows in prop::collection::btree_set(0_u32..3000, 0..60),
        page_rows in 1_usize..800,
        group_rows in 300_usize..3000,
        has_index in any::<bool>(),
    ) {
        let properties = WriterProperties::builder()
            .set_data_page_row_count_limit(page_rows)
            .set_write_batch_size(64)
            .set_max_row_group_row_count(Some(group_rows))
            .set_offset_index_disabled(!has_index)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .build();
        let rows: Vec<u32> = rows.into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batch = runtime.block_on(async {
            let file = open(write(&columns_of(3000), properties)).await;
            file.take(&fields(), &rows, &IoStats::default()).await.unwrap()
        });
        let numbers = batch.column(1).as_primitive::<Int64Type>();
        let texts = batch.column(0).as_string::<i32>();
        prop_assert_eq!(batch.num_rows(), rows.len());
        for (at, &row) in rows.iter().enumerate() {
            prop_assert_eq!(numbers.value(at), i64::from(row));
            prop_assert_eq!(texts.is_valid(at), row % 10 != 3);
            if texts.is_valid(at) {
                prop_assert_eq!(texts.value(at), format!("text of row {row}"));
            }
        }
    }
}
