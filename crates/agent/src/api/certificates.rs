//! The certificates in use: loaded from disk, obtained when there are none, and renewed while the
//! agent runs, without a restart of anything that uses them. The kubelet's certificate manager.

use std::{net::IpAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::future::BoxFuture;
use kube::Client;
use pandaemon_client::{
    backoff::{Backoff, jittered},
    connect::Connections,
    events::{EventRecorder, EventType, ObjectReference},
};
use rustls::ServerConfig;
use tokio::sync::watch;

use super::{
    identity::{Identity, Validity, identity_scope},
    join::{self, IssuedCertificates, JoinError},
};
use crate::{clock::Clock, config::Config, tls};

/// The delay after attempts that failed.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(250),
    max: Duration::from_secs(15),
};
/// The delay after the server refused the agent, which then has pods to run.
const RETRY_REFUSED: Duration = Duration::from_secs(300);
/// The delay after a renewal: with a wrong clock the new certificates may seem due again at once.
const AFTER_RENEWAL: Duration = Duration::from_secs(600);
/// How often is looked whether a renewal is due: the clock may be set meanwhile.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

/// Requests new certificates from the server.
type Request =
    Box<dyn Fn() -> BoxFuture<'static, Result<IssuedCertificates, JoinError>> + Send + Sync>;

/// The certificates in use, and where they come from.
pub(crate) struct Certificates {
    config: Config,
    identity: Identity,
    scope: String,
    clock: Clock,
    request: Request,
    connections: Connections,
    serving: watch::Sender<Option<Arc<ServerConfig>>>,
}

impl Certificates {
    /// The certificates on disk, however old, if they were made for this node.
    ///
    /// # Errors
    /// If the token in the configuration is not in the form of one.
    pub(crate) fn new(
        config: &Config,
        identity: Identity,
        address: IpAddr,
    ) -> anyhow::Result<Self> {
        let ca_digest = join::ca_digest(config)?;
        let scope = identity_scope(&config.node_name, address, ca_digest);
        let (of, keys) = (config.clone(), identity.clone());
        let request: Request = Box::new(move || {
            let (config, identity) = (of.clone(), keys.clone());
            Box::pin(async move { join::request(&config, &identity, address).await })
        });
        Ok(Self::load_or_none(
            config,
            identity,
            scope,
            Clock::default(),
            request,
        ))
    }

    fn load_or_none(
        config: &Config,
        identity: Identity,
        scope: String,
        clock: Clock,
        request: Request,
    ) -> Self {
        let this = Self {
            config: config.clone(),
            scope,
            clock,
            request,
            connections: Connections::default(),
            serving: watch::Sender::new(None),
            identity,
        };
        if this.identity.address_of(&config.node_name).is_some()
            && let Err(error) = this.load()
        {
            tracing::warn!("cannot use the certificates on disk: {error:#}");
        }
        this
    }

    /// A client of the API server that always has the certificates in use. Without any its requests
    /// fail.
    pub(crate) fn client(&self) -> Client {
        self.connections.client()
    }

    /// The configuration of the kubelet server with the certificate in use.
    pub(crate) fn serving(&self) -> watch::Receiver<Option<Arc<ServerConfig>>> {
        self.serving.subscribe()
    }

    /// Obtains certificates unless there are valid ones. Tries until the server answers. For a node
    /// without pods: if its Node was deleted, it joins as a new one.
    ///
    /// # Errors
    /// If the server refuses: the token is wrong, or another machine holds the node's name.
    pub(crate) async fn obtain(&self) -> anyhow::Result<()> {
        let is_valid = |validity: Validity| self.clock.now() < validity.not_after * 1000;
        if self.validity().is_some_and(is_valid) {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            match self.renew().await {
                Ok(()) => return Ok(()),
                Err(JoinError::Permanent(error)) => return Err(error),
                Err(JoinError::NodeDeleted(error)) => {
                    if self.identity.read("client.crt").is_err() {
                        return Err(error);
                    }
                    tracing::info!("joining as a new node: {error:#}");
                    self.identity.remove_file("client.crt")?;
                }
                Err(JoinError::Transient(error)) => {
                    failures += 1;
                    self.wait_for_retry("join", failures, &error).await;
                }
            }
        }
    }

    /// Renews the certificates when that is due; does not return. A refusal stops nothing, as the
    /// node has pods to run: it is reported, and the server is asked again later. If the Node was
    /// deleted, the certificate is not replaced with the token, as the pods are to end.
    pub(crate) async fn keep_valid(self: Arc<Self>, events: EventRecorder) {
        let mut failures = 0;
        loop {
            let now = self.clock.now();
            let due = self
                .validity()
                .map_or(now, |validity| validity.renew_at * 1000);
            if now < due {
                let left = Duration::from_millis(u64::try_from(due - now).unwrap_or(0));
                self.sleep(left.min(CHECK_INTERVAL)).await;
                continue;
            }
            match self.renew().await {
                Ok(()) => {
                    failures = 0;
                    tracing::info!("renewed the certificates of this node");
                    self.sleep(AFTER_RENEWAL).await;
                }
                Err(JoinError::Transient(error)) => {
                    failures += 1;
                    self.wait_for_retry("renew the certificates with", failures, &error)
                        .await;
                }
                Err(JoinError::Permanent(error) | JoinError::NodeDeleted(error)) => {
                    let message = format!("cannot renew the certificates of this node: {error:#}");
                    tracing::error!("{message}; its pods go on, trying again in {RETRY_REFUSED:?}");
                    let name = &self.config.node_name;
                    let node = ObjectReference::node(name, name);
                    events.event(
                        &node,
                        EventType::Warning,
                        "CertificateRenewalFailed",
                        message,
                    );
                    self.sleep(RETRY_REFUSED).await;
                }
            }
        }
    }

    async fn wait_for_retry(&self, what: &str, failures: u32, error: &anyhow::Error) {
        let delay = jittered(RETRY.delay(failures));
        let server = &self.config.server;
        tracing::warn!("cannot {what} {server} yet, trying again in {delay:?}: {error:#}");
        self.sleep(delay).await;
    }

    async fn sleep(&self, delay: Duration) {
        let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        self.clock
            .sleep_until(self.clock.now().saturating_add(delay))
            .await;
    }

    /// The validity of the certificates in use; `None` if there are none, or they were made for
    /// another address or cluster.
    fn validity(&self) -> Option<Validity> {
        let loaded = self.serving.borrow().is_some();
        loaded
            .then(|| self.identity.validity(&self.scope))
            .flatten()
    }

    async fn renew(&self) -> Result<(), JoinError> {
        let issued = (self.request)().await?;
        self.save(&issued)
            .and_then(|()| self.load())
            .map_err(JoinError::Permanent)
    }

    /// The keys stay the same, so that any of these certificates is of use.
    fn save(&self, issued: &IssuedCertificates) -> anyhow::Result<()> {
        let identity = &self.identity;
        identity.write("ca.crt", &issued.ca_certificate)?;
        identity.write("client-ca.crt", &issued.client_ca_certificate)?;
        identity.write("client.crt", &issued.client_certificate)?;
        identity.write("serving.crt", &issued.serving_certificate)?;
        identity.write("subject", &self.scope)
    }

    /// Takes the certificates on disk into use. Connections that exist keep the older ones.
    fn load(&self) -> anyhow::Result<()> {
        let read = |name| self.identity.read(name);
        let serving = tls::server(
            &read("serving.crt")?,
            &read("serving.key")?,
            // Identities of earlier agents have all CAs in one file.
            &read("client-ca.crt").or_else(|_| read("ca.crt"))?,
        )?;
        let client = join::client_config(&self.config, &self.identity)?;
        self.connections
            .replace(client)
            .context("create the client")?;
        self.serving.send_replace(Some(Arc::new(serving)));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
