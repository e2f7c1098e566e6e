//! The protocol: what is asked at which address, and the answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use object_store::{ObjectStore, ObjectStoreExt};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{CatalogFault, RestCatalogOptions, RestCatalogStats, auth, faults};
use crate::convert::{lock, read};

/// The largest request that is read, in bytes.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// What a server's connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: RestCatalogOptions,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Metadata locations by the levels of a name, the table's own last.
    pub(crate) tables: RwLock<BTreeMap<Vec<String>, String>>,
    /// When the tokens end that were handed out.
    pub(crate) tokens: Mutex<HashMap<String, Option<SystemTime>>>,
    pub(crate) faults: Mutex<Vec<CatalogFault>>,
    pub(crate) stats: Mutex<RestCatalogStats>,
    pub(crate) now: Mutex<SystemTime>,
}

/// An answer without success.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) class: &'static str,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, class: &'static str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, class, message: message.into() }
    }
}

/// What an address is about.
enum Target {
    Config,
    Token,
    Table(Vec<String>),
    Credentials(Vec<String>),
    Other,
}

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(handle).with_state(shared)
}

async fn handle(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let target = target_of(&path, shared.options.prefix.as_deref());
    count(&shared, &target);
    if let Some(failure) = faults::take(&shared.faults, &path) {
        return faults::answer(failure).await.unwrap_or_default();
    }
    match answer(&shared, &target, request).await {
        Ok(value) => respond(StatusCode::OK, &value),
        Err(refusal) => {
            if refusal.status == StatusCode::UNAUTHORIZED || refusal.status == StatusCode::FORBIDDEN
            {
                lock(&shared.stats).unauthorized += 1;
            }
            let error = match target {
                Target::Token => json!({
                    "error": refusal.class,
                    "error_description": refusal.message,
                }),
                _ => json!({"error": {
                    "message": refusal.message,
                    "type": refusal.class,
                    "code": refusal.status.as_u16(),
                }}),
            };
            respond(refusal.status, &error)
        }
    }
}

fn respond(status: StatusCode, value: &Value) -> Response {
    let response = Response::builder().status(status).header(CONTENT_TYPE, "application/json");
    response.body(Body::from(value.to_string())).unwrap_or_default()
}

fn count(shared: &Shared, target: &Target) {
    let mut stats = lock(&shared.stats);
    let counter = match target {
        Target::Config => &mut stats.config,
        Target::Token => &mut stats.token,
        Target::Table(_) => &mut stats.table,
        Target::Credentials(_) => &mut stats.credentials,
        Target::Other => &mut stats.other,
    };
    *counter += 1;
}

fn target_of(path: &str, prefix: Option<&str>) -> Target {
    let Some(path) = path.strip_prefix("/api/v1/") else { return Target::Other };
    match path {
        "config" => return Target::Config,
        "oauth/tokens" => return Target::Token,
        _ => {}
    }
    let path = match prefix {
        None => path,
        Some(prefix) => {
            let Some(path) = path.strip_prefix(prefix).and_then(|path| path.strip_prefix('/'))
            else {
                return Target::Other;
            };
            path
        }
    };
    let parts: Vec<_> = path.split('/').collect();
    let name = |namespace: &str, table: &str| {
        let decoded = percent_decode_str(namespace).decode_utf8_lossy();
        let mut name: Vec<_> = decoded.split('\u{1f}').map(str::to_owned).collect();
        name.push(percent_decode_str(table).decode_utf8_lossy().into_owned());
        name
    };
    match parts.as_slice() {
        ["namespaces", namespace, "tables", table] => Target::Table(name(namespace, table)),
        ["namespaces", namespace, "tables", table, "credentials"] => {
            Target::Credentials(name(namespace, table))
        }
        _ => Target::Other,
    }
}

async fn answer(shared: &Shared, target: &Target, request: Request) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, REQUEST_BYTES_MAX)
        .await
        .map_err(|error| Refusal::new(400, "BadRequestException", error.to_string()))?;
    if let Target::Token = target {
        return auth::hand_out(shared, &parts, &body);
    }
    auth::check(shared, &parts, &body)?;
    if parts.method != Method::GET {
        return Err(Refusal::new(405, "UnsupportedOperationException", "this catalog only reads"));
    }
    let delegates = parts
        .headers
        .get("x-iceberg-access-delegation")
        .and_then(|header| header.to_str().ok())
        .is_some_and(|header| header.contains("vended-credentials"));
    match target {
        Target::Config => config(shared, parts.uri.query().unwrap_or_default()),
        Target::Table(name) => table(shared, name, delegates).await,
        Target::Credentials(name) if shared.options.renews_credentials => {
            let (_, metadata) = load(shared, name).await?;
            let location = location_of(&metadata);
            let keys = keys(shared, location);
            let listed = keys.map(|config| json!({"prefix": location, "config": config}));
            Ok(json!({"storage-credentials": listed.into_iter().collect::<Vec<_>>()}))
        }
        Target::Token | Target::Credentials(_) | Target::Other => {
            Err(Refusal::new(404, "NotFoundException", "no such address"))
        }
    }
}

fn config(shared: &Shared, query: &str) -> Result<Value, Refusal> {
    let options = &shared.options;
    if let Some(warehouse) = &options.warehouse {
        let asked = query.strip_prefix("warehouse=").unwrap_or_default();
        if percent_decode_str(asked).decode_utf8_lossy() != warehouse.as_str() {
            return Err(Refusal::new(404, "NoSuchWarehouseException", "no such warehouse"));
        }
    }
    let mut overrides = options.overrides.clone();
    if let Some(prefix) = &options.prefix {
        overrides.insert("prefix".to_owned(), prefix.clone());
    }
    let mut endpoints = vec!["GET /v1/{prefix}/namespaces/{namespace}/tables/{table}"];
    if options.renews_credentials {
        endpoints.push("GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials");
    }
    let defaults = json!({"clients": "4", "prefix": "overridden"});
    let defaults = if options.prefix.is_some() { defaults } else { json!({"clients": "4"}) };
    Ok(json!({"defaults": defaults, "overrides": overrides, "endpoints": endpoints}))
}

async fn table(shared: &Shared, name: &[String], delegates: bool) -> Result<Value, Refusal> {
    let (metadata_location, metadata) = load(shared, name).await?;
    let location = location_of(&metadata).to_owned();
    let mut answer = json!({
        "metadata-location": metadata_location,
        "metadata": metadata,
        "config": shared.options.table_config,
    });
    if let Some(config) = keys(shared, &location).filter(|_| delegates) {
        // The shorter prefix has keys that open nothing: clients must take the longer one.
        let root = location.rsplit_once('/').map_or("", |(root, _)| root);
        answer["storage-credentials"] = json!([
            {"prefix": root, "config": {
                "s3.access-key-id": "wrong", "s3.secret-access-key": "wrong",
            }},
            {"prefix": location, "config": config},
        ]);
    }
    Ok(answer)
}

async fn load(shared: &Shared, name: &[String]) -> Result<(String, Value), Refusal> {
    let found = read(&shared.tables).get(name).cloned();
    let Some(metadata_location) = found else {
        let namespace = &name[..name.len().saturating_sub(1)];
        let has_namespace = read(&shared.tables)
            .keys()
            .any(|known| &known[..known.len().saturating_sub(1)] == namespace);
        return Err(match has_namespace {
            true => Refusal::new(404, "NoSuchTableException", "Table does not exist"),
            false => Refusal::new(404, "NoSuchNamespaceException", "Namespace does not exist"),
        });
    };
    let broken = |error: String| Refusal::new(500, "ServiceFailureException", error);
    let (_, path) = metadata_location.split_once("://").unwrap_or(("", &metadata_location));
    let (_, key) = path.split_once('/').unwrap_or(("", path));
    let path = object_store::path::Path::parse(key).map_err(|error| broken(error.to_string()))?;
    let file = shared.store.get(&path).await.map_err(|error| broken(error.to_string()))?;
    let bytes = file.bytes().await.map_err(|error| broken(error.to_string()))?;
    let metadata = serde_json::from_slice(&bytes).map_err(|error| broken(error.to_string()))?;
    Ok((metadata_location, metadata))
}

fn location_of(metadata: &Value) -> &str {
    metadata.get("location").and_then(Value::as_str).unwrap_or_default()
}

/// New keys for the storage at a location, as clients are told of them.
fn keys(shared: &Shared, location: &str) -> Option<Value> {
    let vending = shared.options.vending.as_ref()?;
    let issued = (vending.0)(location, *lock(&shared.now));
    let mut config = json!({
        "s3.access-key-id": issued.access_key,
        "s3.secret-access-key": issued.secret_key,
    });
    if let Some(token) = issued.session_token {
        config["s3.session-token"] = token.into();
    }
    let end = issued.expires_at.and_then(|end| end.duration_since(SystemTime::UNIX_EPOCH).ok());
    if let Some(end) = end {
        config["s3.session-token-expires-at-ms"] = end.as_millis().to_string().into();
    }
    Some(config)
}
