use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray,
};
use arrow::datatypes::{
    Fields, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use bytes::Bytes;
use pandion_manifest::ColumnStatistics;
use pandion_source::IoStats;
use pandion_types::DataType as FieldType;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::properties::WriterProperties;

use super::*;
use crate::testing::{open, table_column, try_open, vector_field, write, write_with_ids};
use crate::{BloomValue, ParquetFile};

mod evolution;

fn numbered(id: i64, mut field: FieldSchema) -> FieldSchema {
    field.id = FieldId(id);
    field
}

fn field(id: i64, name: &str, data_type: FieldType) -> FieldSchema {
    numbered(id, crate::testing::field(name, data_type))
}

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn longs(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

type Constants<'a> = &'a [(FieldId, Option<StatValue>)];

async fn of_table(bytes: Bytes, columns: &[TableColumn], constants: Constants<'_>) -> ParquetFile {
    open(bytes).await.of_table(columns, constants).unwrap()
}

/// All of these fields' rows in one batch; how they come by them must not matter.
async fn read_all(file: &ParquetFile, fields: &[FieldSchema]) -> RecordBatch {
    let stats = IoStats::default();
    let mut batches = Vec::new();
    for row_group in 0..file.row_groups() {
        batches.extend(file.read(fields, row_group, None, &stats).await.unwrap());
    }
    let rows: Vec<u32> = (0..u32::try_from(file.rows()).unwrap()).collect();
    let taken = file.take(fields, &rows, &stats).await.unwrap();
    let read = arrow::compute::concat_batches(&taken.schema(), &batches).unwrap();
    assert_eq!(read, taken);
    taken
}

fn strings(array: &ArrayRef) -> Vec<Option<&str>> {
    array.as_string::<i32>().iter().collect()
}

#[tokio::test]
async fn columns_are_found_by_id_whatever_they_are_called_and_wherever_they_stand() {
    let bytes = write_with_ids(
        &[
            ("b", Some(2), texts(&["x", "y"])),
            ("a", Some(1), longs(&[1, 2])),
            ("gone", Some(3), longs(&[7, 8])),
        ],
        WriterProperties::default(),
    );
    // The table has renamed `a` to `b`, `b` to `c`, dropped `gone` and added another `a` and `gone`.
    let fields = [
        field(100, "a", FieldType::Int64),
        field(101, "b", FieldType::Int64),
        field(102, "c", FieldType::VarChar),
        field(103, "gone", FieldType::VarChar),
    ];
    let columns = [
        table_column(&fields[0], 4, "long"),
        table_column(&fields[1], 1, "long"),
        table_column(&fields[2], 2, "string"),
        table_column(&fields[3], 5, "string"),
    ];
    let file = of_table(bytes, &columns, &[]).await;
    assert_eq!(file.check(&fields), []);
    let batch = read_all(&file, &fields).await;
    assert_eq!(batch.column(0).null_count(), 2);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[1, 2]);
    assert_eq!(strings(batch.column(2)), [Some("x"), Some("y")]);
    assert_eq!(batch.column(3).null_count(), 2);
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["a", "b", "c", "gone"]);
    let places: Vec<_> = fields.iter().map(|field| file.plain_column(field)).collect();
    assert_eq!(places, [None, Some(1), Some(0), None]);
}

#[tokio::test]
async fn rows_of_files_without_the_column_have_constant_default_or_null_and_cost_nothing() {
    let bytes = write_with_ids(&[("n", Some(1), longs(&[5; 20_000]))], WriterProperties::default());
    let fields = [
        field(100, "partition", FieldType::VarChar),
        field(101, "null partition", FieldType::Int64),
        field(102, "default", FieldType::Int32),
        field(103, "added", FieldType::Timestamptz),
        vector_field("vector", FieldType::FloatVector, 3),
        numbered(105, vector_field("bytes", FieldType::Int8Vector, 3)),
        field(106, "held", FieldType::Int64),
    ];
    let mut columns = vec![
        table_column(&fields[0], 10, "string"),
        table_column(&fields[1], 11, "long"),
        table_column(&fields[2], 12, "int"),
        table_column(&fields[3], 13, "timestamptz"),
        table_column(&fields[5], 15, "fixed[3]"),
        table_column(&fields[6], 1, "long"),
    ];
    let vector = numbered(104, fields[4].clone());
    columns.push(table_column(&vector, 14, "list<float>"));
    let fields = [&fields[..4], &[vector], &fields[5..]].concat();
    for column in &mut columns[..3] {
        column.default = Some(StatValue::Int(9));
    }
    let text = |text: &str| Some(StatValue::String(text.to_owned()));
    let constants = [
        (fields[0].id, text("red")),
        (fields[1].id, None),
        (fields[6].id, Some(StatValue::Int(0))),
    ];
    let file = of_table(bytes, &columns, &constants).await;
    assert_eq!(file.check(&fields), []);

    let absent = &fields[..6];
    let stats = IoStats::default();
    let batches = file.read(absent, 0, None, &stats).await.unwrap();
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    assert!(batches.iter().all(|batch| batch.num_rows() <= 8192));
    let selection = RowSelection::from(vec![RowSelector::skip(19_998), RowSelector::select(2)]);
    let selected = file.read(absent, 0, Some(selection), &stats).await.unwrap().remove(0);
    let taken = file.take(absent, &[3, 19_999], &stats).await.unwrap();
    assert_eq!(selected, taken);
    assert_eq!(strings(taken.column(0)), [Some("red"); 2]);
    assert_eq!(taken.column(2).as_primitive::<Int32Type>().values(), &[9, 9]);
    for (at, field) in absent.iter().enumerate() {
        let canonical = pandion_source::columns::canonical_type(field).unwrap();
        assert_eq!(taken.column(at).data_type(), &canonical);
        let nulls = if at == 0 || at == 2 { 0 } else { 2 };
        assert_eq!(taken.column(at).null_count(), nulls, "{}", field.name);
        assert_eq!(file.read_dictionary(field, 0, &stats).await.unwrap(), None);
        assert!(file.bloom_filter(field, 0, &stats).await.unwrap().is_none());
        file.uncompressed_bytes(field, 0).unwrap();
    }
    for field in &fields[4..6] {
        assert_eq!(file.vector_range(field, 0).unwrap(), 0..0);
        let block = file.read_vectors(field, 0, &stats).await.unwrap();
        assert_eq!(block.rows(), 20_000);
        assert!((0..20_000).all(|row| block.row(row).is_none()));
        let decoded = file.decode_vectors(field, 0, &Bytes::new()).unwrap();
        assert_eq!(decoded.bytes(), block.bytes());
    }
    let counts = stats.counts();
    assert_eq!((counts.read_requests, counts.bytes_read, counts.rows_decoded), (0, 0, 0));
    // A column that the file has is read, whatever the partition says.
    let batch = file.take(&fields, &[3], &stats).await.unwrap();
    assert_eq!(batch.column(6).as_primitive::<Int64Type>().value(0), 5);
    assert_eq!(stats.counts().rows_decoded, 1);
}

#[tokio::test]
async fn what_is_known_of_a_constant_are_its_bounds() {
    let bytes = write_with_ids(&[("n", Some(1), longs(&[5; 10]))], WriterProperties::default());
    let fields = [field(100, "c", FieldType::Int32), field(101, "null", FieldType::VarChar)];
    let mut columns = [table_column(&fields[0], 10, "int"), table_column(&fields[1], 11, "string")];
    columns[0].default = Some(StatValue::Int(9));
    let file = of_table(bytes, &columns, &[]).await;
    let nine = Some(StatValue::Int(9));
    let expected = [
        ColumnStatistics { field: fields[0].id, null_count: Some(0), min: nine.clone(), max: nine },
        ColumnStatistics { field: fields[1].id, null_count: Some(10), min: None, max: None },
    ];
    assert_eq!(file.statistics(&fields), expected);
    assert_eq!(file.row_group_statistics(&fields, 0), expected);
    assert_eq!(file.uncompressed_bytes(&fields[0], 0).unwrap(), 40);
}

#[tokio::test]
async fn a_constant_of_another_type_is_an_error() {
    let bytes = write_with_ids(&[("n", Some(1), longs(&[5]))], WriterProperties::default());
    let fields = [
        field(100, "narrow", FieldType::Int8),
        field(101, "flag", FieldType::Bool),
        numbered(102, vector_field("vector", FieldType::FloatVector, 1)),
    ];
    let columns = fields.iter().map(|field| TableColumn {
        default: Some(StatValue::Int(300)),
        ..table_column(field, 7, "int")
    });
    let file = of_table(bytes, &columns.collect::<Vec<_>>(), &[]).await;
    let stats = IoStats::default();
    for field in &fields {
        let only = std::slice::from_ref(field);
        assert_eq!(file.check(only).len(), 1);
        let error = file.read(only, 0, None, &stats).await.unwrap_err();
        assert_eq!((error.kind(), error.subject()), (ErrorKind::Corrupt, Subject::Source));
        assert!(error.message().contains(&format!("field '{}'", field.name)), "{error}");
        let known = file.statistics(only).remove(0);
        assert_eq!((known.null_count, known.min), (None, None));
    }
    assert!(file.read_vectors(&fields[2], 0, &stats).await.is_err());
    assert!(file.take(&fields[2..], &[0], &stats).await.is_err());
}

#[tokio::test]
async fn files_without_ids_are_read_by_the_name_mapping() {
    let bytes = write(
        &[("old", longs(&[1, 2])), ("b", longs(&[3, 4])), ("part", longs(&[5, 5]))],
        WriterProperties::default(),
    );
    let fields = [
        field(100, "new", FieldType::Int64),
        field(101, "b", FieldType::Int64),
        field(102, "part", FieldType::Int64),
    ];
    let mut columns: Vec<_> =
        fields.iter().zip(1..).map(|(f, id)| table_column(f, id, "long")).collect();
    let unnamed = open(bytes.clone()).await.of_table(&columns, &[]).unwrap_err();
    assert_eq!((unnamed.kind(), unnamed.subject()), (ErrorKind::InvalidArgument, Subject::Source));
    assert!(unnamed.message().starts_with("s3://bucket/a.parquet: the file has no column ids"));
    columns[0].names = vec!["new".to_owned(), "old".to_owned()];
    columns[1].default = Some(StatValue::Int(0));
    columns[2].names = vec!["part".to_owned()];
    // What identity partitioning says goes before the names; a column that no name is mapped to is
    // not the one that has its name.
    let constants = [(fields[2].id, Some(StatValue::Int(6)))];
    let file = of_table(bytes.clone(), &columns, &constants).await;
    let batch = read_all(&file, &fields).await;
    let values = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().to_vec();
    assert_eq!((values(0), values(1), values(2)), (vec![1, 2], vec![0, 0], vec![6, 6]));
    columns[0].names = vec!["old".to_owned(), "b".to_owned()];
    let file = of_table(bytes, &columns, &constants).await;
    let error = file.read(&fields, 0, None, &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.message().contains("column 1 ('new') stands more than once"), "{error}");
}

#[tokio::test]
async fn names_do_not_count_in_files_with_ids() {
    let bytes = write_with_ids(
        &[("a", None, longs(&[1])), ("b", Some(2), longs(&[2])), ("c", Some(-1), longs(&[3]))],
        WriterProperties::default(),
    );
    let fields = [field(100, "a", FieldType::Int64), field(101, "c", FieldType::Int64)];
    let columns = fields.iter().map(|field| TableColumn {
        names: vec![field.name.clone()],
        ..table_column(field, if field.name == "a" { 1 } else { -1 }, "long")
    });
    let file = of_table(bytes, &columns.collect::<Vec<_>>(), &[]).await;
    let batch = read_all(&file, &fields).await;
    assert_eq!((batch.column(0).null_count(), batch.column(1).null_count()), (1, 1));
}

#[tokio::test]
async fn an_id_that_stands_twice_is_an_error_for_its_field_alone() {
    let bytes = write_with_ids(
        &[("a", Some(1), longs(&[1])), ("b", Some(1), longs(&[2])), ("c", Some(3), longs(&[3]))],
        WriterProperties::default(),
    );
    let fields = [field(100, "a", FieldType::Int64), field(101, "c", FieldType::Int64)];
    let columns = [table_column(&fields[0], 1, "long"), table_column(&fields[1], 3, "long")];
    let file = of_table(bytes, &columns, &[]).await;
    let problems = file.check(&fields);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("column 1 ('a') stands more than once"));
    let batch = read_all(&file, &fields[1..]).await;
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 3);
    let unknown = field(102, "c", FieldType::Int64);
    let error = file.read(&[unknown], 0, None, &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
}

#[tokio::test]
async fn columns_of_one_name_are_told_apart_by_their_ids() {
    let bytes = write_with_ids(
        &[("a", Some(1), longs(&[1, 1])), ("a", Some(2), texts(&["x", "y"]))],
        WriterProperties::default(),
    );
    let fields = [field(100, "a", FieldType::VarChar), field(101, "b", FieldType::Int64)];
    let columns = [table_column(&fields[0], 2, "string"), table_column(&fields[1], 1, "long")];
    let file = of_table(bytes.clone(), &columns, &[]).await;
    assert_eq!(file.check(&fields), []);
    let batch = read_all(&file, &fields).await;
    assert_eq!(strings(batch.column(0)), [Some("x"), Some("y")]);
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().values(), &[1, 1]);
    let by_name = open(bytes).await.check(&fields[..1]);
    assert_eq!(by_name[0].message, "Column 'a' stands 2 times in schema");
}

#[tokio::test]
async fn earlier_types_are_widened_and_known_as_they_are_read() {
    let decimals = Decimal128Array::from(vec![150, -25]).with_precision_and_scale(9, 2).unwrap();
    let (floats, days) = (Float32Array::from(vec![0.1, 2.5]), Date32Array::from(vec![-1, 1]));
    let bytes = write_with_ids(
        &[
            ("i", Some(1), ints(&[i32::MIN, 7])),
            ("f", Some(2), Arc::new(floats)),
            ("d", Some(3), Arc::new(decimals)),
            ("t", Some(4), Arc::new(days)),
            (
                "l",
                Some(5),
                Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
                    Some(vec![Some(1), Some(2)]),
                    None,
                ])),
            ),
        ],
        WriterProperties::builder().set_bloom_filter_enabled(true).build(),
    );
    let mut list = field(105, "l", FieldType::Array);
    list.element_type = Some(FieldType::Int64);
    let fields = [
        field(100, "i", FieldType::Int64),
        field(101, "f", FieldType::Double),
        field(102, "d", FieldType::Double),
        field(103, "t", FieldType::Timestamptz),
        list,
    ];
    let types = ["long", "double", "decimal(20, 2)", "timestamp", "list<long>"];
    let columns: Vec<_> = (fields.iter().zip(1..).zip(types))
        .map(|((field, id), column_type)| table_column(field, id, column_type))
        .collect();
    let file = of_table(bytes, &columns, &[]).await;
    assert_eq!(file.check(&fields), []);
    let batch = read_all(&file, &fields).await;
    let least = i64::from(i32::MIN);
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().values(), &[least, 7]);
    let tenth = f64::from(0.1_f32);
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().values(), &[tenth, 2.5]);
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().values(), &[1.5, -0.25]);
    let day = 86_400_000_000;
    assert_eq!(batch.column(3).as_primitive::<TimestampMicrosecondType>().values(), &[-day, day]);
    let elements = batch.column(4).as_list::<i32>().value(0);
    assert_eq!(elements.as_primitive::<Int64Type>().values(), &[1, 2]);

    let bounds: Vec<_> = file.statistics(&fields).into_iter().map(|c| (c.min, c.max)).collect();
    let int = |value| Some(StatValue::Int(value));
    let float = |value| Some(StatValue::Float(value));
    assert_eq!(bounds[0], (int(least), int(7)));
    assert_eq!(bounds[1], (float(tenth), float(2.5)));
    assert_eq!(bounds[3], (int(-day), int(day)));
    let stats = IoStats::default();
    let bloom = file.bloom_filter(&fields[0], 0, &stats).await.unwrap();
    if let Some(bloom) = bloom {
        assert!(bloom.may_hold(&BloomValue::Int(least)) && bloom.may_hold(&BloomValue::Int(7)));
        assert!(!bloom.may_hold(&BloomValue::Int(least - 1)));
    }
    // DataFusion would read the statistics of these as those of another type.
    let plain: Vec<_> = fields.iter().map(|field| file.plain_column(field)).collect();
    assert_eq!(plain, [None, None, Some(2), None, None]);
}

#[tokio::test]
async fn bloom_filters_of_widened_integers_are_asked_in_the_files_type() {
    let values: Vec<i32> = (0..20_000).map(|value| value * 3).collect();
    let properties = WriterProperties::builder()
        .set_bloom_filter_enabled(true)
        .set_bloom_filter_ndv(2000)
        .set_dictionary_enabled(false)
        .build();
    let bytes = write_with_ids(&[("i", Some(1), ints(&values))], properties);
    let long = field(100, "i", FieldType::Int64);
    let file = of_table(bytes, &[table_column(&long, 1, "long")], &[]).await;
    let stats = IoStats::default();
    let bloom = file.bloom_filter(&long, 0, &stats).await.unwrap().unwrap();
    assert!(values.iter().all(|&value| bloom.may_hold(&BloomValue::Int(value.into()))));
    assert!(!bloom.may_hold(&BloomValue::Int(1 << 40)));
}

#[tokio::test]
async fn types_that_lead_nowhere_name_file_column_and_both_types() {
    let bytes = write_with_ids(&[("old", Some(1), texts(&["x"]))], WriterProperties::default());
    let long = field(100, "new", FieldType::Int64);
    let fields = std::slice::from_ref(&long);
    let file = of_table(bytes.clone(), &[table_column(&long, 1, "long")], &[]).await;
    let problem = "field type mismatch for field 'new' (external_field 'new'), expected Arrow \
                   int64, actual Arrow string";
    let problems = file.check(fields);
    assert_eq!((problems.len(), problems[0].message.as_str()), (1, problem));
    let error = file.read(fields, 0, None, &IoStats::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    assert_eq!(error.message(), format!("s3://bucket/a.parquet: {problem}"));
    let known = file.statistics(fields).remove(0);
    assert_eq!((known.null_count, known.min, known.max), (None, None, None));
    // The table's type is right, the field's is not.
    let file = of_table(bytes, &[table_column(&long, 1, "string")], &[]).await;
    assert_eq!(file.check(fields)[0].message, problem);
}

#[tokio::test]
async fn uuids_are_text_in_tables_and_folders() {
    let message = "message schema { optional fixed_len_byte_array(16) u (UUID) = 1; }";
    let file = written_as(message, &[0x0f; 16]).await;
    let text = field(100, "u", FieldType::VarChar);
    let expected = "0f0f0f0f-0f0f-0f0f-0f0f-0f0f0f0f0f0f";
    let fields = std::slice::from_ref(&text);
    for file in [file.clone(), file.of_table(&[table_column(&text, 1, "uuid")], &[]).unwrap()] {
        assert_eq!(file.check(fields), []);
        assert_eq!(strings(read_all(&file, fields).await.column(0)), [Some(expected)]);
        assert_eq!(file.plain_column(&text), None);
        assert_eq!(file.statistics(fields)[0].min, None);
        assert!(file.bloom_filter(&text, 0, &IoStats::default()).await.unwrap().is_none());
    }
    let vector = vector_field("u", FieldType::BinaryVector, 128);
    assert_eq!(file.check(std::slice::from_ref(&vector)), []);
}

/// A file of one row of fixed bytes under this schema.
async fn written_as(message: &str, bytes: &[u8]) -> ParquetFile {
    use parquet::data_type::{ByteArray, FixedLenByteArray, FixedLenByteArrayType};
    use parquet::file::writer::SerializedFileWriter;
    let schema = Arc::new(parquet::schema::parser::parse_message_type(message).unwrap());
    let mut written = Vec::new();
    let properties = Arc::new(WriterProperties::default());
    let mut writer = SerializedFileWriter::new(&mut written, schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let value = FixedLenByteArray::from(ByteArray::from(bytes.to_vec()));
    let typed = column.typed::<FixedLenByteArrayType>();
    typed.write_batch(&[value], Some(&[1]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    open(Bytes::from(written)).await
}

#[tokio::test]
async fn nested_columns_are_documents_by_the_names_of_today() {
    let with_id = |name: &str, array: ArrayRef, id: i32| {
        let metadata = [(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())];
        let field = Field::new(name, array.data_type().clone(), true);
        (Arc::new(field.with_metadata(metadata.into())), array)
    };
    let array = StructArray::from(vec![
        with_id("was", ints(&[1, 2]), 2),
        with_id("gone", texts(&["x", "y"]), 3),
    ]);
    let bytes = write_with_ids(&[("s", Some(1), Arc::new(array))], WriterProperties::default());
    let json = field(100, "s", FieldType::Json);
    let column_type = r#"{"type": "struct", "fields": [
        {"id": 4, "name": "gone", "required": false, "type": "string"},
        {"id": 2, "name": "is", "required": false, "type": "long"}]}"#;
    let file = of_table(bytes.clone(), &[table_column(&json, 1, column_type)], &[]).await;
    let fields = std::slice::from_ref(&json);
    assert_eq!(file.check(fields), []);
    let batch = read_all(&file, fields).await;
    let expected = [Some("{\"gone\":null,\"is\":1}"), Some("{\"gone\":null,\"is\":2}")];
    assert_eq!(strings(batch.column(0)), expected);
    // In a folder of files the names are those of the file.
    let folder = open(bytes).await;
    let batch = read_all(&folder, fields).await;
    assert_eq!(strings(batch.column(0))[0], Some("{\"was\":1,\"gone\":\"x\"}"));
}

#[tokio::test]
async fn nulls_inside_of_a_struct_are_not_those_of_its_rows() {
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(1)]));
    let fields: Fields = vec![Field::new("n", DataType::Int64, true)].into();
    let array = StructArray::new(fields, vec![inner], None);
    let file = open(write(&[("s", Arc::new(array))], WriterProperties::default())).await;
    let json = field(100, "s", FieldType::Json);
    assert_eq!(file.statistics(std::slice::from_ref(&json))[0].null_count, None);
    assert_eq!(read_all(&file, &[json]).await.column(0).null_count(), 0);
}

#[tokio::test]
async fn vectors_of_tables_are_read_from_every_form() {
    let list = ListArray::from_iter_primitive::<Float32Type, _, _>(vec![
        Some(vec![Some(1.0), Some(2.0)]),
        Some(vec![Some(3.0), Some(4.0)]),
    ]);
    let raw: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].iter().flat_map(|v| v.to_le_bytes()).collect();
    let fixed = FixedSizeBinaryArray::new(8, raw.clone().into(), None);
    let binary = BinaryArray::from(vec![&raw[..8], &raw[8..]]);
    let columns: [(ArrayRef, &str); 3] = [
        (Arc::new(list), "list<float>"),
        (Arc::new(fixed), "fixed[8]"),
        (Arc::new(binary), "binary"),
    ];
    for (array, column_type) in columns {
        let bytes = write_with_ids(&[("old", Some(1), array)], WriterProperties::default());
        let field = vector_field("v", FieldType::FloatVector, 2);
        let file = of_table(bytes, &[table_column(&field, 1, column_type)], &[]).await;
        assert_eq!(file.check(std::slice::from_ref(&field)), []);
        let block = file.read_vectors(&field, 0, &IoStats::default()).await.unwrap();
        assert_eq!(block.row(1).unwrap(), &raw[8..], "{column_type}");
        let batch = read_all(&file, &[field]).await;
        let values = batch.column(0).as_fixed_size_list().values();
        assert_eq!(values.as_primitive::<Float32Type>().values(), &[1.0, 2.0, 3.0, 4.0]);
    }
}

#[tokio::test]
async fn strings_of_few_values_are_read_as_a_dictionary_by_id() {
    let (red, other): (Vec<_>, Vec<_>) =
        (0..5000).map(|row| (["red", "green"][row % 2], ["a", "b"][row % 2])).unzip();
    let bytes = write_with_ids(
        &[("other", Some(2), texts(&other)), ("old", Some(1), texts(&red))],
        WriterProperties::default(),
    );
    let text = field(100, "other", FieldType::VarChar);
    let file = of_table(bytes, &[table_column(&text, 1, "string")], &[]).await;
    let read = file.read_dictionary(&text, 0, &IoStats::default()).await.unwrap().unwrap();
    let plain = arrow::compute::cast(&read, &DataType::Utf8).unwrap();
    assert_eq!(plain.as_string::<i32>().value(1), "green");
}

#[tokio::test]
async fn what_was_decoded_is_shared_with_the_file_of_another_snapshot() {
    let bytes = write_with_ids(&[("a", Some(1), longs(&[1]))], WriterProperties::default());
    let file = try_open(bytes).await.unwrap();
    let long = field(100, "b", FieldType::Int64);
    let stats = IoStats::default();
    let of_table = file.of_table(&[table_column(&long, 1, "long")], &[]).unwrap();
    file.page_index(&stats).await.unwrap();
    of_table.page_index(&stats).await.unwrap();
    assert_eq!(stats.counts().read_requests, 1);
    assert!(file.read(std::slice::from_ref(&long), 0, None, &stats).await.is_err());
    let doubles = Float64Array::from(vec![1.0]);
    let bytes = write_with_ids(&[("a", Some(1), Arc::new(doubles))], WriterProperties::default());
    let object = crate::testing::object(bytes).await;
    let footer = crate::read_footer(&object, &stats).await.unwrap();
    let columns = [table_column(&long, 1, "long")];
    let file = ParquetFile::open_of_table(object, &footer, &columns, &[]).unwrap();
    assert_eq!(file.check(&[long]).len(), 1);
}
