//! Users: who sends a request. Upstream: `k8s.io/apiserver/pkg/authentication/user`.

use std::collections::BTreeMap;

use pandaemon_machinery::rbac::Identity;

/// The user of a request. Upstream: `user.Info`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The user name, such as `pandaemon-admin`, `system:node:NAME` or `system:anonymous`.
    pub name: String,
    /// The groups, such as `system:masters` or `system:nodes`.
    pub groups: Vec<String>,
    /// The UID; empty for users that have none.
    pub uid: String,
    /// What else an authenticator knows about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// The group that may do everything.
pub(crate) const MASTERS: &str = "system:masters";
/// The group of all users with credentials.
pub(super) const AUTHENTICATED: &str = "system:authenticated";
/// The group of all users without credentials.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of users without credentials.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// The group of machines that ask for the certificates of a node.
pub(crate) const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// What precedes the ID of a bootstrap token in the name of its user.
pub(crate) const BOOTSTRAP_USER: &str = "system:bootstrap:";
/// The name of the user of the join token of the data directory.
pub(crate) const JOIN_TOKEN_USER: &str = "system:bootstrap:data-directory";
/// The extra value of a user of a bootstrap token that is for one node: its name.
pub(crate) const NODE_NAME: &str = "pandaemon.dev/node-name";
/// The extra value of a user with a certificate of a node: the hash of its key.
pub(crate) const CERTIFICATE_KEY: &str = "pandaemon.dev/certificate-key";
/// The group of node agents.
const NODES: &str = "system:nodes";

impl User {
    /// An authenticated user with these groups and `system:authenticated`.
    #[must_use]
    pub(crate) fn known(name: &str, groups: &[String]) -> Self {
        let mut groups = groups.to_vec();
        groups.push(AUTHENTICATED.into());
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The administrator of the cluster.
    #[must_use]
    pub(crate) fn admin() -> Self {
        Self::known("pandaemon-admin", &[MASTERS.into()])
    }

    /// The API server itself, for its own writes.
    #[must_use]
    pub(crate) fn server() -> Self {
        Self::known("system:apiserver", &[MASTERS.into()])
    }

    /// A service account.
    #[must_use]
    pub(crate) fn service_account(namespace: &str, name: &str) -> Self {
        Self::known(
            &format!("system:serviceaccount:{namespace}:{name}"),
            &[
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
            ],
        )
    }

    /// The user of a request without credentials.
    #[must_use]
    pub(crate) fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.into(),
            groups: vec![UNAUTHENTICATED.into()],
            ..Self::default()
        }
    }

    /// Adds the group of all users with credentials, unless the user has none. Upstream:
    /// `group.AuthenticatedGroupAdder`.
    pub(super) fn add_authenticated(&mut self) {
        let is_known = self.name != ANONYMOUS && !self.is_in(UNAUTHENTICATED);
        if is_known && !self.is_in(AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.into());
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The user as RBAC sees it.
    #[must_use]
    pub(crate) fn identity(&self) -> Identity<'_> {
        Identity {
            name: &self.name,
            groups: &self.groups,
        }
    }

    /// The name of the node whose agent this user is.
    #[must_use]
    pub(crate) fn node(&self) -> Option<&str> {
        self.is_in(NODES)
            .then(|| self.name.strip_prefix("system:node:"))
            .flatten()
    }
}

/// Who sends the requests of a connection; a request extension.
#[derive(Debug, Clone, Default)]
pub(crate) enum Caller {
    /// Not known: a request has its credentials itself.
    #[default]
    Unknown,
    /// The user that the TLS client certificate or the in-process client names.
    User(User),
    /// A front proxy with this common name in its certificate. It names the user in headers.
    FrontProxy(String),
}
