use super::*;

fn long(value: i64) -> Vec<u8> {
    let mut rest = (value << 1 ^ value >> 63).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [long(i64::try_from(bytes.len()).unwrap()), bytes.to_vec()].concat()
}

/// A file of one block.
fn file(schema: &str, codec: &str, count: i64, block: &[u8]) -> Vec<u8> {
    let header = [
        MAGIC.to_vec(),
        long(2),
        text(b"avro.schema"),
        text(schema.as_bytes()),
        text(b"avro.codec"),
        text(codec.as_bytes()),
        long(0),
        vec![7; SYNC_BYTES],
    ];
    [header.concat(), long(count), text(block), vec![7; SYNC_BYTES]].concat()
}

const LONGS: &str = r#"{"type":"record","name":"r","fields":[{"name":"a","type":"long"}]}"#;

#[test]
fn honest_files_pass_in_every_codec() {
    use std::io::Write as _;
    let data = vec![2_u8; 1000];
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    deflate.write_all(&data).unwrap();
    let snappy = snap::raw::Encoder::new().compress_vec(&data).unwrap();
    let zstandard = zstd::stream::encode_all(data.as_slice(), 1).unwrap();
    assert_eq!(check(&file(LONGS, "null", 1000, &data)), Ok(()));
    assert_eq!(check(&file(LONGS, "deflate", 1000, &deflate.finish().unwrap())), Ok(()));
    assert_eq!(check(&file(LONGS, "snappy", 1000, &[snappy, vec![0; 4]].concat())), Ok(()));
    assert_eq!(check(&file(LONGS, "zstandard", 1000, &zstandard)), Ok(()));
}

#[test]
fn bombs_are_refused_before_they_are_decoded() {
    let zeros = zstd::stream::encode_all(std::io::repeat(0).take(BYTES_MAX + 1), 1).unwrap();
    assert!(zeros.len() < 1 << 20);
    let large = check(&file(LONGS, "zstandard", 1, &zeros)).unwrap_err();
    assert!(large.contains("after decompression"), "{large}");
    let many = check(&file(LONGS, "null", i64::MAX, &[0])).unwrap_err();
    assert!(many.contains("entries in 1 bytes"), "{many}");
    assert!(check(&file(LONGS, "bzip2", 1, &[0])).unwrap_err().contains("bzip2"));
}

#[test]
fn schemas_that_decode_without_end_are_refused() {
    let refused = |schema: &str| check(&file(schema, "null", 1, &[0])).unwrap_err();
    let list = r#"{"type":"record","name":"n","fields":[{"name":"next","type":["null","n"]}]}"#;
    assert!(refused(list).contains("contains itself"), "{}", refused(list));
    let nulls = r#"{"type":"array","items":"null"}"#;
    assert!(refused(nulls).contains("no bytes"));
    let empty = r#"{"type":"array","items":{"type":"record","name":"e","fields":[]}}"#;
    assert!(refused(empty).contains("no bytes"));
    let mut deep = "\"long\"".to_owned();
    for _ in 0..40 {
        deep = format!(r#"{{"type":"array","items":{deep}}}"#);
    }
    assert!(refused(&deep).contains("too deep"));
}

#[test]
fn cut_files_are_refused() {
    let whole = file(LONGS, "null", 2, &[0, 0]);
    for end in 0..whole.len() {
        // A file may end behind its header.
        let is_header = end == whole.len() - SYNC_BYTES - 4;
        assert_eq!(check(&whole[..end]).is_ok(), is_header, "{end}");
    }
}
