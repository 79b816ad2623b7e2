//! What only the pod's agent knows: logs, exec, attach, ports, and the agent's own pages.

use http::{Method, Response, header};
use pandaemon_machinery::{Status, scheme, status::Result};
use serde_json::Value;

use crate::{
    api,
    body::Body,
    meta,
    proxy::{Agent, upgrade_token},
    resource::Asked,
};

/// Parameters that the agent takes over as they are.
const LOG_PARAMETERS: [&str; 7] = [
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "previous",
    "timestamps",
    "limitBytes",
];

/// `pods/log`
///
/// # Errors
/// 400 without a container, 404, and what the agent says.
pub(crate) async fn log(asked: Asked<'_>) -> Result<Response<Body>> {
    check_log_parameters(&asked)?;
    let (pod, agent, container) = find(&asked)?;
    let place = format!("{}/{}", meta::text(&pod, "namespace"), meta::name(&pod));
    let Some(agent) = agent else {
        // Nothing has run yet, so nothing has been said.
        return Ok(api::text(200, ""));
    };
    let query = parameters(&asked, &LOG_PARAMETERS);
    let path = format!("/containerLogs/{place}/{container}?{query}");
    let mut answer = asked.api.agents.get(&agent, &path).await?;
    let headers = answer.headers_mut();
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain"),
        );
    }
    Ok(answer)
}

fn check_log_parameters(asked: &Asked<'_>) -> Result<()> {
    let query = &asked.incoming.query;
    for name in ["tailLines", "sinceSeconds", "limitBytes"] {
        let Some(text) = query.filled(name) else {
            continue;
        };
        let lowest = if name == "tailLines" { 0 } else { 1 };
        let number: i64 = text.parse().map_err(|_| {
            Status::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))
        })?;
        if number < lowest {
            let what = pandaemon_machinery::validation::ErrorType::Invalid(number.to_string());
            let detail = format!(
                "must be greater than {}",
                if lowest == 0 { "or equal to 0" } else { "0" }
            );
            let error = pandaemon_machinery::validation::FieldError {
                field: name.into(),
                error_type: what,
                detail,
            };
            return Err(Status::invalid(
                &pandaemon_machinery::Kind {
                    kind: "PodLogOptions",
                    ..*asked.kind
                },
                &asked.path.name.clone().unwrap_or_default(),
                &[error],
            ));
        }
    }
    Ok(())
}

fn parameters(asked: &Asked<'_>, names: &[&str]) -> String {
    let wanted = asked
        .incoming
        .query
        .pairs()
        .iter()
        .filter(|(k, _)| names.contains(&k.as_str()));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(wanted)
        .finish()
}

/// The pod, the agent of its node (if it has one) and the container that is meant.
fn find(asked: &Asked<'_>) -> Result<(Value, Option<Agent>, String)> {
    let call = asked.call()?;
    let object = asked.api.registry.current(&call)?;
    let pod = object.value().map_err(crate::registry::unreadable)?;
    let container = container(&pod, asked.incoming.query.filled("container"))?;
    let agent = agent(asked, object.node())?;
    Ok((pod, agent, container))
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let list = meta::at(pod, &["spec", list]).and_then(Value::as_array);
    let names = list
        .into_iter()
        .flatten()
        .filter_map(|c| c["name"].as_str());
    names.map(str::to_owned).collect()
}

/// Which container is meant. Pure.
fn container(pod: &Value, asked: Option<&str>) -> Result<String> {
    let name = meta::name(pod);
    let own = names(pod, "containers");
    let others = ["initContainers", "ephemeralContainers"]
        .map(|list| names(pod, list))
        .concat();
    if let Some(asked) = asked {
        return match own.iter().chain(&others).any(|name| name == asked) {
            true => Ok(asked.to_owned()),
            false => Err(Status::bad_request(format!(
                "container {asked} is not valid for pod {name}"
            ))),
        };
    }
    match own.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}"
        ))),
        many => {
            let inits = names(pod, "initContainers");
            let tail = match inits.is_empty() {
                true => String::new(),
                false => format!(" or one of the init containers: [{}]", inits.join(" ")),
            };
            Err(Status::bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{tail}",
                many.join(" ")
            )))
        }
    }
}

fn agent(asked: &Asked<'_>, node: &str) -> Result<Option<Agent>> {
    if node.is_empty() {
        return Ok(None);
    }
    let kind = scheme::find_resource("", "v1", "nodes").ok_or_else(Status::path_not_found)?;
    let object = asked
        .api
        .registry
        .find(kind, "", node)
        .ok_or_else(|| Status::not_found(kind, node))?;
    Agent::of(&object.value().map_err(crate::registry::unreadable)?).map(Some)
}

/// `pods/exec` and `pods/attach`: joins the client's connection to the agent's.
///
/// # Errors
/// 400 without a container or an upgrade, 404, and what the agent says.
pub(crate) async fn upgrade(asked: Asked<'_>) -> Result<Response<Body>> {
    let (pod, agent, container) = find(&asked)?;
    let name = meta::name(&pod);
    let phase = meta::text_at(&pod, &["status", "phase"]);
    if matches!(phase, "Succeeded" | "Failed") {
        let text =
            format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Status::bad_request(text));
    }
    let verb = asked.path.subresource.as_deref().unwrap_or_default();
    let query = parameters(&asked, &["command", "stdin", "stdout", "stderr", "tty"]);
    let path = format!(
        "/{verb}/{}/{name}/{container}?{query}",
        meta::text(&pod, "namespace")
    );
    join(asked, &pod, agent, &path).await
}

/// `pods/portforward`: the same for connections to the pod's ports.
///
/// # Errors
/// 400 without an upgrade or a node, 404, and what the agent says.
pub(crate) async fn port_forward(asked: Asked<'_>) -> Result<Response<Body>> {
    let call = asked.call()?;
    let object = asked.api.registry.current(&call)?;
    let pod = object.value().map_err(crate::registry::unreadable)?;
    let agent = agent(&asked, object.node())?;
    let namespace = meta::text(&pod, "namespace");
    let path = format!("/portForward/{namespace}/{}", meta::name(&pod));
    join(asked, &pod, agent, &path).await
}

/// Joins the client's connection to the one that the agent makes of this path.
async fn join(
    asked: Asked<'_>,
    pod: &Value,
    agent: Option<Agent>,
    path: &str,
) -> Result<Response<Body>> {
    let agent = agent.ok_or_else(|| {
        let name = meta::name(pod);
        Status::bad_request(format!("pod {name} does not have a host assigned"))
    })?;
    let token = upgrade_token(asked.incoming.headers());
    if !token.is_some_and(|token| matches!(token.as_str(), "websocket" | "spdy/3.1")) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let parts = asked.incoming.parts;
    asked.api.agents.upgrade(&agent, path, parts).await
}

/// `nodes/proxy`, for reading.
///
/// # Errors
/// 405 for anything but GET, 404, and what the agent says.
pub(crate) async fn node(asked: Asked<'_>) -> Result<Response<Body>> {
    if asked.incoming.parts.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    let name = asked.path.name.clone().unwrap_or_default();
    let node = name.split(':').next().unwrap_or_default();
    let agent = agent(&asked, node)?.ok_or_else(Status::path_not_found)?;
    let query = asked.incoming.query.encode();
    let path = match query.as_str() {
        "" => format!("/{}", asked.path.tail),
        query => format!("/{}?{query}", asked.path.tail),
    };
    asked.api.agents.get(&agent, &path).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_container_is_named_or_the_only_one() {
        let two = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        let one = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, None).unwrap(), "a");
        assert_eq!(container(&two, Some("i")).unwrap(), "i");
        assert_eq!(
            container(&two, Some("x")).unwrap_err().message,
            "container x is not valid for pod p"
        );
        assert_eq!(
            container(&two, None).unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"
        );
    }
}
