//! Who the server knows: users with lasting keys, roles that can be assumed, and the sessions that
//! it has given out. It says who bears a key, and whether that one may do what is asked.

use std::collections::HashMap;
use std::sync::{Mutex, RwLock};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use rand::Rng as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::policy::{Asked, FEDERATED, Policy};
use crate::convert::{lock, read, write};

/// The account of everybody.
const ACCOUNT: &str = "123456789012";
/// How long the keys of an instance or container are valid, in seconds.
const MACHINE_SECONDS: u64 = 6 * 3600;
/// Keys of an instance that end sooner than this are replaced when they are asked for.
const MACHINE_LEAD: Duration = Duration::from_secs(300);

/// Who there is, beside the owner whose keys stand in the server's options. Also the form of the
/// file that the program takes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct S3Identities {
    /// Users with lasting keys.
    pub users: Vec<S3User>,
    /// Roles that can be assumed.
    pub roles: Vec<S3Role>,
    /// How long sessions last whatever they were asked to last, in seconds.
    pub session_seconds: Option<u64>,
    /// The ARN of the role whose keys instance metadata gives; without it there is none.
    pub instance_role: Option<String>,
    /// The ARN of the role whose keys containers get at `/v1/credentials`.
    pub container_role: Option<String>,
    /// What a container must show for them.
    pub container_token: String,
}

/// A user with lasting keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3User {
    /// The name, which makes the ARN `arn:aws:iam::123456789012:user/NAME`.
    pub name: String,
    /// The access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// What the user may do: a policy document.
    pub policy: Value,
}

/// A role.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Role {
    /// `arn:aws:iam::123456789012:role/NAME`.
    pub arn: String,
    /// Who may assume it: a policy document with principals.
    pub trust: Value,
    /// What its sessions may do: a policy document.
    pub policy: Value,
    /// The tokens for which a web identity gets a session, if `trust` lets a federated principal.
    #[serde(default)]
    pub web_identity_tokens: Vec<String>,
}

/// Keys that requests may be signed with.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    pub(crate) secret: String,
    /// What must come with the keys; with `None`, nothing may.
    pub(crate) token: Option<String>,
    expires_at: Option<SystemTime>,
    /// The principal: of a session, that of its role.
    pub(crate) principal: String,
    /// What it may do; everything with `None`.
    policy: Option<Policy>,
    /// What a session was restricted to when it was opened.
    session_policy: Option<Policy>,
}

/// A session that was just opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) access_key: String,
    pub(crate) secret: String,
    pub(crate) token: String,
    pub(crate) expires_at: SystemTime,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    UnknownKey,
    WrongToken,
    Expired,
}

/// Everybody, and the sessions.
#[derive(Debug)]
pub(crate) struct Identities {
    bearers: RwLock<HashMap<String, Bearer>>,
    roles: RwLock<HashMap<String, Role>>,
    session_seconds: Option<u64>,
    pub(crate) instance_role: Option<String>,
    pub(crate) container_role: Option<String>,
    pub(crate) container_token: String,
    /// The keys that an instance or container has now, by role.
    machine_keys: Mutex<HashMap<String, String>>,
    metadata_tokens: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Role {
    trust: Policy,
    policy: Policy,
    web_identity_tokens: Vec<String>,
}

impl Role {
    fn new(role: &S3Role) -> anyhow::Result<Self> {
        let parse = |what: &str, document| {
            Policy::parse(document).with_context(|| format!("the {what} of {}", role.arn))
        };
        Ok(Self {
            trust: parse("trust policy", &role.trust)?,
            policy: parse("policy", &role.policy)?,
            web_identity_tokens: role.web_identity_tokens.clone(),
        })
    }
}

impl Bearer {
    /// Keys that may do everything.
    pub(crate) fn owner(secret: &str, token: Option<&str>) -> Self {
        Self {
            secret: secret.to_owned(),
            token: token.map(str::to_owned),
            expires_at: None,
            principal: format!("arn:aws:iam::{ACCOUNT}:root"),
            policy: None,
            session_policy: None,
        }
    }

    /// Whether a request with these keys and `token` comes from whom they were given to.
    pub(crate) fn check(&self, token: Option<&str>) -> Result<(), Denial> {
        if self.expires_at.is_some_and(|end| end <= SystemTime::now()) {
            return Err(Denial::Expired);
        }
        match (self.token.as_deref(), token) {
            (Some(_), None) => Err(Denial::UnknownKey),
            (expected, found) if expected == found => Ok(()),
            _ => Err(Denial::WrongToken),
        }
    }

    pub(crate) fn may(&self, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        let asked = Asked { action, resource, principal: &self.principal, context };
        [&self.policy, &self.session_policy]
            .into_iter()
            .all(|policy| policy.as_ref().is_none_or(|policy| policy.allows(&asked)))
    }
}

impl Identities {
    /// # Errors
    /// A policy that is not understood.
    pub(crate) fn new(identities: &S3Identities) -> anyhow::Result<Self> {
        let mut bearers = HashMap::new();
        for user in &identities.users {
            let policy = Policy::parse(&user.policy)
                .with_context(|| format!("the policy of user {}", user.name))?;
            let bearer = Bearer {
                principal: format!("arn:aws:iam::{ACCOUNT}:user/{}", user.name),
                policy: Some(policy),
                ..Bearer::owner(&user.secret_key, None)
            };
            bearers.insert(user.access_key.clone(), bearer);
        }
        let roles = identities.roles.iter().map(|role| Ok((role.arn.clone(), Role::new(role)?)));
        Ok(Self {
            bearers: RwLock::new(bearers),
            roles: RwLock::new(roles.collect::<anyhow::Result<_>>()?),
            session_seconds: identities.session_seconds,
            instance_role: identities.instance_role.clone(),
            container_role: identities.container_role.clone(),
            container_token: identities.container_token.clone(),
            machine_keys: Mutex::default(),
            metadata_tokens: Mutex::default(),
        })
    }

    pub(crate) fn bearer(&self, access_key: &str) -> Option<Bearer> {
        read(&self.bearers).get(access_key).cloned()
    }

    pub(crate) fn add(&self, access_key: &str, bearer: Bearer) {
        write(&self.bearers).insert(access_key.to_owned(), bearer);
    }

    pub(crate) fn remove(&self, access_key: &str) {
        write(&self.bearers).remove(access_key);
    }

    /// Puts a role in place of one with the same ARN.
    pub(crate) fn set_role(&self, role: &S3Role) -> anyhow::Result<()> {
        write(&self.roles).insert(role.arn.clone(), Role::new(role)?);
        Ok(())
    }

    /// Lets every session end now.
    pub(crate) fn expire_sessions(&self) {
        for bearer in write(&self.bearers).values_mut() {
            if bearer.expires_at.is_some() {
                bearer.expires_at = Some(SystemTime::UNIX_EPOCH);
            }
        }
    }

    /// Opens a session of a role for `caller`, if the role trusts it; `None` if not.
    pub(crate) fn assume(
        &self,
        caller: &Bearer,
        arn: &str,
        external_id: Option<&str>,
        session: &SessionTerms,
    ) -> Option<Opened> {
        let context: Vec<_> = external_id.map(|id| ("sts:ExternalId", id)).into_iter().collect();
        let policy = {
            let roles = read(&self.roles);
            let role = roles.get(arn)?;
            let asked = Asked {
                action: "sts:AssumeRole",
                resource: "",
                principal: &caller.principal,
                context: &context,
            };
            if !role.trust.allows(&asked) || !caller.may("sts:AssumeRole", arn, &context) {
                return None;
            }
            role.policy.clone()
        };
        Some(self.open(arn, policy, session))
    }

    /// Opens a session of a role for whoever shows `token`.
    pub(crate) fn assume_with_token(
        &self,
        token: &str,
        arn: &str,
        session: &SessionTerms,
    ) -> Result<Opened, &'static str> {
        let policy = {
            let roles = read(&self.roles);
            let role = roles.get(arn).ok_or("AccessDenied")?;
            let asked = Asked {
                action: "sts:AssumeRoleWithWebIdentity",
                resource: "",
                principal: FEDERATED,
                context: &[],
            };
            if !role.web_identity_tokens.iter().any(|known| known == token) {
                return Err("InvalidIdentityToken");
            }
            if !role.trust.allows(&asked) {
                return Err("AccessDenied");
            }
            role.policy.clone()
        };
        Ok(self.open(arn, policy, session))
    }

    /// The keys of a machine that has a role: the same until they are about to end.
    pub(crate) fn machine_keys(&self, arn: &str) -> Option<Opened> {
        let mut machine_keys = lock(&self.machine_keys);
        if let Some(access_key) = machine_keys.get(arn)
            && let Some(bearer) = self.bearer(access_key)
            && let (Some(expires_at), Some(token)) = (bearer.expires_at, bearer.token)
            && expires_at > SystemTime::now() + MACHINE_LEAD
        {
            let access_key = access_key.clone();
            return Some(Opened { access_key, secret: bearer.secret, token, expires_at });
        }
        let policy = read(&self.roles).get(arn)?.policy.clone();
        let terms = SessionTerms { seconds: MACHINE_SECONDS, policy: None };
        let opened = self.open(arn, policy, &terms);
        machine_keys.insert(arn.to_owned(), opened.access_key.clone());
        Some(opened)
    }

    /// A token that questions to instance metadata must show.
    pub(crate) fn new_metadata_token(&self) -> String {
        let token = random_text(40);
        lock(&self.metadata_tokens).push(token.clone());
        token
    }

    pub(crate) fn is_metadata_token(&self, token: &str) -> bool {
        lock(&self.metadata_tokens).iter().any(|known| known == token)
    }

    fn open(&self, arn: &str, policy: Policy, session: &SessionTerms) -> Opened {
        let seconds = self.session_seconds.unwrap_or(session.seconds);
        let opened = Opened {
            access_key: format!("ASIA{}", random_text(16)),
            secret: random_text(40),
            token: random_text(120),
            expires_at: SystemTime::now() + Duration::from_secs(seconds),
        };
        let bearer = Bearer {
            secret: opened.secret.clone(),
            token: Some(opened.token.clone()),
            expires_at: Some(opened.expires_at),
            principal: arn.to_owned(),
            policy: Some(policy),
            session_policy: session.policy.clone(),
        };
        self.add(&opened.access_key, bearer);
        opened
    }
}

/// What a session is opened with.
#[derive(Debug)]
pub(crate) struct SessionTerms {
    pub(crate) seconds: u64,
    /// What it is restricted to beside its role's policy.
    pub(crate) policy: Option<Policy>,
}

/// Capital letters and digits, none of which needs escaping anywhere.
fn random_text(length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}
