//! The admission of one request: it passes the chain of plugins in two phases. Collects warnings.

use pandaemon_machinery::status::Result;
use parking_lot::Mutex;
use serde_json::Value;

use super::{Call, Registry};
use crate::{
    admission::{Attributes, Cluster, Operation, Plugin, Request, Rule},
    registry::meta,
};

/// The admission of one request.
#[derive(Debug)]
pub(crate) struct Admission<'a> {
    registry: &'a Registry,
    call: &'a Call,
    operation: Operation,
    name: &'a str,
    old_object: Option<&'a Value>,
    /// Whether nothing is stored.
    dry_run: bool,
    warnings: Mutex<Vec<String>>,
}

impl Call {
    /// What plugins are selected by when the call does this.
    pub(super) fn request(&self, operation: Operation) -> Request<'_> {
        Request {
            operation,
            kind: &self.kind,
            namespace: &self.namespace,
            name: &self.name,
            subresource: &self.subresource,
            user: &self.user,
            is_admitted: self.is_admitted,
        }
    }
}

impl Registry {
    /// The admission of a call that does this to the object of that name.
    pub(crate) fn admission<'a>(
        &'a self,
        operation: Operation,
        call: &'a Call,
        name: &'a str,
    ) -> Admission<'a> {
        call.counted.clear();
        Admission {
            registry: self,
            call,
            operation,
            name,
            old_object: None,
            dry_run: call.options.dry_run,
            warnings: Mutex::default(),
        }
    }
}

impl<'a> Admission<'a> {
    /// The same with the stored object.
    pub(super) fn of(self, old: &'a Value) -> Self {
        let old_object = Some(old);
        Self { old_object, ..self }
    }

    /// The same for a deletion with these options.
    pub(super) fn with_dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    fn attributes<'s>(
        &'s self,
        name: &'s str,
        plugin: &dyn Plugin,
        rule: &'s Rule,
    ) -> Attributes<'s> {
        let call = self.call;
        let cluster = Cluster {
            scheme: &call.scheme,
            cache: &self.registry.cache,
        };
        Attributes {
            operation: self.operation,
            kind: &call.kind,
            namespace: &call.namespace,
            name,
            subresource: &call.subresource,
            user: &call.user,
            old_object: self.old_object,
            dry_run: self.dry_run,
            plugin: plugin.name(),
            rule,
            cluster,
            authorizers: call.authorizers.as_ref(),
            warnings: &self.warnings,
            annotations: &call.annotations,
            counted: &call.counted,
        }
    }

    /// The mutating phase.
    ///
    /// # Errors
    /// The status of the plugin that refuses.
    pub(crate) async fn admit(&self, object: &mut Value) -> Result<()> {
        let request = self.call.request(self.operation);
        let chain = &self.registry.admission;
        let attributes = |plugin: &dyn Plugin, rule| self.attributes(self.name, plugin, rule);
        chain.admit(request, attributes, object).await
    }

    /// The validating phase.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(crate) async fn validate(&self, object: &Value) -> Result<()> {
        let request = self.call.request(self.operation);
        let chain = &self.registry.admission;
        // A generated name is known now.
        let name = match (self.operation, self.call.subresource.as_str()) {
            (Operation::Create, "") => meta::name(object),
            _ => self.name,
        };
        let attributes = |plugin: &dyn Plugin, rule| self.attributes(name, plugin, rule);
        chain.validate(request, attributes, object).await
    }

    /// Both phases, for what is not stored as it is sent: deletions, connections, and bodies of
    /// subresources. Returns the warnings.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub(crate) async fn run(self, object: &mut Value) -> Result<Vec<String>> {
        self.admit(object).await?;
        self.validate(object).await?;
        Ok(self.into_warnings())
    }

    /// Adds warnings of the kind's strategy to those of the plugins.
    pub(super) fn add_warnings(&self, texts: Vec<String>) {
        self.warnings.lock().extend(texts);
    }

    /// All warnings, in the order in which they were added.
    pub(crate) fn into_warnings(self) -> Vec<String> {
        self.warnings.into_inner()
    }
}
