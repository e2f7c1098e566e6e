//! Hands bytes that nobody wrote to the decoder: as they are, and as a body behind a checksum that
//! fits. Whatever comes out must obey every rule of the format and survive a round trip.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pandion_manifest::Manifest;

fuzz_target!(|data: &[u8]| {
    check(Bytes::copy_from_slice(data));
    check(framed(data));
});

fn check(bytes: Bytes) {
    if let Ok(manifest) = Manifest::decode(&bytes) {
        assert!(manifest.check().is_ok());
        let again = manifest.encode().expect("a checked manifest is encoded");
        assert_eq!(Manifest::decode(&again).expect("what was written is read"), manifest);
    }
}

/// The frame of docs/manifest-format.md around a stored body.
fn framed(body: &[u8]) -> Bytes {
    let mut bytes = b"PNDNMNFT".to_vec();
    bytes.extend(1_u32.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    let checksum = blake3::Hasher::new().update(&bytes).update(body).finalize();
    bytes.extend(checksum.as_bytes());
    bytes.extend(body);
    Bytes::from(bytes)
}
