//! Who asks: tokens handed out and checked.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use serde_json::{Value, json};

use super::service::{Refusal, Shared};
use super::{CatalogAuth, sigv4};
use crate::convert::{lock, to_u64};

/// Lets a request pass that proves who asks.
pub(crate) fn check(shared: &Shared, parts: &Parts, body: &[u8]) -> Result<(), Refusal> {
    let unauthorized = || {
        Refusal::new(401, "NotAuthorizedException", "the bearer token is missing, wrong or over")
    };
    let header = parts.headers.get(AUTHORIZATION).and_then(|header| header.to_str().ok());
    let bearer = header.and_then(|header| header.strip_prefix("Bearer "));
    match &shared.options.auth {
        CatalogAuth::Open => match header {
            None => Ok(()),
            Some(_) => Err(Refusal::new(400, "BadRequestException", "nobody asked who asks")),
        },
        CatalogAuth::Bearer(token) => match bearer {
            Some(found) if found == token => Ok(()),
            // Servers that repeat what they were sent are known.
            Some(found) => Err(Refusal::new(
                401,
                "NotAuthorizedException",
                format!("the bearer token {found} is wrong"),
            )),
            None => Err(unauthorized()),
        },
        CatalogAuth::OAuth2 { .. } => {
            let now = *lock(&shared.now);
            let ends_at = bearer.and_then(|token| lock(&shared.tokens).get(token).copied());
            match ends_at {
                Some(ends_at) if ends_at.is_none_or(|end| now < end) => Ok(()),
                _ => Err(unauthorized()),
            }
        }
        CatalogAuth::SigV4 { access_key, secret_key, region, service } => {
            let scope = sigv4::Scope { access_key, secret_key, region, service };
            sigv4::check(&scope, *lock(&shared.now), parts, body)
        }
    }
}

/// Hands out a token for the right credential.
pub(crate) fn hand_out(shared: &Shared, parts: &Parts, body: &[u8]) -> Result<Value, Refusal> {
    let CatalogAuth::OAuth2 { client_id, client_secret, scope, lifetime } = &shared.options.auth
    else {
        return Err(Refusal::new(404, "not_found", "this catalog hands out no tokens"));
    };
    let is_form = parts
        .headers
        .get("content-type")
        .is_some_and(|found| found == "application/x-www-form-urlencoded");
    let text = String::from_utf8_lossy(body).replace('+', " ");
    let field = |name: &str| {
        let value = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| percent_encoding::percent_decode_str(value).decode_utf8_lossy())
    };
    if !is_form || field("grant_type").as_deref() != Some("client_credentials") {
        return Err(Refusal::new(400, "unsupported_grant_type", "not client_credentials"));
    }
    if field("client_id").as_deref() != Some(client_id)
        || field("client_secret").as_deref() != Some(client_secret)
    {
        let repeated = field("client_secret").unwrap_or_default();
        let message = format!("the secret {repeated} is not the client's");
        return Err(Refusal::new(401, "invalid_client", message));
    }
    if field("scope").as_deref() != Some(scope) {
        return Err(Refusal::new(400, "invalid_scope", "not this scope"));
    }
    let mut tokens = lock(&shared.tokens);
    let handed_out = lock(&shared.stats).token;
    let token = format!("issued-token-{handed_out}-{}", to_u64(tokens.len()));
    tokens.insert(token.clone(), lifetime.map(|lifetime| *lock(&shared.now) + lifetime));
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    if let Some(lifetime) = lifetime {
        answer["expires_in"] = lifetime.as_secs().into();
    }
    Ok(answer)
}
