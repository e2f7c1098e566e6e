//! What refreshes cost in requests.

use pandion_testkit::iceberg::{
    DeleteKind, DeleteLayout, MetadataNames, Place, Sample, SampleOptions, sample_batch,
};

use super::*;

fn cost(counts: IoCounts) -> (u64, u64) {
    (counts.list_requests, counts.read_requests)
}

#[tokio::test]
async fn a_refresh_reads_metadata_and_what_is_new() {
    let options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    let place = Place::in_memory().unwrap();
    let mut table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let schema = sample_schema();
    // Folder: the hint that is not there, a listing, the metadata; then the list and a manifest.
    let connector = connector_to(&table, SnapshotChoice::Latest, &schema);
    let (first, counts) = refresh(&connector, None).await.unwrap();
    assert_eq!(cost(counts), (1, 4));
    let (same, counts) = refresh(&connector, Some(&first)).await.unwrap();
    assert_eq!(cost(counts), (1, 2));
    assert_eq!(live_rows(&same), live_rows(&first));
    let more = sample_batch(400, 100, &options).unwrap();
    table.append(&[more]).await.unwrap();
    let (_, counts) = refresh(&connector, Some(&first)).await.unwrap();
    assert_eq!(cost(counts), (1, 4));
    // One metadata file: itself, the list, one manifest more.
    let key = table.place().key(table.metadata_location()).unwrap();
    let file = connector_of(&table, key.as_ref(), &schema);
    let (_, counts) = refresh(&file, Some(&first)).await.unwrap();
    assert_eq!(cost(counts), (0, 3));
    let (_, counts) = refresh(&file, None).await.unwrap();
    assert_eq!(cost(counts), (0, 4));
}

fn connector_of(
    table: &TableWriter,
    prefix: &str,
    schema: &Arc<CollectionSchema>,
) -> IcebergConnector {
    connector(root(table.place().store(), prefix), SnapshotChoice::Latest, schema)
}

#[tokio::test]
async fn a_hint_spares_the_listing() {
    let mut options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    options.table.metadata_names = MetadataNames::Versioned;
    let place = Place::in_memory().unwrap();
    let table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (first, counts) = refresh(&connector, None).await.unwrap();
    // Hint, metadata, the next version that is not there, list, manifest.
    assert_eq!(cost(counts), (0, 5));
    let (_, counts) = refresh(&connector, Some(&first)).await.unwrap();
    assert_eq!(cost(counts), (0, 3));
}

#[tokio::test]
async fn delete_files_are_read_once_and_only_when_they_are_new() {
    let options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    let place = Place::in_memory().unwrap();
    let mut table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (first, _) = refresh(&connector, None).await.unwrap();
    let positions = table.positions_where(|row| row.position % 10 == 0).unwrap();
    table.delete_positions(&positions, DeleteLayout::Shared).await.unwrap();
    let (second, counts) = refresh(&connector, Some(&first)).await.unwrap();
    // Hint, metadata, list, the manifest of deletes, one delete file for four data files.
    assert_eq!(cost(counts), (1, 5));
    assert_eq!(live_rows(&second), expected_rows(&table.rows().unwrap()));
    let positions = table.positions_where(|row| row.position % 10 == 1).unwrap();
    table.delete_positions(&positions, DeleteLayout::Shared).await.unwrap();
    let (third, counts) = refresh(&connector, Some(&second)).await.unwrap();
    assert_eq!(cost(counts), (1, 5));
    assert_eq!(live_rows(&third), expected_rows(&table.rows().unwrap()));
    let (_, counts) = refresh(&connector, Some(&third)).await.unwrap();
    assert_eq!(cost(counts), (1, 2));
}

#[tokio::test]
async fn vectors_of_one_puffin_file_share_requests() {
    let mut options = SampleOptions { deletes: DeleteKind::Position, ..SampleOptions::default() };
    options.table.format_version = iceberg::spec::FormatVersion::V3;
    options.files = 20;
    let place = Place::in_memory().unwrap();
    let table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let connector = connector_to(&table, SnapshotChoice::Latest, &sample_schema());
    let (manifest, counts) = refresh(&connector, None).await.unwrap();
    // Hint, metadata, list, two manifests, one request for twenty vectors.
    assert_eq!(cost(counts), (1, 6));
    assert_eq!(live_rows(&manifest), expected_rows(&table.rows().unwrap()));
}

#[tokio::test]
async fn thousands_of_files_need_no_footer() {
    let mut options = SampleOptions { deletes: DeleteKind::None, ..SampleOptions::default() };
    (options.files, options.rows_per_file, options.dim) = (2_000, 1, 2);
    let place = Place::in_memory().unwrap();
    let table = Sample::ManyFiles.write(place, &options).await.unwrap();
    let schema = schema(vec![field(100, "id", DataType::Int64), vector(101, "embedding", 2)]);
    let connector = connector_to(&table, SnapshotChoice::Latest, &schema);
    let (manifest, counts) = refresh(&connector, None).await.unwrap();
    assert_eq!(manifest.files.len(), 2_000);
    assert_eq!(cost(counts), (1, 5));
}
