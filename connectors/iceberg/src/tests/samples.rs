//! Every sample of the writer, snapshot by snapshot, from nothing and from the manifest before.

use iceberg::spec::{Literal, PrimitiveLiteral};
use pandion_manifest::StatValue;
use pandion_testkit::iceberg::{MetadataNames, Place, Sample, SampleOptions, VectorForm};

use super::*;

const SAMPLES: [Sample; 7] = [
    Sample::PositionDeletes,
    Sample::EqualityDeletes,
    Sample::DeletionVectors,
    Sample::Evolved,
    Sample::Partitioned,
    Sample::Lineage,
    Sample::Migrated,
];

async fn written(sample: Sample) -> TableWriter {
    let options = SampleOptions::default();
    sample.write(Place::in_memory().unwrap(), &options).await.unwrap()
}

#[tokio::test]
async fn every_snapshot_has_the_rows_that_its_writer_knows() {
    let schema = sample_schema();
    for sample in SAMPLES {
        let table = written(sample).await;
        for snapshot in table.snapshots() {
            let connector = connector_to(&table, SnapshotChoice::Id(snapshot), &schema);
            let (manifest, _) = refresh(&connector, None).await.unwrap();
            let expected = expected_rows(&table.rows_of(snapshot).unwrap());
            assert_eq!(live_rows(&manifest), expected, "{sample:?}, snapshot {snapshot}");
            assert_eq!(manifest.live_rows(), table.row_count(snapshot).unwrap());
        }
    }
}

#[tokio::test]
async fn each_snapshot_is_reached_from_each_other_one() {
    let schema = sample_schema();
    for sample in SAMPLES {
        let table = written(sample).await;
        let mut manifests = Vec::new();
        for snapshot in table.snapshots() {
            let connector = connector_to(&table, SnapshotChoice::Id(snapshot), &schema);
            manifests.push((snapshot, refresh(&connector, None).await.unwrap().0));
        }
        for (from, before) in &manifests {
            for (to, fresh) in &manifests {
                let connector = connector_to(&table, SnapshotChoice::Id(*to), &schema);
                let (manifest, _) = refresh(&connector, Some(before)).await.unwrap();
                let place = format!("{sample:?}, from {from} to {to}");
                assert_eq!(live_rows(&manifest), live_rows(fresh), "{place}");
                for file in &manifest.files {
                    let uri = &file.identity.uri;
                    let same = fresh.files.iter().find(|other| &other.identity.uri == uri).unwrap();
                    let (found, expected) = (file.table.as_ref(), same.table.as_ref());
                    assert_eq!(found, expected, "{place}, {uri}");
                    assert_eq!(file.columns, same.columns, "{place}, {uri}");
                }
                assert_eq!(manifest.table, fresh.table, "{place}");
            }
        }
    }
}

#[tokio::test]
async fn other_snapshots_are_read_in_the_columns_of_the_served_one() {
    let table = written(Sample::Evolved).await;
    let schema = schema(vec![
        field(100, "id", DataType::Int64),
        field(101, "category", DataType::VarChar),
        field(102, "rating", DataType::Int32),
        field(103, "stock", DataType::Int64),
    ]);
    let connector = connector_to(&table, SnapshotChoice::Latest, &schema);
    let (now, _) = refresh(&connector, None).await.unwrap();
    let columns = &now.table.as_ref().unwrap().columns;
    let names: Vec<_> = columns
        .iter()
        .map(|column| (column.name.as_str(), column.column_id, column.column_type.as_str()))
        .collect();
    assert_eq!(names[..2], [("id", 1, "long"), ("category", 2, "string")]);
    assert_eq!((names[2].0, names[2].2), ("rating", "int"));
    assert_eq!((names[3].0, names[3].2), ("stock", "long"));
    assert_eq!(columns[2].default, Some(StatValue::Int(3)));
    let choices = [SnapshotChoice::Tag("first".to_owned()), SnapshotChoice::Branch("audit".into())];
    for choice in choices {
        let stats = IoStats::default();
        let state = connector.resolve_at(&choice, &now, &stats).await.unwrap();
        let snapshot = state.table.as_ref().unwrap().snapshot_id.unwrap();
        let (then, _) = complete(&connector, state, Some(&now), stats).await.unwrap();
        let expected = expected_rows(&table.rows_of(snapshot).unwrap());
        assert_eq!(live_rows(&then), expected, "{choice}");
        assert_eq!(then.table.unwrap().columns, *columns);
    }
}

/// Statistics may be wide, but they are never wrong.
#[tokio::test]
async fn no_live_row_lies_outside_of_its_files_statistics() {
    let schema = schema(vec![
        field(100, "id", DataType::Int64),
        field(101, "kind", DataType::VarChar),
        field(102, "price", DataType::Double),
        field(103, "ts", DataType::Timestamptz),
    ]);
    for sample in [Sample::PositionDeletes, Sample::Partitioned, Sample::EqualityDeletes] {
        let table = written(sample).await;
        let connector = connector_to(&table, SnapshotChoice::Latest, &schema);
        let (manifest, _) = refresh(&connector, None).await.unwrap();
        let mut bounds = 0;
        for row in table.rows().unwrap() {
            let file = manifest.files.iter().find(|file| file.identity.uri == row.file).unwrap();
            for field in &schema.fields {
                let statistics = file.column(field.id).unwrap();
                let Some(value) = &row.values[&field.name] else {
                    assert_ne!(statistics.null_count, Some(0), "{}", field.name);
                    continue;
                };
                let value = match value {
                    Literal::Primitive(PrimitiveLiteral::Long(value)) => StatValue::Int(*value),
                    Literal::Primitive(PrimitiveLiteral::Double(value)) => {
                        StatValue::Float(value.0)
                    }
                    Literal::Primitive(PrimitiveLiteral::String(value)) => {
                        StatValue::String(value.clone())
                    }
                    other => panic!("{other:?}"),
                };
                if let (Some(min), Some(max)) = (&statistics.min, &statistics.max) {
                    bounds += 1;
                    assert!(
                        &value >= min || value.partial_cmp(min).is_none(),
                        "{value:?} {statistics:?}"
                    );
                    assert!(
                        max >= &value || max.partial_cmp(&value).is_none(),
                        "{value:?} {statistics:?}"
                    );
                }
            }
        }
        assert!(bounds > 100, "{sample:?} has no bounds");
    }
}

#[tokio::test]
async fn partitions_give_constants_and_buckets() {
    let table = written(Sample::Partitioned).await;
    let schema = schema(vec![
        field(100, "id", DataType::Int64),
        field(101, "kind", DataType::VarChar),
        field(102, "ts", DataType::Timestamptz),
    ]);
    let connector = connector_to(&table, SnapshotChoice::Latest, &schema);
    let (manifest, _) = refresh(&connector, None).await.unwrap();
    let (mut constants, mut buckets) = (0, 0);
    for file in &manifest.files {
        let part = file.table.as_ref().unwrap();
        for (field, value) in &part.constants {
            constants += 1;
            let statistics = file.column(*field).unwrap();
            assert_eq!((&statistics.min, &statistics.max), (value, value));
            let nulls = if value.is_none() { file.rows() } else { 0 };
            assert_eq!(statistics.null_count, Some(nulls));
        }
        for bucket in &part.buckets {
            buckets += 1;
            assert_eq!((bucket.field, bucket.buckets), (FieldId(100), 3));
            let Some(StatValue::Int(day)) = file.column(FieldId(102)).unwrap().min else {
                panic!("days bound times")
            };
            assert!(day > 0);
        }
    }
    assert!(constants > 0 && buckets > 0, "{constants} {buckets}");
}

#[tokio::test]
async fn row_ids_of_lineage_are_those_of_the_writer() {
    let table = written(Sample::Lineage).await;
    let snapshot = table.head().unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (manifest, _) = refresh(&connector, None).await.unwrap();
    for row in table.rows_of(snapshot).unwrap() {
        let file = manifest.files.iter().find(|file| file.identity.uri == row.file).unwrap();
        let first = file.table.as_ref().unwrap().first_row_id.unwrap();
        // Rows that a compaction wrote bring older ids along; the others count from the first.
        assert!(row.row_id.unwrap() < first + i64::try_from(row.position).unwrap());
    }
    let first = table.snapshots()[0];
    let connector = connector_to(&table, SnapshotChoice::Id(first), &sample_schema());
    let (manifest, _) = refresh(&connector, None).await.unwrap();
    for row in table.rows_of(first).unwrap() {
        let file = manifest.files.iter().find(|file| file.identity.uri == row.file).unwrap();
        let first = file.table.as_ref().unwrap().first_row_id.unwrap();
        assert_eq!(row.row_id, Some(first + i64::try_from(row.position).unwrap()));
    }
}

#[tokio::test]
async fn vectors_of_fixed_width_are_checked_against_the_dimension() {
    let options = SampleOptions { vectors: VectorForm::Fixed, ..SampleOptions::default() };
    let place = Place::in_memory().unwrap();
    let table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let of_dim = |dim| schema(vec![vector(100, "embedding", dim)]);
    let right = connector_to(&table, SnapshotChoice::Latest, &of_dim(8));
    let manifest = refresh(&right, None).await.unwrap().0;
    assert_eq!(manifest.table.unwrap().columns[0].column_type, "fixed[32]");
    let wrong = connector_to(&table, SnapshotChoice::Latest, &of_dim(9));
    let refused = refresh(&wrong, None).await.unwrap_err();
    assert!(refused.message().contains("width mismatch"), "{refused}");
}

#[tokio::test]
async fn every_version_and_every_way_to_name_metadata_is_read() {
    use iceberg::spec::FormatVersion;
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        for metadata_names in [MetadataNames::Numbered, MetadataNames::Versioned] {
            for gzip_metadata in [false, true] {
                let mut options = SampleOptions { files: 2, ..SampleOptions::default() };
                options.deletes = pandion_testkit::iceberg::DeleteKind::None;
                options.table.format_version = version;
                options.table.metadata_names = metadata_names;
                options.table.gzip_metadata = gzip_metadata;
                let place = Place::in_memory().unwrap();
                let table = Sample::ManyFiles.write(place, &options).await.unwrap();
                let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
                let (manifest, _) = refresh(&connector, None).await.unwrap();
                assert_eq!(live_rows(&manifest), expected_rows(&table.rows().unwrap()));
                let state = manifest.table.unwrap();
                assert_eq!(state.snapshot_id, table.head());
                assert_eq!(state.metadata_location, table.metadata_location());
            }
        }
    }
}

#[tokio::test]
async fn a_table_that_is_raised_to_version_3_gets_row_ids() {
    let mut options = SampleOptions { files: 2, ..SampleOptions::default() };
    options.deletes = pandion_testkit::iceberg::DeleteKind::None;
    let place = Place::in_memory().unwrap();
    let mut table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (before, _) = refresh(&connector, None).await.unwrap();
    let is_numbered = |manifest: &Manifest| {
        let parts = manifest.files.iter().map(|file| file.table.as_ref().unwrap());
        parts.filter(|part| part.first_row_id.is_some()).count()
    };
    assert_eq!(is_numbered(&before), 0);
    table.upgrade(iceberg::spec::FormatVersion::V3).await.unwrap();
    let more = pandion_testkit::iceberg::sample_batch(200, 10, &options).unwrap();
    table.append(&[more]).await.unwrap();
    let (after, _) = refresh(&connector, Some(&before)).await.unwrap();
    assert_eq!(is_numbered(&after), 3);
    for row in table.rows().unwrap() {
        let file = after.files.iter().find(|file| file.identity.uri == row.file).unwrap();
        let first = file.table.as_ref().unwrap().first_row_id.unwrap();
        assert_eq!(row.row_id, Some(first + i64::try_from(row.position).unwrap()));
    }
}
