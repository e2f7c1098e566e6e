use bytes::Bytes;
use object_store::memory::InMemory;
use pandion_manifest::StatValue;
use pandion_source::SourceRoot;
use pandion_types::{ContentTag, FieldId, FileId, FileIdentity};

use super::*;

fn data(name: &str, sequence_number: i64, partition: (i32, &str)) -> DataFile {
    DataFile {
        id: FileId::FIRST,
        location: name.to_owned(),
        identity: FileIdentity {
            uri: format!("s3://lake/{name}"),
            size: 1,
            tag: ContentTag::Immutable,
        },
        footer_digest: [0; 32],
        row_groups: vec![10],
        columns: vec![column(Some(0), 0, 9)],
        footer: Bytes::new(),
        deletes: None,
        table: Some(TableFile {
            sequence_number,
            spec_id: partition.0,
            partition: partition.1.to_owned(),
            ..TableFile::default()
        }),
    }
}

fn column(null_count: Option<u64>, min: i64, max: i64) -> ColumnStatistics {
    let bound = |value| Some(StatValue::Int(value));
    ColumnStatistics { field: FieldId(100), null_count, min: bound(min), max: bound(max) }
}

fn delete(kind: DeleteKind, sequence_number: i64, partition: (i32, &str)) -> NewDelete {
    let file = DeleteFile {
        location: format!("d{sequence_number}"),
        uri: format!("s3://lake/d{sequence_number}"),
        size: 1,
        records: 1,
        kind,
        manifest: 0,
        sequence_number,
        spec_id: partition.0,
        partition: partition.1.to_owned(),
        data_file: None,
    };
    NewDelete { file, paths: None, keys: Vec::new() }
}

fn equality(global: bool) -> DeleteKind {
    DeleteKind::Equality { column_ids: vec![1], global }
}

fn paths() -> TablePaths {
    TablePaths::new(&SourceRoot {
        store: std::sync::Arc::new(InMemory::new()),
        base_uri: "s3://lake/".to_owned(),
        prefix: object_store::path::Path::default(),
    })
}

/// For each data file the delete files that concern it.
fn planned(mut files: Vec<DataFile>, deletes: Vec<NewDelete>) -> Result<Vec<Vec<u32>>> {
    let deletes: Vec<_> = deletes.into_iter().map(PlannedDelete::New).collect();
    assign(&mut files, &deletes, &paths(), None)?;
    Ok(files.into_iter().map(|file| file.table.unwrap().deletes).collect())
}

const A: (i32, &str) = (1, "[\"a\"]");
const B: (i32, &str) = (1, "[\"b\"]");
const OTHER_SPEC: (i32, &str) = (2, "[\"a\"]");

#[test]
fn sequence_numbers_decide() {
    let files = vec![data("x", 4, A), data("y", 5, A), data("z", 6, A)];
    let deletes = vec![delete(DeleteKind::Position, 5, A), delete(equality(false), 5, A)];
    // Positions concern data that are not newer, values data that are older.
    assert_eq!(planned(files, deletes).unwrap(), [vec![0, 1], vec![0], vec![]]);
}

#[test]
fn partitions_decide_and_global_deletes_do_not_ask() {
    let files = vec![data("x", 1, A), data("y", 1, B), data("z", 1, OTHER_SPEC)];
    let deletes = vec![
        delete(DeleteKind::Position, 5, A),
        delete(equality(false), 6, A),
        delete(equality(true), 7, (0, "")),
        delete(DeleteKind::Position, 8, (0, "")),
    ];
    assert_eq!(planned(files, deletes).unwrap(), [vec![0, 1, 2], vec![2], vec![2]]);
}

#[test]
fn a_vector_stands_for_all_positions() {
    let mut vector = delete(DeleteKind::Vector { offset: 4, length: 1 }, 6, A);
    vector.file.data_file = Some("s3a://lake/x".to_owned());
    let of_file = |mut delete: NewDelete, name: &str| {
        delete.file.data_file = Some(format!("s3://lake/{name}"));
        delete
    };
    let files = || vec![data("x", 2, A), data("y", 2, A)];
    let deletes = vec![
        delete(DeleteKind::Position, 5, A),
        of_file(delete(DeleteKind::Position, 5, B), "y"),
        vector.clone(),
        delete(equality(false), 7, A),
    ];
    assert_eq!(planned(files(), deletes).unwrap(), [vec![2, 3], vec![0, 1, 3]]);
    let mut twin = vector.clone();
    twin.file.uri = "s3://lake/twin".to_owned();
    let twice = planned(files(), vec![vector.clone(), twin]).unwrap_err();
    assert!(twice.message().contains("two deletion vectors"), "{twice}");
    let older = planned(vec![data("x", 7, A)], vec![vector]).unwrap_err();
    assert!(older.message().contains("older than its data file"), "{older}");
}

#[test]
fn bounds_of_paths_and_keys_leave_files_out() {
    let mut of_paths = delete(DeleteKind::Position, 5, A);
    of_paths.paths = Some(("s3://lake/b".to_owned(), "s3://lake/y1".to_owned()));
    let files = || vec![data("a", 1, A), data("x", 1, A), data("z", 1, A)];
    assert_eq!(planned(files(), vec![of_paths.clone()]).unwrap(), [vec![], vec![0], vec![]]);
    // What is cut inside of the bucket's name tells nothing.
    of_paths.paths = Some(("s3://lak".to_owned(), "s3://lal".to_owned()));
    assert_eq!(planned(files(), vec![of_paths]).unwrap(), [vec![0], vec![0], vec![0]]);
    let by_keys = |keys: ColumnStatistics| {
        let mut delete = delete(equality(false), 5, A);
        delete.keys = vec![keys];
        let mut file = data("x", 1, A);
        let without_nulls = planned(vec![file.clone()], vec![delete.clone()]).unwrap();
        file.columns[0].null_count = None;
        let with_nulls = planned(vec![file], vec![delete]).unwrap();
        (!without_nulls[0].is_empty(), !with_nulls[0].is_empty())
    };
    assert_eq!(by_keys(column(Some(0), 9, 20)), (true, true));
    assert_eq!(by_keys(column(Some(0), 10, 20)), (false, false));
    // A null among the keys kills the nulls of the file.
    assert_eq!(by_keys(column(Some(1), 10, 20)), (false, true));
    assert_eq!(by_keys(column(None, -5, -1)), (false, true));
}
