//! Round trips, golden files, and bytes that nobody wrote.

use std::path::PathBuf;

use pandion_types::{ContentTag, ErrorKind, FieldId, FileId, FileIdentity};
use proptest::collection::{btree_map, vec};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::{option, sample};

use super::*;
use crate::samples::{data_file, golden_v1, golden_v2, manifest};
use crate::{ColumnStatistics, StatValue};

fn golden_path(name: &str) -> PathBuf {
    // Asked for when the test runs: a checkout may have built it and be gone.
    let package = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    package.join("golden").join(name)
}

/// Set `PANDION_BLESS` to write the file of the newest version anew.
#[test]
fn golden_file_of_version_1_still_holds_what_it_held() {
    let path = golden_path("v1.manifest");
    if std::env::var_os("PANDION_BLESS").is_some() && FORMAT_VERSION == 1 {
        std::fs::write(&path, golden_v1().encode().unwrap()).unwrap();
    }
    let bytes = Bytes::from(std::fs::read(&path).unwrap());
    let decoded = Manifest::decode(&bytes).unwrap();
    assert_eq!(decoded, golden_v1());
    assert_eq!((decoded.live_rows(), decoded.files.len()), (128 + u64::from(u32::MAX), 3));
    // Another release of zstd may pack otherwise: what counts is what is read back.
    assert_eq!(Manifest::decode(&decoded.encode().unwrap()).unwrap(), decoded);
}

#[test]
fn golden_file_of_version_2_still_holds_what_it_held() {
    let path = golden_path("v2.manifest");
    if std::env::var_os("PANDION_BLESS").is_some() && FORMAT_VERSION == 2 {
        std::fs::write(&path, golden_v2().encode().unwrap()).unwrap();
    }
    let bytes = Bytes::from(std::fs::read(&path).unwrap());
    let decoded = Manifest::decode(&bytes).unwrap();
    assert_eq!(decoded, golden_v2());
    assert_eq!(decoded.live_rows(), 100 + 28 - 3);
    assert_eq!(Manifest::decode(&decoded.encode().unwrap()).unwrap(), decoded);
}

#[test]
fn what_is_kept_of_a_table_obeys_rules() {
    let refused = |change: fn(&mut Manifest)| {
        let mut manifest = golden_v2();
        change(&mut manifest);
        manifest.encode().unwrap_err().to_string()
    };
    fn table(manifest: &mut Manifest) -> &mut TableState {
        manifest.table.as_mut().unwrap()
    }
    let of_table = refused(|m| m.table = None);
    assert!(of_table.contains("only files of tables"), "{of_table}");
    assert!(refused(|m| table(m).uuid.clear()).contains("UUID is empty"));
    assert!(refused(|m| table(m).manifests.clear()).contains("there is no manifest"));
    assert!(refused(|m| table(m).deletes.truncate(1)).contains("not in the table"));
    assert!(refused(|m| table(m).columns.reverse()).contains("not ascending by field"));
    assert!(refused(|m| table(m).retired.reverse()).contains("not ascending by URI"));
    assert!(refused(|m| table(m).deletes[2].size = 40).contains("beyond the end"));
    let dead = refused(|m| m.files[0].row_groups = vec![100]);
    assert!(dead.contains("row 127 is deleted among 100 rows"), "{dead}");
}

#[test]
fn a_delete_vector_that_lies_is_refused() {
    let mut body = Vec::new();
    let manifest = golden_v2();
    put_part(&mut body, &Head::of(&manifest).encode_to_vec(), MAX_MESSAGE_BYTES).unwrap();
    let table = manifest.table.as_ref().map(Table::of).unwrap();
    put_part(&mut body, &table.encode_to_vec(), MAX_TABLE_BYTES).unwrap();
    put_part(&mut body, &File::of(&manifest.files[0]).encode_to_vec(), MAX_MESSAGE_BYTES).unwrap();
    put_part(&mut body, &manifest.files[0].footer, MAX_FOOTER_BYTES).unwrap();
    let with = |deletes: &[u8]| {
        let mut body = body.clone();
        put_part(&mut body, deletes, MAX_DELETES_BYTES).unwrap();
        frame(FORMAT_VERSION, 0, body.len() as u64, &body)
    };
    assert!(corrupt_message(&with(b"no bitmap")).contains("cannot be read"));
    let mut bytes = manifest.files[0].deletes.as_ref().unwrap().to_bytes().unwrap();
    bytes.push(0);
    assert!(corrupt_message(&with(&bytes)).contains("bytes after"));
    let mut none = Vec::new();
    roaring::RoaringBitmap::new().serialize_into(&mut none).unwrap();
    assert!(corrupt_message(&with(&none)).contains("without rows"));
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let body = body_of(&golden_v1()).unwrap();
    let newer = frame(FORMAT_VERSION + 1, 0, body.len() as u64, &body);
    let error = Manifest::decode(&newer).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("format version 3 is newer than 2"), "{error}");
}

fn corrupt_message(bytes: &Bytes) -> String {
    let error = Manifest::decode(bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    error.to_string()
}

#[test]
fn frames_that_lie_are_refused() {
    let body = body_of(&golden_v1()).unwrap();
    let length = body.len() as u64;
    assert!(corrupt_message(&Bytes::new()).contains("fewer than the header"));
    assert!(corrupt_message(&Bytes::from(vec![0; 64])).contains("magic"));
    assert!(corrupt_message(&frame(0, 0, length, &body)).contains("version 0"));
    assert!(corrupt_message(&frame(1, 2, length, &body)).contains("packing 2"));
    assert!(corrupt_message(&frame(1, 0, length - 1, &body)).contains("body bytes"));
    assert!(corrupt_message(&frame(1, 1, length, &body)).contains("cannot be unpacked"));
}

#[test]
fn a_bomb_is_refused_before_memory_is_asked_for() {
    let zeros = vec![0_u8; 64 << 20];
    let packed = zstd::bulk::compress(&zeros, 3).unwrap();
    assert!((packed.len() as u64) * MAX_RATIO < zeros.len() as u64);
    let bomb = frame(1, 1, zeros.len() as u64, &packed);
    assert!(corrupt_message(&bomb).contains("packed bytes"));
    let understated = frame(1, 1, 1000, &packed);
    assert!(corrupt_message(&understated).contains("cannot be unpacked"));
    let absurd = frame(1, 0, u64::MAX, b"x");
    assert!(corrupt_message(&absurd).contains("packed bytes"));
}

#[test]
fn bodies_that_lie_are_refused() {
    let sealed = |body: &[u8]| frame(FORMAT_VERSION, 0, body.len() as u64, body);
    let mut longer = body_of(&golden_v1()).unwrap();
    longer.push(0);
    assert!(corrupt_message(&sealed(&longer)).contains("1 bytes after the last file"));

    let mut head = Head::of(&golden_v1());
    head.file_count = u64::MAX;
    let mut body = Vec::new();
    put_part(&mut body, &head.encode_to_vec(), MAX_MESSAGE_BYTES).unwrap();
    put_part(&mut body, &[], MAX_TABLE_BYTES).unwrap();
    assert!(corrupt_message(&sealed(&body)).contains("files in 0 bytes"));
    assert!(corrupt_message(&sealed(&[255, 255, 255, 255])).contains("are left"));
    assert!(corrupt_message(&sealed(&[1, 0])).contains("length should stand"));
}

#[test]
fn a_manifest_that_packs_too_well_is_stored_as_it_is() {
    let manifest = manifest(vec![data_file(1, vec![1; 1 << 20])]);
    let bytes = manifest.encode().unwrap();
    assert_eq!(bytes[12], Packing::Stored as u8);
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    assert_eq!(golden_v1().encode().unwrap()[12], Packing::Zstd as u8);
}

fn bounds() -> impl Strategy<Value = (Option<StatValue>, Option<StatValue>)> {
    let float = any::<f64>().prop_filter("NaN bounds nothing", |value| !value.is_nan());
    let ordered = prop_oneof![
        (any::<bool>(), any::<bool>())
            .prop_map(|(a, b)| (StatValue::Bool(a & b), StatValue::Bool(a | b))),
        (any::<i64>(), any::<i64>())
            .prop_map(|(a, b)| (StatValue::Int(a.min(b)), StatValue::Int(a.max(b)))),
        (float.clone(), float)
            .prop_map(|(a, b)| (StatValue::Float(a.min(b)), StatValue::Float(a.max(b)))),
        (".{0,8}", ".{0,8}").prop_map(|(a, b): (String, String)| {
            let (min, max) = if a <= b { (a, b) } else { (b, a) };
            (StatValue::String(min), StatValue::String(max))
        }),
    ];
    (ordered, any::<bool>(), any::<bool>())
        .prop_map(|((min, max), has_min, has_max)| (has_min.then_some(min), has_max.then_some(max)))
}

fn columns() -> impl Strategy<Value = Vec<ColumnStatistics>> {
    btree_map(100_i64..200, (any::<bool>(), bounds()), 0..5).prop_map(|columns| {
        let column = |(field, (no_nulls, (min, max))): (i64, (bool, _))| ColumnStatistics {
            field: FieldId(field),
            null_count: no_nulls.then_some(0),
            min,
            max,
        };
        columns.into_iter().map(column).collect()
    })
}

fn files() -> impl Strategy<Value = Vec<DataFile>> {
    let tag = (any::<bool>(), "[a-f0-9]{1,32}").prop_map(|(version, tag)| {
        if version { ContentTag::Version(tag) } else { ContentTag::ETag(format!("\"{tag}\"")) }
    });
    let content =
        (tag, any::<u64>(), vec(0_u64..1 << 20, 0..6), columns(), vec(any::<u8>(), 0..64));
    btree_map(1_u32..1 << 31, content, 0..8)
        .prop_map(|files| files.into_iter().map(|(id, content)| file(id, content)).collect())
}

type Content = (ContentTag, u64, Vec<u64>, Vec<ColumnStatistics>, Vec<u8>);

fn file(id: u32, (tag, size, row_groups, columns, footer): Content) -> DataFile {
    let rows = u32::try_from(row_groups.iter().sum::<u64>()).unwrap();
    let dead = (0..rows).step_by(7 + id as usize % 100_000);
    DataFile {
        id: FileId::new(id).unwrap(),
        location: format!("{id}.parquet"),
        identity: FileIdentity { uri: format!("s3://b/{id}.parquet"), size, tag },
        footer_digest: *blake3::hash(&footer).as_bytes(),
        row_groups,
        columns,
        footer: Bytes::from(footer),
        deletes: DeleteVector::new(dead.collect()),
        table: None,
    }
}

#[derive(Clone, Debug)]
enum Harm {
    Flip(sample::Index, u8),
    Cut(sample::Index),
    Grow(Vec<u8>),
    Overwrite(sample::Index, Vec<u8>),
}

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        (any::<sample::Index>(), 1_u8..).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        any::<sample::Index>().prop_map(Harm::Cut),
        vec(any::<u8>(), 1..9).prop_map(Harm::Grow),
        (any::<sample::Index>(), vec(Just(255_u8), 1..9))
            .prop_map(|(at, with)| Harm::Overwrite(at, with)),
    ]
}

fn harmed(bytes: &[u8], harm: &Harm) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match harm {
        Harm::Flip(at, bits) => {
            let at = at.index(bytes.len());
            bytes[at] ^= bits;
        }
        Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Harm::Grow(with) => bytes.extend_from_slice(with),
        Harm::Overwrite(at, with) => {
            let at = at.index(bytes.len());
            let end = (at + with.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&with[..end - at]);
        }
    }
    bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read(files in files()) {
        let manifest = manifest(files);
        prop_assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
    }

    #[test]
    fn any_harm_to_the_bytes_is_seen(files in files(), harm in harm()) {
        let bytes = manifest(files).encode().unwrap();
        let harmed = Bytes::from(harmed(&bytes, &harm));
        if harmed != bytes {
            prop_assert!(Manifest::decode(&harmed).is_err());
        }
    }

    /// Behind a checksum that fits, harm may go unseen, but never yields a manifest that breaks a
    /// rule.
    #[test]
    fn a_harmed_body_gives_an_error_or_a_checked_manifest(
        files in files(),
        harms in vec(harm(), 1..4),
        head in option::of(vec(any::<u8>(), 0..64)),
    ) {
        let mut body = head.unwrap_or_else(|| body_of(&manifest(files)).unwrap());
        for harm in &harms {
            if !body.is_empty() {
                body = harmed(&body, harm);
            }
        }
        if let Ok(manifest) = Manifest::decode(&seal(&body).unwrap()) {
            prop_assert!(manifest.check().is_ok());
            prop_assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
        }
    }

    /// The same of a table with deletes.
    #[test]
    fn a_harmed_table_gives_an_error_or_a_checked_manifest(harms in vec(harm(), 1..4)) {
        let mut body = body_of(&golden_v2()).unwrap();
        for harm in &harms {
            if !body.is_empty() {
                body = harmed(&body, harm);
            }
        }
        if let Ok(manifest) = Manifest::decode(&seal(&body).unwrap()) {
            prop_assert!(manifest.check().is_ok());
            prop_assert_eq!(Manifest::decode(&manifest.encode().unwrap()).unwrap(), manifest);
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::decode(&Bytes::from(bytes)).is_err());
    }
}
