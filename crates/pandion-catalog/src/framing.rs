//! The bytes of one object of the catalogue: magic, format version, checksum, JSON.
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 8 | magic: `PNDNCMMT` for a commit, `PNDNCKPT` for a checkpoint |
//! | 8 | 4 | format version, little endian |
//! | 12 | 4 | CRC-32 (IEEE) of bytes 0 to 11 followed by the JSON, little endian |
//! | 16 | rest | the JSON of a [`Commit`](crate::Commit) or a [`Checkpoint`](crate::Checkpoint) |

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use object_store::path::Path;
use pandion_types::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FORMAT_VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const CHECKSUM_AT: usize = 12;

/// What an object holds.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Commit,
    Checkpoint,
}

impl Kind {
    fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Commit => b"PNDNCMMT",
            Self::Checkpoint => b"PNDNCKPT",
        }
    }
}

/// The bytes of a value.
pub(crate) fn encode<T: Serialize>(kind: Kind, value: &T) -> Result<Bytes> {
    let json = serde_json::to_vec(value)
        .map_err(|error| Error::internal("a catalogue record is no JSON").caused_by(error))?;
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + json.len());
    bytes.put_slice(kind.magic());
    bytes.put_u32_le(FORMAT_VERSION);
    let checksum = checksum(&bytes, &json);
    bytes.put_u32_le(checksum);
    bytes.put_slice(&json);
    Ok(bytes.freeze())
}

/// The value that the bytes of the object at `path` hold.
///
/// # Errors
/// `Corrupt` or `Unsupported` that names the object. Never with text of the object, which may hold
/// a secret.
pub(crate) fn decode<T: DeserializeOwned>(kind: Kind, path: &Path, bytes: &Bytes) -> Result<T> {
    let corrupt = |what: &str| Error::corrupt(format!("catalogue object {path} {what}"));
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| corrupt("is cut off"))?;
    let json = bytes.get(HEADER_BYTES..).unwrap_or_default();
    let mut fields = header;
    if !fields.starts_with(kind.magic()) {
        return Err(corrupt("does not begin with its magic"));
    }
    fields.advance(kind.magic().len());
    let version = fields.get_u32_le();
    let stored = fields.get_u32_le();
    if checksum(header.get(..CHECKSUM_AT).unwrap_or_default(), json) != stored {
        return Err(corrupt("does not match its checksum"));
    }
    if version != FORMAT_VERSION {
        return Err(Error::unsupported(format!(
            "catalogue object {path} has format version {version}, this program reads \
             {FORMAT_VERSION}: it was written by another release"
        )));
    }
    // The parser's text may quote the object.
    serde_json::from_slice(json).map_err(|error| {
        corrupt(&format!("holds no record at byte {} of its JSON", error.column()))
    })
}

fn checksum(header: &[u8], json: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(header);
    hasher.update(json);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn every_changed_byte_and_every_cut_is_seen() {
        let path = Path::from("meta/catalog/7");
        let bytes = encode(Kind::Commit, &vec!["a", "b"]).unwrap();
        let read = |bytes: Vec<u8>| decode::<Vec<String>>(Kind::Commit, &path, &bytes.into());
        assert_eq!(read(bytes.to_vec()).unwrap(), ["a", "b"]);
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 0x20;
            let error = read(changed).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
            assert!(error.message().contains("meta/catalog/7"));
            assert!(read(bytes[..at].to_vec()).is_err(), "cut at {at}");
        }
        let other = decode::<Vec<String>>(Kind::Checkpoint, &path, &bytes).unwrap_err();
        assert!(other.message().contains("magic"));
    }

    #[test]
    fn another_format_is_refused_by_number() {
        let mut bytes = BytesMut::from(&b"PNDNCMMT"[..]);
        bytes.put_u32_le(2);
        let checksum = checksum(&bytes, b"[]");
        bytes.put_u32_le(checksum);
        bytes.put_slice(b"[]");
        let error =
            decode::<Vec<String>>(Kind::Commit, &Path::from("x"), &bytes.freeze()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("format version 2"));
    }
}
