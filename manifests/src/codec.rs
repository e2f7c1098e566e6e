//! Bytes from and to a manifest: the frame around the body, and the order of things in the body.
//!
//! A reader trusts nothing: the checksum covers every byte that it interprets, every length is
//! held against what is left before memory is asked for, and a body may not be larger than what
//! its packed form allows.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use pandion_types::{CollectionId, Error, ManifestVersion, Result};
use prost::Message;

use crate::check::MAX_FOOTER_BYTES;
use crate::wire::{File, Head, Table};
use crate::{DataFile, DeleteVector, Manifest, TableState};

/// The version of the format that is written, and the newest that is read.
pub const FORMAT_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"PNDNMNFT";
const HEADER_BYTES: usize = 56;
const CHECKSUM_AT: usize = 24;

/// How the body is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Stored = 0,
    Zstd = 1,
}

/// The most bytes of a body.
const MAX_BODY_BYTES: u64 = 1 << 32;
/// The most bytes of a body for each byte of its packed form.
const MAX_RATIO: u64 = 1 << 10;
/// The most bytes of a message.
const MAX_MESSAGE_BYTES: usize = 1 << 23;
/// The most bytes of what is kept of a table, without its files.
const MAX_TABLE_BYTES: usize = 1 << 29;
/// The most bytes of a delete vector: all rows that a file can have, one bit each, and the heads of
/// the containers.
const MAX_DELETES_BYTES: usize = (1 << 29) + (1 << 20);
/// A file has two lengths and a digest at the least.
const FILE_BYTES_MIN: u64 = 8 + 32;
/// The first version that has tables and delete vectors.
const TABLES_SINCE: u32 = 2;

const ZSTD_LEVEL: i32 = 3;

impl Manifest {
    /// The manifest as bytes of the newest format version.
    ///
    /// # Errors
    /// `InvalidArgument` when the manifest breaks a rule of the format (see [`Manifest::check`])
    /// or is too large for it.
    pub fn encode(&self) -> Result<Bytes> {
        self.check()
            .and_then(|()| body_of(self))
            .and_then(|body| seal(&body))
            .map_err(|error| error.context(format!("manifest of collection {}", self.collection)))
    }

    /// The manifest that the bytes hold, checked completely.
    ///
    /// Footers share the memory of the unpacked body. The cost is that of unpacking and hashing.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not what was written or break a rule of the format,
    /// `Unsupported` when their format is newer than this program, `Unavailable` when the memory
    /// cannot be had.
    pub fn decode(bytes: &Bytes) -> Result<Self> {
        let (version, body) = open(bytes).map_err(|error| error.context("manifest"))?;
        let manifest = parse(version, body).map_err(|error| error.context("manifest"))?;
        // The rules speak of arguments; what breaks them here are stored bytes.
        manifest.check().map_err(|error| corrupt(format!("manifest: {error}")).caused_by(error))?;
        Ok(manifest)
    }
}

/// Puts the frame around a body.
fn seal(body: &[u8]) -> Result<Bytes> {
    let length = body.len() as u64;
    if length > MAX_BODY_BYTES {
        return Err(Error::invalid_argument(format!(
            "{length} bytes, the format allows {MAX_BODY_BYTES}"
        )));
    }
    let packed = zstd::bulk::compress(body, ZSTD_LEVEL)
        .map_err(|error| Error::internal("packing failed").caused_by(error))?;
    // A body of endless repetition would look like a bomb to the reader.
    let worth = packed.len() < body.len() && length <= packed.len() as u64 * MAX_RATIO;
    let (packing, payload) =
        if worth { (Packing::Zstd, packed.as_slice()) } else { (Packing::Stored, body) };
    Ok(frame(FORMAT_VERSION, packing as u32, length, payload))
}

fn frame(version: u32, packing: u32, length: u64, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(version);
    bytes.put_u32_le(packing);
    bytes.put_u64_le(length);
    let checksum = checksum(&bytes, payload);
    bytes.put_slice(checksum.as_bytes());
    bytes.put_slice(payload);
    bytes.freeze()
}

fn checksum(header: &[u8], payload: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(header).update(payload).finalize()
}

/// Takes the frame off, checks it, and unpacks the body. Gives the version beside it.
fn open(bytes: &Bytes) -> Result<(u32, Bytes)> {
    let header = bytes
        .get(..HEADER_BYTES)
        .ok_or_else(|| corrupt(format!("{} bytes are fewer than the header has", bytes.len())))?;
    let payload = bytes.slice(HEADER_BYTES..);
    let mut fields = header;
    if !fields.starts_with(MAGIC) {
        return Err(corrupt("these bytes are no manifest: the magic is missing"));
    }
    fields.advance(MAGIC.len());
    let version = fields.get_u32_le();
    if version > FORMAT_VERSION {
        return Err(Error::unsupported(format!(
            "format version {version} is newer than {FORMAT_VERSION}, the newest that this \
             program reads: it was written by a newer program"
        )));
    }
    if version == 0 {
        return Err(corrupt("format version 0 does not exist"));
    }
    let packing = fields.get_u32_le();
    let length = fields.get_u64_le();
    let stored = <[u8; blake3::OUT_LEN]>::try_from(fields)
        .map_err(|error| Error::internal("the header ends with the checksum").caused_by(error))?;
    if checksum(&header[..CHECKSUM_AT], &payload) != stored {
        return Err(corrupt("the checksum does not match: the bytes are not what was written"));
    }
    Ok((version, unpack(packing, length, payload)?))
}

fn unpack(packing: u32, length: u64, payload: Bytes) -> Result<Bytes> {
    let most = (payload.len() as u64).saturating_mul(MAX_RATIO).min(MAX_BODY_BYTES);
    let length_as_usize = usize::try_from(length).ok().filter(|_| length <= most);
    let length = length_as_usize.ok_or_else(|| {
        corrupt(format!("a body of {length} bytes in {} packed bytes", payload.len()))
    })?;
    if packing == Packing::Stored as u32 {
        if payload.len() != length {
            return Err(corrupt(format!("{} of {length} body bytes", payload.len())));
        }
        return Ok(payload);
    }
    if packing != Packing::Zstd as u32 {
        return Err(corrupt(format!("packing {packing} does not exist")));
    }
    let mut body = Vec::new();
    body.try_reserve_exact(length).map_err(|error| {
        Error::unavailable(format!("no memory for a body of {length} bytes")).caused_by(error)
    })?;
    let unpacked = zstd::bulk::Decompressor::new()
        .and_then(|mut zstd| zstd.decompress_to_buffer(&payload[..], &mut body))
        .map_err(|error| corrupt("the body cannot be unpacked").caused_by(error))?;
    if unpacked != length {
        return Err(corrupt(format!("{unpacked} of {length} body bytes")));
    }
    Ok(Bytes::from(body))
}

fn body_of(manifest: &Manifest) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    put_part(&mut body, &Head::of(manifest).encode_to_vec(), MAX_MESSAGE_BYTES)?;
    let table = manifest.table.as_ref().map(|table| Table::of(table).encode_to_vec());
    put_part(&mut body, &table.unwrap_or_default(), MAX_TABLE_BYTES)
        .map_err(|error| error.context("table"))?;
    for file in &manifest.files {
        let context = |error: Error| error.context(format!("file {}", file.id));
        put_part(&mut body, &File::of(file).encode_to_vec(), MAX_MESSAGE_BYTES).map_err(context)?;
        put_part(&mut body, &file.footer, MAX_FOOTER_BYTES).map_err(context)?;
        let deletes = file.deletes.as_ref().map(DeleteVector::to_bytes).transpose()?;
        put_part(&mut body, &deletes.unwrap_or_default(), MAX_DELETES_BYTES).map_err(context)?;
    }
    Ok(body)
}

fn put_part(body: &mut Vec<u8>, part: &[u8], most: usize) -> Result<()> {
    let length =
        u32::try_from(part.len()).ok().filter(|_| part.len() <= most).ok_or_else(|| {
            Error::invalid_argument(format!("a part of {} bytes, the most is {most}", part.len()))
        })?;
    body.put_u32_le(length);
    body.put_slice(part);
    Ok(())
}

fn parse(version: u32, mut body: Bytes) -> Result<Manifest> {
    let head: Head = take_message(&mut body, MAX_MESSAGE_BYTES)?;
    let table = if version < TABLES_SINCE { None } else { take_table(&mut body)? };
    // Every file takes some bytes, so that a false count cannot ask for memory.
    if head.file_count > body.len() as u64 / FILE_BYTES_MIN {
        return Err(corrupt(format!("{} files in {} bytes", head.file_count, body.len())));
    }
    let mut files: Vec<DataFile> = Vec::new();
    for _ in 0..head.file_count {
        let file: File = take_message(&mut body, MAX_MESSAGE_BYTES)?;
        let footer = take_part(&mut body, MAX_FOOTER_BYTES)?;
        let mut file =
            file.into_model(footer).map_err(|error| corrupt(error.to_string()).caused_by(error))?;
        if version >= TABLES_SINCE {
            file.deletes = DeleteVector::from_bytes(&take_part(&mut body, MAX_DELETES_BYTES)?)?;
        }
        files.push(file);
    }
    if !body.is_empty() {
        return Err(corrupt(format!("{} bytes after the last file", body.len())));
    }
    Ok(Manifest {
        collection: CollectionId(head.collection),
        version: ManifestVersion(head.version),
        next_file_id: head.next_file_id,
        schema_version: head.schema_version,
        table,
        files,
    })
}

/// The table; a table without a UUID stands for none, since that is how none is written.
fn take_table(body: &mut Bytes) -> Result<Option<TableState>> {
    let table: Table = take_message(body, MAX_TABLE_BYTES)?;
    if table == Table::default() {
        return Ok(None);
    }
    let table = table.into_model();
    table.map(Some).map_err(|error| corrupt(error.to_string()).caused_by(error))
}

fn take_message<M: Message + Default>(body: &mut Bytes, most: usize) -> Result<M> {
    let part = take_part(body, most)?;
    M::decode(part).map_err(|error| corrupt("a message cannot be read").caused_by(error))
}

fn take_part(body: &mut Bytes, most: usize) -> Result<Bytes> {
    let length = body
        .try_get_u32_le()
        .map_err(|error| corrupt("the body ends where a length should stand").caused_by(error))?
        as usize;
    if length > most || length > body.len() {
        return Err(corrupt(format!(
            "a part of {length} bytes where {} are left and {most} are allowed",
            body.len()
        )));
    }
    Ok(body.split_to(length))
}

fn corrupt(message: impl Into<String>) -> Error {
    Error::corrupt(message)
}

#[cfg(test)]
mod tests;
