//! `volume://NAME/path`: the text by which a user refers to a volume.

use pandion_types::{Error, Result, Subject};

use crate::uri::{SOURCE_BYTES_MAX, invalid_url, percent_decode};

/// The scheme, with what follows it.
const PREFIX: &str = "volume://";
/// The longest name of a volume or credential, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// A well-formed reference to a place below a volume. Whether the volume exists is another matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeUri {
    name: String,
    path: String,
}

impl VolumeUri {
    /// Reads the text; `None` when its scheme is another one, or there is none.
    ///
    /// The path is taken literally, as in other sources, but segments that some reader might take
    /// for a way out of the volume (`..`, encoded dots and slashes, backslashes) are refused.
    ///
    /// # Errors
    /// `InvalidArgument` about the source; it never repeats a text that may hold credentials.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let is_volume = text.get(..PREFIX.len()).is_some_and(|at| at.eq_ignore_ascii_case(PREFIX));
        if !is_volume {
            return Ok(None);
        }
        Self::parse_rest(&text[PREFIX.len()..])
            .map(Some)
            .map_err(|error| error.about(Subject::Source).context("external_source is invalid"))
    }

    fn parse_rest(rest: &str) -> Result<Self> {
        if rest.len() > SOURCE_BYTES_MAX || rest.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(invalid_url());
        }
        if rest.contains(['?', '#']) {
            return Err(Error::invalid_argument(
                "external_source must not have a query or a fragment",
            ));
        }
        let (name, path) = rest.split_once('/').unwrap_or((rest, ""));
        if name.contains('@') {
            return Err(Error::invalid_argument(
                "external_source must not embed credentials in the URL: a volume has them already",
            ));
        }
        if !is_name(name) {
            return Err(Error::invalid_argument(
                "external_source must name a volume: volume://NAME/path",
            ));
        }
        let path = path.trim_matches('/');
        if !path.is_empty() && !path.split('/').all(stays_below) {
            return Err(Error::invalid_argument(
                "external_source must stay inside its volume: empty segments, . and .., \
                 backslashes and encoded slashes or dots are not allowed in the path",
            ));
        }
        Ok(Self { name: name.to_owned(), path: path.to_owned() })
    }

    /// The name of the volume.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path below the volume, without slashes at either end; empty for the volume itself.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }
}

/// Whether a text may name a volume or a credential: letters, digits, `_`, `-` and `.`, but no dot
/// in front.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(fits)
}

/// Whether a segment leads nowhere but down, however often it is decoded.
fn stays_below(segment: &str) -> bool {
    let mut segment = segment.to_owned();
    loop {
        if segment.is_empty() || segment.contains(['/', '\\']) || matches!(&*segment, "." | "..") {
            return false;
        }
        // Each round is shorter than the one before.
        match percent_decode(&segment) {
            Some(decoded) if decoded != segment => segment = decoded,
            // A percent sign that encodes nothing is a character of the key.
            _ => return true,
        }
    }
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    #[test]
    fn names_and_paths_are_read() {
        for (text, name, path) in [
            ("volume://v", "v", ""),
            ("volume://v/", "v", ""),
            ("VOLUME://My_Volume-1.x/a/b/", "My_Volume-1.x", "a/b"),
            ("volume://v/ts=00%3A00 x/..a", "v", "ts=00%3A00 x/..a"),
            ("volume://v/100%/%zz", "v", "100%/%zz"),
        ] {
            let volume = VolumeUri::parse(text).unwrap().unwrap();
            assert_eq!((volume.name(), volume.path()), (name, path), "{text}");
        }
        for other in ["", "s3://volume/x", "volume", "volume:/v", "volumes://v/x", "é"] {
            assert_eq!(VolumeUri::parse(other).unwrap(), None, "{other}");
        }
    }

    #[test]
    fn what_leads_out_or_is_no_name_is_refused_without_being_repeated() {
        for rest in [
            "",
            "/x",
            ".v/x",
            "..",
            "v:80/x",
            "v%2e/x",
            "key:CANARY@v/x",
            "v/x?CANARY",
            "v#CANARY",
            "v/CANARY/../x",
            "v/..",
            "v/./x",
            "v/a//b",
            "v/%2e%2e/CANARY",
            "v/%2E./x",
            "v/a%2fb",
            "v/a%2F..%2Fb",
            "v/%252e%252e/x",
            "v/%25252fx",
            "v/a\\..\\b",
            "v/a%5cb",
            "v/a\u{0}b",
        ] {
            let error = VolumeUri::parse(&format!("volume://{rest}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{rest}");
            assert!(error.message().starts_with("external_source is invalid: "), "{error}");
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        }
    }
}
