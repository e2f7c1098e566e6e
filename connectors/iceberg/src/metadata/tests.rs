use pandion_types::ErrorKind;

use super::*;

#[test]
fn versions_are_in_the_names() {
    for (name, version) in [
        ("v3.metadata.json", Some(3)),
        ("v3.gz.metadata.json", Some(3)),
        ("v12.metadata.json.gz", Some(12)),
        ("00007-6b0f1b55-9f.metadata.json", Some(7)),
        ("00007-6b0f1b55-9f.gz.metadata.json", Some(7)),
        ("vx.metadata.json", None),
        ("7.metadata.json", None),
        ("snap-1-2.avro", None),
        ("version-hint.text", None),
    ] {
        assert_eq!(version_of(name), version, "{name}");
    }
}

const TABLE: &str = r#"{
    "format-version": 3, "table-uuid": "9c12d441-03fe-4693-9a96-a0705ddf69c1",
    "location": "s3://lake/t", "last-sequence-number": 0, "last-updated-ms": 1,
    "last-column-id": 2, "next-row-id": 0, "current-schema-id": 0,
    "schemas": [{"type": "struct", "schema-id": 0, "fields": [
        {"id": 1, "name": "id", "required": true, "type": "long"},
        {"id": 2, "name": "x", "required": false, "type": "int", "initial-default": 7}]}],
    "default-spec-id": 0, "partition-specs": [{"spec-id": 0, "fields": []}],
    "last-partition-id": 999, "default-sort-order-id": 0,
    "sort-orders": [{"order-id": 0, "fields": []}],
    "properties": {"schema.name-mapping.default":
        "[{\"field-id\": 1, \"names\": [\"id\", \"ID\"]}, {\"names\": [\"gone\"]}]"}
}"#;

fn parsed(text: &str) -> Result<TableMetadata> {
    parse(&Bytes::copy_from_slice(text.as_bytes()), "s3://lake/t/m.json")
}

fn refused(text: &str) -> Error {
    let error = parsed(text).unwrap_err();
    assert!(error.message().starts_with("s3://lake/t/m.json"), "{error}");
    error
}

#[test]
fn metadata_are_read_compressed_and_not() {
    use std::io::Write as _;
    assert_eq!(parsed(TABLE).unwrap().location(), "s3://lake/t");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(TABLE.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let read = parse(&Bytes::from(gzip.clone()), "s3://lake/t/m.json").unwrap();
    assert_eq!(read, parsed(TABLE).unwrap());
    let cut = parse(&Bytes::from(gzip[..gzip.len() / 2].to_vec()), "s3://lake/t/m.json");
    assert_eq!(cut.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn what_cannot_be_read_is_named() {
    let version = refused(&TABLE.replace("\"format-version\": 3", "\"format-version\": 4"));
    assert_eq!(version.kind(), ErrorKind::Unsupported);
    assert!(version.message().contains("version 4"), "{version}");
    let variant = refused(&TABLE.replace("\"long\"", "\"variant\""));
    assert_eq!(variant.kind(), ErrorKind::Unsupported);
    assert!(variant.message().contains("\"id\" has the type variant"), "{variant}");
    assert_eq!(refused("{").kind(), ErrorKind::Corrupt);
    assert_eq!(refused("{}").kind(), ErrorKind::Corrupt);
    let schema = refused(&TABLE.replace("\"current-schema-id\": 0", "\"current-schema-id\": 5"));
    assert_eq!(schema.kind(), ErrorKind::Corrupt);
}

#[test]
fn a_default_that_is_lost_in_reading_is_refused() {
    let lost = refused(&TABLE.replace("\"initial-default\": 7", "\"initial-default\": \"seven\""));
    assert_eq!(lost.kind(), ErrorKind::Unsupported);
    assert!(lost.message().contains("column \"x\""), "{lost}");
}

#[test]
fn names_of_columns_are_by_id() {
    let names = name_mapping(&parsed(TABLE).unwrap()).unwrap();
    assert_eq!(names, HashMap::from([(1, vec!["id".to_owned(), "ID".to_owned()])]));
    let broken = TABLE.replace("[{\\\"field-id\\\"", "{\\\"field-id\\\"");
    assert_eq!(name_mapping(&parsed(&broken).unwrap()).unwrap_err().kind(), ErrorKind::Corrupt);
}
