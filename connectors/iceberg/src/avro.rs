//! Bounds on Avro files, checked before the Iceberg library decodes them.
//!
//! The library believes what a file says: how large a block becomes, how many values it holds, how
//! deep its schema nests. This module walks the container once, decompresses without keeping, and
//! refuses what would take the memory or the stack. It decodes no value.

use std::collections::HashMap;
use std::io::Read;

use serde_json::Value;

/// Bytes of all blocks of a file after decompression.
const BYTES_MAX: u64 = 256 << 20;
/// Entries of the file's own metadata.
const HEADER_ENTRIES_MAX: u64 = 4096;
/// How deep a schema may nest.
const DEPTH_MAX: usize = 32;

const MAGIC: &[u8] = b"Obj\x01";
const SYNC_BYTES: usize = 16;

type Checked<T> = Result<T, String>;

/// Checks that a file can be decoded within bounds.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn check(bytes: &[u8]) -> Checked<()> {
    let mut cursor = Cursor { rest: bytes };
    if cursor.take(MAGIC.len())? != MAGIC {
        return Err("is no Avro file".to_owned());
    }
    let header: HashMap<String, &[u8]> = cursor.header()?.into_iter().collect();
    let schema = header.get("avro.schema").ok_or("has no schema")?;
    let schema: Value =
        serde_json::from_slice(schema).map_err(|error| format!("has no valid schema: {error}"))?;
    check_schema(&schema, &mut Vec::new(), 0)?;
    let codec = header.get("avro.codec").map_or(&b"null"[..], |codec| codec);
    cursor.take(SYNC_BYTES)?;
    let mut left = BYTES_MAX;
    while !cursor.rest.is_empty() {
        let count = cursor.count()?;
        let size = cursor.count()?;
        let block = cursor.take(usize::try_from(size).map_err(|_too_large| "is cut short")?)?;
        let unpacked = unpacked_bytes(codec, block, left)?;
        left -= unpacked;
        // An entry takes at least a byte; more entries than bytes would be decoded from nothing.
        if count > unpacked {
            return Err(format!("claims {count} entries in {unpacked} bytes"));
        }
        cursor.take(SYNC_BYTES)?;
    }
    Ok(())
}

/// The same file with some entries of its own metadata changed.
///
/// # Errors
/// What is wrong, in words.
pub(crate) fn with_header(
    bytes: &[u8],
    change: impl FnOnce(&mut HashMap<String, Vec<u8>>) -> Checked<()>,
) -> Checked<Vec<u8>> {
    let mut cursor = Cursor { rest: bytes };
    let magic = cursor.take(MAGIC.len())?;
    let header = cursor.header()?.into_iter().map(|(key, value)| (key, value.to_vec()));
    let mut header = header.collect();
    change(&mut header)?;
    let mut changed = magic.to_vec();
    put_count(&mut changed, header.len());
    for (key, value) in &header {
        for text in [key.as_bytes(), value] {
            put_count(&mut changed, text.len());
            changed.extend_from_slice(text);
        }
    }
    put_count(&mut changed, 0);
    changed.extend_from_slice(cursor.rest);
    Ok(changed)
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let mut rest = (count as u64) << 1;
    while rest >= 0x80 {
        let [low, ..] = rest.to_le_bytes();
        bytes.push(low | 0x80);
        rest >>= 7;
    }
    let [last, ..] = rest.to_le_bytes();
    bytes.push(last);
}

/// Bytes of a block after decompression, at most `left`.
fn unpacked_bytes(codec: &[u8], block: &[u8], left: u64) -> Checked<u64> {
    let bytes = match codec {
        b"null" => block.len() as u64,
        b"deflate" => count_bytes(flate2::read::DeflateDecoder::new(block), left)?,
        b"snappy" => {
            // The last four bytes are a checksum.
            let data = block.get(..block.len().saturating_sub(4)).unwrap_or_default();
            snap::raw::decompress_len(data).map_err(|error| error.to_string())? as u64
        }
        b"zstandard" => {
            let decoder =
                zstd::stream::read::Decoder::new(block).map_err(|error| error.to_string())?;
            count_bytes(decoder, left)?
        }
        other => {
            let name = String::from_utf8_lossy(other);
            return Err(format!("is compressed with {name:?}, which is not supported"));
        }
    };
    if bytes > left {
        return Err(format!("has more than {BYTES_MAX} bytes after decompression"));
    }
    Ok(bytes)
}

fn count_bytes(decoder: impl Read, left: u64) -> Checked<u64> {
    std::io::copy(&mut decoder.take(left + 1), &mut std::io::sink())
        .map_err(|error| format!("cannot be decompressed: {error}"))
}

/// Checks that a schema is no deeper than honest ones, does not contain itself, and has no lists
/// whose elements take no bytes. `open` holds the names of the definitions around.
fn check_schema(schema: &Value, open: &mut Vec<String>, depth: usize) -> Checked<()> {
    if depth > DEPTH_MAX {
        return Err("has a schema that nests too deep".to_owned());
    }
    match schema {
        Value::String(name) if open.iter().any(|known| last_name(known) == last_name(name)) => {
            Err(format!("has a schema in which {name:?} contains itself"))
        }
        Value::Array(variants) => {
            variants.iter().try_for_each(|variant| check_schema(variant, open, depth + 1))
        }
        Value::Object(object) => {
            let inner = |key: &str| object.get(key);
            match inner("type") {
                Some(Value::String(kind)) if kind == "record" => {
                    let name = inner("name").and_then(Value::as_str).unwrap_or_default();
                    open.push(name.to_owned());
                    let fields = inner("fields").and_then(Value::as_array);
                    for field in fields.into_iter().flatten() {
                        check_schema(field.get("type").unwrap_or(&Value::Null), open, depth + 1)?;
                    }
                    open.pop();
                    Ok(())
                }
                Some(Value::String(kind)) if kind == "array" => {
                    let items = inner("items").unwrap_or(&Value::Null);
                    if !takes_bytes(items) {
                        return Err("has a list of elements that take no bytes".to_owned());
                    }
                    check_schema(items, open, depth + 1)
                }
                Some(Value::String(kind)) if kind == "map" => {
                    check_schema(inner("values").unwrap_or(&Value::Null), open, depth + 1)
                }
                Some(nested @ (Value::Object(_) | Value::Array(_))) => {
                    check_schema(nested, open, depth + 1)
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Whether every value of a type takes at least a byte. A name stands for its definition, which no
/// writer of Iceberg uses inside of a list.
fn takes_bytes(schema: &Value) -> bool {
    const WITH_BYTES: [&str; 8] =
        ["boolean", "int", "long", "float", "double", "bytes", "string", "enum"];
    match schema {
        Value::String(name) => WITH_BYTES.contains(&name.as_str()),
        // The number of the variant.
        Value::Array(_) => true,
        Value::Object(object) => match object.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" => {
                    let fields = object.get("fields").and_then(Value::as_array);
                    let mut fields = fields.into_iter().flatten();
                    fields.any(|field| takes_bytes(field.get("type").unwrap_or(&Value::Null)))
                }
                "fixed" => object.get("size").and_then(Value::as_u64).is_some_and(|size| size > 0),
                // Their end takes a byte.
                "array" | "map" => true,
                kind => WITH_BYTES.contains(&kind),
            },
            Some(nested) => takes_bytes(nested),
            None => false,
        },
        _ => false,
    }
}

fn last_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    fn take(&mut self, bytes: usize) -> Checked<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes).ok_or("is cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number in zigzag coding.
    fn long(&mut self) -> Checked<i64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.take(1)? else { return Err("is cut short".to_owned()) };
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err("has a number of too many bytes".to_owned())
    }

    fn count(&mut self) -> Checked<u64> {
        u64::try_from(self.long()?).map_err(|_negative| "has a negative count".to_owned())
    }

    fn bytes(&mut self) -> Checked<&'a [u8]> {
        let length = self.count()?;
        self.take(usize::try_from(length).map_err(|_too_large| "is cut short")?)
    }

    /// The map of the file's own metadata: blocks of entries, of which an empty one is the last.
    fn header(&mut self) -> Checked<Vec<(String, &'a [u8])>> {
        let mut header = Vec::new();
        let mut entries = 0;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(header);
            }
            if count < 0 {
                // The size of the block in bytes follows.
                self.long()?;
            }
            entries += count.unsigned_abs();
            if entries > HEADER_ENTRIES_MAX {
                return Err("has too many entries in its header".to_owned());
            }
            for _ in 0..count.unsigned_abs() {
                let key = String::from_utf8_lossy(self.bytes()?).into_owned();
                header.push((key, self.bytes()?));
            }
        }
    }
}

#[cfg(test)]
mod tests;
