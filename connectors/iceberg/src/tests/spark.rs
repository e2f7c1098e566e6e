//! Tables that Spark wrote: position deletes, deletion vectors, equality deletes, evolved partitions
//! and schema, version 1.

use std::collections::HashMap;
use std::io::Read as _;

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use object_store::ObjectStoreExt as _;
use object_store::memory::InMemory;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::*;

const ARCHIVE: &[u8] = include_bytes!("../../../../tests/fixtures/iceberg/spark.tar.gz");

/// The files of the archive, by path.
fn unpack() -> HashMap<String, Bytes> {
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(ARCHIVE).read_to_end(&mut tar).unwrap();
    let text = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8(bytes[..end].to_vec()).unwrap()
    };
    let mut files = HashMap::new();
    let mut long_name = None;
    let mut at = 0;
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let content = &tar[at + 512..at + 512 + size];
        let prefix = text(&header[345..500]);
        let name = text(&header[..100]);
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        match header[156] {
            b'L' => long_name = Some(text(content)),
            b'0' | 0 => {
                let name = long_name.take().unwrap_or(name);
                let name = name.trim_start_matches("./").to_owned();
                files.insert(name, Bytes::copy_from_slice(content));
            }
            _ => long_name = None,
        }
        at += 512 + size.next_multiple_of(512);
    }
    files
}

struct Lake {
    store: Arc<dyn ObjectStore>,
    files: HashMap<String, Bytes>,
    expected: Value,
}

impl Lake {
    async fn new() -> Self {
        let files = unpack();
        let expected = serde_json::from_slice(&files["expected.json"]).unwrap();
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for (name, content) in &files {
            if let Some(key) = name.strip_prefix("lake/") {
                store.put(&Path::parse(key).unwrap(), content.clone().into()).await.unwrap();
            }
        }
        Self { store, files, expected }
    }

    fn connector(&self, table: &str, choice: SnapshotChoice) -> IcebergConnector {
        let schema = schema(vec![field(100, "id", DataType::Int64)]);
        connector(root(Arc::clone(&self.store), &format!("fx/ns/{table}")), choice, &schema)
    }

    /// The sum of the ids of live rows, read plainly.
    fn sum_of_ids(&self, manifest: &Manifest) -> i64 {
        let mut sum = 0;
        for file in &manifest.files {
            let bytes = self.files[&format!("lake/{}", file.location)].clone();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap();
            let mut row = 0;
            for batch in reader {
                let batch = batch.unwrap();
                let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
                for id in ids.values() {
                    if !file.deletes.as_ref().is_some_and(|dead| dead.contains(row)) {
                        sum += id;
                    }
                    row += 1;
                }
            }
            assert_eq!(u64::from(row), file.rows());
        }
        sum
    }
}

#[tokio::test]
async fn every_snapshot_counts_what_spark_counts() {
    let lake = Lake::new().await;
    for table in ["pos", "dv", "part", "v1", "eq"] {
        let expected = &lake.expected[table];
        let latest = lake.connector(table, SnapshotChoice::Latest);
        let (manifest, _) = refresh(&latest, None).await.unwrap();
        assert_eq!(manifest.live_rows(), expected["count"].as_u64().unwrap(), "{table}");
        assert_eq!(lake.sum_of_ids(&manifest), expected["sum_id"].as_i64().unwrap(), "{table}");
        let mut before: Option<Manifest> = None;
        for (snapshot, count) in expected["snapshots"].as_object().unwrap() {
            let choice = SnapshotChoice::Id(snapshot.parse().unwrap());
            let connector = lake.connector(table, choice);
            let count = count.as_u64().unwrap();
            let (fresh, _) = refresh(&connector, None).await.unwrap();
            assert_eq!(fresh.live_rows(), count, "{table}, snapshot {snapshot}");
            let (later, _) = refresh(&connector, before.as_ref()).await.unwrap();
            assert_eq!(live_rows(&later), live_rows(&fresh), "{table}, snapshot {snapshot}");
            before = Some(later);
        }
    }
}

#[tokio::test]
async fn branches_and_tags_are_those_of_spark() {
    let lake = Lake::new().await;
    let count = async |choice| {
        let connector = lake.connector("part", choice);
        refresh(&connector, None).await.map(|(manifest, _)| manifest.live_rows())
    };
    let dev = count(SnapshotChoice::Branch("dev".to_owned())).await.unwrap();
    assert_eq!(Some(dev), lake.expected["part@dev"]["count"].as_u64());
    assert_eq!(count(SnapshotChoice::Branch("main".to_owned())).await.unwrap(), 589);
    assert_eq!(count(SnapshotChoice::Tag("t1".to_owned())).await.unwrap(), 589);
    let wrong = count(SnapshotChoice::Tag("dev".to_owned())).await.unwrap_err();
    assert!(wrong.message().contains("is a branch"), "{wrong}");
    let none = count(SnapshotChoice::Tag("t2".to_owned())).await.unwrap_err();
    assert!(none.message().contains("its tags: t1"), "{none}");
}

#[tokio::test]
async fn a_renamed_column_is_found_by_its_name_of_today() {
    let lake = Lake::new().await;
    let connect = |name: &str| {
        let schema = schema(vec![
            field(100, name, DataType::VarChar),
            field(101, "st", DataType::Json),
            field(102, "ts", DataType::Timestamptz),
        ]);
        let root = root(Arc::clone(&lake.store), "fx/ns/part/metadata/v12.metadata.json");
        connector(root, SnapshotChoice::Latest, &schema)
    };
    let manifest = refresh(&connect("category"), None).await.unwrap().0;
    let column = &manifest.table.as_ref().unwrap().columns[0];
    assert_eq!((column.column_id, column.column_type.as_str()), (3, "string"));
    let partitioned = manifest.files.iter().filter(|file| file.location.contains("cat="));
    for file in partitioned {
        let expected = file.location.split("cat=").nth(1).unwrap().split('/').next().unwrap();
        let expected = Some(pandion_manifest::StatValue::String(expected.to_owned()));
        assert_eq!(file.table.as_ref().unwrap().constants, [(FieldId(100), expected)]);
    }
    let gone = refresh(&connect("cat"), None).await.unwrap_err();
    assert!(gone.message().contains("Column 'cat' not found in schema"), "{gone}");
    assert!(gone.message().contains("category"), "{gone}");
    let nested = refresh(&connect("st.x"), None).await.unwrap_err();
    assert!(nested.message().contains("nested"), "{nested}");
}
