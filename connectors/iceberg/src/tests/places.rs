//! Tables found by their folder: hints, conventions of naming, and what is not there.

use object_store::{ObjectStoreExt as _, PutPayload};
use pandion_testkit::iceberg::{
    DeleteKind, MetadataNames, Place, Sample, SampleOptions, sample_batch,
};
use pandion_types::ErrorKind;

use super::*;

async fn table(metadata_names: MetadataNames) -> TableWriter {
    let mut options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    options.table.metadata_names = metadata_names;
    Sample::ManyFiles.write(Place::in_memory().unwrap(), &options).await.unwrap()
}

async fn put(table: &TableWriter, name: &str, content: bytes::Bytes) {
    let at = Path::parse(format!("table/metadata/{name}")).unwrap();
    table.place().store().put(&at, PutPayload::from_bytes(content)).await.unwrap();
}

async fn newest(table: &TableWriter) -> Result<String> {
    let connector = connector_to(table, SnapshotChoice::Latest, &sample_schema());
    Ok(refresh(&connector, None).await?.0.table.unwrap().metadata_location)
}

#[tokio::test]
async fn a_stale_hint_is_followed_and_a_wrong_one_passed_over() {
    let mut table = table(MetadataNames::Versioned).await;
    let batch = sample_batch(900, 5, &SampleOptions::default()).unwrap();
    table.append(&[batch]).await.unwrap();
    let last = table.metadata_location().to_owned();
    assert!(last.ends_with("v3.metadata.json"), "{last}");
    for hint in ["3", "2", "1", " 3\n", "7", "no number", "../../v1", "v3", "v3.metadata.json", ""]
    {
        put(&table, "version-hint.text", bytes::Bytes::from(hint.to_owned())).await;
        assert_eq!(newest(&table).await.unwrap(), last, "hint {hint:?}");
    }
}

#[tokio::test]
async fn versions_are_compared_as_numbers_across_conventions() {
    let table = table(MetadataNames::Numbered).await;
    let last = table.place().get(table.metadata_location()).await.unwrap();
    let first = table.place().get(&table.metadata_locations()[0]).await.unwrap();
    put(&table, "v9.metadata.json", first).await;
    put(&table, "00010-last.metadata.json", last.clone()).await;
    put(&table, "00011-not-metadata.json", last.clone()).await;
    put(&table, "_v99.metadata.json", last).await;
    let found = newest(&table).await.unwrap();
    assert!(found.ends_with("00010-last.metadata.json"), "{found}");
}

#[tokio::test]
async fn among_files_of_one_version_the_last_updated_counts() {
    let table = table(MetadataNames::Numbered).await;
    let last = table.place().get(table.metadata_location()).await.unwrap();
    let first = table.place().get(&table.metadata_locations()[0]).await.unwrap();
    put(&table, "v5.metadata.json", last).await;
    put(&table, "00005-zzz.metadata.json", first).await;
    let found = newest(&table).await.unwrap();
    assert!(found.ends_with("/v5.metadata.json"), "{found}");
}

#[tokio::test]
async fn what_is_no_table_is_said_so() {
    let table = table(MetadataNames::Numbered).await;
    let connect = |prefix: &str| {
        let root = root(table.place().store(), prefix);
        connector(root, SnapshotChoice::Latest, &sample_schema())
    };
    let nowhere = refresh(&connect("nowhere"), None).await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::NotFound);
    assert!(nowhere.message().contains("no Iceberg table at s3://lake/nowhere"), "{nowhere}");
    let file = connect("table/metadata/v77.metadata.json");
    let missing = refresh(&file, None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(missing.message().contains("v77.metadata.json"), "{missing}");
}

#[tokio::test]
async fn a_table_without_snapshots_has_no_rows() {
    let schema = pandion_testkit::iceberg::sample_schema(8, Default::default()).unwrap();
    let place = Place::in_memory().unwrap();
    let table = TableWriter::create(place, schema, &[], Default::default()).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (manifest, _) = refresh(&connector, None).await.unwrap();
    assert!(manifest.files.is_empty());
    assert_eq!(manifest.table.unwrap().snapshot_id, None);
}

#[tokio::test]
async fn another_table_at_the_same_place_is_read_anew() {
    let first = table(MetadataNames::Numbered).await;
    let connector = connector_to(&first, SnapshotChoice::Latest, &sample_schema());
    let (before, _) = refresh(&connector, None).await.unwrap();
    let mut options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    options.table.seed = 7;
    (options.files, options.rows_per_file) = (1, 3);
    let place = Place::in_bucket(first.place().store(), "lake", "other").unwrap();
    let second = Sample::ManyFiles.write(place, &options).await.unwrap();
    let other = super::connector(
        root(second.place().store(), "other"),
        SnapshotChoice::Latest,
        &sample_schema(),
    );
    let (manifest, _) = refresh(&other, Some(&before)).await.unwrap();
    assert_eq!(manifest.live_rows(), 3);
    let stats = IoStats::default();
    let refused = other.resolve_at(&SnapshotChoice::Latest, &before, &stats).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict, "{refused}");
}

#[tokio::test]
async fn keys_with_blanks_and_signs_are_literal() {
    let options = SampleOptions::default();
    let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
    let prefix = "größe ü/100% a+b&c";
    let place = Place::in_bucket(Arc::clone(&store), "lake", prefix).unwrap();
    let table = Sample::PositionDeletes.write(place, &options).await.unwrap();
    let root = SourceRoot {
        store,
        base_uri: "s3://127.0.0.1:9000/lake/".to_owned(),
        prefix: Path::parse(prefix).unwrap(),
    };
    let connector = connector(root, SnapshotChoice::Latest, &sample_schema());
    let (manifest, _) = refresh(&connector, None).await.unwrap();
    assert_eq!(manifest.live_rows(), table.rows().unwrap().len() as u64);
    let file = &manifest.files[0];
    assert!(file.identity.uri.starts_with("s3://127.0.0.1:9000/lake/größe ü/100% a+b&c/data/"));
}

#[tokio::test]
async fn files_in_another_bucket_are_refused_by_name() {
    let table = table(MetadataNames::Numbered).await;
    let mut root = root(table.place().store(), "table");
    root.base_uri = "s3://127.0.0.1:9000/pond/".to_owned();
    let connector = connector(root, SnapshotChoice::Latest, &sample_schema());
    let refused = refresh(&connector, None).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    for text in ["s3://lake/table/metadata/", "\"lake\"", "\"pond\""] {
        assert!(refused.message().contains(text), "{refused}");
    }
}

/// Hands over the metadata that a table has now.
#[derive(Debug)]
struct Loader {
    place: Place,
    location: String,
}

#[async_trait::async_trait]
impl crate::TableLoader for Loader {
    async fn load(&self, stats: &IoStats) -> Result<crate::LoadedMetadata> {
        let bytes = self.place.get(&self.location).await.unwrap();
        stats.count_read(bytes.len() as u64);
        let metadata = serde_json::from_slice(&bytes).unwrap();
        Ok(crate::LoadedMetadata { metadata: Arc::new(metadata), location: String::new() })
    }
}

#[tokio::test]
async fn a_loader_hands_over_metadata_and_dead_rows_need_no_resolve_before() {
    let options = SampleOptions::default();
    let place = Place::in_memory().unwrap();
    let table = Sample::EqualityDeletes.write(place, &options).await.unwrap();
    let connect = || {
        let location = table.metadata_location().to_owned();
        let loader = Arc::new(Loader { place: table.place().clone(), location });
        IcebergConnector::new(
            root(table.place().store(), ""),
            TablePlace::Catalog(loader),
            SnapshotChoice::Latest,
            sample_schema(),
        )
    };
    let (manifest, _) = refresh(&connect(), None).await.unwrap();
    assert_eq!(live_rows(&manifest), expected_rows(&table.rows().unwrap()));
    assert_eq!(manifest.table.as_ref().unwrap().metadata_location, "");
    let stats = IoStats::default();
    let vectors = connect().delete_vectors(None, &manifest, &stats).await.unwrap();
    let held: Vec<_> = manifest.files.iter().map(|file| file.deletes.clone()).collect();
    assert_eq!(vectors, held);
}
