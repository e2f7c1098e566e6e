//! The footer of a Parquet file: read in one request, and looked at before it is believed.

use bytes::{Bytes, BytesMut};
use pandion_source::{IoStats, PinnedObject};
use pandion_types::{Error, Result, Subject};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};

use crate::guard;
use crate::thrift::{self, Mark};

/// Bytes read from the end of a file in the hope that the footer is among them.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes of the largest footer that is accepted. Files of ten thousand columns and a thousand row
/// groups stay below it.
const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// The length of the footer and the magic word behind it.
const TRAILER_BYTES: u64 = 8;
/// The smallest file: two magic words and the length of a footer.
const FILE_BYTES_MIN: u64 = 12;
/// Nodes of a schema.
const SCHEMA_NODES_MAX: usize = 1 << 17;
/// Levels of nesting of a schema, the root included. Decoders recurse into it.
const SCHEMA_DEPTH_MAX: usize = 64;

const MAGIC: [u8; 4] = *b"PAR1";
const MAGIC_ENCRYPTED: [u8; 4] = *b"PARE";

/// Reads the footer of a file: the thrift `FileMetaData` between the data and the trailing length
/// and magic word, which are checked and left out.
///
/// One request, or a second one for the rest of a footer of more than 64 KiB.
///
/// # Errors
/// `Corrupt`, naming file and offset, when the file does not end as a Parquet file does or claims a
/// footer larger than itself or than 64 MiB; `Unsupported` when it is encrypted; those of the store.
pub async fn read_footer(object: &PinnedObject, stats: &IoStats) -> Result<Bytes> {
    let size = object.identity.size;
    let corrupt = |what: String| {
        let uri = &object.identity.uri;
        Error::corrupt(format!("{uri} is not a Parquet file: {what}")).about(Subject::Source)
    };
    if size < FILE_BYTES_MIN {
        return Err(corrupt(format!("it has {size} bytes")));
    }
    let tail_start = size.saturating_sub(TAIL_BYTES);
    let tail = object.read_range(tail_start..size, stats).await?;
    let Some((body, trailer)) = tail.split_last_chunk::<8>() else {
        return Err(corrupt(format!("only {} bytes of its end could be read", tail.len())));
    };
    let [l0, l1, l2, l3, magic @ ..] = *trailer;
    if magic == MAGIC_ENCRYPTED {
        return Err(encrypted(&object.identity.uri));
    }
    if magic != MAGIC {
        return Err(corrupt(format!("no magic word at offset {}", size - 4)));
    }
    let length = u64::from(u32::from_le_bytes([l0, l1, l2, l3]));
    if length > FOOTER_BYTES_MAX || length > size - FILE_BYTES_MIN {
        return Err(corrupt(format!(
            "a footer of {length} bytes is claimed at offset {}",
            size - TRAILER_BYTES
        )));
    }
    let start = size - TRAILER_BYTES - length;
    if start >= tail_start {
        let skipped = usize::try_from(start - tail_start).unwrap_or(usize::MAX);
        // A copy, so that the footer does not keep the whole tail in memory.
        return Ok(Bytes::copy_from_slice(body.get(skipped..).unwrap_or_default()));
    }
    let mut footer = BytesMut::from(object.read_range(start..tail_start, stats).await?.as_ref());
    footer.extend_from_slice(body);
    Ok(footer.freeze())
}

fn encrypted(uri: &str) -> Error {
    Error::unsupported(format!("{uri} is encrypted: Parquet encryption is not supported"))
        .about(Subject::Source)
}

/// Decodes the footer of a file of `size` bytes.
///
/// # Errors
/// `Corrupt`, naming the file, when the footer is malformed, is larger than any honest one, or says
/// what cannot be true of the file; `Unsupported` when columns are encrypted or lie in other files.
pub(crate) fn parse(uri: &str, footer: &Bytes, size: u64) -> Result<ParquetMetaData> {
    let place = format!("{uri}: footer");
    let base = size.saturating_sub(TRAILER_BYTES + footer.len() as u64);
    let mut children = Vec::new();
    let mut is_encrypted = false;
    thrift::check(footer, thrift::FILE_META_DATA, &mut |mark, value| match mark {
        Mark::SchemaNode => children.push(0),
        Mark::Children => {
            if let Some(last) = children.last_mut() {
                *last = value;
            }
        }
        Mark::Encrypted => is_encrypted = true,
    })
    .map_err(|error| guard::malformed(error, base, &place))?;
    if is_encrypted {
        return Err(encrypted(uri));
    }
    let corrupt = |what: String| Error::corrupt(format!("{place} {what}")).about(Subject::Source);
    check_schema(&children).map_err(|what| corrupt(what.to_owned()))?;
    let metadata = guard::guarded(&place, || {
        ParquetMetaDataReader::decode_metadata(footer)
            .map_err(|error| guard::foreign(error, &place))
    })?;
    check_row_groups(uri, &metadata, size)?;
    Ok(metadata)
}

/// Whether the schema, whose nodes stand in depth-first order with these numbers of children, is a
/// tree of a depth and size that can be decoded.
fn check_schema(children: &[i64]) -> Result<(), &'static str> {
    if children.len() > SCHEMA_NODES_MAX {
        return Err("has a schema of too many nodes");
    }
    // Children still to come at each level above the current node.
    let mut open: Vec<i64> = Vec::new();
    for (at, &count) in children.iter().enumerate() {
        if at > 0 {
            while open.last() == Some(&0) {
                open.pop();
            }
            *open.last_mut().ok_or("has a schema of more than one tree")? -= 1;
        }
        let rest = i64::try_from(children.len() - at - 1).unwrap_or(i64::MAX);
        if count < 0 || count > rest {
            return Err("has a schema node with more children than there are nodes");
        }
        if count > 0 {
            open.push(count);
        }
        if open.len() >= SCHEMA_DEPTH_MAX {
            return Err("has a schema that nests too deep");
        }
    }
    Ok(())
}

fn check_row_groups(uri: &str, metadata: &ParquetMetaData, size: u64) -> Result<()> {
    let mut rows = 0_u64;
    for (number, group) in metadata.row_groups().iter().enumerate() {
        let corrupt = |what: String| {
            Error::corrupt(format!("{uri}: footer: row group {number} {what}"))
                .about(Subject::Source)
        };
        let group_rows = u64::try_from(group.num_rows()).map_err(|error| {
            corrupt("has a negative number of rows".to_owned()).caused_by(error)
        })?;
        rows = rows.saturating_add(group_rows);
        for column in group.columns() {
            if column.file_path().is_some_and(|path| !path.is_empty()) {
                return Err(Error::unsupported(format!(
                    "{uri}: row group {number}, column {}: the data lie in another file",
                    column.column_path()
                ))
                .about(Subject::Source));
            }
            check_chunk(column, group_rows, size)
                .map_err(|what| corrupt(format!("{what} in column {}", column.column_path())))?;
        }
    }
    if rows > u64::from(u32::MAX) {
        return Err(Error::unsupported(format!(
            "{uri} has {rows} rows: more than {} in one file are not supported",
            u32::MAX
        ))
        .about(Subject::Source));
    }
    if u64::try_from(metadata.file_metadata().num_rows()) != Ok(rows) {
        return Err(Error::corrupt(format!(
            "{uri}: footer says {} rows, its row groups {rows}",
            metadata.file_metadata().num_rows()
        ))
        .about(Subject::Source));
    }
    Ok(())
}

fn check_chunk(column: &ColumnChunkMetaData, rows: u64, size: u64) -> Result<(), &'static str> {
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let (Ok(start), Ok(length), Ok(values)) = (
        u64::try_from(start),
        u64::try_from(column.compressed_size()),
        u64::try_from(column.num_values()),
    ) else {
        return Err("has a negative offset, size or count");
    };
    if start.checked_add(length).is_none_or(|end| end > size) {
        return Err("has bytes beyond the end of the file");
    }
    if column.column_descr().max_rep_level() == 0 && values != rows {
        return Err("has another number of values than of rows");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
