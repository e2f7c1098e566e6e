//! Broken tables: each is a typed error that names what is broken, never fewer deletes.

use iceberg::spec::DataFileFormat;
use object_store::{ObjectStoreExt as _, PutPayload};
use pandion_testkit::iceberg::{
    Change, Defect, DeleteKind, DeleteLayout, EqualityDelete, Place, Sample, SampleOptions,
    sample_batch,
};
use pandion_types::{Error, ErrorKind};

use super::*;

fn options(version: iceberg::spec::FormatVersion) -> SampleOptions {
    let mut options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    options.table.format_version = version;
    options
}

/// What a refresh says to a table whose last commit is defective.
async fn refused(version: iceberg::spec::FormatVersion, change: Change) -> Error {
    let place = Place::in_memory().unwrap();
    let mut table = Sample::ManyFiles.write(place, &options(version)).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (before, _) = refresh(&connector, None).await.unwrap();
    table.commit(change_for(&table, change)).await.unwrap();
    let fresh = refresh(&connector, None).await.unwrap_err();
    let later = refresh(&connector, Some(&before)).await.unwrap_err();
    assert_eq!((fresh.kind(), fresh.message()), (later.kind(), later.message()));
    assert_eq!(fresh.subject(), pandion_types::Subject::Source, "{fresh}");
    fresh
}

/// The change, with positions where it asks for any.
fn change_for(table: &TableWriter, change: Change) -> Change {
    if change.equality.is_empty() && change.appended.is_empty() {
        let positions = table.positions_where(|row| row.position % 10 == 0).unwrap();
        return Change { positions, layout: DeleteLayout::PerFile, ..change };
    }
    change
}

fn broken(defect: Defect) -> Change {
    Change::default().with_defect(defect)
}

#[tokio::test]
async fn broken_position_deletes() {
    let v2 = iceberg::spec::FormatVersion::V2;
    for (defect, kind, text) in [
        (Defect::DeleteFileMissing, ErrorKind::NotFound, "not found"),
        (Defect::DeleteFileTruncated, ErrorKind::Corrupt, ""),
        (Defect::PositionBeyondEnd, ErrorKind::Corrupt, "which has 100 rows"),
        (Defect::DeleteFormat(DataFileFormat::Avro), ErrorKind::Unsupported, "its format is avro"),
        (Defect::DeleteFormat(DataFileFormat::Orc), ErrorKind::Unsupported, "its format is orc"),
    ] {
        let error = refused(v2, broken(defect.clone())).await;
        let is_kind = error.kind() == kind
            || (defect == Defect::DeleteFileTruncated && error.kind() == ErrorKind::Conflict);
        assert!(is_kind, "{defect:?}: {error:?}");
        assert!(error.message().contains(text), "{defect:?}: {error}");
        assert!(error.message().contains("s3://lake/table/data/"), "{defect:?}: {error}");
    }
}

#[tokio::test]
async fn broken_deletion_vectors() {
    let v3 = iceberg::spec::FormatVersion::V3;
    for (defect, text) in [
        (Defect::VectorChecksum, "wrong checksum"),
        (Defect::VectorMagic, "no magic word"),
        (Defect::VectorCardinality, "the table says"),
        (Defect::VectorLength, "claims"),
        (Defect::VectorOffset, ""),
        (Defect::VectorWithoutDataFile, "names no data file"),
        (Defect::VectorTwice, "two deletion vectors"),
        (Defect::PositionBeyondEnd, "a file of 100 rows"),
    ] {
        let error = refused(v3, broken(defect.clone())).await;
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{defect:?}: {error:?}");
        assert!(error.message().contains(text), "{defect:?}: {error}");
        assert!(error.message().contains("table/data/"), "{defect:?}: {error}");
    }
    let missing = refused(v3, broken(Defect::DeleteFileMissing)).await;
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing:?}");
}

#[tokio::test]
async fn broken_equality_deletes() {
    let rows = sample_batch(5, 3, &SampleOptions::default()).unwrap();
    let delete = EqualityDelete { columns: vec!["id".to_owned()], rows, in_all_partitions: false };
    let v2 = iceberg::spec::FormatVersion::V2;
    for (defect, kind, text) in [
        (Defect::NoEqualityIds, ErrorKind::Corrupt, "which columns it compares"),
        (Defect::UnknownEqualityId, ErrorKind::Corrupt, "no schema of the table has"),
        (Defect::DeleteFileMissing, ErrorKind::NotFound, "not found"),
        (Defect::DeleteFormat(DataFileFormat::Orc), ErrorKind::Unsupported, "its format is orc"),
    ] {
        let change = Change { equality: vec![delete.clone()], ..Change::default() };
        let error = refused(v2, change.with_defect(defect.clone())).await;
        assert_eq!(error.kind(), kind, "{defect:?}: {error:?}");
        assert!(error.message().contains(text), "{defect:?}: {error}");
    }
}

#[tokio::test]
async fn broken_data_files_are_told_by_the_metadata() {
    let v2 = iceberg::spec::FormatVersion::V2;
    for format in [DataFileFormat::Orc, DataFileFormat::Avro] {
        let batch = sample_batch(1_000, 10, &SampleOptions::default()).unwrap();
        let change = Change::append(&[batch]).with_defect(Defect::DataFormat(format));
        let error = refused(v2, change).await;
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.message().contains("only data files in Parquet"), "{error}");
        assert!(error.message().contains("s3://lake/table/data/"), "{error}");
    }
}

#[tokio::test]
async fn equality_deletes_find_data_files_that_are_not_what_the_table_says() {
    let rows = sample_batch(5, 3, &SampleOptions::default()).unwrap();
    for (defect, kind) in
        [(Defect::DataFileMissing, ErrorKind::NotFound), (Defect::RecordCount, ErrorKind::Corrupt)]
    {
        let place = Place::in_memory().unwrap();
        let options = options(iceberg::spec::FormatVersion::V2);
        let mut table = Sample::ManyFiles.write(place, &options).await.unwrap();
        let batch = sample_batch(0, 10, &SampleOptions::default()).unwrap();
        table.commit(Change::append(&[batch]).with_defect(defect.clone())).await.unwrap();
        table.delete_where_equal(&["id"], rows.clone()).await.unwrap();
        let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
        let error = refresh(&connector, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{defect:?}: {error:?}");
        assert!(error.message().contains("s3://lake/table/data/"), "{error}");
    }
}

/// Every metadata file of a table, cut and flipped at many places: an error or an answer, but no
/// panic, and no request without end.
#[tokio::test]
async fn spoiled_bytes_never_panic() {
    for (sample, version) in [
        (Sample::PositionDeletes, iceberg::spec::FormatVersion::V2),
        (Sample::DeletionVectors, iceberg::spec::FormatVersion::V3),
        (Sample::EqualityDeletes, iceberg::spec::FormatVersion::V2),
    ] {
        let options = SampleOptions { files: 2, rows_per_file: 20, ..options(version) };
        let table = sample.write(Place::in_memory().unwrap(), &options).await.unwrap();
        let store = table.place().store();
        let snapshot = table.head().unwrap();
        let mut uris: Vec<_> = table.objects_of(snapshot).unwrap().into_iter().collect();
        uris.push(table.metadata_location().to_owned());
        let expected = expected_rows(&table.rows().unwrap());
        let schema = sample_schema();
        let key = table.place().key(table.metadata_location()).unwrap();
        for uri in uris {
            let at = table.place().key(&uri).unwrap();
            let whole = table.place().get(&uri).await.unwrap();
            for step in 0..24_usize {
                let place = whole.len() * step / 24;
                let mut spoiled = whole.to_vec();
                if step % 2 == 0 {
                    spoiled.truncate(place);
                } else {
                    spoiled[place] ^= 0xff;
                }
                store.put(&at, PutPayload::from(spoiled)).await.unwrap();
                let connector = connector(
                    root(Arc::clone(&store), key.as_ref()),
                    SnapshotChoice::Latest,
                    &schema,
                );
                let answer = refresh(&connector, None).await;
                let is_delete = uri.contains("delete") || uri.ends_with(".puffin");
                if let (Ok((manifest, _)), true) = (answer, is_delete) {
                    assert_eq!(live_rows(&manifest), expected, "{uri} spoiled at {place}");
                }
            }
            store.put(&at, PutPayload::from_bytes(whole)).await.unwrap();
        }
    }
}
