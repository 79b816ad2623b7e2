//! Writes as they are sent: by the fast path that recognizes the body, or else decoded.

use pandaemon_machinery::{
    Kind,
    decode::{self, Decoded, MediaType},
    status::Result,
};

use super::{Call, Registry, Written, lease_renewal::RenewalForm, template_cache};

/// Largest body that a template is made of, in bytes: many times that of a real pod. A larger one
/// could have its name in a million places, each of which would be a piece of the template.
const MAX_TEMPLATE_BODY: usize = 64 << 10;

impl Call {
    /// Decodes a body as `kind`, which may differ from the kind of the path.
    ///
    /// # Errors
    /// 400 if it cannot be decoded.
    pub(crate) fn decoded(&self, kind: &Kind, media: MediaType, body: &[u8]) -> Result<Decoded> {
        decode::decode(&self.scheme, kind, body, media, self.options.validation)
    }
}

impl Registry {
    /// POST of an object.
    ///
    /// # Errors
    /// 400 if the body cannot be decoded, and those of [`Registry::create`].
    pub(crate) async fn post(&self, call: &Call, media: MediaType, body: &[u8]) -> Result<Written> {
        // A DaemonSet creates thousands of pods that differ in name and node only.
        let uses_templates = template_cache::serves(&call.kind)
            && body.len() <= MAX_TEMPLATE_BODY
            && media == MediaType::Json
            && !call.options.dry_run;
        let dependencies = uses_templates.then(|| self.dependency_revisions(call));
        let Some(dependencies) = dependencies.flatten() else {
            return self
                .create(call, call.decoded(&call.kind, media, body)?)
                .await;
        };
        let made = self.create_from_template(call, &dependencies, body).await?;
        if let Some(written) = made {
            return Ok(written);
        }
        let written = self
            .create(call, call.decoded(&call.kind, media, body)?)
            .await?;
        self.update_templates(call, dependencies, body, &written);
        Ok(written)
    }

    /// PUT of an object.
    ///
    /// # Errors
    /// As [`Registry::post`].
    pub(crate) async fn put(&self, call: &Call, media: MediaType, body: &[u8]) -> Result<Written> {
        if media == MediaType::Json {
            let renewed = self.renew_lease(call, RenewalForm::Put, body).await?;
            if let Some(written) = renewed {
                return Ok(written);
            }
        }
        self.update(call, call.decoded(&call.kind, media, body)?)
            .await
    }
}
