//! The accounts as which the controllers of a control plane send their requests. Upstream: the
//! client builders of kube-controller-manager (`--use-service-account-credentials`).

use std::{fmt, sync::Arc};

use kube::Client;

/// Who sends a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The service account of a controller, in the namespace `kube-system`.
    ServiceAccount(&'static str),
    /// A user, for what upstream runs as a process of its own.
    User(&'static str),
}

/// The account of the informers that controllers share, and of those that a controller's own
/// account has no right to.
pub(crate) const INFORMERS: Account = Account::User("system:kube-controller-manager");

/// Makes a client of an account. Cheap to clone.
#[derive(Clone)]
pub struct ClientBuilder(Arc<dyn Fn(Account) -> Client + Send + Sync>);

impl ClientBuilder {
    /// A builder that makes the clients with a function.
    pub fn new(build: impl Fn(Account) -> Client + Send + Sync + 'static) -> Self {
        Self(Arc::new(build))
    }

    /// A client of this account.
    #[must_use]
    pub fn client(&self, account: Account) -> Client {
        (self.0)(account)
    }
}

/// One client for all accounts.
impl From<Client> for ClientBuilder {
    fn from(client: Client) -> Self {
        Self::new(move |_| client.clone())
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientBuilder")
    }
}
