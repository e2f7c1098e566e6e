//! Where foreign decoders meet the rest: their errors become ours, and so do their panics.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pandion_types::{Error, Result, Subject};

/// Bytes of the source that are not what they should be.
pub(crate) fn corrupt(what: impl Into<String>) -> Error {
    Error::corrupt(what).about(Subject::Source)
}

/// What the source holds and this connector does not read.
pub(crate) fn unsupported(what: impl Into<String>) -> Error {
    Error::unsupported(what).about(Subject::Source)
}

/// Runs a decoder over bytes of the source; `place` names them.
///
/// The libraries that decode table metadata trust it in places, and a file of the lake must not be
/// able to end a task. Nothing is left half-changed behind a panic: what `decode` works on belongs
/// to it and is dropped.
///
/// # Errors
/// Those of `decode`; `Corrupt` when it panics.
pub(crate) fn guarded<T>(place: &str, decode: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(decode)).unwrap_or_else(|panic| {
        Err(corrupt(format!("{place}: the data make no sense"))
            .caused_by(panic_text(panic.as_ref())))
    })
}

/// As [`guarded`], on a thread where it may take long.
///
/// # Errors
/// As [`guarded`]; `Cancelled` when the runtime shuts down.
pub(crate) async fn decode<T: Send + 'static>(
    place: String,
    decode: impl FnOnce(&str) -> Result<T> + Send + 'static,
) -> Result<T> {
    let work = move || guarded(&place, || decode(&place));
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(pandion_types::ErrorKind::Cancelled, "reading the table was cancelled")
            .caused_by(error)
    })?
}

/// An error of the Iceberg library, about what `place` names.
pub(crate) fn foreign(error: iceberg::Error, place: &str) -> Error {
    let kind = error.kind();
    let text = format!("{place}: {}", error.message());
    let ours = match kind {
        iceberg::ErrorKind::FeatureUnsupported => unsupported(text),
        _ => corrupt(text),
    };
    ours.caused_by(error)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_that_names_the_place() {
        let error = decode::<()>("s3://b/x.avro".to_owned(), |_| panic!("out of bounds"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(error.to_string(), "s3://b/x.avro: the data make no sense");
        assert!(format!("{error:?}").contains("out of bounds"));
    }
}
