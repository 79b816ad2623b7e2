//! The parts of the server that request handlers use, and a request whose body has been read.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use jiff::Timestamp;
use pandaemon_machinery::{Scheme, status::Result};
use pandaemon_runtime::connections::Connections;
use pandaemon_store::encryption::EncryptedStore;

use crate::{
    audit::{Annotations, Auditor},
    auth::{AuthenticatorChain, AuthorizerChain, User, unauthorized},
    authenticators::RevokedSerials,
    backup::Backups,
    flow_control::FlowControl,
    handlers::proxy::Agents,
    http::{
        negotiate::{self, Form},
        request::Query,
        request_bodies::RequestBodies,
    },
    large_requests::LargeRequests,
    metrics::ServerMetrics,
    pki::{Pki, Validity},
    registry::Registry,
    service_accounts::TokenIssuer,
};

/// The parts of the server that requests use.
#[derive(Debug)]
pub(crate) struct Api {
    /// The registry of all objects.
    pub registry: Arc<Registry>,
    /// Certificates and tokens of the cluster.
    pub pki: Arc<Pki>,
    /// Signs and verifies the tokens of service accounts.
    pub service_accounts: Arc<TokenIssuer>,
    /// The keys of the store, if it encrypts.
    pub encryption: Option<Arc<EncryptedStore>>,
    /// Which backups are being taken.
    pub backups: Backups,
    /// The connections of all listeners.
    pub connections: Connections,
    /// The client of the node agents.
    pub agents: Agents,
    /// The metrics of the server.
    pub metrics: ServerMetrics,
    /// The state behind the health endpoints.
    pub health: Health,
    /// The audit log.
    pub auditor: Auditor,
    /// Decides when requests begin.
    pub flow_control: Arc<FlowControl>,
    /// Client certificates that count no more.
    pub revoked: RevokedSerials,
    /// Know the users of bearer tokens.
    pub authenticators: AuthenticatorChain,
    /// Decide what users may do.
    pub authorizers: AuthorizerChain,
    /// Run beside the async workers.
    pub large_requests: LargeRequests,
    /// The bodies of requests that are not answered yet.
    pub request_bodies: RequestBodies,
    /// `HOST:PORT` of this server, for the discovery document of the core group.
    pub address: String,
}

impl Api {
    /// Checks that a certificate still counts: it may have expired or been revoked since the
    /// connection was made.
    ///
    /// # Errors
    /// 401 if it does not.
    pub(crate) fn check_validity(&self, validity: &Validity) -> Result<()> {
        let is_revoked = self.revoked.contains(&validity.serial);
        match is_revoked || validity.is_expired(Timestamp::now()) {
            true => Err(unauthorized()),
            false => Ok(()),
        }
    }
}

/// The state behind `/livez` and `/readyz`.
#[derive(Debug, Default)]
pub(crate) struct Health {
    started: AtomicBool,
    stopping: AtomicBool,
}

impl Health {
    /// Records that the built-in objects exist.
    pub(crate) fn set_started(&self) {
        self.started.store(true, Ordering::Release);
    }

    /// Records that the server is shutting down.
    pub(crate) fn set_stopping(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether the built-in objects exist.
    pub(crate) fn is_started(&self) -> bool {
        self.started.load(Ordering::Acquire)
    }

    /// Whether the server is shutting down.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// An authenticated request whose body has been read.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The head. Its extensions may contain a connection upgrade.
    pub parts: Parts,
    /// The parsed query.
    pub query: Query,
    /// The negotiated form of the response; `None` if the server supports no accepted one.
    pub accepted: Option<Form>,
    /// The kinds that were served when the request came.
    pub scheme: Scheme,
    /// The user of the request.
    pub user: User,
    /// What plugins say about the request in the audit log.
    pub annotations: Annotations,
    /// The complete body.
    pub body: Bytes,
}

impl Incoming {
    /// The path of the URL.
    #[must_use]
    pub(crate) fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// The request headers.
    #[must_use]
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The negotiated form of the response.
    ///
    /// # Errors
    /// 406 if the `Accept` header names no supported media type.
    pub(crate) fn form(&self) -> Result<Form> {
        let mut form = self.accepted.ok_or_else(negotiate::not_acceptable)?;
        form.pretty = self.query.flag("pretty");
        Ok(form)
    }
}
