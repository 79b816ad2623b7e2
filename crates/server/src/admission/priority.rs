//! `Priority`: a new pod gets the priority of its PriorityClass.

use futures::future::BoxFuture;
use pandaemon_machinery::{Status, status::Result};
use serde::Deserialize;
use serde_json::Value;

use super::{
    plugin::{Attributes, Plugin, done},
    rule::{Operation, Rule},
};
use crate::registry::meta;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";

/// The fields that are read and set.
const FIELDS: [&str; 3] = [
    "/spec/priorityClassName",
    "/spec/priority",
    "/spec/preemptionPolicy",
];

#[derive(Debug)]
pub(super) struct Priority;

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn rules(&self) -> Vec<Rule> {
        let rule = Rule::new(&[Operation::Create], "", &["pods"]);
        vec![rule.reads(&FIELDS).writes(&FIELDS).looks_up(GROUP, CLASSES)]
    }

    fn admit<'a>(
        &'a self,
        attributes: Attributes<'a>,
        pod: &'a mut Value,
    ) -> BoxFuture<'a, Result<()>> {
        done(set_priority(&attributes, pod))
    }
}

/// The fields of a PriorityClass that pods get.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Class {
    metadata: ClassMeta,
    #[serde(default)]
    value: i64,
    #[serde(default)]
    global_default: bool,
    #[serde(default = "preempts")]
    preemption_policy: String,
}

#[derive(Deserialize)]
struct ClassMeta {
    name: String,
}

fn preempts() -> String {
    "PreemptLowerPriority".to_owned()
}

fn set_priority(attributes: &Attributes<'_>, pod: &mut Value) -> Result<()> {
    let named = meta::text_at(pod, &["spec", "priorityClassName"]).to_owned();
    let class = if named.is_empty() {
        default_class(attributes)?
    } else {
        let found = find_class(attributes, &named)?;
        let why = || format!("no PriorityClass with name {named} was found");
        Some(found.ok_or_else(|| attributes.forbidden(&why()))?)
    };
    let value = class.as_ref().map_or(0, |class| class.value);
    let given = meta::at(pod, &["spec", "priority"]).and_then(Value::as_i64);
    if let Some(given) = given.filter(|given| *given != value) {
        return Err(attributes.forbidden(&format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        )));
    }
    pod["spec"]["priority"] = value.into();
    if let Some(class) = class {
        pod["spec"]["priorityClassName"] = class.metadata.name.into();
        if pod["spec"]["preemptionPolicy"].is_null() {
            pod["spec"]["preemptionPolicy"] = class.preemption_policy.into();
        }
    } else if pod["spec"]["preemptionPolicy"].is_null() {
        pod["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
    }
    Ok(())
}

fn find_class(attributes: &Attributes<'_>, name: &str) -> Result<Option<Class>> {
    let Some(object) = attributes.find(GROUP, CLASSES, "", name)? else {
        return Ok(None);
    };
    let class = serde_json::from_slice(&object.bytes).map_err(Status::internal)?;
    Ok(Some(class))
}

/// The PriorityClass with `globalDefault`; of several, the one with the lowest value.
fn default_class(attributes: &Attributes<'_>) -> Result<Option<Class>> {
    let classes = attributes
        .list(GROUP, CLASSES)?
        .filter_map(|object| serde_json::from_slice::<Class>(&object.bytes).ok());
    let defaults = classes.filter(|class| class.global_default);
    Ok(defaults.min_by_key(|class| class.value))
}
