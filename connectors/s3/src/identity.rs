//! The identity that AWS gives this server, and the roles that it assumes with it.
//!
//! Where the identity comes from is the operator's choice, told by the environment: the first of
//! keys, web identity, container credentials and instance metadata that is set up is the one, and
//! when it fails there is no other. A user's specification may use it for AWS's own stores, and for
//! stores that the operator names, but nothing in a specification says where it is fetched or where
//! it is shown.

mod container;
mod metadata;
mod own;
mod role;

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pandion_source::{
    AssumedRole, Clock, CredentialSource, EndpointPolicy, GuardedConnector, RenewalLimits,
    RenewingCredentials, SystemClock,
};
use pandion_types::{Error, ErrorKind, Result, Secret, Subject};
use url::Url;

use crate::aws_http::AwsHttp;
use crate::endpoints::{
    host_port, is_catalog_host, is_region_label, is_s3_host, is_sts_host, parse_endpoint,
    sts_endpoint,
};
use crate::environment::Environment;
use crate::sts::Sts;

/// How many sessions of roles are held. The one that was not used for the longest time goes first.
const SESSIONS_MAX: usize = 64;
/// Where instances and containers of AWS get their keys. No user's endpoint may lead there; for
/// the server's own identity these are allowed.
const IDENTITY_ENDPOINTS: [&str; 5] = [
    "169.254.169.254:80",
    "[fd00:ec2::254]:80",
    "169.254.170.2:80",
    "169.254.170.23:80",
    "[fd00:ec2::23]:80",
];
/// Where container credentials come from when only a path is given.
const CONTAINER_HOST: Ipv4Addr = Ipv4Addr::new(169, 254, 170, 2);
/// Where instance metadata comes from when the environment says nothing.
const METADATA_ENDPOINT: &str = "http://169.254.169.254";

/// Who this server is to AWS. Clones share keys and sessions.
#[derive(Clone)]
pub struct ServerIdentity(Arc<Inner>);

struct Inner {
    environment: Environment,
    clock: Arc<dyn Clock>,
    keys: OnceLock<Arc<dyn CredentialSource>>,
    sessions: Mutex<Vec<Session>>,
}

/// A role's session; whoever names all the same may share it.
struct Session {
    key: SessionKey,
    keys: Arc<dyn CredentialSource>,
}

#[derive(PartialEq, Eq)]
struct SessionKey {
    role: AssumedRole,
    external_id: Option<Secret>,
    endpoint: String,
    region: String,
}

/// What a specification says about a role.
pub(crate) struct RoleRequest<'a> {
    pub(crate) role: AssumedRole,
    pub(crate) external_id: Option<&'a Secret>,
    /// The region of the source, whose token service is asked.
    pub(crate) region: &'a str,
    /// `extfs.iam_endpoint`.
    pub(crate) iam_endpoint: Option<&'a str>,
    /// Decides on `iam_endpoint`, which is the user's.
    pub(crate) policy: &'a Arc<EndpointPolicy>,
}

impl ServerIdentity {
    /// The identity that the environment of this process tells of. Nothing is fetched before it
    /// is needed.
    #[must_use]
    pub fn of_process() -> &'static Self {
        static PROCESS: OnceLock<ServerIdentity> = OnceLock::new();
        PROCESS.get_or_init(|| Self::new(Environment::of_process(), Arc::new(SystemClock)))
    }

    /// The identity that `environment` tells of.
    #[must_use]
    pub fn new(environment: Environment, clock: Arc<dyn Clock>) -> Self {
        let (keys, sessions) = (OnceLock::new(), Mutex::default());
        Self(Arc::new(Inner { environment, clock, keys, sessions }))
    }

    /// The keys of the identity itself.
    ///
    /// # Errors
    /// `InvalidArgument` when the environment contradicts itself. Whether there are keys, only
    /// asking for them tells.
    pub fn keys(&self) -> Result<Arc<dyn CredentialSource>> {
        if let Some(keys) = self.0.keys.get() {
            return Ok(Arc::clone(keys));
        }
        let issuer = own::issuer(&self.0.environment)?;
        let keys = self.renewing(issuer, RenewalLimits::default());
        Ok(Arc::clone(self.0.keys.get_or_init(|| keys)))
    }

    /// Refuses to show the identity to an endpoint that is neither AWS's nor named by the operator.
    pub(crate) fn check_shown_to(&self, mode: &str, host: &str, port: u16) -> Result<()> {
        let named = self.0.environment.endpoint_of("S3").and_then(|text| Url::parse(text).ok());
        let is_named = named.is_some_and(|url| {
            url.host_str() == Some(host) && url.port_or_known_default() == Some(port)
        });
        if is_named || is_s3_host(host) || is_catalog_host(host) {
            return Ok(());
        }
        let message = format!(
            "extfs.{mode} is refused for the endpoint {host}:{port}, which is not AWS's: the \
             identity that AWS gives this server is shown to AWS only, and to the endpoint in the \
             server's AWS_ENDPOINT_URL_S3"
        );
        Err(Error::new(ErrorKind::PermissionDenied, message).about(Subject::Source))
    }

    /// The keys of a role's session. Sessions are shared by all who name the same role with the
    /// same external id.
    pub(crate) fn assume(&self, request: &RoleRequest<'_>) -> Result<Arc<dyn CredentialSource>> {
        let place = self.sts_place(request)?;
        let key = SessionKey {
            role: request.role.clone(),
            external_id: request.external_id.cloned(),
            endpoint: bare(&place.url),
            region: request.region.to_owned(),
        };
        // What a panicking holder left is whole: every change is one operation on the list.
        let mut sessions = self.0.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = sessions.iter().position(|session| session.key == key) {
            let session = sessions.remove(at);
            let keys = Arc::clone(&session.keys);
            sessions.push(session);
            return Ok(keys);
        }
        let http = match place.is_users {
            true => http(&place.url, request.policy, None)?,
            false => own_http(&place.url)?,
        };
        let issuer = role::Issuer {
            sts: Sts { endpoint: bare(&place.url), region: request.region.to_owned(), http },
            base: self.keys()?,
            role: request.role.clone(),
            external_id: request.external_id.cloned(),
        };
        let limits = RenewalLimits { age_max: request.role.session };
        let keys = self.renewing(Arc::new(issuer), limits);
        if sessions.len() >= SESSIONS_MAX {
            sessions.remove(0);
        }
        sessions.push(Session { key, keys: Arc::clone(&keys) });
        Ok(keys)
    }

    /// The keys that a metadata service of the user's choice gives. Nothing of this server's own
    /// identity is shown to it.
    pub(crate) fn metadata_at(
        &self,
        iam_endpoint: &str,
        policy: &Arc<EndpointPolicy>,
        ca_pem: Option<&Secret>,
    ) -> Result<Arc<dyn CredentialSource>> {
        let url = parse_endpoint("extfs.iam_endpoint", iam_endpoint)?;
        let issuer = metadata::Issuer::new(&url, http(&url, policy, ca_pem)?)?;
        Ok(self.renewing(Arc::new(issuer), RenewalLimits::default()))
    }

    fn renewing(
        &self,
        issuer: Arc<dyn CredentialSource>,
        limits: RenewalLimits,
    ) -> Arc<dyn CredentialSource> {
        Arc::new(RenewingCredentials::new(issuer, Arc::clone(&self.0.clock), limits))
    }

    /// The token service to ask: the operator's, else the user's if it is one of AWS's, else that
    /// of the region.
    fn sts_place(&self, request: &RoleRequest<'_>) -> Result<StsPlace> {
        if let Some(text) = self.0.environment.endpoint_of("STS") {
            let url = parse_endpoint("AWS_ENDPOINT_URL_STS", text)?;
            return Ok(StsPlace { url, is_users: false });
        }
        let region = request.region;
        let Some(text) = request.iam_endpoint else {
            if !is_region_label(region) {
                let message = format!("extfs.region {region:?} is not the name of a region");
                return Err(Error::invalid_argument(message).about(Subject::Source));
            }
            let url = parse_endpoint("extfs.region", &sts_endpoint(region))?;
            return Ok(StsPlace { url, is_users: false });
        };
        let url = parse_endpoint("extfs.iam_endpoint", text)?;
        if url.scheme() == "https" && url.host_str().is_some_and(is_sts_host) {
            return Ok(StsPlace { url, is_users: true });
        }
        let message = format!(
            "extfs.iam_endpoint {text:?} is refused with extfs.role_arn: roles are assumed at an \
             endpoint of AWS's STS, such as https://sts.eu-west-1.amazonaws.com, or at that of the \
             server's AWS_ENDPOINT_URL_STS"
        );
        Err(Error::new(ErrorKind::PermissionDenied, message).about(Subject::Source))
    }
}

/// Where a token service is, and whether a user says so, so that the endpoint policy decides.
struct StsPlace {
    url: Url,
    is_users: bool,
}

impl fmt::Debug for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerIdentity").field(&self.0.environment).finish()
    }
}

/// A client that may reach `url`, which is not a user's. Where AWS hands out keys is allowed as
/// well, and so is every other address of a name that is given here: endpoints of AWS may have
/// private addresses in a network of one's own.
fn own_http(url: &Url) -> Result<AwsHttp> {
    let named = host_port(url);
    let allowed = IDENTITY_ENDPOINTS.into_iter().chain(named.as_deref());
    http(url, &Arc::new(EndpointPolicy::new(allowed)?), None)
}

fn http(url: &Url, policy: &Arc<EndpointPolicy>, ca_pem: Option<&Secret>) -> Result<AwsHttp> {
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default());
    let tls = url.scheme() == "https";
    let connector = GuardedConnector::new(policy, tls, host, port.unwrap_or_default(), ca_pem)?;
    Ok(AwsHttp(connector.http_client()?))
}

/// The URL without the slash at its end.
fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
