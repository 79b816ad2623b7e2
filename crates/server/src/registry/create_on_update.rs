//! Authorization of updates and server-side applies that create the object.
//! Upstream: `withAuthorization` of `k8s.io/apiserver/pkg/endpoints/handlers/update.go`.

use pandaemon_machinery::status::Result;

use super::Call;
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
        authorizers.check(&self.attributes("create")).await
    }
}
