//! Authorization of updates and server-side applies that create the object.
//! Upstream: `withAuthorization` of `k8s.io/apiserver/pkg/endpoints/handlers/update.go`.

use pandaemon_machinery::status::Result;

use super::Call;
use crate::auth::Attributes;

impl Call {
    /// Checks that the user may create the object of the path. The request itself was authorized as
    /// an update or patch only.
    ///
    /// # Errors
    /// 403 if the user may not.
    pub(super) async fn check_may_create(&self) -> Result<()> {
        let Some(authorizers) = &self.authorizers else {
            return Ok(());
        };
        let attributes = Attributes {
            namespace: &self.namespace,
            api_group: &self.kind.group,
            api_version: &self.kind.version,
            resource: &self.kind.plural,
            subresource: &self.subresource,
            name: &self.name,
            ..Attributes::new(&self.user, "create")
        };
        authorizers.check(&attributes).await
    }
}
