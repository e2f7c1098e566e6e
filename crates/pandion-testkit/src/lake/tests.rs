use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use object_store::ObjectStore as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::s3::S3Options;

fn read(bytes: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let schema = std::sync::Arc::clone(reader.schema());
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}

/// Changes a lake in every way and checks what lies there through `get`.
fn check(mut lake: Lake, get: impl Fn(&str) -> Option<Bytes>) {
    let matches = |file: &LakeFile| {
        let found = read(get(&file.name).unwrap());
        assert_eq!(found.columns(), file.spec.batch().unwrap().columns(), "{}", file.name);
    };
    let first = lake.append(100).unwrap();
    let second = lake.append(50).unwrap();
    assert_eq!((first.as_str(), second.as_str()), ("part-00000.parquet", "part-00001.parquet"));
    lake.files().iter().for_each(matches);
    assert_eq!((lake.rows(), lake.files()[1].spec.first_id), (150, 100));

    let before = get(&second).unwrap();
    lake.overwrite(&second).unwrap();
    assert_ne!(get(&second).unwrap(), before);
    lake.files().iter().for_each(matches);
    assert_eq!((lake.rows(), lake.files()[1].spec.first_id), (150, 100));

    lake.delete(&first).unwrap();
    assert_eq!(get(&first), None);
    assert!(lake.delete(&first).unwrap_err().to_string().contains(&first));
    assert!(lake.overwrite(&first).unwrap_err().to_string().contains(&first));
    let third = lake.append(10).unwrap();
    assert_eq!(third, "part-00002.parquet");
    assert_eq!((lake.rows(), lake.files()[1].spec.first_id), (60, 150));

    for name in lake.add_strays().unwrap() {
        assert_eq!(get(name).unwrap(), "not a data file", "{name}");
    }
    lake.files().iter().for_each(matches);
}

#[test]
fn a_lake_in_a_directory_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lake");
    let lake = Lake::in_directory(&path, VectorsSpec::default()).unwrap();
    let root = path.canonicalize().unwrap();
    assert_eq!(lake.uri(), format!("file://{}/", root.display()));
    check(lake, |name| fs::read(path.join(name)).ok().map(Bytes::from));
    let drafts = fs::read_dir(&path).unwrap().filter_map(Result::ok);
    let drafts =
        drafts.filter(|entry| entry.file_name().to_string_lossy().ends_with(".parquet.tmp"));
    assert_eq!(drafts.count(), 1, "only the stray one");
}

#[tokio::test]
async fn a_lake_in_a_bucket_changes_without_requests() {
    let server = S3Server::start(S3Options::default()).await.unwrap();
    let lake = Lake::in_bucket(&server, "lake", "/t/rows/", VectorsSpec::default());
    assert_eq!(lake.uri(), "s3://lake/t/rows/");
    check(lake, |name| server.get("lake", &format!("t/rows/{name}")));
    assert_eq!(server.stats().requests(), 0);
    let root = Lake::in_bucket(&server, "lake", "", VectorsSpec::default());
    assert_eq!(root.uri(), "s3://lake/");

    let prefix = object_store::path::Path::from("t/rows");
    let listed = server.bucket("lake").unwrap().list_with_delimiter(Some(&prefix)).await.unwrap();
    assert_eq!((listed.objects.len(), listed.common_prefixes.len()), (6, 2));
}

#[test]
fn rows_follow_from_their_ids() {
    let row = Row::of(1_234);
    assert_eq!((row.num, row.name.as_str()), (234, "name-34"));
    let meta: serde_json::Value = serde_json::from_str(&row.meta).unwrap();
    assert_eq!(meta, serde_json::json!({"k": 4, "tag": "t2", "nested": {"even": true}}));
    assert_eq!(row.ts_micros, 1_700_001_234_000_000);
}
