//! A container's environment variables, and the expansion of `$(NAME)` in commands, arguments and
//! paths.

use k8s_openapi::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, ResourceFieldSelector,
};
use pandaemon_types::Quantity;

use super::{PodRef, references::ReferencedObjects, resources};
use crate::api::object_cache::ObjectKind;

/// The properties of node and sandbox that the downward API and the environment take values from.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeInfo {
    /// The name of the Node.
    pub node_name: String,
    /// The node's address.
    pub host_ip: String,
    /// The pod's addresses; empty before its sandbox has one.
    pub pod_ips: Vec<String>,
    /// The node's CPU capacity in millicores: the reported limit of a container without one.
    pub node_millicpu: i64,
    /// The node's memory in bytes: the reported limit of a container without one.
    pub node_memory: i64,
    /// Host and port by which containers reach the API server.
    pub api_server: Option<(String, u16)>,
}

/// Environment variables in order. A later one replaces an earlier one of the same name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Environment(Vec<(String, String)>);

impl Environment {
    /// The value of a variable.
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

    /// Replaces each `$(NAME)` of a variable by its value, and `$$` by `$`.
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

    /// All variables in order.
    #[must_use]
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.0
    }
}

/// Computes a container's environment.
///
/// # Errors
/// The kubelet's message if a referenced object, key or field does not exist.
pub(crate) fn environment(
    pod: &PodRef,
    container: &Container,
    references: &ReferencedObjects,
    node_info: &NodeInfo,
) -> Result<Environment, String> {
    let mut env = Environment::default();
    if let Some((host, port)) = &node_info.api_server {
        set_api_server(&mut env, host, *port);
    }
    for from in container.env_from.iter().flatten() {
        env_from(from, references, &mut env)?;
    }
    for var in container.env.iter().flatten() {
        if let Some(value) = value(var, pod, container, references, node_info, &env)? {
            env.set(&var.name, value);
        }
    }
    Ok(env)
}

/// The variables of the Service `default/kubernetes`. Upstream: `pkg/kubelet/envvars`.
fn set_api_server(env: &mut Environment, host: &str, port: u16) {
    let port = port.to_string();
    let address = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    let url = format!("tcp://{address}");
    let of_port = |what: &str| format!("KUBERNETES_PORT_{port}_TCP{what}");
    env.set("KUBERNETES_SERVICE_HOST", host.to_owned());
    env.set("KUBERNETES_SERVICE_PORT", port.clone());
    env.set("KUBERNETES_SERVICE_PORT_HTTPS", port.clone());
    env.set("KUBERNETES_PORT", url.clone());
    env.set(&of_port(""), url);
    env.set(&of_port("_PROTO"), "tcp".to_owned());
    env.set(&of_port("_PORT"), port.clone());
    env.set(&of_port("_ADDR"), host.to_owned());
}

fn env_from(
    from: &EnvFromSource,
    references: &ReferencedObjects,
    env: &mut Environment,
) -> Result<(), String> {
    let config_map = from.config_map_ref.as_ref();
    let secret = from.secret_ref.as_ref();
    let source = config_map
        .map(|one| (ObjectKind::ConfigMap, &one.name, one.optional))
        .or_else(|| secret.map(|one| (ObjectKind::Secret, &one.name, one.optional)));
    let Some((kind, name, optional)) = source else {
        return Ok(());
    };
    let data = references.get(kind, name, optional.unwrap_or(false))?;
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
    references: &ReferencedObjects,
    node_info: &NodeInfo,
    env: &Environment,
) -> Result<Option<String>, String> {
    match &var.value_from {
        None => Ok(Some(env.expand(var.value.as_deref().unwrap_or_default()))),
        Some(from) => value_from(from, pod, container, references, node_info),
    }
}

fn value_from(
    from: &EnvVarSource,
    pod: &PodRef,
    container: &Container,
    references: &ReferencedObjects,
    node_info: &NodeInfo,
) -> Result<Option<String>, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if let Some(field) = &from.field_ref {
        return self::field(field, pod, node_info).map(Some);
    }
    if let Some(resource) = &from.resource_field_ref {
        return self::resource(resource, pod, Some(container), node_info).map(Some);
    }
    if let Some(key) = &from.config_map_key_ref {
        let optional = key.optional.unwrap_or(false);
        return Ok(references
            .key(ObjectKind::ConfigMap, &key.name, &key.key, optional)?
            .map(text));
    }
    if let Some(key) = &from.secret_key_ref {
        let optional = key.optional.unwrap_or(false);
        return Ok(references
            .key(ObjectKind::Secret, &key.name, &key.key, optional)?
            .map(text));
    }
    Ok(None)
}

/// The value of a pod field (`fieldRef`) as text.
///
/// # Errors
/// If the downward API does not offer this field.
pub(crate) fn field(
    selector: &ObjectFieldSelector,
    pod: &PodRef,
    node_info: &NodeInfo,
) -> Result<String, String> {
    let path = selector.field_path.as_str();
    let meta = &pod.object.metadata;
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
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
        "metadata.labels" => map_lines(meta.labels.iter().flatten()),
        "metadata.annotations" => map_lines(meta.annotations.iter().flatten()),
        "spec.nodeName" => node_info.node_name.clone(),
        "spec.serviceAccountName" => or_empty(&pod.spec.service_account_name),
        "status.hostIP" | "status.hostIPs" => node_info.host_ip.clone(),
        "status.podIP" => node_info.pod_ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => node_info.pod_ips.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// Splits `metadata.labels['key']` into map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once('[')?;
    let key = rest.strip_suffix(']')?;
    Some((map, key.trim_matches(['\'', '"'])))
}

/// Maps in downward API files: a line `key="value"` for each entry, sorted.
fn map_lines<'a>(map: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    map.map(|(key, value)| format!("{key}={value:?}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A request or limit of a container (`resourceFieldRef`) as text.
///
/// # Errors
/// If the container does not exist or the resource is not offered.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    pod: &PodRef,
    own: Option<&Container>,
    node_info: &NodeInfo,
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
        ("limits", "cpu") => Quantity::from_millis(node_info.node_millicpu),
        ("limits", "memory") => Quantity::from_units(node_info.node_memory),
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
