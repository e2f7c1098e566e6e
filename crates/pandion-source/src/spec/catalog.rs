//! What the `catalog` object of a specification may say: which table of which catalog, and how the
//! catalog is asked.
//!
//! Text work alone; nothing here speaks to a catalog. The secrets are taken out as those of
//! `extfs` are, and live in `SourceSecrets` under names that begin with `catalog.`.

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::{Error, Result, Secret};
use serde_json::{Map, Value};
use url::Url;

use super::{STARS, SourceFormat, SourceSecrets, bad_json};

/// Where the object stands in the specification.
const KEY: &str = "catalog";
/// The keys that anyone may see, sorted.
const PUBLIC_KEYS: [&str; 12] = [
    "audience",
    "oauth2_server_uri",
    "resource",
    "scope",
    "signing_name",
    "signing_region",
    "sigv4",
    "table",
    "type",
    "uri",
    "vended_credentials",
    "warehouse",
];
/// The secret keys, and the names under which their values are kept.
const SECRETS: [(&str, &str); 5] = [
    ("access_key_id", "catalog.access_key_id"),
    ("access_key_value", "catalog.access_key_value"),
    ("credential", "catalog.credential"),
    ("ssl_ca_cert", "catalog.ssl_ca_cert"),
    ("token", "catalog.token"),
];
/// The keys that belong to `credential`.
const OAUTH_KEYS: [&str; 4] = ["audience", "oauth2_server_uri", "resource", "scope"];
/// The keys that belong to `sigv4`.
const SIGNING_KEYS: [&str; 4] =
    ["access_key_id", "access_key_value", "signing_name", "signing_region"];

/// A table in a REST catalog, and how to ask for it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogSettings {
    /// The root of the protocol: what stands before `/v1`. Plain `http` or `https`, without user,
    /// query and fragment.
    pub uri: Url,
    /// The warehouse, if the catalog has several.
    pub warehouse: Option<String>,
    /// The table.
    pub table: TableName,
    /// How requests are authenticated.
    pub authentication: CatalogAuthentication,
    /// Whether the catalog is asked for credentials of the table's storage.
    pub vended_credentials: bool,
}

/// A table's name with its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The levels of the namespace, outermost first; never empty.
    pub namespace: Vec<String>,
    /// The table's own name.
    pub name: String,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace.join("."), self.name)
    }
}

/// How requests to a catalog are authenticated; the secrets are in [`SourceSecrets`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatalogAuthentication {
    /// Not at all.
    Anonymous,
    /// With a bearer token that the user gave: `catalog.token`.
    Token,
    /// With tokens that are got for `catalog.credential`, which is `id:secret` or a secret alone.
    ClientCredentials {
        /// Where tokens are got; `None` means `/v1/oauth/tokens` of the catalog.
        server: Option<Url>,
        /// What tokens are asked for.
        scope: String,
        /// For whom tokens are asked for, if the server needs to know.
        audience: Option<String>,
        /// For what tokens are asked for, if the server needs to know.
        resource: Option<String>,
    },
    /// With signatures of AWS, by `catalog.access_key_id` and `catalog.access_key_value`, or by
    /// the identity of `extfs` where these are missing.
    SigV4 {
        /// The region that requests are signed for; `None` where neither the user nor the host of
        /// the catalog says it, so that it is the region of `extfs`.
        region: Option<String>,
        /// The service that requests are signed for.
        service: String,
    },
}

/// Reads the object, hands each non-empty secret to `take_secret` and leaves stars in its place.
pub(super) fn read_catalog(
    document: &mut BTreeMap<String, Value>,
    format: SourceFormat,
    take_secret: &mut dyn FnMut(&'static str, &str) -> Result<()>,
) -> Result<Option<CatalogSettings>> {
    match document.get_mut(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(_)) if format != SourceFormat::IcebergTable => invalid(format!(
            "catalog is only valid for format \"iceberg-table\", got format {:?}",
            format.name()
        )),
        Some(Value::Object(object)) => read_object(object, take_secret).map(Some),
        Some(_) => Err(bad_json("catalog must be an object")),
    }
}

fn read_object(
    object: &mut Map<String, Value>,
    take_secret: &mut dyn FnMut(&'static str, &str) -> Result<()>,
) -> Result<CatalogSettings> {
    for (key, value) in object.iter_mut() {
        check_key(key)?;
        let Some((_, stored)) = SECRETS.into_iter().find(|(secret, _)| secret == key) else {
            continue;
        };
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => {
                if key != "ssl_ca_cert" && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return invalid(format!(
                        "catalog.{key} has a character that none has, such as a space or line end"
                    ));
                }
                take_secret(stored, text)?;
                *value = Value::String(STARS.to_owned());
            }
            _ => return Err(bad_json(&format!("catalog.{key} must be a string"))),
        }
    }
    let fields = Fields(object);
    check_type(fields.text("type")?)?;
    let Some(uri) = fields.url("uri")? else {
        return invalid("catalog.uri is required: the address that stands before /v1".to_owned());
    };
    let settings = CatalogSettings {
        warehouse: fields.text("warehouse")?.map(str::to_owned),
        table: read_table(object.get("table"))?,
        authentication: read_authentication(&fields, &uri)?,
        vended_credentials: fields.boolean("vended_credentials")?,
        uri,
    };
    Ok(settings)
}

/// Puts the secrets back in place of their stars.
pub(super) fn join_catalog(
    document: &mut BTreeMap<String, Value>,
    secrets: &SourceSecrets,
) -> Result<()> {
    let Some(Value::Object(object)) = document.get_mut(KEY) else { return Ok(()) };
    for (key, stored) in SECRETS {
        let Some(value) = object.get_mut(key) else { continue };
        if value.as_str().is_none_or(str::is_empty) {
            continue;
        }
        let secret = secrets.get(stored).ok_or_else(|| {
            Error::corrupt(format!("the secret {stored} of a source is missing"))
                .about(pandion_types::Subject::Source)
        })?;
        *value = Value::String(secret.expose().to_owned());
    }
    Ok(())
}

/// Puts stars for everything that may be secret, also in an object that is refused; `None` for
/// what is no object.
pub(super) fn redact_catalog(document: &mut BTreeMap<String, Value>) -> Option<()> {
    let object = match document.get_mut(KEY) {
        None | Some(Value::Null) => return Some(()),
        Some(value) => value.as_object_mut()?,
    };
    for (key, value) in object.iter_mut() {
        let is_shown = match value {
            Value::Null => true,
            Value::String(text) if text.is_empty() => true,
            _ if !PUBLIC_KEYS.contains(&key.as_str()) => false,
            Value::String(text) if key.ends_with("uri") => parse_url(text).is_some(),
            Value::String(_) => true,
            Value::Array(items) => items.iter().all(Value::is_string),
            _ => false,
        };
        if !is_shown {
            *value = Value::String(STARS.to_owned());
        }
    }
    Some(())
}

/// The name under which a secret of the `catalog` object is kept, if it is one.
pub(super) fn stored_key(name: &str) -> Option<&'static str> {
    SECRETS.into_iter().map(|(_, stored)| stored).find(|stored| *stored == name)
}

impl SourceSecrets {
    /// The bearer token for a catalog.
    #[must_use]
    pub fn catalog_token(&self) -> Option<&Secret> {
        self.get("catalog.token")
    }

    /// The credential with which tokens for a catalog are got.
    #[must_use]
    pub fn catalog_credential(&self) -> Option<&Secret> {
        self.get("catalog.credential")
    }

    /// The user's and the secret half of the key pair with which requests to a catalog are signed.
    #[must_use]
    pub fn catalog_keys(&self) -> Option<(&Secret, &Secret)> {
        self.get("catalog.access_key_id").zip(self.get("catalog.access_key_value"))
    }

    /// Certificates (PEM) to trust beside those of the system when a catalog is asked.
    #[must_use]
    pub fn catalog_ca_cert(&self) -> Option<&Secret> {
        self.get("catalog.ssl_ca_cert")
    }
}

/// The texts of the object; empty ones are missing.
struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Result<Option<&'a str>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().any(char::is_control) => {
                Err(bad_json(&format!("catalog.{key} has a control character")))
            }
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(bad_json(&format!("catalog.{key} must be a string"))),
        }
    }

    fn is_set(&self, key: &str) -> bool {
        self.0.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
    }

    fn boolean(&self, key: &str) -> Result<bool> {
        match self.text(key)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => {
                invalid(format!("catalog key {key:?} must be \"true\" or \"false\", got {other:?}"))
            }
        }
    }

    fn url(&self, key: &str) -> Result<Option<Url>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        match parse_url(text) {
            Some(url) => Ok(Some(url)),
            // The text is not shown: it may hold a password.
            None => invalid(format!(
                "catalog.{key} must be a URL such as https://catalog.example/api, without user, \
                 query and fragment"
            )),
        }
    }
}

fn parse_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_plain = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_plain).then_some(url)
}

fn check_key(key: &str) -> Result<()> {
    if PUBLIC_KEYS.contains(&key) || SECRETS.iter().any(|(secret, _)| *secret == key) {
        return Ok(());
    }
    let mut known: Vec<_> =
        PUBLIC_KEYS.into_iter().chain(SECRETS.into_iter().map(|(key, _)| key)).collect();
    known.sort_unstable();
    invalid(format!("catalog key {key:?} is not allowed; allowed keys: {}", known.join(", ")))
}

fn check_type(found: Option<&str>) -> Result<()> {
    match found {
        Some("rest") => Ok(()),
        None => invalid("catalog.type is required: one of [rest]".to_owned()),
        Some("glue") => invalid(
            "catalog.type \"glue\" is not supported: must be one of [rest]; AWS Glue is reached \
             by its REST endpoint: type \"rest\", uri \
             \"https://glue.<region>.amazonaws.com/iceberg\", warehouse \"<account id>\", sigv4 \
             \"true\""
                .to_owned(),
        ),
        Some(other) => invalid(format!(
            "catalog.type {other:?} is not supported: must be one of [rest]; a table of another \
             catalog can be read by the URI of its metadata.json"
        )),
    }
}

/// `a.b.table`, or `["a", "b", "table"]` for names that have dots.
fn read_table(value: Option<&Value>) -> Result<TableName> {
    let levels: Option<Vec<String>> = match value {
        None | Some(Value::Null) => return invalid("catalog.table is required".to_owned()),
        Some(Value::String(text)) => Some(text.split('.').map(str::to_owned).collect()),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned)).collect()
        }
        Some(_) => None,
    };
    let fits = |level: &String| {
        !matches!(level.as_str(), "" | "." | "..") && !level.chars().any(char::is_control)
    };
    let named = levels.filter(|levels| levels.iter().all(fits)).and_then(|mut levels| {
        let name = levels.pop()?;
        (!levels.is_empty()).then_some(TableName { namespace: levels, name })
    });
    named.ok_or_else(|| {
        Error::invalid_argument(
            "catalog.table must be namespace and name, such as \"namespace.table\", or a list of \
             strings such as [\"name.space\", \"table\"]",
        )
    })
}

fn read_authentication(fields: &Fields<'_>, uri: &Url) -> Result<CatalogAuthentication> {
    let signs = fields.boolean("sigv4")?;
    let (has_token, has_credential) = (fields.is_set("token"), fields.is_set("credential"));
    if [signs, has_token, has_credential].into_iter().filter(|set| *set).count() > 1 {
        return invalid(
            "catalog authentication modes are mutually exclusive: set at most one of token, \
             credential and sigv4=true"
                .to_owned(),
        );
    }
    let strays = |keys: &[&'static str]| keys.iter().copied().find(|key| fields.is_set(key));
    if let Some(key) = strays(&OAUTH_KEYS).filter(|_| !has_credential) {
        return invalid(format!("catalog.{key} is only valid together with catalog.credential"));
    }
    if let Some(key) = strays(&SIGNING_KEYS).filter(|_| !signs) {
        return invalid(format!("catalog.{key} is only valid together with catalog.sigv4=true"));
    }
    if fields.is_set("access_key_id") != fields.is_set("access_key_value") {
        return invalid(
            "catalog.access_key_id and catalog.access_key_value must be set together (found one \
             without the other)"
                .to_owned(),
        );
    }
    if has_token {
        return Ok(CatalogAuthentication::Token);
    }
    if has_credential {
        return Ok(CatalogAuthentication::ClientCredentials {
            server: fields.url("oauth2_server_uri")?,
            scope: fields.text("scope")?.unwrap_or("catalog").to_owned(),
            audience: fields.text("audience")?.map(str::to_owned),
            resource: fields.text("resource")?.map(str::to_owned),
        });
    }
    if !signs {
        return Ok(CatalogAuthentication::Anonymous);
    }
    let of_host = aws_service_and_region(uri.host_str().unwrap_or_default());
    let region = fields.text("signing_region")?.or(of_host.map(|(_, region)| region));
    let service = fields.text("signing_name")?.or(of_host.map(|(service, _)| service));
    Ok(CatalogAuthentication::SigV4 {
        region: region.map(str::to_owned),
        service: service.unwrap_or("execute-api").to_owned(),
    })
}

/// `glue` and `us-east-1` for `glue.us-east-1.amazonaws.com`.
fn aws_service_and_region(host: &str) -> Option<(&str, &str)> {
    let name = host.strip_suffix(".amazonaws.com").or(host.strip_suffix(".amazonaws.com.cn"))?;
    let (service, region) = name.split_once('.')?;
    (matches!(service, "glue" | "s3tables") && !region.contains('.')).then_some((service, region))
}

fn invalid<T>(message: String) -> Result<T> {
    Err(Error::invalid_argument(message))
}

#[cfg(test)]
mod tests;
