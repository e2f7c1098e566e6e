//! Deletion vectors and the Puffin files that hold them.
//!
//! A vector is a blob of type `deletion-vector-v1`, as the Puffin specification lays it down: the
//! length of what follows but for the checksum (4 bytes, big endian), the magic bytes, the positions
//! as a 64-bit roaring bitmap in its portable form (little endian), and the CRC-32 of magic and
//! bitmap (4 bytes, big endian).

use anyhow::Context as _;
use bytes::Bytes;
use roaring::RoaringTreemap;
use serde_json::{Value, json};

use super::change::Defect;
use crate::convert::to_u64;

const VECTOR_MAGIC: [u8; 4] = [0xD1, 0xD3, 0x39, 0x64];
const PUFFIN_MAGIC: &[u8; 4] = b"PFA1";
/// The reserved field id of the position of a row in its file.
const POSITION_FIELD_ID: i32 = i32::MAX - 2;

/// Where a blob lies in its Puffin file, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The bytes of a deletion vector, spoilt if a defect says so.
///
/// # Errors
/// More positions than a blob may hold.
pub(super) fn vector_bytes(
    positions: &RoaringTreemap,
    defect: Option<&Defect>,
) -> anyhow::Result<Vec<u8>> {
    let mut bitmap = positions.clone();
    bitmap.optimize();
    let mut body = VECTOR_MAGIC.to_vec();
    if defect == Some(&Defect::VectorMagic) {
        body[0] ^= 0xFF;
    }
    bitmap.serialize_into(&mut body).context("cannot write a bitmap")?;
    let length = u32::try_from(body.len()).context("the bitmap is too large")?;
    let mut checksum = crc32fast::hash(&body);
    if defect == Some(&Defect::VectorChecksum) {
        checksum ^= 1;
    }
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    Ok(bytes)
}

/// One Puffin file of deletion vectors: pairs of a data file's URI and its dead positions. Returns
/// where each vector lies.
///
/// # Errors
/// As [`vector_bytes`].
pub(super) fn puffin_bytes(
    vectors: &[(String, RoaringTreemap)],
    defect: Option<&Defect>,
) -> anyhow::Result<(Bytes, Vec<Blob>)> {
    let mut bytes = PUFFIN_MAGIC.to_vec();
    let mut blobs = Vec::new();
    let mut described = Vec::new();
    for (data_file, positions) in vectors {
        let vector = vector_bytes(positions, defect)?;
        let blob = Blob { offset: to_u64(bytes.len()), length: to_u64(vector.len()) };
        described.push(blob_metadata(data_file, blob, positions.len()));
        blobs.push(blob);
        bytes.extend_from_slice(&vector);
    }
    let footer = json!({
        "blobs": described,
        "properties": { "created-by": "Pandion's writer of test tables" },
    });
    let payload = footer.to_string();
    bytes.extend_from_slice(PUFFIN_MAGIC);
    bytes.extend_from_slice(payload.as_bytes());
    let size = i32::try_from(payload.len()).context("the footer is too large")?;
    bytes.extend_from_slice(&size.to_le_bytes());
    // No flag is set: the footer is not compressed.
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(PUFFIN_MAGIC);
    Ok((bytes.into(), blobs))
}

/// Snapshot and sequence number are those of the manifest's entry, which is what -1 says.
fn blob_metadata(data_file: &str, blob: Blob, cardinality: u64) -> Value {
    json!({
        "type": "deletion-vector-v1",
        "fields": [POSITION_FIELD_ID],
        "snapshot-id": -1,
        "sequence-number": -1,
        "offset": blob.offset,
        "length": blob.length,
        "properties": {
            "referenced-data-file": data_file,
            "cardinality": cardinality.to_string(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written down by hand from the specifications of Puffin and Roaring; the checksum is that of
    /// another implementation of CRC-32.
    #[test]
    fn a_vector_has_the_bytes_of_the_specification() {
        let positions: RoaringTreemap = [1, 3, 70_000, (2 << 32) + 5].into_iter().collect();
        let mut expected = vec![0, 0, 0, 68];
        expected.extend_from_slice(&[0xD1, 0xD3, 0x39, 0x64]);
        // Two 32-bit bitmaps.
        expected.extend_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0]);
        // High word 0: no run containers, two containers, key and cardinality - 1 of each, their
        // offsets in the bitmap, their values.
        expected.extend_from_slice(&[0, 0, 0, 0]);
        expected.extend_from_slice(&[0x3A, 0x30, 0, 0, 2, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 1, 0, 1, 0, 0, 0]);
        expected.extend_from_slice(&[24, 0, 0, 0, 28, 0, 0, 0]);
        expected.extend_from_slice(&[1, 0, 3, 0, 0x70, 0x11]);
        // High word 2: one container of one value.
        expected.extend_from_slice(&[2, 0, 0, 0]);
        expected.extend_from_slice(&[0x3A, 0x30, 0, 0, 1, 0, 0, 0]);
        expected.extend_from_slice(&[0, 0, 0, 0, 16, 0, 0, 0, 5, 0]);
        expected.extend_from_slice(&[0x87, 0x1F, 0xB4, 0xFC]);
        assert_eq!(vector_bytes(&positions, None).unwrap(), expected);
    }

    #[test]
    fn a_puffin_file_is_framed_and_says_where_its_blobs_lie() {
        let one: RoaringTreemap = (0..100_u64).collect();
        let other: RoaringTreemap = [7].into_iter().collect();
        let vectors = [("s3://b/one".to_owned(), one.clone()), ("s3://b/two".to_owned(), other)];
        let (bytes, blobs) = puffin_bytes(&vectors, None).unwrap();
        assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (&b"PFA1"[..], &b"PFA1"[..]));
        let size = &bytes[bytes.len() - 12..bytes.len() - 8];
        let size = usize::try_from(i32::from_le_bytes(size.try_into().unwrap())).unwrap();
        let end = bytes.len() - 12;
        assert_eq!(&bytes[end - size - 4..end - size], b"PFA1");
        let footer: Value = serde_json::from_slice(&bytes[end - size..end]).unwrap();
        assert_eq!(footer["blobs"][0]["offset"], 4);
        assert_eq!(footer["blobs"][1]["properties"]["cardinality"], "1");
        for ((_, positions), (blob, described)) in
            vectors.iter().zip(blobs.iter().zip(footer["blobs"].as_array().unwrap()))
        {
            assert_eq!(described["offset"], blob.offset);
            assert_eq!(described["length"], blob.length);
            let start = usize::try_from(blob.offset).unwrap();
            let blob = &bytes[start..start + usize::try_from(blob.length).unwrap()];
            let bitmap = &blob[8..blob.len() - 4];
            assert_eq!(&RoaringTreemap::deserialize_from(bitmap).unwrap(), positions);
        }
        // A range of positions is one run, not a hundred values.
        assert!(blobs[0].length < 60, "{blobs:?}");
    }

    #[test]
    fn defects_spoil_what_they_name() {
        let positions: RoaringTreemap = [1].into_iter().collect();
        let intact = vector_bytes(&positions, None).unwrap();
        let magic = vector_bytes(&positions, Some(&Defect::VectorMagic)).unwrap();
        let checksum = vector_bytes(&positions, Some(&Defect::VectorChecksum)).unwrap();
        assert_eq!((intact.len(), intact.len()), (magic.len(), checksum.len()));
        assert_ne!(intact[4..8], magic[4..8]);
        assert_eq!(intact[..intact.len() - 4], checksum[..intact.len() - 4]);
        assert_ne!(intact, checksum);
    }
}
