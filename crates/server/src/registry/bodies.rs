//! Writes as they are sent: by the fast path that recognizes the body, or else decoded.

use pandaemon_machinery::{
    decode::{self, Decoded, MediaType},
    status::Result,
};

use super::{Call, Registry, Written, lease_renewal::RenewalForm, template_cache};

impl Call {
    fn decoded(&self, media: MediaType, body: &[u8]) -> Result<Decoded> {
        let (scheme, validation) = (&self.scheme, self.options.validation);
        decode::decode(scheme, &self.kind, body, media, validation)
    }
}

impl Registry {
    /// POST of an object.
    ///
    /// # Errors
    /// 400 if the body cannot be decoded, and those of [`Registry::create`].
    pub(crate) async fn post(&self, call: &Call, media: MediaType, body: &[u8]) -> Result<Written> {
        // A DaemonSet creates thousands of pods that differ in name and node only.
        let uses_templates =
            template_cache::serves(&call.kind) && media == MediaType::Json && !call.options.dry_run;
        let dependencies = uses_templates.then(|| self.dependency_revisions(call));
        let Some(dependencies) = dependencies.flatten() else {
            return self.create(call, call.decoded(media, body)?).await;
        };
        let made = self.create_from_template(call, &dependencies, body).await?;
        if let Some(written) = made {
            return Ok(written);
        }
        let written = self.create(call, call.decoded(media, body)?).await?;
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
        self.update(call, call.decoded(media, body)?).await
    }
}
