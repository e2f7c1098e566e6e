//! The keys of `extfs` for identities of AWS, `role_arn` with what belongs to it, and for those of
//! the server, `use_iam`.
//!
//! Which providers they work for is decided here, by name. Whether the identity is to be had, only
//! its issuer can say.

use std::time::Duration;

use pandion_types::{Error, Result, Subject};

use super::{CloudProvider, ExternalSpec};
use crate::uri::SourceUri;

/// How long a session lasts where `load_frequency` says nothing, in seconds: as in Milvus.
const LOAD_FREQUENCY_DEFAULT: u64 = 900;
/// How long a session may last, in seconds: the bounds that STS has for every role.
const LOAD_FREQUENCY_MIN: u64 = 900;
const LOAD_FREQUENCY_MAX: u64 = 43_200;
/// The session's name where `session_name` says nothing.
const SESSION_NAME_DEFAULT: &str = "pandion";
/// The longest ARN of a role, in characters.
const ROLE_ARN_CHARS_MAX: usize = 2048;

/// A role to assume, as `extfs` names it; the external id is a secret and not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssumedRole {
    /// `extfs.role_arn`.
    pub role_arn: String,
    /// `extfs.session_name`, or ours.
    pub session_name: String,
    /// `extfs.load_frequency`: how long a session lasts at most.
    pub session: Duration,
}

impl ExternalSpec {
    /// Where identities of AWS are asked for instead of AWS's own endpoints, if the user says so.
    #[must_use]
    pub fn iam_endpoint(&self) -> Option<&str> {
        Some(self.extfs("iam_endpoint")).filter(|endpoint| !endpoint.is_empty())
    }

    /// The role to assume; `None` when none is named.
    ///
    /// # Errors
    /// `InvalidArgument` about the source for an ARN, a session name or a `load_frequency` that
    /// STS would refuse, naming the key.
    pub fn assumed_role(&self) -> Result<Option<AssumedRole>> {
        let role_arn = self.extfs("role_arn");
        if role_arn.is_empty() {
            return Ok(None);
        }
        if !is_role_arn(role_arn) {
            return invalid(format!(
                "extfs.role_arn {role_arn:?} is not the ARN of a role, such as \
                 arn:aws:iam::123456789012:role/NAME"
            ));
        }
        let session_name = match self.extfs("session_name") {
            "" => SESSION_NAME_DEFAULT,
            name if is_session_name(name) => name,
            name => {
                return invalid(format!(
                    "extfs.session_name {name:?} must have 2 to 64 characters, each a letter, a \
                     digit or one of _ = , . @ -"
                ));
            }
        };
        let seconds = match self.extfs("load_frequency") {
            "" => Some(LOAD_FREQUENCY_DEFAULT),
            text => text
                .parse()
                .ok()
                .filter(|seconds| (LOAD_FREQUENCY_MIN..=LOAD_FREQUENCY_MAX).contains(seconds)),
        };
        let Some(seconds) = seconds else {
            return invalid(format!(
                "extfs.load_frequency must be a whole number of seconds from {LOAD_FREQUENCY_MIN} \
                 to {LOAD_FREQUENCY_MAX}, got {:?}",
                self.extfs("load_frequency")
            ));
        };
        Ok(Some(AssumedRole {
            role_arn: role_arn.to_owned(),
            session_name: session_name.to_owned(),
            session: Duration::from_secs(seconds),
        }))
    }

    pub(super) fn validate_identity(&self, uri: &SourceUri) -> Result<()> {
        let provider = self.cloud_provider(uri).map_or("", CloudProvider::name);
        if self.assumed_role()?.is_some() {
            if self.cloud_provider(uri) == Some(CloudProvider::Aws) {
                return Ok(());
            }
            return Err(Error::unsupported(format!(
                "extfs.role_arn is not supported by this server for \
                 extfs.cloud_provider={provider:?}: it assumes roles of AWS only"
            )));
        }
        match self.cloud_provider(uri) {
            Some(CloudProvider::Aws | CloudProvider::Gcp) => Ok(()),
            Some(CloudProvider::Minio) if self.iam_endpoint().is_some() => Ok(()),
            Some(CloudProvider::Minio) => invalid(
                "extfs.use_iam=true with extfs.cloud_provider=\"minio\" needs extfs.iam_endpoint: \
                 the identity that AWS gives this server is not used for other stores",
            ),
            _ => Err(Error::unsupported(format!(
                "extfs.use_iam=true is not supported by this server for \
                 extfs.cloud_provider={provider:?}; it supports: aws, gcp, and minio with \
                 extfs.iam_endpoint"
            ))),
        }
    }
}

/// `arn:PARTITION:iam::ACCOUNT:role/PATH`.
fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let is_arn = next() == "arn";
    let partition = next();
    let is_iam = next() == "iam" && next().is_empty();
    let account = next();
    let role = next().strip_prefix("role/").unwrap_or_default();
    is_arn
        && is_iam
        && text.len() <= ROLE_ARN_CHARS_MAX
        && (partition == "aws" || partition.starts_with("aws-"))
        && !account.is_empty()
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !role.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_session_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    (2..=64).contains(&text.len()) && text.bytes().all(fits)
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid_argument(message).about(Subject::Source))
}

#[cfg(test)]
mod tests {
    use pandion_types::ErrorKind;

    use super::*;

    const ROLE: &str = r#""role_arn":"arn:aws:iam::123456789012:role/lake""#;

    fn check(uri: &str, extfs: &str) -> Result<()> {
        let text = format!(r#"{{"extfs":{{{extfs}}}}}"#);
        let (spec, _) = ExternalSpec::parse(&text)?;
        spec.validate_complete(&SourceUri::parse(uri)?)
    }

    fn aws(extfs: &str) -> Result<()> {
        check("s3://b/k", &format!(r#""cloud_provider":"aws","region":"eu-west-1",{extfs}"#))
    }

    #[test]
    fn roles_and_iam_of_aws_are_let_through() {
        for extfs in [
            ROLE.to_owned(),
            format!(r#"{ROLE},"use_iam":"true""#),
            format!(r#"{ROLE},"external_id":"x","session_name":"a_b=c","load_frequency":"3600""#),
            r#""role_arn":"arn:aws-cn:iam::1:role/a/b/c""#.to_owned(),
            r#""use_iam":"true""#.to_owned(),
            r#""use_iam":"true","iam_endpoint":"http://h""#.to_owned(),
        ] {
            aws(&extfs).unwrap_or_else(|error| panic!("{extfs}: {error}"));
        }
        let minio = r#""use_iam":"true","iam_endpoint":"http://h:1""#;
        check("minio://h:9000/b/k", minio).unwrap();
    }

    #[test]
    fn the_defaults_are_those_of_milvus() {
        let (spec, _) = ExternalSpec::parse(&format!(r#"{{"extfs":{{{ROLE}}}}}"#)).unwrap();
        let role = spec.assumed_role().unwrap().unwrap();
        assert_eq!(role.session, Duration::from_secs(900));
        assert_eq!(role.session_name, "pandion");
    }

    #[test]
    fn what_sts_would_refuse_is_refused_by_its_key() {
        for (extfs, key) in [
            (r#""role_arn":"lake""#.to_owned(), "extfs.role_arn"),
            (r#""role_arn":"arn:aws:iam::x:role/lake""#.to_owned(), "extfs.role_arn"),
            (r#""role_arn":"arn:aws:iam::1:user/lake""#.to_owned(), "extfs.role_arn"),
            (r#""role_arn":"arn:aws:iam::1:role/a b""#.to_owned(), "extfs.role_arn"),
            (format!(r#"{ROLE},"session_name":"a""#), "extfs.session_name"),
            (format!(r#"{ROLE},"session_name":"a b""#), "extfs.session_name"),
            (format!(r#"{ROLE},"load_frequency":"899""#), "extfs.load_frequency"),
            (format!(r#"{ROLE},"load_frequency":"43201""#), "extfs.load_frequency"),
            (format!(r#"{ROLE},"load_frequency":"15m""#), "extfs.load_frequency"),
        ] {
            let error = aws(&extfs).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{extfs}");
            assert!(error.message().contains(key), "{error}");
        }
    }

    #[test]
    fn other_providers_are_refused_by_name() {
        let iam = r#""use_iam":"true""#;
        for (uri, provider) in [
            ("gs://b/k", "gcp"),
            ("oss://b/k", "aliyun"),
            ("cos://b/k", "tencent"),
            ("obs://b/k", "huawei"),
        ] {
            for mode in [iam, ROLE].into_iter().filter(|mode| provider != "gcp" || *mode == ROLE) {
                let extfs = format!(r#""cloud_provider":"{provider}","region":"r",{mode}"#);
                let error = check(uri, &extfs).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{extfs}: {error}");
                assert!(error.message().contains(provider), "{error}");
            }
        }
        check("gs://b/k", &format!(r#""cloud_provider":"gcp",{iam}"#)).unwrap();
        let error = check("minio://h:1/b/k", iam).unwrap_err();
        assert!(error.message().contains("extfs.iam_endpoint"), "{error}");
        assert_eq!(check("minio://h:1/b/k", ROLE).unwrap_err().kind(), ErrorKind::Unsupported);
    }
}
