//! Checks signatures of AWS, version 4, by their description: the canonical request is made here
//! from what arrived, so that a client that signs something else is found out.

use std::time::{Duration, SystemTime};

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use axum::http::request::Parts;
use chrono::{DateTime, NaiveDateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

use super::service::Refusal;

/// The most that a client's clock may differ.
const SKEW_MAX: Duration = Duration::from_secs(900);
/// What a path keeps as it is when it is encoded once more.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Who may sign, and for what.
pub(crate) struct Scope<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) secret_key: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

pub(crate) fn check(
    scope: &Scope<'_>,
    now: SystemTime,
    parts: &Parts,
    body: &[u8],
) -> Result<(), Refusal> {
    let refused =
        |message: &str| Refusal::new(403, "InvalidSignatureException", message.to_owned());
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").ok_or_else(|| refused("not signed"))?;
    let fields = authorization
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| refused("another kind of signature"))?;
    let field = |name: &str| fields.split(", ").find_map(|field| field.strip_prefix(name));
    let (Some(credential), Some(signed), Some(signature)) =
        (field("Credential="), field("SignedHeaders="), field("Signature="))
    else {
        return Err(refused("incomplete"));
    };
    let date = header("x-amz-date").ok_or_else(|| refused("no date"))?;
    let time = NaiveDateTime::parse_from_str(date, "%Y%m%dT%H%M%SZ")
        .map_err(|error| refused(&error.to_string()))?;
    let time = SystemTime::from(DateTime::<Utc>::from_naive_utc_and_offset(time, Utc));
    let skew = now.duration_since(time).unwrap_or_else(|error| error.duration());
    if skew > SKEW_MAX {
        return Err(refused("signed at another time"));
    }
    let day = date.split('T').next().unwrap_or_default();
    let place = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
    if credential != format!("{}/{place}", scope.access_key) {
        return Err(refused("another key, region or service"));
    }
    if !signed.split(';').any(|name| name == "host") {
        return Err(refused("the host is not signed"));
    }
    let mut request = format!("{}\n", parts.method);
    request.push_str(&utf8_percent_encode(parts.uri.path(), PATH).to_string());
    let mut query: Vec<_> = parts.uri.query().unwrap_or_default().split('&').collect();
    query.sort_unstable();
    request.push_str(&format!("\n{}\n", query.join("&")));
    for name in signed.split(';') {
        let value = header(name).ok_or_else(|| refused("a signed header is missing"))?;
        request.push_str(&format!("{name}:{}\n", value.trim()));
    }
    request.push_str(&format!("\n{signed}\n{}", sha256(body)));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{place}\n{}", sha256(request.as_bytes()));
    let key = generate_signing_key(scope.secret_key, time, scope.region, scope.service);
    if calculate_signature(key, text.as_bytes()) != signature {
        return Err(refused("the signature does not match"));
    }
    Ok(())
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
