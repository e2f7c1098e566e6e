//! The token service, on the server's own port: `AssumeRole`, `AssumeRoleWithWebIdentity` and
//! `GetCallerIdentity`, each a form sent to `/`. Signatures are checked as those of S3 are.

use std::collections::HashMap;
use std::time::SystemTime;

use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::Extensions;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use s3s::dto::{Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::identities::{Bearer, Denial, Opened, SessionTerms};
use super::policy::Policy;
use super::service::{Service, is_scoped, token_of};

/// The largest form that is read, in bytes.
const FORM_BYTES_MAX: usize = 1 << 20;
/// The bounds of a session's length, in seconds.
const SESSION_SECONDS: std::ops::RangeInclusive<u64> = 900..=43_200;
const FORM_TYPE: &str = "application/x-www-form-urlencoded";
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Whether a request is one for the token service.
pub(crate) fn is_sts(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let is_form = headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(FORM_TYPE.as_bytes()));
    method == Method::POST && uri.path() == "/" && is_form
}

/// A refusal: its status and code.
pub(crate) fn refusal(status: StatusCode, code: &str) -> S3Response<Body> {
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>Sender</Type><Code>{code}</Code>\
         <Message>refused by the test server</Message></Error></ErrorResponse>"
    );
    xml(status, body)
}

fn xml(status: StatusCode, body: String) -> S3Response<Body> {
    let mut response = S3Response::new(Body::from(body));
    response.status = Some(status);
    response.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/xml"));
    response
}

type Form = HashMap<String, String>;

fn parse_form(text: &[u8]) -> Form {
    let decode = |text: &str| {
        let spaced = text.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    };
    String::from_utf8_lossy(text)
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

#[async_trait::async_trait]
impl S3Route for Service {
    fn is_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        _extensions: &mut Extensions,
    ) -> bool {
        is_sts(method, uri, headers)
    }

    /// Who may ask depends on the action, so that is decided there.
    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let body = request
            .input
            .store_all_limited(FORM_BYTES_MAX)
            .await
            .map_err(|error| s3_error!(InvalidRequest, "{error}"))?;
        let form = parse_form(&body);
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let answer = match field("Action") {
            "AssumeRoleWithWebIdentity" => self.with_web_identity(&form),
            "AssumeRole" => self.caller(&request).and_then(|caller| self.assume(&caller, &form)),
            "GetCallerIdentity" => self.caller(&request).map(|caller| {
                format!(
                    "<GetCallerIdentityResult><Arn>{}</Arn></GetCallerIdentityResult>",
                    caller.principal
                )
            }),
            _ => Err((StatusCode::BAD_REQUEST, "InvalidAction")),
        };
        Ok(match answer {
            Ok(result) => {
                let action = field("Action");
                let body =
                    format!("<{action}Response xmlns=\"{NAMESPACE}\">{result}</{action}Response>");
                xml(StatusCode::OK, body)
            }
            Err((status, code)) => refusal(status, code),
        })
    }
}

type Refused = (StatusCode, &'static str);

impl Service {
    fn caller(&self, request: &S3Request<Body>) -> Result<Bearer, Refused> {
        let forbidden = |code| (StatusCode::FORBIDDEN, code);
        let credentials =
            request.credentials.as_ref().ok_or(forbidden("MissingAuthenticationToken"))?;
        let bearer = self.0.identities.bearer(&credentials.access_key);
        let bearer = bearer.ok_or(forbidden("InvalidClientTokenId"))?;
        if !is_scoped(&request.headers, &request.uri, &self.0.region, "sts") {
            return Err(forbidden("SignatureDoesNotMatch"));
        }
        let token = token_of(&request.headers, &request.uri);
        bearer.check(token.as_deref()).map_err(|denial| match denial {
            Denial::Expired => forbidden("ExpiredToken"),
            Denial::UnknownKey | Denial::WrongToken => forbidden("InvalidClientTokenId"),
        })?;
        Ok(bearer)
    }

    fn assume(&self, caller: &Bearer, form: &Form) -> Result<String, Refused> {
        let terms = terms(form)?;
        let arn = form.get("RoleArn").map_or("", String::as_str);
        let external_id = form.get("ExternalId").map(String::as_str);
        let opened = self.0.identities.assume(caller, arn, external_id, &terms);
        let opened = opened.ok_or((StatusCode::FORBIDDEN, "AccessDenied"))?;
        Ok(format!("<AssumeRoleResult>{}</AssumeRoleResult>", credentials(&opened)))
    }

    fn with_web_identity(&self, form: &Form) -> Result<String, Refused> {
        let terms = terms(form)?;
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let opened = self.0.identities.assume_with_token(
            field("WebIdentityToken"),
            field("RoleArn"),
            &terms,
        );
        let opened = opened.map_err(|code| match code {
            "AccessDenied" => (StatusCode::FORBIDDEN, code),
            _ => (StatusCode::BAD_REQUEST, code),
        })?;
        let inner = credentials(&opened);
        Ok(format!("<AssumeRoleWithWebIdentityResult>{inner}</AssumeRoleWithWebIdentityResult>"))
    }
}

fn terms(form: &Form) -> Result<SessionTerms, Refused> {
    let bad = |code| (StatusCode::BAD_REQUEST, code);
    let name = form.get("RoleSessionName").map_or(0, String::len);
    let seconds = form.get("DurationSeconds").map_or(Ok(3600), |text| text.parse());
    let seconds = seconds.map_err(|_error| bad("ValidationError"))?;
    if !(2..=64).contains(&name) || !SESSION_SECONDS.contains(&seconds) {
        return Err(bad("ValidationError"));
    }
    let policy = form.get("Policy").map(|text| {
        serde_json::from_str(text).ok().and_then(|document| Policy::parse(&document).ok())
    });
    match policy {
        Some(None) => Err(bad("MalformedPolicyDocument")),
        Some(policy) => Ok(SessionTerms { seconds, policy }),
        None => Ok(SessionTerms { seconds, policy: None }),
    }
}

fn credentials(opened: &Opened) -> String {
    let Opened { access_key, secret, token, expires_at } = opened;
    let end = iso(*expires_at);
    format!(
        "<Credentials><AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>{secret}\
         </SecretAccessKey><SessionToken>{token}</SessionToken><Expiration>{end}</Expiration>\
         </Credentials><AssumedRoleUser><AssumedRoleId>AROA:test</AssumedRoleId>\
         <Arn>arn:aws:sts::123456789012:assumed-role/test/test</Arn></AssumedRoleUser>"
    )
}

/// A time as AWS writes it.
pub(crate) fn iso(time: SystemTime) -> String {
    let mut text = Vec::new();
    let written = Timestamp::from(time).format(TimestampFormat::DateTime, &mut text);
    debug_assert!(written.is_ok(), "the times here can be written");
    String::from_utf8_lossy(&text).into_owned()
}
