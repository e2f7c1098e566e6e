use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array,
    Float32Array, Int8Array, LargeListArray, ListArray, UInt8Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType as ArrowType, Field, Float32Type};
use bytes::Bytes;
use half::f16;
use pandion_types::{DataType, ErrorKind};
use parquet::basic::{BrotliLevel, Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;
use proptest::prelude::*;

use super::*;
use crate::testing::{open, vector_field, write};

/// How a column holds vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    List,
    LargeList,
    FixedSizeList,
    ByteList,
    FixedSizeByteList,
    Fixed,
    Binary,
}

const SHAPES: [Shape; 7] = [
    Shape::List,
    Shape::LargeList,
    Shape::FixedSizeList,
    Shape::ByteList,
    Shape::FixedSizeByteList,
    Shape::Fixed,
    Shape::Binary,
];

const TYPES: [DataType; 5] = [
    DataType::FloatVector,
    DataType::Float16Vector,
    DataType::BFloat16Vector,
    DataType::Int8Vector,
    DataType::BinaryVector,
];

type Rows = Vec<Option<Vec<u8>>>;

/// The vectors of `rows`, given as their bytes, in a column of this shape; `None` when the type has
/// no such shape.
fn column(data_type: DataType, shape: Shape, rows: &Rows, width: usize) -> Option<ArrayRef> {
    let nulls = NullBuffer::from_iter(rows.iter().map(Option::is_some));
    let flat = || rows.iter().flatten().flatten().copied().collect::<Vec<u8>>();
    // Slots of fixed-size lists are there for null rows too.
    let padded = || {
        rows.iter()
            .flat_map(|row| row.clone().unwrap_or_else(|| vec![0; width]))
            .collect::<Vec<_>>()
    };
    let components = |bytes: Vec<u8>| -> Option<ArrayRef> {
        Some(match data_type {
            DataType::FloatVector => Arc::new(Float32Array::from_iter_values(
                bytes.chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())),
            )),
            DataType::Float16Vector => Arc::new(Float16Array::from_iter_values(
                bytes.chunks(2).map(|b| f16::from_le_bytes(b.try_into().unwrap())),
            )),
            DataType::Int8Vector => {
                Arc::new(Int8Array::from_iter_values(bytes.iter().map(|b| b.cast_signed())))
            }
            _ => return None,
        })
    };
    let list = |values: ArrayRef, unit: usize| {
        let item = Arc::new(Field::new("item", values.data_type().clone(), true));
        let lengths = rows.iter().map(move |row| row.as_ref().map_or(0, Vec::len) / unit);
        (item, lengths, values)
    };
    let bytes_array = |bytes: Vec<u8>| Arc::new(UInt8Array::from(bytes)) as ArrayRef;
    let unit = width / components(vec![0; width]).map_or(width, |array| array.len());
    Some(match shape {
        Shape::List => {
            let (item, lengths, values) = list(components(flat())?, unit);
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, Some(nulls)))
        }
        Shape::LargeList => {
            let (item, lengths, values) = list(components(flat())?, unit);
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(LargeListArray::new(item, offsets, values, Some(nulls)))
        }
        Shape::FixedSizeList => {
            let values = components(padded())?;
            let item = Arc::new(Field::new("element", values.data_type().clone(), false));
            let dim = i32::try_from(width / unit).unwrap();
            Arc::new(FixedSizeListArray::new(item, dim, values, Some(nulls)))
        }
        Shape::ByteList => {
            let (item, lengths, values) = list(bytes_array(flat()), 1);
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), values, Some(nulls)))
        }
        Shape::FixedSizeByteList => {
            let item = Arc::new(Field::new("item", ArrowType::UInt8, true));
            let dim = i32::try_from(width).unwrap();
            Arc::new(FixedSizeListArray::new(item, dim, bytes_array(padded()), Some(nulls)))
        }
        Shape::Fixed => {
            let size = i32::try_from(width).unwrap();
            let rows = rows.iter().map(|row| row.as_deref());
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, size).unwrap())
        }
        Shape::Binary => Arc::new(BinaryArray::from_iter(rows.iter().map(|row| row.as_deref()))),
    })
}

/// Random bytes of vectors, some rows null.
fn rows(count: usize, width: usize, null_every: Option<usize>, distinct: usize) -> Rows {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let pool: Vec<Vec<u8>> = (0..distinct.max(1))
        .map(|_| (0..width).map(|_| u8::try_from(next() >> 56).unwrap()).collect())
        .collect();
    (0..count)
        .map(|row| {
            let null = null_every.is_some_and(|every| row % every == every / 2);
            (!null).then(|| pool[row % pool.len()].clone())
        })
        .collect()
}

/// What the general reader says of the vectors: their bytes, row after row.
async fn oracle(file: &ParquetFile, field: &FieldSchema, row_group: usize) -> Rows {
    let fields = std::slice::from_ref(field);
    let batches = file.read(fields, row_group, None, &IoStats::default()).await.unwrap();
    batches.iter().flat_map(|batch| bytes_of(batch.column(0))).collect()
}

/// The vectors of an array of a canonical type.
fn bytes_of(array: &ArrayRef) -> Rows {
    (0..array.len())
        .map(|row| {
            array.is_valid(row).then(|| match array.as_fixed_size_binary_opt() {
                Some(bytes) => bytes.value(row).to_vec(),
                None => {
                    let values = array.as_fixed_size_list().value(row);
                    let floats = values.as_primitive::<Float32Type>();
                    floats.values().iter().flat_map(|value| value.to_le_bytes()).collect()
                }
            })
        })
        .collect()
}

/// Writes the rows, reads them back both ways, and compares all three.
async fn check(
    field: &FieldSchema,
    shape: Shape,
    rows: &Rows,
    properties: WriterProperties,
) -> Option<ParquetFile> {
    let width = field.vector_type().unwrap().bytes();
    let array = column(field.data_type, shape, rows, width)?;
    let file = open(write(&[("v", array)], properties)).await;
    assert_eq!(file.check(std::slice::from_ref(field)), [], "{shape:?}");
    let stats = IoStats::default();
    let mut read = Vec::new();
    for row_group in 0..file.row_groups() {
        let block = file.read_vectors(field, row_group, &stats).await.unwrap();
        let vectors: Rows =
            (0..block.rows()).map(|row| block.row(row).map(<[u8]>::to_vec)).collect();
        assert_eq!(vectors, oracle(&file, field, row_group).await, "{shape:?}");
        read.extend(vectors);
    }
    assert_eq!(&read, rows, "{field:?} {shape:?}");
    assert_eq!(stats.counts().read_requests, file.row_groups() as u64);
    assert_eq!(stats.counts().rows_decoded, rows.len() as u64);
    Some(file)
}

fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
    WriterProperties::builder().set_dictionary_enabled(false)
}

#[tokio::test]
async fn every_type_and_shape_reads_as_written_with_and_without_nulls() {
    let mut combinations = 0;
    for data_type in TYPES {
        let field = vector_field("v", data_type, 16);
        let width = field.vector_type().unwrap().bytes();
        for shape in SHAPES {
            for null_every in [None, Some(7), Some(1)] {
                let rows = rows(100, width, null_every, 90);
                let properties = properties().set_data_page_row_count_limit(13).build();
                combinations +=
                    usize::from(check(&field, shape, &rows, properties).await.is_some());
            }
        }
    }
    // 5 types have the 4 shapes of bytes, and 3 of them the 3 of components.
    assert_eq!(combinations, 3 * (5 * 4 + 3 * 3));
}

#[tokio::test]
async fn every_encoding_codec_and_page_version_reads_as_written() {
    let codecs = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::ZSTD(ZstdLevel::try_new(1).unwrap()),
        Compression::GZIP(GzipLevel::try_new(1).unwrap()),
        Compression::BROTLI(BrotliLevel::try_new(1).unwrap()),
        Compression::LZ4,
        Compression::LZ4_RAW,
    ];
    let cases = [
        (DataType::FloatVector, Shape::List, vec![Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT]),
        (DataType::Float16Vector, Shape::List, vec![Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT]),
        (
            DataType::Int8Vector,
            Shape::List,
            vec![Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT, Encoding::DELTA_BINARY_PACKED],
        ),
        (
            DataType::BFloat16Vector,
            Shape::Fixed,
            vec![Encoding::PLAIN, Encoding::BYTE_STREAM_SPLIT, Encoding::DELTA_BYTE_ARRAY],
        ),
        (
            DataType::FloatVector,
            Shape::Binary,
            vec![Encoding::PLAIN, Encoding::DELTA_LENGTH_BYTE_ARRAY, Encoding::DELTA_BYTE_ARRAY],
        ),
    ];
    for (data_type, shape, encodings) in cases {
        let field = vector_field("v", data_type, 24);
        let width = field.vector_type().unwrap().bytes();
        for encoding in encodings {
            for codec in codecs {
                for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
                    for null_every in [None, Some(9)] {
                        let properties = properties()
                            .set_encoding(encoding)
                            .set_compression(codec)
                            .set_writer_version(version)
                            .set_data_page_row_count_limit(20)
                            .build();
                        let rows = rows(64, width, null_every, 30);
                        check(&field, shape, &rows, properties).await.unwrap();
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn dictionaries_and_the_plain_pages_after_them_read_as_written() {
    for data_type in TYPES {
        let field = vector_field("v", data_type, 16);
        let width = field.vector_type().unwrap().bytes();
        for shape in SHAPES {
            for (distinct, limit) in [(3, 1 << 20), (400, 600)] {
                let properties = WriterProperties::builder()
                    .set_dictionary_page_size_limit(limit)
                    .set_data_page_size_limit(700)
                    .set_write_batch_size(8)
                    .set_compression(Compression::SNAPPY)
                    .build();
                let rows = rows(400, width, (distinct == 3).then_some(11), distinct);
                check(&field, shape, &rows, properties).await;
            }
        }
    }
}

#[tokio::test]
async fn several_row_groups_and_an_empty_file_read_as_written() {
    let field = vector_field("v", DataType::FloatVector, 8);
    let properties = || properties().set_max_row_group_row_count(Some(30)).build();
    let file =
        check(&field, Shape::List, &rows(100, 32, Some(40), 100), properties()).await.unwrap();
    assert_eq!(file.row_groups(), 4);
    check(&field, Shape::List, &Vec::new(), properties()).await.unwrap();
}

#[tokio::test]
async fn wrong_lengths_and_null_elements_are_named() {
    let field = vector_field("v", DataType::FloatVector, 4);
    let list = |lists: Vec<Option<Vec<Option<f32>>>>| {
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(lists)) as ArrayRef
    };
    let good = || Some(vec![Some(1.0); 4]);
    let binary = |lengths: &[usize]| {
        let rows = lengths.iter().map(|&length| Some(vec![0_u8; length]));
        Arc::new(BinaryArray::from_iter(rows)) as ArrayRef
    };
    let name = "field 'v' (external_field 'v')";
    let length = |row, actual| {
        format!("vector list length mismatch for {name} at row {row}, expected 4, actual {actual}")
    };
    let cases = [
        (list(vec![good(), None, Some(vec![Some(1.0); 3]), good()]), length(2, 3)),
        (list(vec![good(), Some(vec![Some(1.0); 5]), good()]), length(1, 5)),
        (list(vec![good(), good(), Some(vec![Some(1.0); 2])]), length(2, 2)),
        (list(vec![good(), Some(vec![]), good()]), length(1, 0)),
        // Rows whose lengths are wrong and add up to what they should.
        (list(vec![Some(vec![Some(1.0); 3]), Some(vec![Some(1.0); 5])]), length(0, 3)),
        (
            list(vec![good(), Some(vec![Some(1.0), None, Some(1.0), Some(1.0)])]),
            format!("{name} at row 1 has a null element in its vector"),
        ),
        (
            binary(&[16, 16, 12, 16]),
            format!("vector byte width mismatch for {name} at row 2, expected 16, actual 12"),
        ),
    ];
    for (array, expected) in cases {
        for dictionary in [false, true] {
            let properties = WriterProperties::builder().set_dictionary_enabled(dictionary).build();
            let file = open(write(&[("v", Arc::clone(&array))], properties)).await;
            let error = file.read_vectors(&field, 0, &IoStats::default()).await.unwrap_err();
            let expected = format!("s3://bucket/a.parquet: row group 0: {expected}");
            assert_eq!((error.kind(), error.message()), (ErrorKind::Corrupt, expected.as_str()));
            let read = file.read(std::slice::from_ref(&field), 0, None, &IoStats::default()).await;
            let general = read.unwrap_err();
            assert_eq!(general.message(), expected, "both ways say the same");
        }
    }
}

#[tokio::test]
async fn a_list_of_another_dimension_is_found_in_the_footer() {
    let file = {
        let rows = rows(50, 32, Some(10), 50);
        let array = column(DataType::FloatVector, Shape::List, &rows, 32).unwrap();
        open(write(&[("v", array)], properties().set_max_row_group_row_count(Some(20)).build()))
            .await
    };
    assert_eq!(file.check(&[vector_field("v", DataType::FloatVector, 8)]), []);
    let problems = file.check(&[vector_field("v", DataType::FloatVector, 12)]);
    let groups: Vec<_> = problems.iter().map(|problem| problem.row_group).collect();
    assert_eq!(groups, [Some(0), Some(1), Some(2)]);
    assert!(problems[0].message.starts_with("vector list length mismatch"), "{problems:?}");
    assert!(problems[0].message.ends_with("of 12 values"), "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_file_reads_as_written(
        dim in 1_usize..40,
        count in 0_usize..300,
        data_type in prop::sample::select(&TYPES[..4]),
        shape in prop::sample::select(&SHAPES[..]),
        null_every in prop::option::of(1_usize..20),
        distinct in 1_usize..300,
        dictionary in any::<bool>(),
        v2 in any::<bool>(),
        codec in prop::sample::select(vec![
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(ZstdLevel::default()),
        ]),
        (page_rows, batch, group_rows) in (1_usize..200, 1_usize..64, 20_usize..200),
    ) {
        let field = vector_field("v", data_type, dim);
        let rows = rows(count, field.vector_type().unwrap().bytes(), null_every, distinct);
        let version = if v2 { WriterVersion::PARQUET_2_0 } else { WriterVersion::PARQUET_1_0 };
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_dictionary_page_size_limit(2000)
            .set_writer_version(version)
            .set_compression(codec)
            .set_data_page_row_count_limit(page_rows)
            .set_write_batch_size(batch)
            .set_max_row_group_row_count(Some(group_rows))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_column_statistics_enabled(ColumnPath::from("v"), EnabledStatistics::None)
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&field, shape, &rows, properties));
    }
}

/// Cuts one page of a column of lists anew, so that pages begin inside of rows, as those of writers
/// do that count values and not rows.
mod recut {
    use super::*;
    use crate::pages::split;

    fn varint(mut value: u64, out: &mut Vec<u8>) {
        while value >= 0x80 {
            out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).unwrap());
    }

    /// Levels of one bit or more, packed.
    fn packed(levels: &[u8], width: usize) -> Vec<u8> {
        let groups = levels.len().div_ceil(8);
        let mut bits = vec![0_u8; groups * width];
        for (at, level) in levels.iter().enumerate() {
            for bit in 0..width {
                let to = at * width + bit;
                bits[to / 8] |= (level >> bit & 1) << (to % 8);
            }
        }
        let mut bytes = Vec::new();
        varint((groups as u64) << 1 | 1, &mut bytes);
        bytes.extend(bits);
        bytes
    }

    fn page(repetition: &[u8], definition: &[u8], values: &[u8], width: usize) -> Vec<u8> {
        let mut body = Vec::new();
        for levels in [packed(repetition, 1), packed(definition, width)] {
            body.extend(u32::try_from(levels.len()).unwrap().to_le_bytes());
            body.extend(levels);
        }
        body.extend(values);
        let mut page = vec![0x15, 0x00];
        for _ in 0..2 {
            page.push(0x15);
            varint((body.len() as u64) << 1, &mut page);
        }
        // Field 5: the header of a data page, with its count, PLAIN, RLE and RLE.
        page.extend([0x2c, 0x15]);
        varint((repetition.len() as u64) << 1, &mut page);
        page.extend([0x15, 0x00, 0x15, 0x06, 0x15, 0x06, 0x00, 0x00]);
        page.extend(body);
        page
    }

    /// The chunk of `file`, which has one page, cut into pages of these numbers of levels.
    pub(super) fn recut(
        file: &ParquetFile,
        chunk: &Bytes,
        cuts: &[usize],
    ) -> (Bytes, parquet::file::metadata::ColumnChunkMetaData) {
        let column = file.metadata().row_group(0).column(0);
        let pages: Vec<_> = Pages::new(chunk, column).collect::<Result<_, _>>().unwrap();
        assert_eq!(pages.len(), 1);
        let count = pages[0].header.values;
        let parts = split(&pages[0].header, &chunk[pages[0].body.clone()], column).unwrap();
        let max = u8::try_from(column.column_descr().max_def_level()).unwrap();
        let width = levels::level_width(max) as usize;
        let (mut repetition, mut definition) = (Vec::new(), Vec::new());
        levels::decode_levels(parts.repetition, 1, count, &mut repetition).unwrap();
        levels::decode_levels(parts.definition, max, count, &mut definition).unwrap();
        let (mut bytes, mut at, mut value) = (Vec::new(), 0, 0);
        let mut cuts = cuts.iter().cycle();
        while at < count {
            let end = (at + cuts.next().unwrap()).min(count);
            let present = definition[at..end].iter().filter(|&&level| level == max).count();
            let values = &parts.values[value * 4..(value + present) * 4];
            bytes.extend(page(&repetition[at..end], &definition[at..end], values, width));
            (at, value) = (end, value + present);
        }
        let column =
            parquet::file::metadata::ColumnChunkMetaData::builder(column.column_descr_ptr())
                .set_num_values(column.num_values())
                .set_total_compressed_size(i64::try_from(bytes.len()).unwrap())
                .build()
                .unwrap();
        (Bytes::from(bytes), column)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn pages_may_begin_inside_of_rows(
        dim in 1_usize..40,
        count in 1_usize..100,
        null_every in prop::option::of(2_usize..60),
        cuts in prop::collection::vec(1_usize..90, 1..5),
    ) {
        let field = vector_field("v", DataType::FloatVector, dim);
        let expected = rows(count, dim * 4, null_every, 100);
        let array = column(DataType::FloatVector, Shape::List, &expected, dim * 4).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (file, chunk) = runtime.block_on(async {
            let file = open(write(&[("v", array)], properties().build())).await;
            let range = file.vector_range(&field, 0).unwrap();
            let chunk = file.object().read_range(range, &IoStats::default()).await.unwrap();
            (file, chunk)
        });
        let (bytes, metadata) = recut::recut(&file, &chunk, &cuts);
        let (_, layout) = file.vector_column(&field).unwrap().unwrap();
        let pages: Vec<_> = Pages::new(&bytes, &metadata).collect::<Result<_, _>>().unwrap();
        let place = || "here".to_owned();
        let chunk = Chunk {
            bytes: &bytes,
            column: &metadata,
            layout,
            place: &place,
            label: "v",
            offset: 0,
        };
        let block = Assembler::new(&chunk, count).unwrap().run(&pages).unwrap();
        let read: Rows = (0..count).map(|row| block.row(row).map(<[u8]>::to_vec)).collect();
        prop_assert_eq!(read, expected);
        let short = Assembler::new(&chunk, count - 1).unwrap().run(&pages).unwrap_err();
        prop_assert_eq!(short.kind(), ErrorKind::Corrupt);
        let long = Assembler::new(&chunk, count + 1).unwrap().run(&pages).unwrap_err();
        prop_assert_eq!(long.kind(), ErrorKind::Corrupt);
    }
}

#[tokio::test]
async fn taking_vectors_fetches_only_their_pages() {
    let field = vector_field("v", DataType::FloatVector, 32);
    let rows = rows(4000, 128, None, 4000);
    let array = column(DataType::FloatVector, Shape::List, &rows, 128).unwrap();
    let properties = properties().set_data_page_row_count_limit(100).set_write_batch_size(50);
    let file = open(write(&[("v", array)], properties.build())).await;
    let stats = IoStats::default();
    file.page_index(&stats).await.unwrap();
    let index = stats.counts();
    let batch = file.take(std::slice::from_ref(&field), &[150, 160, 3950], &stats).await.unwrap();
    let expected: Rows = [150, 160, 3950].map(|row: usize| rows[row].clone()).to_vec();
    assert_eq!(bytes_of(batch.column(0)), expected);
    let counts = stats.counts();
    assert_eq!(counts.read_requests - index.read_requests, 2);
    // Two pages of 100 vectors of 128 bytes, with their levels, of 512,000 bytes in all.
    let bytes = counts.bytes_read - index.bytes_read;
    assert!((25_600..30_000).contains(&bytes), "{bytes}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_vectors_can_be_taken(
        taken in prop::collection::btree_set(0_u32..400, 0..40),
        data_type in prop::sample::select(&TYPES[..4]),
        shape in prop::sample::select(&SHAPES[..]),
        null_every in prop::option::of(1_usize..20),
        dictionary in any::<bool>(),
        has_index in any::<bool>(),
        (page_rows, group_rows) in (1_usize..100, 50_usize..400),
    ) {
        let field = vector_field("v", data_type, 6);
        let width = field.vector_type().unwrap().bytes();
        let expected = rows(400, width, null_every, 300);
        let Some(array) = column(data_type, shape, &expected, width) else { return Ok(()) };
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(dictionary)
            .set_dictionary_page_size_limit(1000)
            .set_data_page_row_count_limit(page_rows)
            .set_write_batch_size(16)
            .set_max_row_group_row_count(Some(group_rows))
            .set_offset_index_disabled(!has_index)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_compression(Compression::SNAPPY)
            .build();
        let taken: Vec<u32> = taken.into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let batch = runtime.block_on(async {
            let file = open(write(&[("v", array)], properties)).await;
            let stats = IoStats::default();
            let batch = file.take(std::slice::from_ref(&field), &taken, &stats).await.unwrap();
            assert_eq!(stats.counts().rows_decoded, taken.len() as u64);
            batch
        });
        prop_assert_eq!(
            batch.column(0).data_type(),
            &columns::canonical_type(&field).unwrap()
        );
        let expected: Rows =
            taken.iter().map(|&row| expected[usize::try_from(row).unwrap()].clone()).collect();
        prop_assert_eq!(bytes_of(batch.column(0)), expected);
    }
}
