//! A container's environment, and `$(NAME)` in its command, arguments and paths.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};
use pandaemon_types::Quantity;

use super::{PodRef, inputs::Snapshot, resources};
use crate::api::sources::Kind;

/// What of the node and the sandbox a pod may ask for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// The node's name.
    pub node_name: String,
    /// The node's address.
    pub host_ip: String,
    /// The pod's addresses.
    pub pod_ips: Vec<String>,
    /// Processors of the node in thousandths, the limit where none is set.
    pub node_millicpu: i64,
    /// Memory of the node in bytes, the limit where none is set.
    pub node_memory: i64,
    /// Host and port of the API server.
    pub api_server: Option<(String, u16)>,
}

/// Names and values in order; a later one replaces an earlier one of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The value of a name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(one, _)| one == name)
            .map(|(_, value)| value.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.0.iter_mut().find(|(one, _)| one == name) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// Replaces each `$(NAME)` that has a value; `$$` stands for `$`.
    #[must_use]
    pub(crate) fn expand(&self, text: &str) -> String {
        let (mut out, mut rest) = (String::with_capacity(text.len()), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            rest = if let Some(after) = after.strip_prefix('$') {
                out.push('$');
                after
            } else if let Some((name, after)) = after
                .strip_prefix('(')
                .and_then(|after| after.split_once(')'))
            {
                match self.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.extend(["$(", name, ")"]),
                }
                after
            } else {
                out.push('$');
                after
            };
        }
        out.push_str(rest);
        out
    }

    /// All names and values.
    #[must_use]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Builds a container's environment.
///
/// # Errors
/// The kubelet's words when a source is missing.
pub(crate) fn environment(
    pod: &PodRef,
    container: &Container,
    inputs: &Snapshot,
    around: &Surroundings,
) -> Result<Environment, String> {
    let mut env = Environment::default();
    if let Some((host, port)) = &around.api_server {
        // The address that this node itself uses: no proxy for services is needed for it.
        env.set("KUBERNETES_SERVICE_HOST", host.clone());
        env.set("KUBERNETES_SERVICE_PORT", port.to_string());
        env.set("KUBERNETES_SERVICE_PORT_HTTPS", port.to_string());
    }
    for from in container.env_from.iter().flatten() {
        all_of(from, inputs, &mut env)?;
    }
    for var in container.env.iter().flatten() {
        if let Some(value) = value(var, pod, container, inputs, around, &env)? {
            env.set(&var.name, value);
        }
    }
    Ok(env)
}

fn all_of(from: &EnvFromSource, inputs: &Snapshot, env: &mut Environment) -> Result<(), String> {
    let config_map = from.config_map_ref.as_ref();
    let secret = from.secret_ref.as_ref();
    let source = config_map
        .map(|one| (Kind::ConfigMap, &one.name, one.optional))
        .or_else(|| secret.map(|one| (Kind::Secret, &one.name, one.optional)));
    let Some((kind, name, optional)) = source else {
        return Ok(());
    };
    let data = inputs.get(kind, name, optional.unwrap_or(false))?;
    for (key, value) in data.into_iter().flat_map(|data| &data.0) {
        let name = format!("{}{key}", from.prefix.as_deref().unwrap_or_default());
        env.set(&name, String::from_utf8_lossy(value).into_owned());
    }
    Ok(())
}

fn value(
    var: &EnvVar,
    pod: &PodRef,
    container: &Container,
    inputs: &Snapshot,
    around: &Surroundings,
    env: &Environment,
) -> Result<Option<String>, String> {
    match &var.value_from {
        None => Ok(Some(env.expand(var.value.as_deref().unwrap_or_default()))),
        Some(from) => referred(from, pod, container, inputs, around),
    }
}

fn referred(
    from: &EnvVarSource,
    pod: &PodRef,
    container: &Container,
    inputs: &Snapshot,
    around: &Surroundings,
) -> Result<Option<String>, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(field) = &from.field_ref {
        return self::field(field, pod, around).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return self::resource(resource, pod, Some(container), around).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let optional = key.optional.unwrap_or(false);
        return Ok(inputs
            .key(Kind::ConfigMap, &key.name, &key.key, optional)?
            .map(text));
    }
    if let Some(key) = &from.secret_key_ref {
        let optional = key.optional.unwrap_or(false);
        return Ok(inputs
            .key(Kind::Secret, &key.name, &key.key, optional)?
            .map(text));
    }
    Ok(None)
}

/// A field of the pod as text.
///
/// # Errors
/// When there is no such field to ask for.
pub(crate) fn field(
    selector: &ObjectFieldSelector,
    pod: &PodRef,
    around: &Surroundings,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let meta = &pod.object.metadata;
    let own = |text: &Option<String>| text.clone().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("invalid path {path:?}")),
        };
        return Ok(map
            .as_ref()
            .and_then(|map| map.get(key))
            .cloned()
            .unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => pod.name.clone(),
        "metadata.namespace" => pod.namespace.clone(),
        "metadata.uid" => pod.uid.clone(),
        "metadata.labels" => lines(meta.labels.iter().flatten()),
        "metadata.annotations" => lines(meta.annotations.iter().flatten()),
        "spec.nodeName" => around.node_name.clone(),
        "spec.serviceAccountName" => own(&pod.spec.service_account_name),
        "status.hostIP" | "status.hostIPs" => around.host_ip.clone(),
        "status.podIP" => around.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => around.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `metadata.labels['key']` as its two parts.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    Some((map, key.trim_matches(['\'', '"'])))
}

/// `key="value"` for each, sorted, as downward API files hold maps.
fn lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A request or limit of a container as text.
///
/// # Errors
/// When there is no such container or resource to ask for.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    pod: &PodRef,
    own: Option<&Container>,
    around: &Surroundings,
) -> Result<String, String> {
    let named = selector
        .container_name
        .as_deref()
        .and_then(|name| pod.container(name));
    let Some(container) = named.map(|(container, _)| container).or(own) else {
        return Err("container not found".to_owned());
    };
    let (list, name) = selector
        .resource
        .split_once('.')
        .unwrap_or((&selector.resource, ""));
    let given = match list {
        "limits" => resources::limit(container, name),
        "requests" => resources::request(container, name),
        _ => None,
    };
    let fallback = match (list, name) {
        ("limits", "cpu") => Quantity::from_millis(around.node_millicpu),
        ("limits", "memory") => Quantity::from_units(around.node_memory),
        ("limits" | "requests", _) => Quantity::ZERO,
        _ => {
            return Err(format!(
                "unsupported container resource : {}",
                selector.resource
            ));
        }
    };
    let amount = given.unwrap_or(fallback);
    let divisor = selector
        .divisor
        .as_ref()
        .and_then(|text| text.0.parse::<Quantity>().ok());
    let divisor = divisor
        .filter(|one| !one.is_zero())
        .unwrap_or_else(|| Quantity::from_units(1));
    let (amount, divisor) = if name == "cpu" {
        (amount.millis(), divisor.millis())
    } else {
        (amount.units(), divisor.units())
    };
    let divisor = divisor.max(1);
    Ok(((amount + divisor - 1) / divisor).to_string())
}

#[cfg(test)]
mod tests;
