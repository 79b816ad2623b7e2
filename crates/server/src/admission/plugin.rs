//! The interface of admission plugins, and what they see of a request. Upstream:
//! `admission.Interface` and `admission.Attributes`.

use std::{
    fmt::Debug,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use pandaemon_machinery::{Kind, KindRef, Scheme, Status, status::Result};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;

use super::{
    counted::Counted,
    rule::{Operation, Rule},
};
use crate::{
    audit::Annotations,
    auth::{self, AuthorizerChain, User},
    cache::{
        object::Object,
        watch_cache::{WatchCache, key},
    },
};

/// An admission plugin: completes and checks objects before they are written, and connections
/// before they are opened. It may wait for others. No lock is held meanwhile, except that
/// writes of kinds with unique values (Services) wait for each other.
pub trait Plugin: Debug + Send + Sync {
    /// The name, such as `NamespaceLifecycle`.
    fn name(&self) -> &'static str;

    /// The requests that it concerns, and what it does with them. Read once. Of several rules for
    /// a request the first counts.
    fn rules(&self) -> Vec<Rule>;

    /// Whether it concerns a request for which it has a rule. Asked for each request.
    fn concerns(&self, _request: Request<'_>) -> bool {
        true
    }

    /// Completes the object that is written, or refuses the request. The object is null in a
    /// deletion, and has the options in a connection. Upstream: `MutationInterface`.
    fn admit<'a>(
        &'a self,
        _attributes: Attributes<'a>,
        _object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(Ok(()))
    }

    /// Refuses the request, or lets it pass. The object is what will be stored: completed by all
    /// plugins, and valid. Upstream: `ValidationInterface`.
    fn validate<'a>(
        &'a self,
        _attributes: Attributes<'a>,
        _object: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(Ok(()))
    }
}

/// The outcome of a plugin that need not wait. Without an error it allocates nothing.
#[must_use]
pub fn done(outcome: Result<()>) -> BoxFuture<'static, Result<()>> {
    match outcome {
        Ok(()) => Box::pin(Admitted),
        Err(status) => Box::pin(std::future::ready(Err(status))),
    }
}

/// A future that is ready, of size zero.
struct Admitted;

impl Future for Admitted {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What plugins are selected by.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the request does.
    pub operation: Operation,
    /// The kind of the path.
    pub kind: &'a Kind,
    /// The namespace of the path, empty for none.
    pub namespace: &'a str,
    /// The name in the path, empty for none.
    pub name: &'a str,
    /// The subresource, empty for none.
    pub subresource: &'a str,
    /// The user of the request.
    pub user: &'a User,
    /// Whether plugins have admitted the request already, as another operation.
    pub(crate) is_admitted: bool,
}

/// A request, as plugins see it. Upstream: `admission.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// What the request does.
    pub operation: Operation,
    /// The kind of the path.
    pub kind: &'a Kind,
    /// The namespace, empty for none.
    pub namespace: &'a str,
    /// The name; of an object whose name is generated, in [`Plugin::admit`] the prefix of it.
    pub name: &'a str,
    /// The subresource, empty for none.
    pub subresource: &'a str,
    /// The user of the request.
    pub user: &'a User,
    /// The stored object, in an update or a deletion.
    pub old_object: Option<&'a Value>,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The plugin that looks at it.
    pub(crate) plugin: &'static str,
    pub(crate) rule: &'a Rule,
    pub(crate) cluster: Cluster<'a>,
    /// `None` for writes of the server itself.
    pub(crate) authorizers: Option<&'a AuthorizerChain>,
    pub(crate) warnings: &'a Mutex<Vec<String>>,
    pub(crate) annotations: &'a Annotations,
    pub(crate) counted: &'a Counted,
}

/// The kinds that are served, and their objects.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cluster<'a> {
    /// The kinds that were served when the request came.
    pub scheme: &'a Scheme,
    /// The stored objects of all kinds.
    pub cache: &'a WatchCache,
}

impl<'a> Attributes<'a> {
    /// The refusal of the request (403). Upstream: `admission.NewForbidden`.
    #[must_use]
    pub fn forbidden(&self, why: &str) -> Box<Status> {
        Status::forbidden(self.kind, self.name, why)
    }

    /// Whether the user of the request may also do this. Upstream: `WantsAuthorizer`.
    pub(super) async fn is_allowed(&self, wanted: &auth::Attributes<'_>) -> bool {
        match self.authorizers {
            Some(authorizers) => authorizers.check(wanted).await.is_ok(),
            None => true,
        }
    }

    /// Adds a warning to the response. Upstream: `warning.AddWarning`.
    pub fn add_warning(&self, text: impl Into<String>) {
        self.warnings.lock().push(text.into());
    }

    /// Adds an annotation to the request's event in the audit log. Upstream: `AddAnnotation`.
    pub fn annotate(&self, key: &str, value: &str) {
        self.annotations.add(key, value);
    }

    /// Increases a counter of a plugin, also for each pod to which its outcome is applied again.
    pub(super) fn count(&self, counter: Counter) {
        self.counted.count(counter);
    }

    /// An object of a kind that the rule declares to look up.
    ///
    /// # Errors
    /// 500 for a kind that it does not declare.
    pub fn find(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>> {
        let kind = self.declared(group, resource)?;
        let find = |kind: &KindRef| {
            let objects = self.cluster.cache.of(kind)?;
            objects.get(&key(kind, namespace, name))
        };
        Ok(kind.and_then(find))
    }

    /// As [`Self::find`], of an object that is about to be created: waits for it for so long.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn wait_for(
        &self,
        group: &str,
        resource: &str,
        (namespace, name): (&str, &str),
        limit: Duration,
    ) -> Result<Option<Arc<Object>>> {
        let Some(kind) = self.declared(group, resource)? else {
            return Ok(None);
        };
        let object = self.cluster.cache.wait_for(kind, namespace, name);
        Ok(tokio::time::timeout(limit, object).await.ok().flatten())
    }

    /// All objects of a kind that the rule declares to look up.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn list(
        &self,
        group: &str,
        resource: &str,
    ) -> Result<impl Iterator<Item = Arc<Object>> + use<>> {
        let kind = self.declared(group, resource)?;
        let objects = kind.and_then(|kind| self.cluster.cache.of(kind));
        Ok(objects.into_iter().flat_map(|objects| objects.every()))
    }

    fn declared(&self, group: &str, resource: &str) -> Result<Option<&'a KindRef>> {
        let mut lookups = self.rule.lookups.iter();
        if !lookups.any(|declared| declared.is(group, resource)) {
            return Err(Status::internal(format!(
                "the admission plugin {} looks up {resource}, which it does not declare",
                self.plugin
            )));
        }
        Ok(find_kind(self.cluster.scheme, group, resource))
    }
}

/// The kind of a resource, in any version.
pub(super) fn find_kind<'a>(
    scheme: &'a Scheme,
    group: &str,
    resource: &str,
) -> Option<&'a KindRef> {
    let mut kinds = scheme.kinds().iter();
    kinds.find(|kind| kind.plural == resource && kind.group == group)
}
