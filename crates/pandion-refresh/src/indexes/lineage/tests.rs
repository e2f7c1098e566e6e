use bytes::Bytes;
use pandion_manifest::{TableFile, TableState};
use pandion_types::{CollectionId, ContentTag, FileId, FileIdentity, ManifestVersion};

use super::*;

fn file(file: usize, first_row_id: i64, rows: u32, sequence_number: i64) -> OldFile {
    OldFile { file, first_row_id, rows, sequence_number }
}

/// Two files of the version before: rows 10 to 13 of commit 1, and rows 20 and 21 of commit 2.
fn known() -> OldRows {
    OldRows { files: vec![file(7, 10, 4, 1), file(3, 20, 2, 2)], carried: Vec::new() }
}

fn found(known: &OldRows, rows: &[Version]) -> Option<Vec<(usize, Vec<u32>)>> {
    let moves = known.moves(rows)?;
    Some(moves.into_iter().map(|moved| (moved.file, moved.rows.to_vec())).collect())
}

#[test]
fn rows_are_found_by_id_and_number() {
    let rows = [(21, 2), (10, 1), (13, 1)];
    let expected = vec![(7, vec![1, ROW_GONE, ROW_GONE, 2]), (3, vec![ROW_GONE, 0])];
    assert_eq!(found(&known(), &rows), Some(expected));
    assert_eq!(found(&known(), &[(12, 1)]), Some(vec![(7, vec![ROW_GONE, ROW_GONE, 0, ROW_GONE])]));
}

#[test]
fn what_is_in_doubt_is_not_found() {
    for doubtful in [
        // Changed since, or not yet as it was.
        (12, 2),
        (21, 1),
        // Ids that no file has.
        (9, 1),
        (14, 1),
        (22, 2),
        (-1, 1),
        (i64::MAX, 1),
        (i64::MIN, 1),
    ] {
        assert_eq!(found(&known(), &[(10, 1), doubtful]), None, "{doubtful:?}");
    }
    // The same row twice.
    assert_eq!(found(&known(), &[(10, 1), (10, 1)]), None);
}

#[test]
fn rows_are_found_by_the_lineage_that_files_carry() {
    let known = OldRows { carried: vec![((1, 1), 1, 0), ((2, 5), 1, 1)], ..known() };
    assert_eq!(found(&known, &[(2, 5), (1, 1)]), Some(vec![(3, vec![1, 0])]));
    assert_eq!(found(&known, &[(2, 4)]), None);
    assert_eq!(found(&known, &[(3, 5)]), None);
}

#[test]
fn few_rows_of_large_files_are_not_worth_the_old_segments() {
    let known = OldRows { files: vec![file(0, 0, 100, 1)], carried: Vec::new() };
    let rows: Vec<Version> = (0..25).map(|row| (row, 1)).collect();
    assert!(found(&known, &rows).is_some());
    assert_eq!(found(&known, &rows[1..]), None);
}

fn manifest(uuid: &str, files: &[(&str, Option<i64>)]) -> Manifest {
    let entry = |(id, (name, first_row_id)): (u32, &(&str, Option<i64>))| DataFile {
        id: FileId::new(id).unwrap(),
        location: (*name).to_owned(),
        identity: FileIdentity {
            uri: format!("s3://host/bucket/{name}"),
            size: 10,
            tag: ContentTag::Immutable,
        },
        footer_digest: [0; 32],
        row_groups: vec![5],
        columns: Vec::new(),
        footer: Bytes::new(),
        deletes: None,
        table: Some(TableFile {
            first_row_id: *first_row_id,
            sequence_number: 3,
            ..TableFile::default()
        }),
    };
    Manifest {
        collection: CollectionId(1),
        version: ManifestVersion(1),
        next_file_id: 10,
        schema_version: 0,
        table: Some(TableState { uuid: uuid.to_owned(), ..TableState::default() }),
        files: (1..).zip(files).map(entry).collect(),
    }
}

#[test]
fn only_files_that_left_the_same_table_count() {
    let before = manifest("t", &[("a", Some(20)), ("b", Some(0)), ("c", Some(5)), ("d", None)]);
    let now = manifest("t", &[("b", Some(0)), ("e", Some(30))]);
    let files = OldRows::new(&before, &now).unwrap().files;
    assert_eq!(files, [file(2, 5, 5, 3), file(0, 20, 5, 3)]);
    assert_eq!(OldRows::new(&before, &manifest("other", &[("b", Some(0))])), None);
    assert_eq!(OldRows::new(&before, &before), None);
    let folder = Manifest { table: None, ..now.clone() };
    assert_eq!(OldRows::new(&before, &folder), None);
    assert_eq!(OldRows::new(&folder, &folder), None);
    // Two files cannot have the same ids, nor can ids end.
    let twice = manifest("t", &[("a", Some(1)), ("b", Some(5))]);
    assert_eq!(OldRows::new(&twice, &manifest("t", &[])), None);
    let endless = manifest("t", &[("a", Some(i64::MAX - 4))]);
    assert_eq!(OldRows::new(&endless, &manifest("t", &[])), None);
}
