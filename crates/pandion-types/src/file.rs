//! What names the content of a file in the lake.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The content of one object at one point in time. A path alone is never an identity.
///
/// Every ranged read is pinned to it: a store that finds other content under the URI answers with
/// an error, never with bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    /// Full URI with scheme, endpoint, bucket and key; never with credentials.
    pub uri: String,
    /// Bytes of the object.
    pub size: u64,
    /// What the store says of the content.
    pub tag: ContentTag,
}

/// A store's own mark of an object's content.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ContentTag {
    /// A strong entity tag (RFC 9110, section 8.8.3), with its quotation marks if it came with any.
    ETag(String),
    /// The version id of a versioned bucket.
    Version(String),
    /// No mark is known, but the table that lists the object promises that its content never
    /// changes. The size is what is checked, and the entity tag that the first answer has, for as
    /// long as the object is held open.
    Immutable,
}

impl fmt::Display for ContentTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ETag(tag) => write!(f, "etag {tag}"),
            Self::Version(version) => write!(f, "version {version}"),
            Self::Immutable => write!(f, "immutable by its table's format"),
        }
    }
}

impl fmt::Display for FileIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, {})", self.uri, self.size, self.tag)
    }
}
