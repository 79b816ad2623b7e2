//! The ordered chain of plugins, and what fast paths derive from their declarations. Upstream:
//! `admission.chainAdmissionHandler` and `AllOrderedPlugins`.

use std::{borrow::Cow, sync::Arc};

use pandaemon_machinery::status::Result;
use pandaemon_runtime::metrics::Metrics;
use pandaemon_store::Revision;
use serde_json::Value;

use super::{
    certificates::{
        approval::CertificateApproval, requester::CertificateRequester,
        signing::CertificateSigning, subject_restriction::CertificateSubjectRestriction,
    },
    configuration::AdmissionConfiguration,
    default_toleration_seconds::DefaultTolerationSeconds,
    namespace_lifecycle::NamespaceLifecycle,
    node_restriction::NodeRestriction,
    plugin::{Attributes, Cluster, Plugin, Request, find_kind},
    pod_security::PodSecurity,
    priority::Priority,
    rule::{Fields, Operation, Rule},
    service_account::ServiceAccount,
    taint_nodes_by_condition::TaintNodesByCondition,
};

/// The plugins in their order: each request passes [`Plugin::admit`] of all that it concerns, and
/// later [`Plugin::validate`].
#[derive(Debug)]
pub(crate) struct Chain(Vec<Link>);

/// A plugin with its rules.
#[derive(Debug)]
struct Link {
    plugin: Arc<dyn Plugin>,
    rules: Vec<Rule>,
}

impl Chain {
    /// The built-in plugins, in upstream's order, and then these.
    pub(crate) fn new(
        configuration: AdmissionConfiguration,
        additional: Vec<Arc<dyn Plugin>>,
        metrics: &Metrics,
    ) -> Self {
        let built_in: [Arc<dyn Plugin>; 11] = [
            Arc::new(NamespaceLifecycle),
            Arc::new(ServiceAccount),
            Arc::new(NodeRestriction),
            Arc::new(TaintNodesByCondition),
            Arc::new(PodSecurity::new(configuration.pod_security, metrics)),
            Arc::new(Priority),
            Arc::new(DefaultTolerationSeconds),
            Arc::new(CertificateRequester),
            Arc::new(CertificateApproval),
            Arc::new(CertificateSigning),
            Arc::new(CertificateSubjectRestriction),
        ];
        let all = built_in.into_iter().chain(additional);
        let link = |plugin: Arc<dyn Plugin>| Link {
            rules: plugin.rules(),
            plugin,
        };
        Self(all.map(link).collect())
    }

    /// The plugins that a request concerns, with their rules for it. Allocates nothing.
    fn concerned<'a>(
        &'a self,
        request: Request<'a>,
    ) -> impl Iterator<Item = (&'a dyn Plugin, &'a Rule)> {
        let Request {
            operation,
            kind,
            subresource,
            is_admitted,
            ..
        } = request;
        let links = if is_admitted { &[] } else { &*self.0 };
        links.iter().filter_map(move |link| {
            let mut rules = link.rules.iter();
            let rule = rules.find(|rule| rule.matches(operation, kind, subresource))?;
            let plugin = &*link.plugin;
            plugin.concerns(request).then_some((plugin, rule))
        })
    }

    /// Whether any plugin concerns such a request.
    pub(crate) fn concerns(&self, request: Request<'_>) -> bool {
        self.concerned(request).next().is_some()
    }

    /// The mutating phase. `attributes` makes those of a plugin.
    ///
    /// # Errors
    /// The status of the first plugin that refuses.
    pub(crate) async fn admit<'a>(
        &'a self,
        request: Request<'a>,
        attributes: impl Fn(&'a dyn Plugin, &'a Rule) -> Attributes<'a>,
        object: &mut Value,
    ) -> Result<()> {
        for (plugin, rule) in self.concerned(request) {
            plugin.admit(attributes(plugin, rule), object).await?;
        }
        Ok(())
    }

    /// The validating phase.
    ///
    /// # Errors
    /// The status of the first plugin that refuses.
    pub(crate) async fn validate<'a>(
        &'a self,
        request: Request<'a>,
        attributes: impl Fn(&'a dyn Plugin, &'a Rule) -> Attributes<'a>,
        object: &Value,
    ) -> Result<()> {
        for (plugin, rule) in self.concerned(request) {
            plugin.validate(attributes(plugin, rule), object).await?;
        }
        Ok(())
    }

    /// Whether a plugin reads this field, one above or one below it, in such a request.
    pub(crate) fn reads(&self, request: Request<'_>, pointer: &str) -> bool {
        let mut concerned = self.concerned(request);
        concerned.any(|(_, rule)| rule.reads.overlap(pointer))
    }

    /// Whether a plugin may change the object of such a request.
    pub(crate) fn writes(&self, request: Request<'_>) -> bool {
        let mut concerned = self.concerned(request);
        concerned.any(|(_, rule)| rule.writes != Fields::At(Vec::new()))
    }

    /// The fields of the spec that such a request needs: those of the kind's strategy and those
    /// that plugins read. `None` if the spec has to be parsed: for the strategy, for a plugin that
    /// reads all of it, or for one that changes it.
    pub(crate) fn spec_fields<'a>(&'a self, request: Request<'a>) -> Option<Cow<'a, [&'a str]>> {
        let own = request.kind.strategy.spec_read_by_status_writes()?;
        let mut all: Cow<'a, [&'a str]> = Cow::Borrowed(own);
        let is_update = request.operation == Operation::Update;
        for (_, rule) in self.concerned(request) {
            let Fields::At(pointers) = &rule.reads else {
                return None;
            };
            if is_update && rule.writes.overlap("/spec") {
                return None;
            }
            for pointer in pointers {
                let mut names = pointer.split('/').skip(1);
                match (names.next(), names.next()) {
                    (None, _) | (Some("spec"), None) => return None,
                    (Some("spec"), Some(field)) if !all.contains(&field) => {
                        all.to_mut().push(field);
                    }
                    _ => {}
                }
            }
        }
        Some(all)
    }

    /// The revisions of the last changes of the kinds that plugins look up in such a request;
    /// `None` for a kind that is not served. They stay as long as the outcome for an object, if
    /// that depends on none of these fields. `None` if it does.
    pub(crate) fn lookup_revisions(
        &self,
        request: Request<'_>,
        cluster: Cluster<'_>,
        fields: &[&str],
    ) -> Option<Vec<Option<Revision>>> {
        let mut revisions = Vec::with_capacity(self.0.len());
        for (_, rule) in self.concerned(request) {
            if fields.iter().any(|field| rule.reads.overlap(field)) {
                return None;
            }
            revisions.extend(rule.lookups.iter().map(|lookup| {
                let kind = find_kind(cluster.scheme, &lookup.group, &lookup.resource)?;
                Some(cluster.cache.of(kind)?.last_changed())
            }));
        }
        Some(revisions)
    }
}
