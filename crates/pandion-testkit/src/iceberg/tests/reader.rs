//! A plain reader of tables that shares nothing with the writer: it reads metadata, lists and
//! manifests with the library, data and deletes with the Parquet reader, and applies the rules of
//! the specification one row at a time.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read as _;

use arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType as ArrowType, Int64Type};
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use flate2::read::GzDecoder;
use futures::TryStreamExt as _;
use iceberg::TableIdent;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataContentType, DataFile, DataFileFormat, Manifest, ManifestList, TableMetadata,
};
use iceberg::table::StaticTable;
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use roaring::RoaringTreemap;

use super::super::{Place, TableWriter};

pub(super) struct Reader {
    place: Place,
    pub(super) metadata: TableMetadata,
}

/// A live file with its data sequence number, partition spec and first row id.
struct Live {
    file: DataFile,
    sequence: i64,
    spec: i32,
    is_unpartitioned: bool,
    first_row_id: Option<i64>,
}

/// Values of the compared columns, and which files they reach.
struct Equality {
    ids: Vec<i32>,
    keys: HashSet<Vec<String>>,
    by: Live,
}

impl Reader {
    pub(super) async fn open(table: &TableWriter) -> Self {
        let place = table.place().clone();
        let bytes = place.get(table.metadata_location()).await.unwrap();
        let mut text = String::new();
        if table.metadata_location().ends_with(".gz.metadata.json") {
            GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        } else {
            text = String::from_utf8(bytes.to_vec()).unwrap();
        }
        Self { place, metadata: serde_json::from_str(&text).unwrap() }
    }

    async fn live(&self, snapshot: i64) -> Vec<Live> {
        let snapshot = self.metadata.snapshot_by_id(snapshot).unwrap();
        let bytes = self.place.get(snapshot.manifest_list()).await.unwrap();
        let version = self.metadata.format_version();
        let list = ManifestList::parse_with_version(&bytes, version).unwrap();
        let mut found = Vec::new();
        for listed in list.entries() {
            let bytes = self.place.get(&listed.manifest_path).await.unwrap();
            assert_eq!(bytes.len(), usize::try_from(listed.manifest_length).unwrap());
            let manifest = Manifest::parse_avro(&bytes).unwrap();
            let mut next = listed.first_row_id.map(|id| i64::try_from(id).unwrap());
            for entry in manifest.entries().iter().filter(|entry| entry.is_alive()) {
                let file = entry.data_file().clone();
                let first_row_id = file.first_row_id().or(next);
                if file.first_row_id().is_none() {
                    let rows = i64::try_from(file.record_count()).unwrap();
                    next = next.map(|next| next + rows);
                }
                found.push(Live {
                    first_row_id,
                    sequence: entry.sequence_number().unwrap_or(listed.sequence_number),
                    spec: listed.partition_spec_id,
                    is_unpartitioned: manifest.metadata().partition_spec().fields().is_empty(),
                    file,
                });
            }
        }
        found
    }

    pub(super) async fn live_files(&self, snapshot: i64) -> Vec<DataFile> {
        self.live(snapshot).await.into_iter().map(|live| live.file).collect()
    }

    async fn rows(&self, uri: &str) -> RecordBatch {
        let bytes = self.place.get(uri).await.unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let schema = std::sync::Arc::clone(reader.schema());
        let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
        concat_batches(&schema, &batches).unwrap()
    }

    /// Dead positions by data file and sequence number of the delete, from files and vectors.
    async fn positions(&self, live: &[Live]) -> Vec<(String, i64, RoaringTreemap)> {
        let mut positions = Vec::new();
        let deletes =
            live.iter().filter(|live| live.file.content_type() == DataContentType::PositionDeletes);
        for delete in deletes {
            if delete.file.file_format() == DataFileFormat::Puffin {
                let bytes = self.place.get(delete.file.file_path()).await.unwrap();
                let bitmap = vector(&bytes, &delete.file);
                assert_eq!(bitmap.len(), delete.file.record_count());
                let target = delete.file.referenced_data_file().unwrap();
                positions.push((target, delete.sequence, bitmap));
                continue;
            }
            let rows = self.rows(delete.file.file_path()).await;
            let mut found: BTreeMap<String, RoaringTreemap> = BTreeMap::new();
            let (files, numbers) = (rows.column(0).as_string::<i32>(), rows.column(1));
            for (file, number) in files.iter().zip(numbers.as_primitive::<Int64Type>()) {
                let number = u64::try_from(number.unwrap()).unwrap();
                found.entry(file.unwrap().to_owned()).or_default().insert(number);
            }
            positions.extend(found.into_iter().map(|(file, at)| (file, delete.sequence, at)));
        }
        positions
    }

    async fn equality(&self, live: Vec<Live>) -> Vec<Equality> {
        let mut found = Vec::new();
        for by in live {
            if by.file.content_type() == DataContentType::EqualityDeletes {
                let ids = by.file.equality_ids().unwrap();
                let rows = self.rows(by.file.file_path()).await;
                let keys = keys(&rows, &ids).into_iter().collect();
                found.push(Equality { ids, keys, by });
            }
        }
        found
    }

    /// Ids, row ids and last sequence numbers of the live rows.
    async fn read(&self, snapshot: i64) -> Vec<(i64, Option<i64>, i64)> {
        let live = self.live(snapshot).await;
        let positions = self.positions(&live).await;
        let (data, deletes): (Vec<Live>, Vec<Live>) =
            live.into_iter().partition(|live| live.file.content_type() == DataContentType::Data);
        let equality = self.equality(deletes).await;
        let mut found = Vec::new();
        for data in data {
            let rows = self.rows(data.file.file_path()).await;
            assert_eq!(rows.num_rows() as u64, data.file.record_count());
            let mut dead = RoaringTreemap::new();
            for (file, sequence, at) in &positions {
                if file == data.file.file_path() && *sequence >= data.sequence {
                    dead |= at;
                }
            }
            for delete in equality.iter().filter(|delete| reaches(delete, &data)) {
                let rows = keys(&rows, &delete.ids).into_iter().enumerate();
                dead.extend(
                    rows.filter(|(_, key)| delete.keys.contains(key)).map(|(at, _)| at as u64),
                );
            }
            let ids = long(&column(&rows, 1, "id").unwrap());
            let written = |id: i32| column(&rows, id, "").map(|column| long(&column));
            let (row_ids, updated) = (written(i32::MAX - 107), written(i32::MAX - 108));
            for at in (0..rows.num_rows()).filter(|at| !dead.contains(*at as u64)) {
                let of = |column: &Option<Vec<Option<i64>>>| {
                    column.as_ref().and_then(|column| column[at])
                };
                let inherited = data.first_row_id.map(|first| first + i64::try_from(at).unwrap());
                found.push((
                    ids[at].unwrap(),
                    of(&row_ids).or(inherited),
                    of(&updated).unwrap_or(data.sequence),
                ));
            }
        }
        found
    }

    pub(super) async fn ids(&self, snapshot: i64) -> Vec<i64> {
        let mut ids: Vec<i64> = self.read(snapshot).await.iter().map(|row| row.0).collect();
        ids.sort_unstable();
        ids
    }

    pub(super) async fn lineage(&self, snapshot: i64) -> BTreeSet<(i64, i64, i64)> {
        let rows = self.read(snapshot).await.into_iter();
        rows.map(|(id, row_id, updated)| (id, row_id.unwrap(), updated)).collect()
    }
}

fn reaches(delete: &Equality, data: &Live) -> bool {
    let here = delete.by.is_unpartitioned
        || (delete.by.spec == data.spec && delete.by.file.partition() == data.file.partition());
    here && data.sequence < delete.by.sequence
}

/// The column with a field id, or with a name in files without ids.
fn column(rows: &RecordBatch, id: i32, name: &str) -> Option<ArrayRef> {
    let schema = rows.schema();
    let at = schema.fields().iter().position(|field| {
        match field.metadata().get(PARQUET_FIELD_ID_META_KEY) {
            Some(found) => *found == id.to_string(),
            None => field.name() == name,
        }
    });
    at.map(|at| std::sync::Arc::clone(rows.column(at)))
}

fn long(column: &ArrayRef) -> Vec<Option<i64>> {
    let column = cast(column, &ArrowType::Int64).unwrap();
    column.as_primitive::<Int64Type>().iter().collect()
}

fn keys(rows: &RecordBatch, ids: &[i32]) -> Vec<Vec<String>> {
    let columns: Vec<Option<ArrayRef>> = ids.iter().map(|id| column(rows, *id, "")).collect();
    let text = |column: &Option<ArrayRef>, row: usize| match column {
        Some(column) if column.is_valid(row) => {
            format!("={}", array_value_to_string(column, row).unwrap())
        }
        _ => "null".to_owned(),
    };
    let row = |row: usize| columns.iter().map(|column| text(column, row)).collect();
    (0..rows.num_rows()).map(row).collect()
}

/// The positions of a deletion vector, with its frame checked.
fn vector(bytes: &Bytes, file: &DataFile) -> RoaringTreemap {
    let start = usize::try_from(file.content_offset().unwrap()).unwrap();
    let size = usize::try_from(file.content_size_in_bytes().unwrap()).unwrap();
    let blob = &bytes[start..start + size];
    let length = u32::from_be_bytes(blob[..4].try_into().unwrap());
    assert_eq!(usize::try_from(length).unwrap(), blob.len() - 8);
    assert_eq!(blob[4..8], [0xD1, 0xD3, 0x39, 0x64]);
    let (body, checksum) = blob[4..].split_at(blob.len() - 8);
    assert_eq!(checksum, crc32fast::hash(body).to_be_bytes());
    RoaringTreemap::deserialize_from(&body[4..]).unwrap()
}

/// The ids that the scan of the Iceberg library finds, for a table in a directory.
pub(super) async fn library_ids(table: &TableWriter, snapshot: i64) -> Vec<i64> {
    let name = TableIdent::from_strs(["tests", "table"]).unwrap();
    let io = FileIO::new_with_fs();
    let opened = StaticTable::from_metadata_file(table.metadata_location(), name, io).await;
    let scan = opened.unwrap().scan().snapshot_id(snapshot).select(["id"]).build().unwrap();
    let batches: Vec<RecordBatch> = scan.to_arrow().await.unwrap().try_collect().await.unwrap();
    let mut ids: Vec<i64> =
        batches.iter().flat_map(|batch| long(batch.column(0))).map(Option::unwrap).collect();
    ids.sort_unstable();
    ids
}
