use pandion_types::ErrorKind;

use super::*;

/// A blob made by hand of the specification: rows 3 and 70,000.
fn golden() -> Vec<u8> {
    let vector = [
        // One bitmap, of the rows whose upper half is 0.
        &[1, 0, 0, 0, 0, 0, 0, 0][..],
        &[0, 0, 0, 0],
        // Without runs; two containers: keys and counts less one, offsets, values.
        &[0x3a, 0x30, 0, 0, 2, 0, 0, 0],
        &[0, 0, 0, 0, 1, 0, 0, 0],
        &[24, 0, 0, 0, 26, 0, 0, 0],
        &[3, 0],
        &[0x70, 0x11],
    ]
    .concat();
    frame(&vector)
}

fn frame(vector: &[u8]) -> Vec<u8> {
    let body = [&MAGIC[..], vector].concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let checksum = crc32fast::hash(&body).to_be_bytes();
    [&length[..], &body, &checksum].concat()
}

#[test]
fn a_blob_of_the_specification_is_read() {
    let rows = parse(&golden()).unwrap();
    assert_eq!(rows.iter().collect::<Vec<_>>(), [3, 70_000]);
    assert_eq!(golden()[4..8], [0xd1, 0xd3, 0x39, 0x64]);
}

#[test]
fn every_spoiled_byte_is_noticed() {
    let golden = golden();
    for at in 0..golden.len() {
        let mut spoiled = golden.clone();
        spoiled[at] ^= 1;
        assert!(parse(&spoiled).is_err(), "byte {at}");
        assert!(parse(&golden[..at]).is_err(), "cut at {at}");
    }
    assert!(parse(&[golden, vec![0]].concat()).is_err());
}

#[test]
fn rows_that_no_file_has_are_refused() {
    let mut rows = RoaringTreemap::new();
    rows.insert(1 << 32);
    let mut vector = Vec::new();
    rows.serialize_into(&mut vector).unwrap();
    assert!(parse(&frame(&vector)).unwrap_err().contains("no file has"));
}

#[test]
fn cardinality_and_rows_are_those_of_the_table() {
    let delete = DeleteFile {
        location: "d.puffin".to_owned(),
        uri: "s3://lake/d.puffin".to_owned(),
        size: 100,
        records: 2,
        kind: DeleteKind::Vector { offset: 4, length: 50 },
        manifest: 0,
        sequence_number: 1,
        spec_id: 0,
        partition: String::new(),
        data_file: None,
    };
    let wanted = |delete, rows| WantedVector { delete, data_file: "s3://lake/a.parquet", rows };
    assert!(decode(&wanted(&delete, 70_001), &golden()).is_ok());
    let beyond = decode(&wanted(&delete, 70_000), &golden()).unwrap_err();
    assert_eq!(beyond.kind(), ErrorKind::Corrupt);
    assert!(beyond.message().contains("row 70000 of a file of 70000 rows"), "{beyond}");
    let three = DeleteFile { records: 3, ..delete.clone() };
    let wrong = decode(&wanted(&three, 70_001), &golden()).unwrap_err();
    assert!(wrong.message().contains("holds 2 rows, the table says 3"), "{wrong}");
}
