//! Users: who sends a request. Upstream: `k8s.io/apiserver/pkg/authentication/user`.

/// The user of a request. Upstream: `user.Info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The user name, such as `pandaemon-admin`, `system:node:NAME` or `system:anonymous`.
    pub name: String,
    /// The groups, such as `system:masters` or `system:nodes`.
    pub groups: Vec<String>,
}

/// The group that may do everything.
pub(super) const MASTERS: &str = "system:masters";
/// The group of node agents.
const NODES: &str = "system:nodes";

impl User {
    /// An authenticated user with these groups and `system:authenticated`.
    #[must_use]
    pub(crate) fn known(name: &str, groups: &[String]) -> Self {
        let mut groups = groups.to_vec();
        groups.push("system:authenticated".into());
        Self {
            name: name.into(),
            groups,
        }
    }

    /// The user that an administrator impersonates. If no groups are given, service accounts get
    /// their standard groups.
    #[must_use]
    pub(crate) fn impersonated(name: &str, mut groups: Vec<String>) -> Self {
        if name == "system:anonymous" {
            return Self::anonymous();
        }
        let account = name.strip_prefix("system:serviceaccount:");
        if let (Some((namespace, _)), true) =
            (account.and_then(|a| a.split_once(':')), groups.is_empty())
        {
            groups.push("system:serviceaccounts".into());
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
        Self::known(name, &groups)
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

    /// The user of a request without credentials.
    #[must_use]
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".into(),
            groups: vec!["system:unauthenticated".into()],
        }
    }

    /// Whether the user is in a group.
    #[must_use]
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The name of the node whose agent this user is.
    #[must_use]
    pub(crate) fn node(&self) -> Option<&str> {
        self.is_in(NODES)
            .then(|| self.name.strip_prefix("system:node:"))
            .flatten()
    }
}

/// The user that the TLS client certificate or the in-process client names; a request extension.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller(pub Option<User>);
