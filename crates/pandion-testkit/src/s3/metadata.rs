//! What machines of AWS find at a local address: instance metadata, version 2 only, and container
//! credentials. Here both stand on the server's own port.

use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};
use s3s::Body;

use super::identities::{Identities, Opened};
use super::sts::iso;

const TOKEN_PATH: &str = "/latest/api/token";
const ROLE_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const CONTAINER_PATH: &str = "/v1/credentials";
const TOKEN_HEADER: &str = "x-aws-ec2-metadata-token";
const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// Whether a path is one of these services', if the server has them.
pub(crate) fn is_metadata(identities: &Identities, path: &str) -> bool {
    let is_instance = path == TOKEN_PATH || path.starts_with("/latest/meta-data/");
    (identities.instance_role.is_some() && is_instance)
        || (identities.container_role.is_some() && path == CONTAINER_PATH)
}

/// Answers a request for such a path.
pub(crate) fn answer<B>(identities: &Identities, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    if path == CONTAINER_PATH {
        return container(identities, request.headers());
    }
    if path == TOKEN_PATH {
        return token(identities, request);
    }
    let shown = text_of(request.headers(), TOKEN_HEADER);
    if !identities.is_metadata_token(shown) {
        return plain(StatusCode::UNAUTHORIZED, String::new());
    }
    let Some(arn) = &identities.instance_role else {
        return plain(StatusCode::NOT_FOUND, String::new());
    };
    let name = arn.rsplit('/').next().unwrap_or_default();
    match path.strip_prefix(ROLE_PATH) {
        Some("") => plain(StatusCode::OK, name.to_owned()),
        Some(asked) if asked == name => keys(identities, arn),
        _ => plain(StatusCode::NOT_FOUND, String::new()),
    }
}

fn token<B>(identities: &Identities, request: &Request<B>) -> Response<Body> {
    let Some(ttl) = request.headers().get(TTL_HEADER) else {
        return plain(StatusCode::BAD_REQUEST, String::new());
    };
    if request.method() != Method::PUT {
        return plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    let mut response = plain(StatusCode::OK, identities.new_metadata_token());
    response.headers_mut().insert(TTL_HEADER, HeaderValue::clone(ttl));
    response
}

fn container(identities: &Identities, headers: &HeaderMap) -> Response<Body> {
    if text_of(headers, AUTHORIZATION.as_str()) != identities.container_token {
        return plain(StatusCode::UNAUTHORIZED, String::new());
    }
    match &identities.container_role {
        Some(arn) => keys(identities, arn),
        None => plain(StatusCode::NOT_FOUND, String::new()),
    }
}

fn keys(identities: &Identities, arn: &str) -> Response<Body> {
    let Some(Opened { access_key, secret, token, expires_at }) = identities.machine_keys(arn)
    else {
        return plain(StatusCode::NOT_FOUND, String::new());
    };
    let document = serde_json::json!({
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": access_key,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": iso(expires_at),
    });
    plain(StatusCode::OK, document.to_string())
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn plain(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
}
