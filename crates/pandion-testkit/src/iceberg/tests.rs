use std::collections::BTreeSet;

use arrow::array::{ArrayRef, Float32Array, Int32Array, Int64Array, StringArray};
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, ListType, Literal, NestedField, PrimitiveLiteral,
    PrimitiveType, Type,
};

use self::reader::Reader;
use super::*;

mod reader;

/// `id` (int, required), `kind` (string), `price` (float).
fn schema() -> Schema {
    let field = |id: i32, name: &str, primitive: PrimitiveType, required: bool| {
        Arc::new(NestedField::new(id, name, Type::Primitive(primitive), required))
    };
    let fields = [
        field(1, "id", PrimitiveType::Int, true),
        field(2, "kind", PrimitiveType::String, false),
        field(3, "price", PrimitiveType::Float, false),
    ];
    Schema::builder().with_fields(fields).build().unwrap()
}

fn batch(rows: &[(i32, Option<&str>, Option<f32>)]) -> RecordBatch {
    let ids = Int32Array::from_iter_values(rows.iter().map(|row| row.0));
    let kinds: StringArray = rows.iter().map(|row| row.1).collect();
    let prices: Float32Array = rows.iter().map(|row| row.2).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("id", Arc::new(ids)), ("kind", Arc::new(kinds)), ("price", Arc::new(prices))];
    RecordBatch::try_from_iter(columns).unwrap()
}

async fn table(partitions: &[(&str, Transform)], options: TableOptions) -> TableWriter {
    TableWriter::create(Place::in_memory().unwrap(), schema(), partitions, options).await.unwrap()
}

async fn versioned(version: FormatVersion) -> TableWriter {
    table(&[], TableOptions::version(version)).await
}

/// Rows with ids from `first`, of one kind.
fn plain(first: i32, rows: i32) -> RecordBatch {
    let rows: Vec<_> = (first..first + rows).map(|id| (id, Some("a"), Some(1.5))).collect();
    batch(&rows)
}

fn id(row: &Row) -> i64 {
    match &row.values["id"] {
        Some(Literal::Primitive(PrimitiveLiteral::Int(id))) => i64::from(*id),
        Some(Literal::Primitive(PrimitiveLiteral::Long(id))) => *id,
        other => panic!("{other:?} is no id"),
    }
}

fn ids(rows: &[Row]) -> Vec<i64> {
    let mut ids: Vec<i64> = rows.iter().map(id).collect();
    ids.sort_unstable();
    ids
}

/// What another reader finds in every snapshot is what the writer remembers.
async fn check(table: &TableWriter) {
    let reader = Reader::open(table).await;
    for snapshot in table.snapshots() {
        let expected = table.rows_of(snapshot).unwrap();
        assert_eq!(reader.ids(snapshot).await, ids(&expected), "snapshot {snapshot}");
        assert_eq!(table.row_count(snapshot).unwrap(), expected.len() as u64);
    }
}

const SAMPLES: [Sample; 8] = [
    Sample::PositionDeletes,
    Sample::EqualityDeletes,
    Sample::DeletionVectors,
    Sample::Evolved,
    Sample::Partitioned,
    Sample::Lineage,
    Sample::Migrated,
    Sample::ManyFiles,
];

#[tokio::test]
async fn another_reader_finds_the_rows_of_every_sample() {
    for sample in SAMPLES {
        for vectors in [VectorForm::List, VectorForm::Fixed, VectorForm::Binary] {
            let options =
                SampleOptions { files: 3, rows_per_file: 40, vectors, ..SampleOptions::default() };
            let table = sample.write(Place::in_memory().unwrap(), &options).await.unwrap();
            assert!(table.snapshots().len() >= 2, "{sample:?}");
            check(&table).await;
            let newest = table.row_count(table.head().unwrap()).unwrap();
            assert!(newest > 20, "{sample:?} has {newest} rows");
        }
    }
}

#[tokio::test]
async fn the_library_finds_the_rows_of_samples_of_version_2() {
    for sample in SAMPLES {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::in_directory(directory.path()).unwrap();
        let options = SampleOptions { files: 3, rows_per_file: 40, ..SampleOptions::default() };
        let table = sample.write(place, &options).await.unwrap();
        if table.metadata.format_version == FormatVersion::V2 && sample != Sample::Migrated {
            for snapshot in table.snapshots() {
                let expected = ids(&table.rows_of(snapshot).unwrap());
                assert_eq!(reader::library_ids(&table, snapshot).await, expected, "{sample:?}");
            }
        }
    }
}

#[tokio::test]
async fn everything_but_the_bytes_of_manifests_follows_from_the_seed() {
    let options = SampleOptions { files: 2, rows_per_file: 20, ..SampleOptions::default() };
    let mut made = Vec::new();
    for _ in 0..2 {
        let place = Place::in_memory().unwrap();
        let table = Sample::DeletionVectors.write(place, &options).await.unwrap();
        let mut objects = Vec::new();
        for uri in table.objects_of(table.head().unwrap()).unwrap() {
            let bytes = table.place().get(&uri).await.unwrap();
            objects.push((uri.clone(), (!uri.ends_with(".avro")).then_some(bytes)));
        }
        let metadata = table.place().get(table.metadata_location()).await.unwrap();
        made.push((objects, metadata));
    }
    assert_eq!(made[0], made[1]);
    assert!(made[0].0.len() > 5);
}

#[tokio::test]
async fn version_1_appends_overwrites_and_moves_to_other_partitions() {
    let options = TableOptions::version(FormatVersion::V1);
    let mut table = table(&[("kind", Transform::Identity)], options).await;
    let rows = batch(&[(1, Some("a/b"), None), (2, None, Some(1.0)), (3, Some("a/b"), None)]);
    let first = table.append(&[rows]).await.unwrap();
    let files = table.data_files(first).unwrap();
    assert_eq!(files.len(), 2);
    assert!(files[0].contains("/kind=a%2Fb/"), "{}", files[0]);
    assert!(files[1].contains("/kind=null/"), "{}", files[1]);
    table.evolve_partition(&[("id", Transform::Bucket(4))]).await.unwrap();
    let second = table.overwrite(&files[..1], &[plain(10, 5)]).await.unwrap();
    assert_eq!(ids(&table.rows_of(second).unwrap()), [2, 10, 11, 12, 13, 14]);
    assert!(table.data_files(second).unwrap()[1].contains("/kind_former=null/id_bucket_4="));
    let delete = table.delete_positions(&[(files[1].clone(), vec![0])], DeleteLayout::Shared).await;
    assert!(delete.unwrap_err().to_string().contains("no delete files"));
    check(&table).await;
}

#[tokio::test]
async fn deletes_reach_the_rows_that_were_there_before() {
    let mut table = versioned(FormatVersion::V2).await;
    let rows = [(1, Some("a"), None), (2, None, None), (3, Some("c"), None), (4, None, None)];
    table.append(&[batch(&rows), plain(10, 3)]).await.unwrap();
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    let null = RecordBatch::try_from_iter_with_nullable([("kind", null, true)]).unwrap();
    let delete =
        EqualityDelete { columns: vec!["kind".to_owned()], rows: null, in_all_partitions: false };
    let upsert =
        Change { equality: vec![delete], ..Change::append(&[batch(&[(2, None, Some(2.0))])]) };
    table.commit(upsert).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [1, 2, 3, 10, 11, 12]);
    let dead = table.positions_where(|row| id(row) > 10).unwrap();
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].1, [1, 2]);
    table.delete_positions(&dead, DeleteLayout::PerFile).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [1, 2, 3, 10]);
    check(&table).await;

    let beyond = [(dead[0].0.clone(), vec![3])];
    let beyond = table.delete_positions(&beyond, DeleteLayout::Shared).await;
    assert!(beyond.unwrap_err().to_string().contains("has 3 rows"));
    let unknown = table.delete_files(&["s3://lake/table/data/none".to_owned()]).await;
    assert!(unknown.unwrap_err().to_string().contains("is no data file"));
}

#[tokio::test]
async fn equality_deletes_stay_in_their_partition_unless_they_are_global() {
    let mut table = table(&[("kind", Transform::Identity)], TableOptions::default()).await;
    let rows = [(1, Some("a"), None), (2, Some("a"), None), (1, Some("b"), None)];
    table.append(&[batch(&rows)]).await.unwrap();
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int32Array::from(vec![1]))),
        ("kind", Arc::new(StringArray::from(vec!["a"]))),
    ];
    let one = RecordBatch::try_from_iter(columns).unwrap();
    table.delete_where_equal(&["id"], one.clone()).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [1, 2]);
    let everywhere =
        EqualityDelete { columns: vec!["id".to_owned()], rows: one, in_all_partitions: true };
    let change = Change { equality: vec![everywhere], ..Change::default() };
    table.commit(change).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [2]);
    check(&table).await;
}

#[tokio::test]
async fn compaction_with_the_old_sequence_number_keeps_later_deletes_in_force() {
    let mut table = versioned(FormatVersion::V2).await;
    let first = table.append(&[plain(0, 4)]).await.unwrap();
    let id = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![2])) as ArrayRef)]);
    table.delete_where_equal(&["id"], id.unwrap()).await.unwrap();
    let removed = table.data_files(first).unwrap();
    let change = Change {
        removed,
        data_sequence_number: Some(1),
        operation: Some("replace"),
        ..Change::append(&[plain(0, 4)])
    };
    table.commit(change).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [0, 1, 3]);
    check(&table).await;
}

#[tokio::test]
async fn evolved_rows_have_defaults_and_wider_types() {
    let mut table = versioned(FormatVersion::V3).await;
    let first = table.append(&[batch(&[(1, Some("a"), Some(0.5))])]).await.unwrap();
    let list = Type::List(ListType::new(Arc::new(NestedField::list_element(
        1,
        Type::Primitive(PrimitiveType::Float),
        false,
    ))));
    table
        .evolve_schema(&[
            SchemaChange::Promote { name: "id".to_owned(), to: PrimitiveType::Long },
            SchemaChange::Promote { name: "price".to_owned(), to: PrimitiveType::Double },
            SchemaChange::Rename { from: "kind".to_owned(), to: "sort".to_owned() },
            SchemaChange::add_with_default("stock", PrimitiveType::Int, Literal::int(7)),
            SchemaChange::add("tags", list),
            SchemaChange::MoveFirst("stock".to_owned()),
            SchemaChange::MoveAfter { name: "price".to_owned(), other: "stock".to_owned() },
        ])
        .await
        .unwrap();
    let schema = table.schema().unwrap();
    let fields = schema.as_struct().fields().iter();
    let order: Vec<(i32, &str)> = fields.map(|field| (field.id, field.name.as_str())).collect();
    assert_eq!(order, [(4, "stock"), (3, "price"), (1, "id"), (2, "sort"), (5, "tags")]);
    assert_eq!(table.metadata.last_column_id, 6);
    let rows = table.rows().unwrap();
    let expected = [
        ("id", Some(Literal::long(1))),
        ("price", Some(Literal::double(0.5))),
        ("sort", Some(Literal::string("a"))),
        ("stock", Some(Literal::int(7))),
        ("tags", None),
    ];
    assert_eq!(rows[0].values, expected.map(|(name, value)| (name.to_owned(), value)).into());
    // The snapshot keeps the schema it was made with.
    assert_eq!(table.rows_of(first).unwrap()[0].values["id"], Some(Literal::int(1)));
    let columns: [(&str, ArrayRef); 1] = [("id", Arc::new(Int64Array::from(vec![1 << 40])))];
    table.append(&[RecordBatch::try_from_iter(columns).unwrap()]).await.unwrap();
    assert_eq!(table.rows().unwrap()[1].values["stock"], Some(Literal::int(7)));
    check(&table).await;
}

#[tokio::test]
async fn changes_that_do_not_apply_are_refused() {
    let mut table = versioned(FormatVersion::V2).await;
    let default = SchemaChange::add_with_default("stock", PrimitiveType::Int, Literal::int(7));
    let narrower = SchemaChange::Promote { name: "id".to_owned(), to: PrimitiveType::Int };
    let missing = SchemaChange::Drop("nothing".to_owned());
    let twice = SchemaChange::add("kind", Type::Primitive(PrimitiveType::Int));
    let inside = SchemaChange::Drop("kind.letter".to_owned());
    for (change, message) in [
        (default, "defaults need v3"),
        (narrower, "not wider"),
        (missing, "no column is named nothing"),
        (twice, "column kind exists"),
        (inside, "kind is no struct"),
    ] {
        let error = table.evolve_schema(&[change]).await.unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
    }
    let columns: [(&str, ArrayRef); 1] = [("other", Arc::new(Int32Array::from(vec![1])))];
    let strange = RecordBatch::try_from_iter(columns).unwrap();
    assert!(table.append(&[strange]).await.unwrap_err().to_string().contains("no column other"));
    assert!(table.upgrade(FormatVersion::V1).await.is_err());
}

#[tokio::test]
async fn vectors_are_replaced_by_larger_ones() {
    let mut table = versioned(FormatVersion::V3).await;
    let first = table.append(&[plain(0, 10), plain(10, 10)]).await.unwrap();
    let files = table.data_files(first).unwrap();
    let both = [(files[0].clone(), vec![1]), (files[1].clone(), vec![2])];
    let second = table.delete_positions(&both, DeleteLayout::Shared).await.unwrap();
    let entries = table.delete_file_entries(second).unwrap();
    assert_eq!((entries.len(), &entries[0]), (2, &entries[1]), "one Puffin file for both");
    let third =
        table.delete_positions(&[(files[0].clone(), vec![5])], DeleteLayout::Shared).await.unwrap();
    let reader = Reader::open(&table).await;
    let mut vectors: Vec<(String, u64)> = reader
        .live_files(third)
        .await
        .into_iter()
        .filter(|file| file.content_type() == DataContentType::PositionDeletes)
        .map(|file| (file.referenced_data_file().unwrap(), file.record_count()))
        .collect();
    vectors.sort();
    let mut expected = vec![(files[0].clone(), 2), (files[1].clone(), 1)];
    expected.sort();
    assert_eq!(vectors, expected);
    // A data file takes its vector with it.
    let fourth = table.delete_files(&files[..1]).await.unwrap();
    assert_eq!(table.delete_file_entries(fourth).unwrap().len(), 1);
    check(&table).await;
}

#[tokio::test]
async fn updated_rows_keep_their_ids_and_take_the_number_of_the_commit() {
    let mut table = versioned(FormatVersion::V3).await;
    table.append(&[plain(0, 3), plain(3, 3)]).await.unwrap();
    let files = table.data_files(table.head().unwrap()).unwrap();
    let changed = [(1, plain(70, 1))].into();
    let head = table.update(&files[..1], &changed).await.unwrap();
    let rows = table.rows().unwrap();
    let versions = rows
        .iter()
        .map(|row| (id(row), row.row_id.unwrap(), row.last_updated_sequence_number.unwrap()));
    let versions: BTreeSet<(i64, i64, i64)> = versions.collect();
    let expected = [(0, 0, 1), (70, 1, 2), (2, 2, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1)];
    assert_eq!(versions, expected.into());
    assert_eq!(Reader::open(&table).await.lineage(head).await, versions);
    check(&table).await;
}

#[tokio::test]
async fn rows_keep_their_ids_through_compactions() {
    let mut table = versioned(FormatVersion::V3).await;
    table.append(&[plain(0, 5), plain(5, 5)]).await.unwrap();
    table.append(&[plain(10, 5)]).await.unwrap();
    let dead = table.positions_where(|row| id(row) == 3).unwrap();
    table.delete_positions(&dead, DeleteLayout::Shared).await.unwrap();
    let lineage = |table: &TableWriter| {
        let rows = table.rows().unwrap();
        let rows = rows
            .iter()
            .map(|row| (id(row), row.row_id.unwrap(), row.last_updated_sequence_number.unwrap()));
        rows.collect::<BTreeSet<(i64, i64, i64)>>()
    };
    let before = lineage(&table);
    let expected = (0..15).filter(|id| *id != 3).map(|id| (id, id, if id < 10 { 1 } else { 2 }));
    assert_eq!(before, expected.collect());
    let files = table.data_files(table.head().unwrap()).unwrap();
    let compacted = table.compact(&files).await.unwrap();
    assert_eq!(table.data_files(compacted).unwrap().len(), 1);
    assert_eq!(table.delete_file_entries(compacted).unwrap().len(), 0);
    assert_eq!(lineage(&table), before);
    // Row ids that the compaction was given and does not use are not given again.
    table.append(&[plain(20, 1)]).await.unwrap();
    let newest = lineage(&table).into_iter().max().unwrap();
    assert_eq!(newest, (20, 29, 5));
    assert_eq!(Reader::open(&table).await.lineage(table.head().unwrap()).await, lineage(&table));
    check(&table).await;
}

#[tokio::test]
async fn rows_get_ids_after_an_upgrade() {
    let mut table = versioned(FormatVersion::V1).await;
    table.append(&[plain(0, 3)]).await.unwrap();
    table.upgrade(FormatVersion::V2).await.unwrap();
    let second = table.append(&[plain(3, 3), plain(6, 2)]).await.unwrap();
    let files = table.data_files(second).unwrap();
    let dead = [(files[0].clone(), vec![0]), (files[1].clone(), vec![1])];
    table.delete_positions(&dead, DeleteLayout::PerFile).await.unwrap();
    table.upgrade(FormatVersion::V3).await.unwrap();
    assert!(table.rows().unwrap().iter().all(|row| row.row_id.is_none()));
    let dead = [(files[0].clone(), vec![1])];
    let fourth = table.delete_positions(&dead, DeleteLayout::Shared).await.unwrap();
    let mut row_ids: Vec<i64> =
        table.rows().unwrap().iter().map(|row| row.row_id.unwrap()).collect();
    row_ids.sort_unstable();
    row_ids.dedup();
    assert_eq!(row_ids.len(), 5);
    // The vector took over what the position delete file of the same data file said.
    let deletes = table.delete_file_entries(fourth).unwrap();
    assert_eq!(deletes.iter().filter(|uri| uri.ends_with(".puffin")).count(), 1);
    assert_eq!(deletes.len(), 2);
    assert_eq!(ids(&table.rows().unwrap()), [2, 3, 5, 6, 7]);
    check(&table).await;
}

#[tokio::test]
async fn metadata_is_named_both_ways_and_compressed() {
    let options = TableOptions {
        metadata_names: MetadataNames::Versioned,
        gzip_metadata: true,
        ..TableOptions::default()
    };
    let mut versioned = table(&[], options).await;
    versioned.append(&[plain(0, 3)]).await.unwrap();
    let uri = "s3://lake/table/metadata/v2.gz.metadata.json";
    assert_eq!(versioned.metadata_location(), uri);
    let hint = "s3://lake/table/metadata/version-hint.text";
    assert_eq!(versioned.place().get(hint).await.unwrap(), "2");
    check(&versioned).await;
    let mut numbered = table(&[], TableOptions::default()).await;
    numbered.set_property("owner", "nobody").await.unwrap();
    let name = numbered.metadata_location().rsplit('/').next().unwrap();
    assert!(name.starts_with("00001-") && name.ends_with(".metadata.json"), "{name}");
    assert!(numbered.place().get(hint).await.is_err());
    let reader = Reader::open(&numbered).await;
    assert_eq!(reader.metadata.properties()["owner"], "nobody");
    assert_eq!(reader.metadata.metadata_log()[0].metadata_file, numbered.metadata_locations()[0]);
}

#[tokio::test]
async fn snapshots_have_tags_and_branches_and_expire() {
    let mut table = versioned(FormatVersion::V2).await;
    let first = table.append(&[plain(0, 3)]).await.unwrap();
    let second = table.append(&[plain(3, 3)]).await.unwrap();
    table.tag("old", first).await.unwrap();
    table.branch("audit", first).await.unwrap();
    table.use_branch("audit").unwrap();
    let audited = table.append(&[plain(100, 1)]).await.unwrap();
    assert_eq!(ids(&table.rows().unwrap()), [0, 1, 2, 100]);
    table.use_branch("main").unwrap();
    assert_eq!(table.head(), Some(second));
    let files = table.data_files(first).unwrap();
    let third = table.delete_files(&files).await.unwrap();
    check(&table).await;
    let reader = Reader::open(&table).await;
    let reference = |name: &str| reader.metadata.snapshot_for_ref(name).unwrap().snapshot_id();
    assert_eq!((reference("old"), reference("audit")), (first, audited));

    table.expire(&[first, audited]).await.unwrap();
    let reader = Reader::open(&table).await;
    assert_eq!(table.snapshots(), [second, third]);
    assert!(reader.metadata.snapshot_for_ref("old").is_none());
    assert!(table.place().get(&files[0]).await.is_ok(), "the second snapshot needs it");
    table.expire(&[second]).await.unwrap();
    assert!(table.place().get(&files[0]).await.is_err(), "nobody needs it");
    assert!(table.expire(&[third]).await.is_err());
    check(&table).await;
}

/// The entries of a new table's newest snapshot whose last commit had a defect.
async fn spoilt(version: FormatVersion, defect: Defect) -> (TableWriter, Vec<DataFile>) {
    let mut table = versioned(version).await;
    let first = table.append(&[plain(0, 10)]).await.unwrap();
    let file = table.data_files(first).unwrap()[0].clone();
    let id = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![2])) as ArrayRef)]);
    let delete = EqualityDelete {
        columns: vec!["id".to_owned()],
        rows: id.unwrap(),
        in_all_partitions: false,
    };
    let change = Change {
        positions: vec![(file, vec![1, 4])],
        equality: vec![delete],
        ..Change::append(&[plain(10, 5)])
    };
    let snapshot = table.commit(change.with_defect(defect)).await.unwrap();
    let files = Reader::open(&table).await.live_files(snapshot).await;
    (table, files)
}

#[tokio::test]
async fn defects_spoil_what_they_name() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (table, files) = spoilt(version, Defect::DeleteFileMissing).await;
        for file in &files {
            let is_there = table.place().get(file.file_path()).await.is_ok();
            assert_eq!(is_there, file.content_type() == DataContentType::Data);
        }
        let (table, files) = spoilt(version, Defect::DeleteFileTruncated).await;
        for file in files.iter().filter(|file| file.content_type() != DataContentType::Data) {
            let bytes = table.place().get(file.file_path()).await.unwrap();
            assert_eq!(bytes.len() as u64, file.file_size_in_bytes() / 2);
        }
        let of = |files: &[DataFile], content: DataContentType| {
            let found = files.iter().filter(|file| file.content_type() == content);
            found.cloned().collect::<Vec<DataFile>>()
        };
        let (_, files) = spoilt(version, Defect::NoEqualityIds).await;
        let deletes = of(&files, DataContentType::EqualityDeletes);
        assert_eq!(deletes[0].equality_ids().unwrap_or_default(), Vec::<i32>::new());
        let (_, files) = spoilt(version, Defect::DataFormat(DataFileFormat::Orc)).await;
        let orc = files.iter().filter(|file| file.file_format() == DataFileFormat::Orc);
        assert_eq!(orc.count(), 1);
        let (_, files) = spoilt(version, Defect::RecordCount).await;
        let data = of(&files, DataContentType::Data);
        assert_eq!(data.iter().map(DataFile::record_count).sum::<u64>(), 16);
        let (_, files) = spoilt(version, Defect::PositionBeyondEnd).await;
        let deletes = of(&files, DataContentType::PositionDeletes);
        assert_eq!(deletes[0].record_count(), 3);
    }
}

#[tokio::test]
async fn defects_of_vectors_are_in_manifest_or_blob() {
    let of = async |defect: Defect| {
        let (table, files) = spoilt(FormatVersion::V3, defect).await;
        let mut vectors = files.into_iter();
        let mut vectors = vectors
            .by_ref()
            .filter(|file| file.file_format() == DataFileFormat::Puffin)
            .collect::<Vec<DataFile>>();
        let number = vectors.len();
        let vector = vectors.remove(0);
        let bytes = table.place().get(vector.file_path()).await.unwrap();
        (number, vector, bytes)
    };
    let (_, intact, bytes) = of(Defect::RecordCount).await;
    assert_eq!((intact.record_count(), intact.content_offset()), (2, Some(4)));
    assert_eq!(of(Defect::VectorTwice).await.0, 2);
    assert_eq!(of(Defect::VectorCardinality).await.1.record_count(), 3);
    assert_eq!(of(Defect::VectorOffset).await.1.content_offset(), Some(7));
    assert_eq!(of(Defect::VectorWithoutDataFile).await.1.referenced_data_file(), None);
    let (_, shorter, _) = of(Defect::VectorLength).await;
    assert_eq!(
        shorter.content_size_in_bytes(),
        intact.content_size_in_bytes().map(|size| size - 5)
    );
    let (_, _, magic) = of(Defect::VectorMagic).await;
    let (_, _, checksum) = of(Defect::VectorChecksum).await;
    assert_eq!((bytes.len(), bytes.len()), (magic.len(), checksum.len()));
    assert_ne!(bytes[8..12], magic[8..12]);
    assert_eq!(bytes[..8], magic[..8]);
}

#[tokio::test]
async fn manifests_carry_metrics_of_columns() {
    let mut table = versioned(FormatVersion::V2).await;
    let long = "a name that is longer than sixteen";
    let rows = [
        (5, Some(long), Some(f32::NAN)),
        (-7, None, Some(2.5)),
        (3, Some("b"), None),
        (4, Some("b"), Some(-1.0)),
    ];
    let snapshot = table.append(&[batch(&rows)]).await.unwrap();
    let files = Reader::open(&table).await.live_files(snapshot).await;
    let file = &files[0];
    assert_eq!(file.value_counts(), &[(1, 4), (2, 4), (3, 4)].into());
    assert_eq!(file.null_value_counts(), &[(1, 0), (2, 1), (3, 1)].into());
    assert_eq!(file.nan_value_counts(), &[(3, 1)].into());
    let bound = |bounds: &std::collections::HashMap<i32, iceberg::spec::Datum>, id: i32| {
        bounds[&id].to_human_string()
    };
    assert_eq!(bound(file.lower_bounds(), 1), "-7");
    assert_eq!(bound(file.upper_bounds(), 1), "5");
    assert_eq!(bound(file.lower_bounds(), 2), "a name that is l");
    assert_eq!(bound(file.upper_bounds(), 2), "b");
    assert_eq!(bound(file.lower_bounds(), 3), "-1");
    assert_eq!(bound(file.upper_bounds(), 3), "2.5");
    assert_eq!(file.split_offsets(), Some(&[4][..]));
    assert_eq!(file.column_sizes().len(), 3);
}

#[tokio::test]
async fn a_table_lies_in_a_bucket_of_the_server() {
    let server = crate::s3::S3Server::start(crate::s3::S3Options::default()).await.unwrap();
    let bucket = server.bucket("lake").unwrap();
    let place = Place::in_bucket(bucket, "lake", "/some/table/").unwrap();
    assert_eq!(place.location(), "s3://lake/some/table");
    let options = SampleOptions { files: 2, rows_per_file: 10, ..SampleOptions::default() };
    let table = Sample::PositionDeletes.write(place, &options).await.unwrap();
    check(&table).await;
    let key = table.metadata_location().strip_prefix("s3://lake/").unwrap();
    assert!(server.keys("lake").iter().any(|known| known == key), "{key}");
    assert!(table.place().key("s3://other/some/table/x").is_err());
}

/// Every primitive type with a value, and its Arrow column with a null after it.
fn every_type() -> Vec<(&'static str, PrimitiveType, ArrayRef, Literal)> {
    use arrow::array as arrays;

    let fixed = |bytes: &'static [u8]| -> ArrayRef {
        let rows = [Some(bytes), None].into_iter();
        let size = i32::try_from(bytes.len()).unwrap();
        Arc::new(arrays::FixedSizeBinaryArray::try_from_sparse_iter_with_size(rows, size).unwrap())
    };
    let decimal = arrays::Decimal128Array::from(vec![Some(-12_345), None]);
    let decimal = decimal.with_precision_and_scale(9, 2).unwrap();
    let micros = arrays::TimestampMicrosecondArray::from(vec![Some(1_700_000_000_000_001), None]);
    let nanos = arrays::TimestampNanosecondArray::from(vec![Some(1_700_000_000_000_000_001), None]);
    let (micros_utc, nanos_utc) = (micros.clone(), nanos.clone());
    let (micros_utc, nanos_utc) =
        (micros_utc.with_timezone("+00:00"), nanos_utc.with_timezone("+00:00"));
    let precise = PrimitiveType::Decimal { precision: 9, scale: 2 };
    let uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let long = Literal::long::<i64>;
    let binary = || Literal::binary([9, 8, 7]);
    vec![
        (
            "bool",
            PrimitiveType::Boolean,
            Arc::new(arrays::BooleanArray::from(vec![Some(true), None])),
            Literal::bool(true),
        ),
        (
            "date",
            PrimitiveType::Date,
            Arc::new(arrays::Date32Array::from(vec![Some(-3), None])),
            Literal::int(-3),
        ),
        (
            "time",
            PrimitiveType::Time,
            Arc::new(arrays::Time64MicrosecondArray::from(vec![Some(5), None])),
            long(5),
        ),
        ("timestamp", PrimitiveType::Timestamp, Arc::new(micros), long(1_700_000_000_000_001)),
        (
            "timestamptz",
            PrimitiveType::Timestamptz,
            Arc::new(micros_utc),
            long(1_700_000_000_000_001),
        ),
        (
            "timestamp_ns",
            PrimitiveType::TimestampNs,
            Arc::new(nanos),
            long(1_700_000_000_000_000_001),
        ),
        (
            "timestamptz_ns",
            PrimitiveType::TimestamptzNs,
            Arc::new(nanos_utc),
            long(1_700_000_000_000_000_001),
        ),
        ("decimal", precise, Arc::new(decimal), Literal::decimal(-12_345)),
        (
            "uuid",
            PrimitiveType::Uuid,
            fixed(b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef"),
            Literal::uuid(uuid),
        ),
        ("fixed", PrimitiveType::Fixed(3), fixed(&[9, 8, 7]), binary()),
        (
            "binary",
            PrimitiveType::Binary,
            Arc::new(arrays::BinaryArray::from(vec![Some(&[9, 8, 7][..]), None])),
            binary(),
        ),
    ]
}

#[tokio::test]
async fn every_type_is_written_and_may_be_a_default() {
    let types = every_type();
    let fields = types.iter().zip(2..).map(|((name, primitive, ..), id)| {
        let field = NestedField::optional(id, name, Type::Primitive(primitive.clone()));
        Arc::new(field)
    });
    let id = NestedField::required(1, "id", Type::Primitive(PrimitiveType::Int));
    let id_only = Schema::builder().with_fields([Arc::new(id.clone())]).build().unwrap();
    let schema = Schema::builder().with_fields([Arc::new(id)]).with_fields(fields).build().unwrap();
    let options = || TableOptions::version(FormatVersion::V3);
    let place = || Place::in_memory().unwrap();
    let mut table = TableWriter::create(place(), schema, &[], options()).await.unwrap();
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let columns = types.iter().map(|(name, _, array, _)| (*name, Arc::clone(array), true));
    let columns = [("id", Arc::clone(&ids), false)].into_iter().chain(columns);
    let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let snapshot = table.append(&[rows]).await.unwrap();
    let rows = table.rows().unwrap();
    let file = &Reader::open(&table).await.live_files(snapshot).await[0];
    for ((name, primitive, _, value), id) in types.iter().zip(2..) {
        assert_eq!(rows[0].values[*name].as_ref(), Some(value), "{name}");
        assert_eq!(rows[1].values[*name], None, "{name}");
        assert_eq!(file.null_value_counts()[&id], 1, "{name}");
        let bound = &file.lower_bounds()[&id];
        assert_eq!((bound.data_type(), bound), (primitive, &file.upper_bounds()[&id]), "{name}");
        assert_eq!(Literal::from(bound.clone()), *value, "{name}");
    }
    check(&table).await;

    let mut table = TableWriter::create(place(), id_only, &[], options()).await.unwrap();
    table.append(&[RecordBatch::try_from_iter([("id", ids)]).unwrap()]).await.unwrap();
    for (name, primitive, _, value) in types {
        let change = SchemaChange::add_with_default(name, primitive, value.clone());
        table.evolve_schema(&[change]).await.unwrap();
        assert_eq!(table.rows().unwrap()[1].values[name], Some(value), "{name}");
    }
}

#[tokio::test]
async fn structs_lists_and_maps_evolve_inside() {
    let primitive = Type::Primitive;
    let inner = iceberg::spec::StructType::new(vec![
        Arc::new(NestedField::optional(10, "city", primitive(PrimitiveType::String))),
        Arc::new(NestedField::optional(11, "number", primitive(PrimitiveType::Int))),
    ]);
    let map = iceberg::spec::MapType::optional(
        20,
        primitive(PrimitiveType::String),
        21,
        primitive(PrimitiveType::Int),
    );
    let fields = [
        Arc::new(NestedField::required(1, "id", primitive(PrimitiveType::Int))),
        Arc::new(NestedField::optional(2, "home", Type::Struct(inner))),
        Arc::new(NestedField::optional(3, "counts", Type::Map(map))),
    ];
    let schema = Schema::builder().with_fields(fields).build().unwrap();
    let options = TableOptions::version(FormatVersion::V3);
    let place = Place::in_memory().unwrap();
    let mut table = TableWriter::create(place, schema, &[], options).await.unwrap();
    table.append(&[nested_rows()]).await.unwrap();
    let to = "town".to_owned();
    table
        .evolve_schema(&[
            SchemaChange::Rename { from: "home.city".to_owned(), to },
            SchemaChange::Promote { name: "home.number".to_owned(), to: PrimitiveType::Long },
            SchemaChange::add_with_default("home.zip", PrimitiveType::Int, Literal::int(7)),
            SchemaChange::MoveFirst("home.zip".to_owned()),
        ])
        .await
        .unwrap();
    let schema = table.schema().unwrap();
    assert_eq!(schema.field_by_name("home.town").unwrap().id, 10);
    assert_eq!(schema.field_by_name("home.zip").unwrap().id, 22);
    let rows = table.rows().unwrap();
    let home = [Literal::int(7), Literal::string("Oslo"), Literal::long(5)].map(Some);
    assert_eq!(rows[0].values["home"], Some(Literal::Struct(home.into_iter().collect())));
    let counts = [(Literal::string("a"), Some(Literal::int(1))), (Literal::string("b"), None)];
    assert_eq!(rows[0].values["counts"], Some(Literal::Map(counts.into_iter().collect())));
    assert_eq!((&rows[1].values["home"], &rows[1].values["counts"]), (&None, &None));
    check(&table).await;
}

/// A row with everything, and one with nulls.
fn nested_rows() -> RecordBatch {
    use arrow::array::{Array as _, Int32Builder, MapBuilder, StringBuilder, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{DataType, Field};

    let field = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    let fields = vec![field("city", DataType::Utf8), field("number", DataType::Int32)].into();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![Some("Oslo"), None])),
        Arc::new(Int32Array::from(vec![Some(5), None])),
    ];
    let nulls = NullBuffer::from(vec![true, false]);
    let home: ArrayRef = Arc::new(StructArray::new(fields, columns, Some(nulls)));
    let mut counts = MapBuilder::new(None, StringBuilder::new(), Int32Builder::new());
    counts.keys().append_value("a");
    counts.values().append_value(1);
    counts.keys().append_value("b");
    counts.values().append_null();
    counts.append(true).unwrap();
    counts.append(false).unwrap();
    let counts: ArrayRef = Arc::new(counts.finish());
    assert_eq!((home.null_count(), counts.null_count()), (1, 1));
    let ids: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let columns = [("id", ids, false), ("home", home, true), ("counts", counts, true)];
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}
