use pandion_types::ErrorKind;

use super::*;

/// A table of two schemas and three snapshots, of which the log still tells two.
fn table() -> TableMetadata {
    let snapshot = |id: i64, parent: &str, ms: i64, schema: i32| {
        format!(
            r#"{{"snapshot-id": {id}, {parent} "sequence-number": {id}, "timestamp-ms": {ms},
                "schema-id": {schema}, "manifest-list": "s3://lake/t/{id}.avro",
                "summary": {{"operation": "append"}}}}"#
        )
    };
    let snapshots = [
        snapshot(1, "", 100, 0),
        snapshot(2, "\"parent-snapshot-id\": 1,", 200, 0),
        snapshot(3, "\"parent-snapshot-id\": 2,", 300, 1),
    ];
    let schema = |id: i32| {
        format!(
            r#"{{"type": "struct", "schema-id": {id}, "fields": [
                {{"id": 1, "name": "id", "required": true, "type": "long"}}]}}"#
        )
    };
    let text = format!(
        r#"{{"format-version": 2, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
            "location": "s3://lake/t", "last-sequence-number": 3, "last-updated-ms": 400,
            "last-column-id": 1, "current-schema-id": 1, "schemas": [{}, {}],
            "default-spec-id": 0, "partition-specs": [{{"spec-id": 0, "fields": []}}],
            "last-partition-id": 999, "default-sort-order-id": 0,
            "sort-orders": [{{"order-id": 0, "fields": []}}],
            "current-snapshot-id": 3, "snapshots": [{}],
            "snapshot-log": [{{"snapshot-id": 2, "timestamp-ms": 200}},
                             {{"snapshot-id": 3, "timestamp-ms": 300}}],
            "refs": {{"main": {{"snapshot-id": 3, "type": "branch"}},
                      "dev": {{"snapshot-id": 2, "type": "branch"}},
                      "v1": {{"snapshot-id": 1, "type": "tag"}}}}}}"#,
        schema(0),
        schema(1),
        snapshots.join(","),
    );
    serde_json::from_str(&text).unwrap()
}

fn chosen(choice: &SnapshotChoice) -> (Option<i64>, i32) {
    let chosen = resolve(choice, &table()).unwrap();
    (chosen.snapshot.map(|snapshot| snapshot.snapshot_id()), chosen.schema.schema_id())
}

fn refused(choice: &SnapshotChoice) -> Error {
    resolve(choice, &table()).unwrap_err()
}

#[test]
fn the_newest_of_a_branch_is_read_in_the_current_schema() {
    assert_eq!(chosen(&SnapshotChoice::Latest), (Some(3), 1));
    assert_eq!(chosen(&SnapshotChoice::Branch("main".to_owned())), (Some(3), 1));
    assert_eq!(chosen(&SnapshotChoice::Branch("dev".to_owned())), (Some(2), 1));
}

#[test]
fn a_fixed_snapshot_is_read_in_its_own_schema() {
    assert_eq!(chosen(&SnapshotChoice::Id(1)), (Some(1), 0));
    assert_eq!(chosen(&SnapshotChoice::Tag("v1".to_owned())), (Some(1), 0));
    assert_eq!(chosen(&SnapshotChoice::Timestamp(299)), (Some(2), 0));
    assert_eq!(chosen(&SnapshotChoice::Timestamp(300)), (Some(3), 1));
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let id = refused(&SnapshotChoice::Id(9));
    assert_eq!(id.kind(), ErrorKind::NotFound);
    assert_eq!(id.message(), "the table has no snapshot 9; its snapshots: 3, 2, 1");
    let tag = refused(&SnapshotChoice::Tag("v2".to_owned()));
    assert_eq!(tag.message(), "the table has no tag \"v2\"; its tags: v1");
    let branch = refused(&SnapshotChoice::Branch("x".to_owned()));
    assert_eq!(branch.message(), "the table has no branch \"x\"; its branches: dev, main");
    let kind = refused(&SnapshotChoice::Branch("v1".to_owned()));
    assert!(kind.message().contains("is a tag of the table"), "{kind}");
    // The log does not tell what was current before its first entry.
    let early = refused(&SnapshotChoice::Timestamp(150));
    assert_eq!(early.kind(), ErrorKind::NotFound);
    assert!(early.message().contains("of 100 ms"), "{early}");
}
