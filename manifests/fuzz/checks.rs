//! What has to hold of any bytes that come as a manifest: an error, or a manifest that obeys every
//! rule of the format and survives a round trip. Never a panic.

use bytes::Bytes;
use pandion_manifest::{FORMAT_VERSION, Manifest};

/// Holds the decoder to its word on one input: as it is, and as a body of each version behind a
/// checksum that fits.
pub(crate) fn decode(data: &[u8]) {
    check(&Bytes::copy_from_slice(data));
    for version in 1..=FORMAT_VERSION {
        check(&framed(version, data));
    }
}

fn check(bytes: &Bytes) {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    assert!(manifest.check().is_ok(), "what is decoded obeys the rules");
    let again = manifest.encode().map(|bytes| Manifest::decode(&bytes));
    assert!(matches!(again, Ok(Ok(again)) if again == manifest), "what was written is read");
}

/// The frame of docs/manifest-format.md around a stored body.
fn framed(version: u32, body: &[u8]) -> Bytes {
    let mut bytes = b"PNDNMNFT".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    let checksum = blake3::Hasher::new().update(&bytes).update(body).finalize();
    bytes.extend(checksum.as_bytes());
    bytes.extend(body);
    Bytes::from(bytes)
}
