//! The block of bytes that an index is: named arrays behind a checksummed head.
//!
//! Layout, little endian: a head of 64 bytes (magic, format version, position of the directory,
//! total length, BLAKE3 hash of everything but the hash itself), the arrays, each at a multiple of
//! 64 bytes, and the directory of their tags, positions and lengths. What the arrays mean is not
//! known here.

use std::marker::PhantomData;

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use pandion_types::{Error, Result, Subject};

use super::SCALAR_INDEX_FORMAT;

const MAGIC: [u8; 8] = *b"PANDSCIX";
const HEAD: usize = 64;
/// Where the hash stands in the head; what is before it is hashed too.
const HASH: usize = 32;
const ALIGNMENT: usize = 64;
/// Bytes of a directory entry: tag, position, length.
const ENTRY: usize = 24;

/// Bytes that are not what a writer made of an index.
pub(super) fn damaged(what: &str) -> Error {
    Error::corrupt(format!("a scalar index is damaged: {what}")).about(Subject::Index)
}

/// Makes room for `more` values.
pub(super) fn reserve<T>(values: &mut Vec<T>, more: usize) -> Result<()> {
    values.try_reserve(more).map_err(|error| {
        let bytes = more.saturating_mul(size_of::<T>());
        Error::unavailable(format!("no memory for {bytes} bytes of a scalar index"))
            .caused_by(error)
    })
}

/// Collects arrays into a block.
#[derive(Debug)]
pub(super) struct Writer {
    out: Vec<u8>,
    directory: Vec<[u64; 3]>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { out: vec![0; HEAD], directory: Vec::new() }
    }

    /// Appends an array.
    pub(super) fn put<T: NoUninit>(&mut self, tag: u32, values: &[T]) -> Result<()> {
        debug_assert!(self.directory.iter().all(|entry| entry[0] != u64::from(tag)));
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let start = self.out.len().next_multiple_of(ALIGNMENT);
        let more = start - self.out.len() + bytes.len();
        reserve(&mut self.out, more)?;
        self.out.resize(start, 0);
        self.out.extend_from_slice(bytes);
        self.directory.push([tag.into(), start as u64, bytes.len() as u64]);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Bytes> {
        let directory = self.out.len().next_multiple_of(ALIGNMENT);
        let more = directory - self.out.len() + self.directory.len() * ENTRY;
        reserve(&mut self.out, more)?;
        self.out.resize(directory, 0);
        for entry in &self.directory {
            self.out.extend_from_slice(bytemuck::cast_slice(entry));
        }
        let length = self.out.len() as u64;
        self.out[..8].copy_from_slice(&MAGIC);
        self.out[8..12].copy_from_slice(&SCALAR_INDEX_FORMAT.to_le_bytes());
        self.out[16..24].copy_from_slice(&(directory as u64).to_le_bytes());
        self.out[24..32].copy_from_slice(&length.to_le_bytes());
        let hash = hash(&self.out);
        self.out[HASH..HEAD].copy_from_slice(&hash);
        Ok(Bytes::from(self.out))
    }
}

fn hash(block: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&block[..HASH]);
    hasher.update(&block[HEAD..]);
    *hasher.finalize().as_bytes()
}

/// Makes the checksum of changed bytes right, so that the checks behind it are met.
#[cfg(test)]
pub(super) fn seal(block: &mut [u8]) {
    let hash = hash(block);
    block[HASH..HEAD].copy_from_slice(&hash);
}

/// The arrays of a block whose checksum was right.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Bytes,
    directory: Vec<(u64, usize, usize)>,
}

impl Reader {
    /// Checks a block. Copies it only when it does not start at a multiple of 8.
    ///
    /// # Errors
    /// `Corrupt` when it is not a whole block of this format; `Unavailable` when a copy has no room.
    pub(super) fn open(bytes: Bytes) -> Result<Self> {
        if bytes.len() < HEAD || bytes[..8] != MAGIC {
            return Err(damaged("it does not start as one"));
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != SCALAR_INDEX_FORMAT {
            return Err(damaged(&format!(
                "its format is {version}, and {SCALAR_INDEX_FORMAT} is what can be read"
            )));
        }
        if word(&bytes, 24) != Some(bytes.len() as u64) {
            return Err(damaged(&format!("it is cut off or too long at {} bytes", bytes.len())));
        }
        if bytes[HASH..HEAD] != hash(&bytes) {
            return Err(damaged("its checksum is wrong"));
        }
        let bytes = aligned(bytes)?;
        let start = word(&bytes, 16).and_then(|start| usize::try_from(start).ok());
        let entries = start
            .filter(|start| *start >= HEAD)
            .and_then(|start| bytes.get(start..))
            .filter(|entries| entries.len().is_multiple_of(ENTRY))
            .ok_or_else(|| damaged("its directory is out of place"))?;
        let mut directory = Vec::with_capacity(entries.len() / ENTRY);
        for entry in entries.chunks_exact(ENTRY) {
            let part = word(entry, 0).zip(word(entry, 8)).zip(word(entry, 16));
            let part = part.and_then(|((tag, start), length)| {
                let start = usize::try_from(start).ok()?;
                let end = start.checked_add(usize::try_from(length).ok()?)?;
                (end <= bytes.len()).then_some((tag, start, end))
            });
            directory.push(part.ok_or_else(|| damaged("an array lies beyond its end"))?);
        }
        Ok(Self { bytes, directory })
    }

    /// Bytes of the block.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The array with this tag; `None` when there is none.
    pub(super) fn find<T: AnyBitPattern>(&self, tag: u32) -> Result<Option<Array<T>>> {
        let part = self.directory.iter().find(|(name, _, _)| *name == u64::from(tag));
        let Some(&(_, start, end)) = part else { return Ok(None) };
        let bytes = self.bytes.slice(start..end);
        if bytemuck::try_cast_slice::<u8, T>(&bytes).is_err() {
            return Err(damaged("an array is not made of whole numbers"));
        }
        Ok(Some(Array { bytes, of: PhantomData }))
    }

    /// The array with this tag.
    pub(super) fn get<T: AnyBitPattern>(&self, tag: u32) -> Result<Array<T>> {
        self.find(tag)?.ok_or_else(|| damaged(&format!("it lacks array {tag}")))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..)?.first_chunk::<8>()?;
    Some(u64::from_le_bytes(*word))
}

/// The same bytes at an address divisible by 8.
fn aligned(bytes: Bytes) -> Result<Bytes> {
    if bytes.as_ptr().addr().is_multiple_of(8) {
        return Ok(bytes);
    }
    let mut words: Vec<u64> = Vec::new();
    reserve(&mut words, bytes.len().div_ceil(8))?;
    words.resize(bytes.len().div_ceil(8), 0);
    bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
    Ok(Bytes::from_owner(Words(words)).slice(..bytes.len()))
}

struct Words(Vec<u64>);

impl AsRef<[u8]> for Words {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// Numbers inside of a block, not copied.
#[derive(Clone, Debug)]
pub(super) struct Array<T> {
    bytes: Bytes,
    of: PhantomData<T>,
}

impl<T: AnyBitPattern> Array<T> {
    /// No numbers.
    pub(super) fn empty() -> Self {
        Self { bytes: Bytes::new(), of: PhantomData }
    }

    pub(super) fn as_slice(&self) -> &[T] {
        // The reader has checked that the bytes are such numbers.
        bytemuck::try_cast_slice(&self.bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn arrays_come_back_whatever_the_alignment() {
        let mut writer = Writer::new();
        writer.put(3, &[1_u64, u64::MAX]).unwrap();
        writer.put(9, b"abc").unwrap();
        writer.put::<u32>(4, &[]).unwrap();
        let block = writer.finish().unwrap();
        for shift in 0..9 {
            let mut moved = vec![0; shift];
            moved.extend_from_slice(&block);
            let reader = Reader::open(Bytes::from(moved).slice(shift..)).unwrap();
            assert_eq!(reader.get::<u64>(3).unwrap().as_slice(), [1, u64::MAX]);
            assert_eq!(reader.get::<u8>(9).unwrap().as_slice(), b"abc");
            assert!(reader.get::<u32>(4).unwrap().as_slice().is_empty());
            assert!(reader.find::<u32>(5).unwrap().is_none());
            assert_eq!(reader.get::<u32>(9).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn a_directory_that_points_outside_is_refused() {
        let mut writer = Writer::new();
        writer.put(1, &[7_u64]).unwrap();
        let block = writer.finish().unwrap();
        let directory = block.len() - ENTRY;
        for (at, value) in
            [(16, u64::MAX), (16, 7), (directory + 8, u64::MAX), (directory + 16, 999)]
        {
            let mut bytes = block.to_vec();
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
            seal(&mut bytes);
            assert_eq!(Reader::open(bytes.into()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
