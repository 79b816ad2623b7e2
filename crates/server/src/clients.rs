//! Clients in the process of the server. Their requests take the same path as remote ones, without
//! TCP and TLS.

use std::{convert::Infallible, fmt, sync::Arc};

use http::{HeaderValue, Request, header::USER_AGENT};

use crate::{
    api::Api,
    auth::{Caller, User},
};

/// Makes in-process clients of users. Cheap to clone.
#[derive(Clone)]
pub struct Clients(Arc<Api>);

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Clients {
    pub(crate) const fn new(api: Arc<Api>) -> Self {
        Self(api)
    }

    /// A client with the rights of the administrator.
    #[must_use]
    pub fn admin(&self) -> kube::Client {
        self.client(User::admin())
    }

    /// A client with the rights of a service account.
    #[must_use]
    pub fn service_account(&self, namespace: &str, name: &str) -> kube::Client {
        self.client(User::service_account(namespace, name))
    }

    /// A client with the rights of a user who is in no group but `system:authenticated`, such as
    /// `system:kube-scheduler`.
    #[must_use]
    pub fn user(&self, name: &str) -> kube::Client {
        self.client(User::known(name, &[]))
    }

    fn client(&self, user: User) -> kube::Client {
        let api = Arc::clone(&self.0);
        let service = tower::service_fn(move |mut request: Request<kube::client::Body>| {
            request.extensions_mut().insert(Caller::User(user.clone()));
            // The part before `/` is the field manager of writes.
            request
                .headers_mut()
                .entry(USER_AGENT)
                .or_insert(HeaderValue::from_static("pandaemon-controllers/v1"));
            let api = Arc::clone(&api);
            async move { Ok::<_, Infallible>(api.handle(request).await) }
        });
        kube::Client::new(service, "default")
    }
}
