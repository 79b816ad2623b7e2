//! `CertificateSigning`: who sets the certificate of a request may sign as its signer.

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{GROUP, check_signer, signer_name};
use crate::admission::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};

#[derive(Debug)]
pub(in crate::admission) struct CertificateSigning;

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn rules(&self) -> Vec<Rule> {
        let resources = ["certificatesigningrequests/status"];
        let rule = Rule::new(&[Operation::Update], GROUP, &resources);
        vec![rule.writes(&[])]
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        request: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        let old = attributes.old_object.unwrap_or(&Value::Null);
        let is_same = |field: &str| old["status"][field] == request["status"][field];
        if is_same("certificate") && is_same("conditions") {
            return done(Ok(()));
        }
        Box::pin(async move { check_signer(&attributes, "sign", signer_name(old)).await })
    }
}
