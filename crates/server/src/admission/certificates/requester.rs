//! Sets what the server sets in CertificateSigningRequests: who asks, and the times of conditions.
//! No plugin upstream, but a part of the strategy (`pkg/registry/certificates`), which here knows
//! neither users nor the time.

use futures::future::BoxFuture;
use jiff::Timestamp;
use pandaemon_machinery::status::Result;
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Map, Value};

use super::{GROUP, REQUESTS};
use crate::{
    admission::{
        plugin::{Attributes, Plugin, done},
        rule::{Operation, Rule},
    },
    auth::User,
    registry::meta,
};

#[derive(Debug)]
pub(in crate::admission) struct CertificateRequester;

impl Plugin for CertificateRequester {
    fn name(&self) -> &'static str {
        "CertificateRequester"
    }

    fn rules(&self) -> Vec<Rule> {
        let parts = [
            "certificatesigningrequests/approval",
            "certificatesigningrequests/status",
        ];
        let create = Rule::new(&[Operation::Create], GROUP, &[REQUESTS]);
        let update = Rule::new(&[Operation::Update], GROUP, &parts);
        vec![
            create.writes(&["/spec"]),
            update.writes(&["/status/conditions"]),
        ]
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        object: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        match attributes.operation {
            Operation::Create => set_user(object, attributes.user),
            _ => {
                let old = attributes.old_object.unwrap_or(&Value::Null);
                set_times(old, object, &rfc3339_seconds(Timestamp::now()));
            }
        }
        done(Ok(()))
    }
}

/// Who asks: what the client says about that does not count.
fn set_user(object: &mut Value, user: &User) {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    spec.insert("username".into(), user.name.as_str().into());
    if !user.uid.is_empty() {
        spec.insert("uid".into(), user.uid.as_str().into());
    }
    spec.insert("groups".into(), user.groups.clone().into());
    if !user.extra.is_empty() {
        let extra = user.extra.iter();
        let extra: Map<String, Value> = extra
            .map(|(key, values)| (key.clone(), values.clone().into()))
            .collect();
        spec.insert("extra".into(), extra.into());
    }
}

/// The times that conditions lack: that of a transition is the old one, if the condition was the
/// same.
fn set_times(old: &Value, new: &mut Value, now: &str) {
    let Some(conditions) = new["status"]["conditions"].as_array_mut() else {
        return;
    };
    let old = meta::at(old, &["status", "conditions"]).and_then(Value::as_array);
    for condition in conditions
        .iter_mut()
        .filter(|condition| condition.is_object())
    {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].is_null() {
            let is_same = |one: &&Value| {
                one["type"] == condition["type"] && one["status"] == condition["status"]
            };
            let before = old.into_iter().flatten().find(is_same);
            let before = before.and_then(|one| one["lastTransitionTime"].as_str());
            condition["lastTransitionTime"] = before.unwrap_or(now).into();
        }
    }
}
