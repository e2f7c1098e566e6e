//! The variables by which the operator tells this server who it is. They are read here and nowhere
//! else, and none of them can be set by a user.

use std::collections::BTreeMap;
use std::fmt;

use pandion_types::Secret;

/// Every variable that is looked at. The names and meanings are those of AWS's own libraries.
const NAMES: [&str; 16] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// What the variables are set to; an empty value counts as none.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Secret>);

impl Environment {
    /// The variables of this process, as they are now.
    #[must_use]
    pub fn of_process() -> Self {
        Self::from_pairs(
            NAMES.iter().filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))),
        )
    }

    /// These variables and no others.
    #[must_use]
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), Secret::new(value)));
        Self(pairs.filter(|(_, value)| !value.is_empty()).collect())
    }

    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.secret(name).map(Secret::expose)
    }

    /// The endpoint that the operator sets for a service (`S3`, `STS`), or for all.
    pub(crate) fn endpoint_of(&self, service: &str) -> Option<&str> {
        self.text(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| self.text("AWS_ENDPOINT_URL"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
