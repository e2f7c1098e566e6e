use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Int64Array, ListArray, StringArray};
use arrow::datatypes::{Float32Type, Int64Type};
use pandion_types::{DataType, ErrorKind, FieldSchema};
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};

use super::*;
use crate::ParquetFile;
use crate::testing::{field, object, open, try_open, vector_field, write};

fn numbers(rows: i64) -> Vec<(&'static str, ArrayRef)> {
    vec![("n", Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef)]
}

fn with_metadata(bytes: usize) -> WriterProperties {
    let value = "x".repeat(bytes);
    let metadata = vec![KeyValue::new("note".to_owned(), value)];
    WriterProperties::builder().set_key_value_metadata(Some(metadata)).build()
}

#[test]
fn schemas_are_trees_of_bounded_depth() {
    check_schema(&[2, 0, 1, 0]).unwrap();
    check_schema(&[0]).unwrap();
    check_schema(&[]).unwrap();
    assert!(check_schema(&[1, 0, 0]).is_err(), "two trees");
    assert!(check_schema(&[i64::from(i32::MAX), 0]).is_err());
    assert!(check_schema(&[-1]).is_err());
    let deep = [vec![1; 1000], vec![0]].concat();
    assert_eq!(check_schema(&deep), Err("has a schema that nests too deep"));
    let wide = [vec![1000], vec![0; 1000]].concat();
    check_schema(&wide).unwrap();
}

#[tokio::test]
async fn a_footer_takes_one_request_or_two() {
    let tail = usize::try_from(TAIL_BYTES).unwrap();
    for (rows, note, requests) in [
        (10, 0, 1),
        (100_000, 0, 1),
        (100_000, tail - 3000, 1),
        (10, tail + 1, 2),
        (100_000, 5 * tail, 2),
    ] {
        let bytes = write(&numbers(rows), with_metadata(note));
        let length = bytes.len();
        let object = object(bytes.clone()).await;
        let stats = IoStats::default();
        let footer = read_footer(&object, &stats).await.unwrap();
        assert_eq!(footer, bytes[length - 8 - footer.len()..length - 8]);
        let counts = stats.counts();
        assert_eq!(counts.read_requests, requests, "{rows} rows, {note} bytes");
        assert!(counts.bytes_read <= TAIL_BYTES.max(footer.len() as u64 + 8));
        let file = ParquetFile::open(object, &footer).unwrap();
        assert_eq!(file.rows(), u64::try_from(rows).unwrap());
    }
}

#[tokio::test]
async fn files_that_do_not_end_as_parquet_are_refused() {
    let good = write(&numbers(10), WriterProperties::default());
    let end = good.len();
    let with_tail = |tail: &[u8]| {
        let mut bytes = good.to_vec();
        bytes.truncate(end - tail.len());
        bytes.extend(tail);
        Bytes::from(bytes)
    };
    let cases = [
        (Bytes::new(), "it has 0 bytes", ErrorKind::Corrupt),
        (good.slice(..11), "it has 11 bytes", ErrorKind::Corrupt),
        (good.slice(..end - 1), "no magic word at offset", ErrorKind::Corrupt),
        (with_tail(b"PARE"), "is encrypted", ErrorKind::Unsupported),
        (
            with_tail(b"\xff\xff\xff\x7fPAR1"),
            "a footer of 2147483647 bytes is claimed at offset",
            ErrorKind::Corrupt,
        ),
        (with_tail(b"\0\0\0\0PAR1"), "footer ends too early", ErrorKind::Corrupt),
    ];
    for (bytes, text, kind) in cases {
        let error = try_open(bytes).await.unwrap_err();
        assert!(error.message().contains(text), "{error}");
        assert!(error.message().starts_with("s3://bucket/a.parquet"), "{error}");
        assert_eq!(error.kind(), kind);
    }
}

#[tokio::test]
async fn a_footer_that_contradicts_the_file_is_refused() {
    let good = write(&numbers(5000), WriterProperties::default());
    let object = object(good.clone()).await;
    let footer = read_footer(&object, &IoStats::default()).await.unwrap();
    ParquetFile::open(object.clone(), &footer).unwrap();
    let mut shorter = object.clone();
    shorter.identity.size = 1000;
    let error = ParquetFile::open(shorter, &footer).unwrap_err();
    assert!(error.message().contains("bytes beyond the end of the file in column"), "{error}");
    let cut = ParquetFile::open(object, &footer.slice(..footer.len() / 2)).unwrap_err();
    assert!(cut.message().contains("ends too early (offset"), "{cut}");
}

/// What a refresh and a query do with a file. Errors are welcome, panics and aborts are not.
async fn use_file(bytes: Bytes, fields: &[FieldSchema]) -> Option<()> {
    let file = try_open(bytes).await.ok()?;
    let stats = IoStats::default();
    let _problems = file.check(fields);
    let _statistics = file.statistics(fields);
    let (vector, scalars) = fields.split_last()?;
    let mut sound = file.page_index(&stats).await.is_ok();
    for row_group in 0..file.row_groups() {
        sound &= file.read(scalars, row_group, None, &stats).await.is_ok();
        sound &= file.read_vectors(vector, row_group, &stats).await.is_ok();
    }
    sound &= file.take(fields, &[2, 3, 10, 19], &stats).await.is_ok();
    sound.then_some(())
}

fn small_file(properties: WriterProperties) -> (Bytes, Vec<FieldSchema>) {
    let vectors = (0..20_u8).map(|row| (row != 4).then(|| vec![Some(f32::from(row)); 4]));
    let lists =
        (0..20_i64).map(|row| (row != 9).then(|| (0..row % 4).map(Some).collect::<Vec<_>>()));
    let bytes = write(
        &[
            ("a", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)) as ArrayRef),
            ("n", Arc::new(Int64Array::from_iter((0..20).map(|row| (row != 7).then_some(row))))),
            ("s", Arc::new(StringArray::from_iter_values((0..20).map(|row| format!("row {row}"))))),
            ("x", Arc::new(Float32Array::from(vec![0.25; 20]))),
            ("v", Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(vectors))),
        ],
        properties,
    );
    let mut array = field("a", DataType::Array);
    array.element_type = Some(DataType::Int64);
    let fields = vec![
        array,
        field("n", DataType::Int64),
        field("s", DataType::VarChar),
        field("x", DataType::Float),
        vector_field("v", DataType::FloatVector, 4),
    ];
    (bytes, fields)
}

#[tokio::test]
async fn no_flipped_or_missing_byte_ends_the_process() {
    let codecs = [
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0),
        (Compression::SNAPPY, WriterVersion::PARQUET_2_0),
        (Compression::ZSTD(ZstdLevel::default()), WriterVersion::PARQUET_1_0),
        (Compression::GZIP(GzipLevel::default()), WriterVersion::PARQUET_2_0),
        (Compression::BROTLI(BrotliLevel::default()), WriterVersion::PARQUET_1_0),
        (Compression::LZ4, WriterVersion::PARQUET_1_0),
    ];
    for (number, (codec, version)) in codecs.into_iter().enumerate() {
        let properties = WriterProperties::builder()
            .set_compression(codec)
            .set_writer_version(version)
            .set_data_page_row_count_limit(6)
            .set_write_batch_size(3)
            .set_max_row_group_row_count(Some(12))
            .build();
        let (good, fields) = small_file(properties);
        use_file(good.clone(), &fields).await.unwrap();
        let mut refused = 0;
        // All positions of the first file, every third of the others.
        let step = if number == 0 { 1 } else { 3 };
        for at in (number % step..good.len()).step_by(step) {
            // Each position meets one of these; the next codec's file meets the next of them.
            let mask = [0xff, 0x01, 0x80, 0x10][(at + number) % 4];
            let mut bytes = good.to_vec();
            bytes[at] ^= mask;
            refused += usize::from(use_file(Bytes::from(bytes), &fields).await.is_none());
        }
        assert!(refused > good.len() / step / 4, "{refused} of {} were noticed", good.len());
        for end in (0..good.len()).step_by(7) {
            assert!(use_file(good.slice(..end), &fields).await.is_none(), "cut at {end}");
        }
    }
}

#[tokio::test]
async fn a_column_that_stands_twice_is_refused() {
    let twice = {
        use arrow::array::RecordBatch;
        use arrow::datatypes::{DataType as ArrowType, Field, Schema};
        let fields = ["n", "n", "m"].map(|name| Field::new(name, ArrowType::Int64, true));
        let columns = (0..3).map(|_| Arc::clone(&numbers(5)[0].1)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields.to_vec())), columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        Bytes::from(bytes)
    };
    let file = open(twice).await;
    let (n, m) = (field("n", DataType::Int64), field("m", DataType::Int64));
    let problems = file.check(&[n.clone(), m.clone()]);
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "Column 'n' stands 2 times in schema");
    let stats = IoStats::default();
    assert!(file.read(&[n], 0, None, &stats).await.is_err());
    assert_eq!(file.read(&[m], 0, None, &stats).await.unwrap()[0].num_rows(), 5);
}
