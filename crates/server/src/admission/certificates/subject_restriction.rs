//! `CertificateSubjectRestriction`: no client certificate of the API server's CA is for the group
//! that may do everything.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::BoxFuture;
use pandaemon_certificates::{request, signers::KUBE_APISERVER_CLIENT};
use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{GROUP, REQUESTS, signer_name};
use crate::{
    admission::{
        plugin::{Attributes, Plugin, done},
        rule::{Operation, Rule},
    },
    auth::MASTERS,
    registry::meta,
};

#[derive(Debug)]
pub(in crate::admission) struct CertificateSubjectRestriction;

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = Rule::new(&[Operation::Create], GROUP, &[REQUESTS]);
        vec![rule.writes(&[])]
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(match is_for_masters(object) {
            true => Err(attributes.forbidden(&format!(
                "use of {KUBE_APISERVER_CLIENT} signer with {MASTERS} group is not allowed"
            ))),
            false => Ok(()),
        })
    }
}

/// Whether a request, which is valid, is for the group.
fn is_for_masters(object: &Value) -> bool {
    let pem = STANDARD.decode(meta::text_at(object, &["spec", "request"]));
    let request = request::parse(&pem.unwrap_or_default());
    signer_name(object) == KUBE_APISERVER_CLIENT
        && request.is_ok_and(|request| request.organizations.iter().any(|name| name == MASTERS))
}
