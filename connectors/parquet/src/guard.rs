//! Where foreign decoders meet the rest: their errors become ours, and so do their panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pandion_types::{Error, ErrorKind, Result, Subject};
use parquet::errors::ParquetError;

use crate::thrift::Malformed;

/// Runs a decoder over bytes of a file; `place` names them.
///
/// The libraries that decode Parquet index into what the file's own numbers point at, and are known
/// to panic when these are wrong. A file of the lake must not be able to end a task that way, so
/// this is the one place where a panic is caught. Nothing is left half-changed behind it: what
/// `decode` works on belongs to it and is dropped.
///
/// # Errors
/// Those of `decode`; `Corrupt` when it panics.
pub(crate) fn guarded<T>(place: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        let cause = panic_text(panic.as_ref());
        Err(Error::corrupt(format!("{place}: the data make no sense"))
            .about(Subject::Source)
            .caused_by(cause))
    })
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

/// An error of the Parquet library, about what `place` names.
pub(crate) fn foreign(error: ParquetError, place: impl std::fmt::Display) -> Error {
    let kind = match &error {
        ParquetError::NYI(_) => ErrorKind::Unsupported,
        _ => ErrorKind::Corrupt,
    };
    Error::new(kind, format!("{place}: {error}")).about(Subject::Source).caused_by(error)
}

/// Bytes that are not as the format says, about what `place` names; they began at `base` in the file.
pub(crate) fn malformed(error: Malformed, base: u64, place: impl std::fmt::Display) -> Error {
    Error::corrupt(format!("{place} {} (offset {})", error.what, base + error.at as u64))
        .about(Subject::Source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_that_names_the_place() {
        let error =
            guarded::<()>("s3://b/x.parquet", || panic!("index out of bounds")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "s3://b/x.parquet: the data make no sense");
        assert!(format!("{error:?}").contains("index out of bounds"));
    }
}
