//! Newtypes for the numbers that name things, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// A collection. Never reused, also after a drop.
    CollectionId,
    i64
);
number_id!(
    /// A refresh job. Positive; never reused.
    JobId,
    i64
);
number_id!(
    /// A field of a collection, 100 or above for fields that a user defined.
    FieldId,
    i64
);
number_id!(
    /// One version of a collection's manifest, counted from 1.
    ManifestVersion,
    u64
);

/// The number that a collection gives to a file identity when it first sees it: 1 to 2^31 - 1.
///
/// A file id is never reused, so that a row id that was handed out once can never name another row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct FileId(u32);

impl FileId {
    /// The first file id of a collection.
    pub const FIRST: Self = Self(1);
    /// The last file id that keeps row ids positive.
    pub const LAST: Self = Self(i32::MAX as u32);

    /// The file id with this number.
    ///
    /// # Errors
    /// `InvalidArgument` when the number is 0 or does not fit in 31 bits.
    pub fn new(number: u32) -> Result<Self> {
        if number == 0 || number > Self::LAST.0 {
            return Err(Error::invalid_argument(format!(
                "file id {number} is outside [1, {}]",
                Self::LAST.0
            )));
        }
        Ok(Self(number))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<u32> for FileId {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        Self::new(number)
    }
}

impl From<FileId> for u32 {
    fn from(id: FileId) -> Self {
        id.0
    }
}

/// `file_id << 32 | row_in_file`: the value of `__virtual_pk__`. Always positive.
///
/// It stays the same across refreshes for as long as the file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowId(i64);

impl RowId {
    /// The row `row_in_file` (counted from 0) of file `file`.
    #[must_use]
    pub fn new(file: FileId, row_in_file: u32) -> Self {
        Self((i64::from(file.0) << 32) | i64::from(row_in_file))
    }

    /// The row id with this value, or `None` when no file can have it.
    #[must_use]
    pub fn from_i64(value: i64) -> Option<Self> {
        let file = u32::try_from(value >> 32).ok()?;
        FileId::new(file).ok().map(|_| Self(value))
    }

    /// The value as clients see it.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// The file that holds the row.
    #[must_use]
    #[expect(clippy::cast_sign_loss, reason = "31 bits remain")]
    pub fn file(self) -> FileId {
        FileId((self.0 >> 32) as u32)
    }

    /// The row's number in its file, counted from 0.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the low half")]
    pub fn row_in_file(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_id_splits_into_what_made_it() {
        for (file, row) in [(1, 0), (1, u32::MAX), (i32::MAX as u32, 7), (77, 1 << 31)] {
            let id = RowId::new(FileId::new(file).unwrap(), row);
            assert!(id.get() > 0);
            assert_eq!((id.file().get(), id.row_in_file()), (file, row));
            assert_eq!(RowId::from_i64(id.get()), Some(id));
        }
    }

    #[test]
    fn values_that_no_file_can_have_are_no_row_ids() {
        for value in [0, -1, i64::MIN, 5, i64::from(u32::MAX)] {
            assert_eq!(RowId::from_i64(value), None, "{value}");
        }
    }

    #[test]
    fn file_id_is_31_bits_and_not_zero() {
        assert!(FileId::new(0).is_err());
        assert!(FileId::new(1 << 31).is_err());
        assert_eq!(FileId::new(1).unwrap(), FileId::FIRST);
    }
}
