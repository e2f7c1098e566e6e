//! Rows that a table of version 3 rewrites: their indexes move with them, unless they changed.

use arrow::array::ListArray;
use arrow::datatypes::Float32Type;
use iceberg::spec::{
    FormatVersion, ListType, NestedField, PrimitiveType, Schema as TableSchema, Type,
};
use pandion_testkit::iceberg::{DeleteLayout, Place, TableOptions, TableWriter};
use parquet::file::reader::{FileReader as _, SerializedFileReader};

use super::*;

const ROWS_OF_FILE: usize = 300;

fn table_schema() -> TableSchema {
    let float = Type::Primitive(PrimitiveType::Float);
    let vector = Type::List(ListType::new(Arc::new(NestedField::list_element(4, float, false))));
    let fields = [
        NestedField::optional(1, "N", Type::Primitive(PrimitiveType::Long)),
        NestedField::optional(2, "S", Type::Primitive(PrimitiveType::String)),
        NestedField::optional(3, "V", vector),
    ];
    TableSchema::builder().with_fields(fields.map(Arc::new)).build().unwrap()
}

/// Rows from number `first` on, with long texts, no two the same and some missing.
fn rows(table: &TableWriter, first: usize, count: usize) -> RecordBatch {
    let numbers = (first..first + count).map(|row| Some(i64::try_from(row % 7).unwrap()));
    let text = |row: usize| (row % 11 != 3).then(|| format!("{row} {}", text_of(row)));
    let vector = |row: usize| Some([row, 1, 2, 3].map(|part| Some(part as f32)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(numbers.collect::<Int64Array>()),
        Arc::new((first..first + count).map(text).collect::<StringArray>()),
        Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(
            (first..first + count).map(vector),
        )),
    ];
    let schema = table.arrow_schema().unwrap();
    let columns = schema.fields().iter().zip(columns);
    let columns =
        columns.map(|(field, column)| arrow::compute::cast(&column, field.data_type()).unwrap());
    RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
}

/// Text that no codec makes small.
fn text_of(row: usize) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(&row.to_le_bytes());
    let mut bytes = [0; 400];
    digest.finalize_xof().fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A collection over a table, with indexes on `n` and `s`, that was refreshed once: two files.
struct Lake {
    world: World,
    node: Node,
    table: TableWriter,
}

impl Lake {
    async fn new() -> Self {
        let world = World::new();
        let place = Place::in_directory(world.lake.path()).unwrap();
        let options = TableOptions::version(FormatVersion::V3);
        let mut table = TableWriter::create(place, table_schema(), &[], options).await.unwrap();
        let batches = [rows(&table, 0, ROWS_OF_FILE), rows(&table, ROWS_OF_FILE, ROWS_OF_FILE)];
        table.append(&batches).await.unwrap();
        let node = world.node().await;
        start(&world, &node).await;
        let first = node.refreshed("c").await;
        assert_eq!((first.rows, first.indexes_remapped), (2 * ROWS_OF_FILE as u64, 0));
        assert_eq!(world.stored().await, 4);
        Self { world, node, table }
    }

    fn files(&self) -> Vec<String> {
        self.table.data_files(self.table.head().unwrap()).unwrap()
    }

    async fn append(&mut self, first: usize) {
        let batch = rows(&self.table, first, ROWS_OF_FILE);
        self.table.append(&[batch]).await.unwrap();
    }

    /// Refreshes.
    async fn refreshed(&self) -> pandion_catalog::Receipt {
        let receipt = self.node.refreshed("c").await;
        assert_eq!(receipt.index_failures, 0);
        let coverage = self.node.indexes.coverage(&self.node.collection("c")).await.unwrap();
        for coverage in coverage.values() {
            assert_eq!((coverage.state, coverage.rows_indexed), (Finished, coverage.rows));
        }
        receipt
    }

    /// Compares the segments of the files of now with those that somebody builds who has never seen
    /// another file.
    async fn check_segments(&self) {
        let own: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let node = self.world.node_with(&own).await;
        start(&self.world, &node).await;
        let receipt = node.refreshed("c").await;
        assert_eq!((receipt.index_failures, receipt.indexes_remapped), (0, 0));
        let prefix = Path::from("indexes/scalar");
        let built: Vec<_> = own.list(Some(&prefix)).try_collect().await.unwrap();
        assert_eq!(built.len(), 2 * self.files().len());
        for object in built {
            let built = own.get(&object.location).await.unwrap().bytes().await.unwrap();
            let found = self.world.own.get(&object.location).await.unwrap().bytes().await.unwrap();
            assert_eq!(found, built);
        }
    }

    /// Runs `work` while nobody can read column `S` of the table's last data file.
    async fn without_texts<T>(&self, work: impl Future<Output = T>) -> T {
        let files = self.files();
        let file = files.last().unwrap().strip_prefix("file://").unwrap();
        let bytes = std::fs::read(file).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(bytes.clone())).unwrap();
        let mut broken = bytes.clone();
        for group in reader.metadata().row_groups() {
            let (start, length) = group.column(1).byte_range();
            let start = usize::try_from(start).unwrap();
            broken[start..start + usize::try_from(length).unwrap()].fill(0xff);
        }
        std::fs::write(file, broken).unwrap();
        let done = work.await;
        std::fs::write(file, bytes).unwrap();
        done
    }
}

/// A collection over the table, with indexes on `n` and `s`.
async fn start(world: &World, node: &Node) {
    world.create_with(node, "c", "{\"format\":\"iceberg-table\"}").await;
    for field in ["n", "s"] {
        node.index("c", field).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_moves_segments_without_reading_the_columns() {
    let mut lake = Lake::new().await;
    let files = lake.files();
    let dead = [(files[0].clone(), vec![0, 5, 299]), (files[1].clone(), vec![7])];
    lake.table.delete_positions(&dead, DeleteLayout::Shared).await.unwrap();
    lake.table.compact(&[files[1].clone(), files[0].clone()]).await.unwrap();
    assert_eq!(lake.files().len(), 1);
    let receipt = lake.without_texts(lake.refreshed()).await;
    assert_eq!((receipt.rows, receipt.indexes_remapped), (2 * ROWS_OF_FILE as u64 - 4, 2));
    // The texts alone have 800 bytes a row; metadata and footers are most of what is read.
    assert!(receipt.bytes_read < 200 * receipt.rows, "{receipt:?}");
    lake.check_segments().await;

    // What one compaction has written the next one rewrites, with rows that came later.
    lake.append(1000).await;
    assert_eq!(lake.refreshed().await.indexes_remapped, 0);
    let files = lake.files();
    assert_eq!(files.len(), 2);
    lake.table.compact(&files).await.unwrap();
    let receipt = lake.without_texts(lake.refreshed()).await;
    assert_eq!((receipt.rows, receipt.indexes_remapped), (3 * ROWS_OF_FILE as u64 - 4, 2));
    assert!(receipt.bytes_read < 200 * receipt.rows, "{receipt:?}");
    lake.check_segments().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_of_files_with_changed_rows_are_built() {
    let mut lake = Lake::new().await;
    let files = lake.files();
    let changed = [(5, rows(&lake.table, 2000, 1))].into();
    lake.table.update(&files[..1], &changed).await.unwrap();
    assert_eq!(lake.refreshed().await.indexes_remapped, 0);
    lake.check_segments().await;
    // A compaction after it knows the row by the number of that change.
    let files = lake.files();
    lake.table.compact(&files).await.unwrap();
    assert_eq!(lake.refreshed().await.indexes_remapped, 2);
    lake.check_segments().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_compaction_hides_is_found() {
    let mut lake = Lake::new().await;
    let files = lake.files();
    let changed = [(5, rows(&lake.table, 2000, 1))].into();
    lake.table.update(&files[..1], &changed).await.unwrap();
    let files = lake.files();
    lake.table.compact(&files).await.unwrap();
    // The file has an id and a number for every row, and all ids were there before.
    assert_eq!(lake.refreshed().await.indexes_remapped, 0);
    lake.check_segments().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_not_there_before_are_read() {
    let mut lake = Lake::new().await;
    lake.append(1000).await;
    let files = lake.files();
    lake.table.compact(&files).await.unwrap();
    assert_eq!(lake.refreshed().await.indexes_remapped, 0);
    lake.check_segments().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_missing_or_damaged_is_built_and_the_others_move() {
    let mut lake = Lake::new().await;
    let prefix = Path::from("indexes/scalar");
    let stored: Vec<_> = lake.world.own.list(Some(&prefix)).try_collect().await.unwrap();
    let largest = stored.iter().max_by_key(|object| object.size).unwrap();
    lake.world.own.put(&largest.location, "damaged".into()).await.unwrap();
    let files = lake.files();
    lake.table.compact(&files).await.unwrap();
    assert_eq!(lake.refreshed().await.indexes_remapped, 1);
    lake.check_segments().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_moved_are_garbage_when_the_new_ones_serve() {
    let mut lake = Lake::new().await;
    lake.node.indexes.start();
    let files = lake.files();
    lake.table.compact(&files).await.unwrap();
    assert_eq!(lake.refreshed().await.indexes_remapped, 2);
    lake.world.until_stored(2).await;
    lake.check_segments().await;
    lake.node.indexes.stop().await;
}
