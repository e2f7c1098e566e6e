//! What `external_source` may say, and which endpoint, bucket and prefix it means.
//!
//! Pure text work: nothing here resolves a name or opens a connection, and no text that could hold
//! a credential (user info, query, fragment) is accepted. The texts of the errors are those that
//! Milvus clients match.

use std::fmt;
use std::path::{Component, PathBuf};

use object_store::path::Path;
use pandion_types::{Error, ErrorKind, Result, Subject};

use crate::named::VolumeUri;
use crate::spec::ExternalSpec;

/// The longest `external_source` that is looked at, in bytes.
pub(crate) const SOURCE_BYTES_MAX: usize = 4096;

/// The scheme of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Scheme {
    Aws,
    Azure,
    Cos,
    Gcs,
    Gs,
    Minio,
    Obs,
    Oss,
    S3,
    S3a,
    /// A directory of this machine; an extension to what Milvus accepts.
    File,
}

/// The schemes of Milvus, sorted by name as its error texts list them.
const REMOTE_SCHEMES: [Scheme; 10] = [
    Scheme::Aws,
    Scheme::Azure,
    Scheme::Cos,
    Scheme::Gcs,
    Scheme::Gs,
    Scheme::Minio,
    Scheme::Obs,
    Scheme::Oss,
    Scheme::S3,
    Scheme::S3a,
];

impl Scheme {
    /// The name as it stands before `://`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Azure => "azure",
            Self::Cos => "cos",
            Self::Gcs => "gcs",
            Self::Gs => "gs",
            Self::Minio => "minio",
            Self::Obs => "obs",
            Self::Oss => "oss",
            Self::S3 => "s3",
            Self::S3a => "s3a",
            Self::File => "file",
        }
    }

    /// Whether requests are signed for a region that the user must name.
    #[must_use]
    pub fn is_aws_family(self) -> bool {
        matches!(self, Self::Aws | Self::S3 | Self::S3a)
    }

    fn from_name(name: &str) -> Option<Self> {
        REMOTE_SCHEMES.into_iter().chain([Self::File]).find(|scheme| scheme.name() == name)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A source that is well formed. It holds no credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceUri {
    text: String,
    scheme: Scheme,
    /// Endpoint or bucket, perhaps with a port; empty for `file`.
    authority: String,
    /// What follows the authority, without slashes at either end, taken literally.
    path: String,
}

/// Where a bucket is: the one endpoint that a source may speak to, the bucket and the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketAddress {
    /// Whether the endpoint is spoken to over TLS.
    pub tls: bool,
    /// Name or address of the endpoint, lower case; an IPv6 address stands in brackets.
    pub host: String,
    /// Port of the endpoint.
    pub port: u16,
    /// The bucket.
    pub bucket: String,
    /// The prefix inside the bucket, without slashes at either end.
    pub prefix: Path,
}

impl BucketAddress {
    /// `host`, or `host:port` when the port is not the usual one.
    #[must_use]
    pub fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        if self.port == usual { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The endpoint as a URL without a path.
    #[must_use]
    pub fn endpoint_url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }

    /// `s3://<authority>/<bucket>/`: what stands before a key in a file's identity, whatever form
    /// the user wrote.
    #[must_use]
    pub fn base_uri(&self) -> String {
        format!("s3://{}/{}/", self.authority(), self.bucket)
    }
}

impl SourceUri {
    /// Reads an `external_source`.
    ///
    /// The path is taken literally (a `%` is a `%`), as object stores and their tools do; only a
    /// `file` path is decoded. A query or a fragment is refused, because it would either be
    /// ignored or carry a signature.
    ///
    /// # Errors
    /// `InvalidArgument` about the source, with the texts of Milvus; it never repeats a text that
    /// may hold credentials.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_bare(text)
            .map_err(|error| error.about(Subject::Source).context("external_source is invalid"))
    }

    fn parse_bare(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid_argument("external_source is empty"));
        }
        if text.len() > SOURCE_BYTES_MAX || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            return Err(invalid_url());
        }
        let (scheme_name, rest) = split_scheme(text)?;
        let scheme = Scheme::from_name(&scheme_name).ok_or_else(|| {
            let allowed = REMOTE_SCHEMES.map(Scheme::name).join(", ");
            Error::invalid_argument(format!(
                "external_source scheme {scheme_name:?} is not allowed; allowed schemes: {allowed}"
            ))
        })?;
        let after_slashes = rest.strip_prefix("//");
        let rest = after_slashes.unwrap_or_default();
        let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(authority_end);
        if authority.contains('@') {
            return Err(Error::invalid_argument(
                "external_source must not embed credentials in the URL (use extfs.access_key_id / \
                 extfs.access_key_value instead)",
            ));
        }
        if path.contains(['?', '#']) {
            return Err(Error::invalid_argument(
                "external_source must not have a query or a fragment",
            ));
        }
        if scheme == Scheme::File {
            return Self::parse_file(text, after_slashes.is_some(), authority, path);
        }
        if authority.is_empty() {
            return Err(Error::invalid_argument(
                "external_source must have a non-empty host (e.g. s3://bucket/key, \
                 s3://endpoint/bucket/key, or minio://endpoint/bucket/key)",
            ));
        }
        split_port(authority)?;
        Ok(Self {
            text: text.to_owned(),
            scheme,
            authority: authority.to_owned(),
            path: path.trim_matches('/').to_owned(),
        })
    }

    fn parse_file(text: &str, has_slashes: bool, authority: &str, path: &str) -> Result<Self> {
        if !has_slashes || !path.starts_with('/') || !matches!(authority, "" | "localhost") {
            return Err(Error::invalid_argument(
                "a file source must be an absolute path: file:///directory",
            ));
        }
        let path = percent_decode(path).ok_or_else(invalid_url)?;
        if PathBuf::from(&path).components().any(|part| part == Component::ParentDir) {
            return Err(Error::invalid_argument("a file source must not hold a .. segment"));
        }
        Ok(Self {
            text: text.to_owned(),
            scheme: Scheme::File,
            authority: String::new(),
            path: path.trim_matches('/').to_owned(),
        })
    }

    /// The text as the user gave it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The directory that a `file` source names, absolute but not yet looked up; `None` for every
    /// other scheme.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        (self.scheme == Scheme::File).then(|| PathBuf::from(format!("/{}", self.path)))
    }

    /// Segments of the path.
    pub(crate) fn path_segments(&self) -> usize {
        if self.path.is_empty() { 0 } else { self.path.split('/').count() }
    }

    /// Whether the host names an endpoint of a known cloud, so that it cannot be a bucket.
    pub(crate) fn host_is_cloud_endpoint(&self) -> bool {
        split_port(&self.authority).is_ok_and(|(host, _)| is_cloud_endpoint_host(host))
    }

    /// The error of a client library that refuses what was made of the specification.
    #[must_use]
    pub fn unusable_store(&self, error: object_store::Error) -> Error {
        Error::invalid_argument(format!("the store of source {self} cannot be set up"))
            .about(Subject::Source)
            .caused_by(error)
    }

    /// The endpoint, bucket and prefix that the source means under this specification.
    ///
    /// The host is the endpoint (`scheme://endpoint/bucket/key`) for `minio`, for hosts of known
    /// clouds, for hosts with a port, and where no endpoint follows from `cloud_provider` and
    /// `region`; else it is the bucket (`scheme://bucket/key`). The endpoint of Azure is that of the
    /// cloud; the account stands before it, which the connector knows. TLS is as `extfs.use_ssl`
    /// says, else on, but off for the
    /// scheme `minio`.
    ///
    /// # Errors
    /// `InvalidArgument` when no bucket is named or the key is no valid path; `Internal` for a
    /// `file` source, which has no bucket.
    pub fn bucket_address(&self, spec: &ExternalSpec) -> Result<BucketAddress> {
        if self.scheme == Scheme::File {
            return Err(Error::internal("a file source has no bucket"));
        }
        let provider = spec.cloud_provider(self);
        let tls = spec.use_ssl().unwrap_or(self.scheme != Scheme::Minio);
        let derived = provider.and_then(|provider| provider.endpoint_host(spec.region()));
        let (endpoint, bucket, key) = match derived {
            Some(derived) if !self.host_is_endpoint(&derived) => {
                (derived, self.authority.as_str(), self.path.as_str())
            }
            _ => {
                let (bucket, key) = self.path.split_once('/').unwrap_or((&self.path, ""));
                (self.authority.clone(), bucket, key)
            }
        };
        if bucket.is_empty() {
            return Err(Error::invalid_argument(format!(
                "external_source {:?} names no bucket: use scheme://<endpoint>/<bucket>/<key>",
                self.text
            ))
            .about(Subject::Source));
        }
        if !is_bucket_name(bucket) {
            return Err(Error::invalid_argument(format!(
                "external_source {:?}: {bucket:?} is not a bucket name",
                self.text
            ))
            .about(Subject::Source));
        }
        if let Some(named) = spec.bucket_name().filter(|named| *named != bucket) {
            return Err(Error::invalid_argument(format!(
                "extfs.bucket_name={named:?} differs from the bucket {bucket:?} of \
                 external_source"
            ))
            .about(Subject::Source));
        }
        let (host, port) = split_port(&endpoint)?;
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let prefix = Path::parse(key).map_err(|error| {
            Error::invalid_argument(format!(
                "external_source {:?} has a key with an empty or a relative segment",
                self.text
            ))
            .about(Subject::Source)
            .caused_by(error)
        })?;
        Ok(BucketAddress {
            tls,
            host: host.to_ascii_lowercase(),
            port,
            bucket: bucket.to_owned(),
            prefix,
        })
    }

    fn host_is_endpoint(&self, derived: &str) -> bool {
        // A container of Azure has neither dots nor a port, and its stores of one's own have no
        // provider by which they could be told apart.
        let is_no_container = self.scheme == Scheme::Azure && self.authority.contains(['.', ':']);
        self.scheme == Scheme::Minio
            // No bucket has a port.
            || self.authority.contains(':')
            || is_no_container
            || self.host_is_cloud_endpoint()
            || self.authority.eq_ignore_ascii_case(derived)
    }
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A text for logs and descriptions: the source itself when it is well formed, `<redacted>` when
/// it is not and so might hold a credential; empty stays empty.
#[must_use]
pub fn redact_source(text: &str) -> String {
    match SourceUri::parse(text) {
        _ if text.is_empty() => String::new(),
        Ok(_) => text.to_owned(),
        Err(_) if matches!(VolumeUri::parse(text), Ok(Some(_))) => text.to_owned(),
        Err(_) => "<redacted>".to_owned(),
    }
}

/// Whether a host belongs to a domain under which a cloud has its endpoints.
#[must_use]
pub fn is_cloud_endpoint_host(host: &str) -> bool {
    const SUFFIXES: [&str; 10] = [
        ".amazonaws.com",
        ".amazonaws.com.cn",
        ".googleapis.com",
        ".aliyuncs.com",
        ".myqcloud.com",
        ".myhuaweicloud.com",
        ".core.windows.net",
        ".core.chinacloudapi.cn",
        ".core.usgovcloudapi.net",
        ".core.cloudapi.de",
    ];
    let host = host.to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| host.ends_with(suffix))
}

/// The characters that some store allows in buckets; none of them has a meaning in a URL.
fn is_bucket_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    name.chars().all(fits) && !name.chars().all(|c| c == '.')
}

/// Splits `scheme:rest`; the scheme comes back in lower case.
fn split_scheme(text: &str) -> Result<(String, &str)> {
    let no_scheme = || {
        Error::invalid_argument(
            "external_source must have an explicit scheme (e.g. s3://, aws://, gs://)",
        )
    };
    let (scheme, rest) = text.split_once(':').ok_or_else(no_scheme)?;
    if scheme.is_empty() {
        return Err(invalid_url());
    }
    let starts_well = scheme.starts_with(|first: char| first.is_ascii_alphabetic());
    let rest_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !starts_well || !scheme.chars().all(rest_fits) {
        return Err(no_scheme());
    }
    Ok((scheme.to_ascii_lowercase(), rest))
}

/// Splits `host[:port]`; an IPv6 address keeps its brackets.
fn split_port(authority: &str) -> Result<(&str, Option<u16>)> {
    let (host, port) = match authority.rfind(']') {
        Some(end) => authority.split_at(end + 1),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) => Some(digits.parse::<u16>().ok().filter(|port| *port != 0)),
        None => Some(None),
    };
    let host_fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let address_fits = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let fits = match host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
        Some(inner) => !inner.is_empty() && inner.chars().all(address_fits),
        None => !host.is_empty() && host.chars().all(host_fits),
    };
    match port {
        Some(None) => Err(invalid_url()),
        _ if !fits => Err(invalid_url()),
        None => Ok((host, None)),
        Some(port) => Ok((host, port)),
    }
}

pub(crate) fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let high = char::from(rest.next()?).to_digit(16)?;
        let low = char::from(rest.next()?).to_digit(16)?;
        bytes.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

pub(crate) fn invalid_url() -> Error {
    Error::new(ErrorKind::InvalidArgument, "invalid external_source URL")
}

#[cfg(test)]
mod tests;
