//! Chooses where this server's identity comes from, in the order of AWS's own libraries. Profiles
//! in files are not read.

use std::sync::Arc;

use async_trait::async_trait;
use pandion_source::{AwsCredentials, CredentialSource, StaticCredentials};
use pandion_types::{Error, Result, ResultExt, Secret, Subject};

use super::{METADATA_ENDPOINT, bare, container, metadata, own_http};
use crate::endpoints::{parse_endpoint, sts_endpoint};
use crate::environment::Environment;
use crate::sts::Sts;

/// The largest token that is read from a file, in bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;
/// The region whose token service a web identity is shown to when the environment names none.
const REGION_DEFAULT: &str = "us-east-1";
/// The session's name where `AWS_ROLE_SESSION_NAME` says nothing.
const SESSION_NAME_DEFAULT: &str = "pandion";

/// The issuer that the environment names.
///
/// # Errors
/// `InvalidArgument` when it is half set up, naming the variables.
pub(super) fn issuer(environment: &Environment) -> Result<Arc<dyn CredentialSource>> {
    let key = environment.secret("AWS_ACCESS_KEY_ID");
    let secret = environment.secret("AWS_SECRET_ACCESS_KEY");
    match (key, secret) {
        (Some(key), Some(secret)) => {
            let token = environment.secret("AWS_SESSION_TOKEN").cloned();
            let keys = AwsCredentials {
                key_id: key.clone(),
                secret: secret.clone(),
                token,
                expires_at: None,
            };
            keys.check().context(|| "the server's AWS_ACCESS_KEY_ID or AWS_SESSION_TOKEN")?;
            return Ok(Arc::new(StaticCredentials::new(keys)));
        }
        (None, None) => {}
        _ => return half("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    }
    let file = environment.text("AWS_WEB_IDENTITY_TOKEN_FILE");
    match (file, environment.text("AWS_ROLE_ARN")) {
        (Some(file), Some(role_arn)) => return web_identity(environment, file, role_arn),
        (Some(_), None) => return half("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
        (None, _) => {}
    }
    if let Some(issuer) = container::Issuer::of(environment)? {
        return Ok(Arc::new(issuer));
    }
    if environment.text("AWS_EC2_METADATA_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
    {
        return Err(Error::invalid_argument(
            "this server has no identity: no keys, no web identity and no container credentials \
             are in its environment, and AWS_EC2_METADATA_DISABLED is set",
        )
        .about(Subject::Source));
    }
    let endpoint = environment.text("AWS_EC2_METADATA_SERVICE_ENDPOINT");
    let url =
        parse_endpoint("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.unwrap_or(METADATA_ENDPOINT))?;
    Ok(Arc::new(metadata::Issuer::new(&url, own_http(&url)?)?))
}

fn half<T>(first: &str, second: &str) -> Result<T> {
    Err(Error::invalid_argument(format!(
        "the server's environment must set {first} and {second} together"
    ))
    .about(Subject::Source))
}

fn web_identity(
    environment: &Environment,
    file: &str,
    role_arn: &str,
) -> Result<Arc<dyn CredentialSource>> {
    let region = environment.text("AWS_REGION").unwrap_or(REGION_DEFAULT);
    let regional = sts_endpoint(region);
    let endpoint = environment.endpoint_of("STS").unwrap_or(&regional);
    let url = parse_endpoint("AWS_ENDPOINT_URL_STS", endpoint)?;
    let (endpoint, region) = (bare(&url), region.to_owned());
    Ok(Arc::new(WebIdentity {
        sts: Sts { endpoint, region, http: own_http(&url)? },
        file: file.to_owned(),
        role_arn: role_arn.to_owned(),
        session_name: environment
            .text("AWS_ROLE_SESSION_NAME")
            .unwrap_or(SESSION_NAME_DEFAULT)
            .to_owned(),
    }))
}

/// Sessions for the token in a file, which is read anew each time: whoever writes it rotates it.
struct WebIdentity {
    sts: Sts,
    file: String,
    role_arn: String,
    session_name: String,
}

impl std::fmt::Debug for WebIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the web identity of this server, at {}", self.sts.endpoint)
    }
}

#[async_trait]
impl CredentialSource for WebIdentity {
    async fn credentials(&self) -> Result<Arc<AwsCredentials>> {
        let token = read_token("AWS_WEB_IDENTITY_TOKEN_FILE", &self.file).await?;
        let session = self
            .sts
            .assume_role_with_web_identity(&self.role_arn, &self.session_name, &token)
            .await
            .map_err(|refusal| refusal.error.context("the web identity of this server"))?;
        Ok(Arc::new(session))
    }

    async fn renew(&self, _rejected: &AwsCredentials) -> Result<Arc<AwsCredentials>> {
        self.credentials().await
    }
}

/// The token in a file that the variable `name` names.
///
/// # Errors
/// `Unavailable` when the file cannot be read, naming variable and file; `InvalidArgument` when it
/// holds no token.
pub(super) async fn read_token(name: &str, file: &str) -> Result<Secret> {
    use tokio::io::AsyncReadExt;
    let unreadable = |error: std::io::Error| {
        Error::unavailable(format!("the file {file} of {name} cannot be read ({})", error.kind()))
            .about(Subject::Source)
            .caused_by(error)
    };
    let file = tokio::fs::File::open(file).await.map_err(unreadable)?;
    let mut text = String::new();
    file.take(TOKEN_BYTES_MAX).read_to_string(&mut text).await.map_err(unreadable)?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        let message = format!("the file of {name} holds no token");
        return Err(Error::invalid_argument(message).about(Subject::Source));
    }
    Ok(Secret::new(token))
}
