//! The one place where errors become the codes of a protocol.
//!
//! Milvus answers an application error with gRPC OK and a [`Status`] in the reply, because a client
//! repeats almost every gRPC error up to 75 times. For the same reason no error is ever mapped to
//! Milvus code 8 (rate limit), which clients repeat as well: what may pass on its own is code 2,
//! marked retriable, and the caller decides. This module logs nothing and changes no message.

use pandion_proto::common::{ErrorCode, Status};
use pandion_types::{Error, ErrorKind, Subject};

/// Milvus's numbers for outcomes; the ones that Pandion answers with.
mod code {
    pub(super) const UNAVAILABLE: i32 = 2;
    pub(super) const UNIMPLEMENTED: i32 = 10;
    pub(super) const COLLECTION_NOT_FOUND: i32 = 100;
    pub(super) const COLLECTION_NOT_LOADED: i32 = 101;
    pub(super) const PARTITION_NOT_FOUND: i32 = 200;
    pub(super) const INDEX_NOT_FOUND: i32 = 700;
    pub(super) const INDEX_DUPLICATE: i32 = 702;
    pub(super) const DATABASE_NOT_FOUND: i32 = 800;
    pub(super) const DATABASE_NAME_INVALID: i32 = 802;
    pub(super) const INVALID_PARAMETER: i32 = 1100;
    pub(super) const NOT_PERMITTED: i32 = 1401;
    pub(super) const ALIAS_NOT_FOUND: i32 = 1600;
    pub(super) const ALIAS_NAME_CONFLICT: i32 = 1601;
    pub(super) const ALIAS_EXISTS: i32 = 1602;
    pub(super) const FIELD_NOT_FOUND: i32 = 1700;
    pub(super) const CANCELLED: i32 = 10_000;
    pub(super) const UNEXPECTED: i32 = 65_535;
}

/// The key of `extra_info` that tells clients whose fault an error is.
const INPUT_ERROR_KEY: &str = "is_input_error";

/// The status of a call that succeeded.
#[must_use]
pub(crate) fn success() -> Status {
    Status::default()
}

/// The status of a call that failed: code, legacy code, text and whether a repetition may help.
#[must_use]
pub(crate) fn failure(error: &Error) -> Status {
    let code = milvus_code(error);
    let mut status = Status {
        code,
        reason: error.message().to_owned(),
        detail: error.message().to_owned(),
        retriable: error.kind() == ErrorKind::Unavailable,
        extra_info: [(INPUT_ERROR_KEY.to_owned(), is_input_error(error).to_string())].into(),
        ..Status::default()
    };
    status.set_error_code(legacy_code(code));
    status
}

/// Milvus's number for an error; REST v2 answers with the same numbers.
#[must_use]
pub(crate) fn milvus_code(error: &Error) -> i32 {
    match (error.kind(), error.subject()) {
        (ErrorKind::Unavailable, _) => code::UNAVAILABLE,
        (ErrorKind::Cancelled, _) => code::CANCELLED,
        // The lake, or the policy on what may be read from it, refused: not the caller's rights.
        (ErrorKind::PermissionDenied, Subject::Source) => code::INVALID_PARAMETER,
        (ErrorKind::PermissionDenied, _) => code::NOT_PERMITTED,
        (ErrorKind::Corrupt | ErrorKind::Internal, _) => code::UNEXPECTED,

        (ErrorKind::Unsupported, Subject::Method) => code::UNIMPLEMENTED,

        (ErrorKind::NotFound, Subject::Collection) => code::COLLECTION_NOT_FOUND,
        (ErrorKind::NotFound, Subject::Partition) => code::PARTITION_NOT_FOUND,
        (ErrorKind::NotFound, Subject::Index) => code::INDEX_NOT_FOUND,
        (ErrorKind::NotFound, Subject::Database) => code::DATABASE_NOT_FOUND,
        (ErrorKind::NotFound, Subject::Alias) => code::ALIAS_NOT_FOUND,
        (ErrorKind::NotFound, Subject::Field) => code::FIELD_NOT_FOUND,
        (ErrorKind::NotFound | ErrorKind::Conflict, Subject::Load) => code::COLLECTION_NOT_LOADED,

        (ErrorKind::AlreadyExists, Subject::Index) => code::INDEX_DUPLICATE,
        (ErrorKind::AlreadyExists, Subject::Alias) => code::ALIAS_EXISTS,
        (ErrorKind::Conflict, Subject::Alias) => code::ALIAS_NAME_CONFLICT,

        (ErrorKind::InvalidArgument, Subject::Database) => code::DATABASE_NAME_INVALID,

        // A file that changed under a reader is nobody's wrong request: a refresh repairs it.
        (ErrorKind::Conflict, Subject::Source) => code::UNEXPECTED,

        (
            ErrorKind::InvalidArgument
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::Unsupported,
            _,
        ) => code::INVALID_PARAMETER,
    }
}

/// The code that clients looked at before `Status.code` existed, and still do.
fn legacy_code(code: i32) -> ErrorCode {
    match code {
        0 => ErrorCode::Success,
        code::COLLECTION_NOT_FOUND => ErrorCode::CollectionNotExists,
        code::INDEX_NOT_FOUND => ErrorCode::IndexNotExist,
        code::INVALID_PARAMETER => ErrorCode::IllegalArgument,
        _ => ErrorCode::UnexpectedError,
    }
}

/// Whether the caller can make the error go away by asking for something else.
fn is_input_error(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::InvalidArgument
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::PermissionDenied
        | ErrorKind::Unsupported => true,
        ErrorKind::Conflict => error.subject() != Subject::Source,
        ErrorKind::Unavailable
        | ErrorKind::Cancelled
        | ErrorKind::Corrupt
        | ErrorKind::Internal => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(kind: ErrorKind, subject: Subject) -> i32 {
        milvus_code(&Error::new(kind, "x").about(subject))
    }

    #[test]
    fn nouns_have_their_own_codes() {
        for (kind, subject, expected) in [
            (ErrorKind::NotFound, Subject::Collection, 100),
            (ErrorKind::Conflict, Subject::Load, 101),
            (ErrorKind::NotFound, Subject::Partition, 200),
            (ErrorKind::NotFound, Subject::Index, 700),
            (ErrorKind::AlreadyExists, Subject::Index, 702),
            (ErrorKind::NotFound, Subject::Database, 800),
            (ErrorKind::InvalidArgument, Subject::Database, 802),
            (ErrorKind::InvalidArgument, Subject::Field, 1100),
            (ErrorKind::NotFound, Subject::Job, 1100),
            (ErrorKind::Conflict, Subject::Job, 1100),
            (ErrorKind::NotFound, Subject::Alias, 1600),
            (ErrorKind::Conflict, Subject::Alias, 1601),
            (ErrorKind::AlreadyExists, Subject::Alias, 1602),
            (ErrorKind::NotFound, Subject::Field, 1700),
            (ErrorKind::Unsupported, Subject::Method, 10),
            (ErrorKind::Unsupported, Subject::Collection, 1100),
            (ErrorKind::NotFound, Subject::Source, 1100),
            (ErrorKind::PermissionDenied, Subject::Source, 1100),
            (ErrorKind::PermissionDenied, Subject::Collection, 1401),
            (ErrorKind::Conflict, Subject::Source, 65_535),
            (ErrorKind::Corrupt, Subject::Source, 65_535),
            (ErrorKind::Internal, Subject::Other, 65_535),
        ] {
            assert_eq!(code(kind, subject), expected, "{kind:?} {subject:?}");
        }
    }

    #[test]
    fn no_error_makes_a_client_repeat_the_call() {
        for kind in [
            ErrorKind::InvalidArgument,
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::Conflict,
            ErrorKind::Unavailable,
            ErrorKind::Cancelled,
            ErrorKind::PermissionDenied,
            ErrorKind::Corrupt,
            ErrorKind::Unsupported,
            ErrorKind::Internal,
        ] {
            for subject in [Subject::Collection, Subject::Source, Subject::Method, Subject::Other] {
                let status = failure(&Error::new(kind, "x").about(subject));
                assert_ne!(status.code, 0);
                assert_ne!(status.code, 8);
                assert_ne!(status.error_code(), ErrorCode::Success);
                assert_ne!(status.error_code(), ErrorCode::RateLimit);
            }
        }
    }

    #[test]
    fn failure_carries_everything_that_clients_read() {
        let error = Error::not_found(Subject::Collection, "collection not found")
            .with("database", "default")
            .with("collection", "x");
        let status = failure(&error);
        assert_eq!(status.code, 100);
        assert_eq!(status.error_code(), ErrorCode::CollectionNotExists);
        assert_eq!(status.reason, "collection not found[database=default][collection=x]");
        assert_eq!(status.detail, status.reason);
        assert!(!status.retriable);
        assert_eq!(status.extra_info["is_input_error"], "true");

        let status =
            failure(&Error::unavailable("the lake does not answer").about(Subject::Source));
        assert_eq!((status.code, status.retriable), (2, true));
        assert_eq!(status.extra_info["is_input_error"], "false");
    }

    #[test]
    fn success_is_all_zero() {
        let status = success();
        assert_eq!((status.code, status.error_code()), (0, ErrorCode::Success));
        assert!(status.extra_info.is_empty());
    }
}
