//! `CertificateApproval`: who approves or denies a request may do so for its signer.

use futures::future::BoxFuture;
use pandaemon_machinery::status::Result;
use serde_json::Value;

use super::{GROUP, check_signer, signer_name};
use crate::admission::{
    plugin::{Attributes, Plugin},
    rule::{Operation, Rule},
};

#[derive(Debug)]
pub(in crate::admission) struct CertificateApproval;

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn rules(&self) -> Vec<Rule> {
        let resources = ["certificatesigningrequests/approval"];
        let rule = Rule::new(&[Operation::Update], GROUP, &resources);
        vec![rule.writes(&[])]
    }

    fn validate<'a>(
        &'a self,
        attributes: Attributes<'a>,
        request: &'a Value,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { check_signer(&attributes, "approve", signer_name(request)).await })
    }
}
