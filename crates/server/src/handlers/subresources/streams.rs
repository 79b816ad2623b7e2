//! Requests that the node agent serves: logs, exec, attach, port-forward, and `nodes/proxy`.

use http::{Response, header};
use pandaemon_machinery::{Status, status::Result};
use pandaemon_runtime::upgrade::upgrade_token;
use serde_json::{Map, Value};

use crate::{
    admission::Operation,
    auth::Decision,
    handlers::{proxy::Agent, resource_request::ResourceRequest, response},
    http::{body::Body, request::Verb},
    registry::{kinds, meta},
};

/// Query parameters of logs that are passed to the agent.
const LOG_PARAMETERS: [&str; 7] = [
    "follow",
    "tailLines",
    "sinceSeconds",
    "sinceTime",
    "previous",
    "timestamps",
    "limitBytes",
];

/// Handles `pods/log`.
///
/// # Errors
/// 400 for an invalid container or parameter, 404 if the pod does not exist; the agent's errors.
pub(crate) async fn log(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    check_log_parameters(&request)?;
    let (pod, agent, container) = find(&request)?;
    let place = format!("{}/{}", meta::text(&pod, "namespace"), meta::name(&pod));
    let Some(agent) = agent else {
        // The pod has no node, so it has no logs.
        return Ok(response::text(200, ""));
    };
    let query = parameters(&request, &LOG_PARAMETERS);
    let path = format!("/containerLogs/{place}/{container}?{query}");
    let mut answer = request
        .api
        .agents
        .get(&agent, &path, follows(&request))
        .await?;
    let headers = answer.headers_mut();
    if !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(
            header::CONTENT_TYPE,
            http::HeaderValue::from_static("text/plain"),
        );
    }
    Ok(answer)
}

/// Whether the response goes on as long as what it is about: of `nodes/proxy`, too, the agent reads
/// the same parameter.
fn follows(request: &ResourceRequest<'_>) -> bool {
    request.incoming.query.flag("follow")
}

fn check_log_parameters(request: &ResourceRequest<'_>) -> Result<()> {
    let query = &request.incoming.query;
    for name in ["tailLines", "sinceSeconds", "limitBytes"] {
        let Some(number) = query.number(name)? else {
            continue;
        };
        let lowest = if name == "tailLines" { 0 } else { 1 };
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
            let name = request.path.name.as_deref().unwrap_or_default();
            return Err(Status::invalid_kind("", "PodLogOptions", name, &[error]));
        }
    }
    Ok(())
}

fn parameters(request: &ResourceRequest<'_>, names: &[&str]) -> String {
    let wanted = request
        .incoming
        .query
        .pairs()
        .iter()
        .filter(|(k, _)| names.contains(&k.as_str()));
    form_urlencoded::Serializer::new(String::new())
        .extend_pairs(wanted)
        .finish()
}

/// The pod, the agent of its node (if it is assigned) and the requested container.
fn find(request: &ResourceRequest<'_>) -> Result<(Value, Option<Agent>, String)> {
    let call = request.call()?;
    let object = request.api.registry.current(&call)?;
    let pod = object.value().map_err(crate::registry::unreadable)?;
    let container = container(&pod, request.incoming.query.filled("container"))?;
    let agent = agent(request, object.indexed_value())?;
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

/// The requested container, or the only one of the pod. Pure.
fn container(pod: &Value, requested: Option<&str>) -> Result<String> {
    let name = meta::name(pod);
    let own = names(pod, "containers");
    let others = ["initContainers", "ephemeralContainers"]
        .map(|list| names(pod, list))
        .concat();
    if let Some(requested) = requested {
        return match own.iter().chain(&others).any(|name| name == requested) {
            true => Ok(requested.to_owned()),
            false => Err(Status::bad_request(format!(
                "container {requested} is not valid for pod {name}"
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

fn agent(request: &ResourceRequest<'_>, node: &str) -> Result<Option<Agent>> {
    if node.is_empty() {
        return Ok(None);
    }
    let kind = kinds::nodes()?;
    let object = request
        .api
        .registry
        .find(kind, "", node)
        .ok_or_else(|| Status::not_found(kind, node))?;
    Agent::of(&object.value().map_err(crate::registry::unreadable)?).map(Some)
}

/// Runs admission of a connection, and returns the warnings. The object is the options of the
/// subresource, such as PodExecOptions.
async fn admit(request: &ResourceRequest<'_>) -> Result<Vec<String>> {
    let call = request.call()?;
    let mut options = Value::Object(options(request));
    let registry = &request.api.registry;
    let admission = registry.admission(Operation::Connect, &call, &call.name);
    admission.run(&mut options).await
}

/// Checks that a GET which opens a stream may also `create` it, as the same request by POST must.
/// Upstream: `ensureAuthorizedForVerb`.
async fn check_may_create(request: &ResourceRequest<'_>) -> Result<()> {
    if request.verb == Verb::Create {
        return Ok(());
    }
    let call = request.call()?;
    let authorizers = &request.api.authorizers;
    match authorizers
        .decide(&call.attributes(Verb::Create.as_str()))
        .await
    {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(why) | Decision::NoOpinion(why) => {
            Err(Status::forbidden(&call.kind, &call.name, &why))
        }
    }
}

/// The options of a connection, as the query and the path name them.
fn options(request: &ResourceRequest<'_>) -> Map<String, Value> {
    let mut options = Map::new();
    let name = request.path.subresource.as_deref().unwrap_or_default();
    if let Some(sub) = request.kind.subresource(name) {
        options.insert("kind".into(), sub.kind.as_str().into());
        options.insert("apiVersion".into(), sub.version.as_str().into());
    }
    let query = &request.incoming.query;
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if query.get(flag).is_some() {
            options.insert(flag.into(), query.flag(flag).into());
        }
    }
    if let Some(container) = query.filled("container") {
        options.insert("container".into(), container.into());
    }
    let command: Vec<&str> = query.all("command").collect();
    if !command.is_empty() {
        options.insert("command".into(), command.into());
    }
    let ports = query.all("ports").flat_map(|list| list.split(','));
    let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
    if !ports.is_empty() {
        options.insert("ports".into(), ports.into());
    }
    if name == "proxy" {
        options.insert("path".into(), format!("/{}", request.path.tail).into());
    }
    options
}

/// Handles `pods/exec` and `pods/attach`: connects the client to the agent.
///
/// # Errors
/// 400 for an invalid container or without an upgrade, 403 if the user may not create the stream,
/// 404 if the pod does not exist; the errors of admission and of the agent.
pub(crate) async fn upgrade(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    let warnings = admit(&request).await?;
    check_may_create(&request).await?;
    let (pod, agent, container) = find(&request)?;
    let name = meta::name(&pod);
    let phase = meta::text_at(&pod, &["status", "phase"]);
    if matches!(phase, "Succeeded" | "Failed") {
        let text =
            format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(Status::bad_request(text));
    }
    let verb = request.path.subresource.as_deref().unwrap_or_default();
    let query = parameters(&request, &["command", "stdin", "stdout", "stderr", "tty"]);
    let path = format!(
        "/{verb}/{}/{name}/{container}?{query}",
        meta::text(&pod, "namespace")
    );
    connect(request, &pod, agent, &path, &warnings).await
}

/// Handles `pods/portforward`: connects the client to the agent.
///
/// # Errors
/// 400 without an upgrade or for an unassigned pod, 403 if the user may not create the stream, 404
/// if the pod does not exist; the errors of admission and of the agent.
pub(crate) async fn port_forward(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    let warnings = admit(&request).await?;
    check_may_create(&request).await?;
    let call = request.call()?;
    let object = request.api.registry.current(&call)?;
    let pod = object.value().map_err(crate::registry::unreadable)?;
    let agent = agent(&request, object.indexed_value())?;
    let namespace = meta::text(&pod, "namespace");
    let path = format!("/portForward/{namespace}/{}", meta::name(&pod));
    connect(request, &pod, agent, &path, &warnings).await
}

/// Connects the client to the agent's stream at this path. The response has these warnings.
async fn connect(
    request: ResourceRequest<'_>,
    pod: &Value,
    agent: Option<Agent>,
    path: &str,
    warnings: &[String],
) -> Result<Response<Body>> {
    let agent = agent.ok_or_else(|| {
        let name = meta::name(pod);
        Status::bad_request(format!("pod {name} does not have a host assigned"))
    })?;
    let token = upgrade_token(request.incoming.headers());
    if !token.is_some_and(|token| matches!(token.as_str(), "websocket" | "spdy/3.1")) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let parts = request.incoming.parts;
    let mut response = request.api.agents.upgrade(&agent, path, parts).await?;
    response::add_warnings(&mut response, warnings);
    Ok(response)
}

/// Handles GET of `nodes/proxy`.
///
/// # Errors
/// 404 if the node does not exist; the errors of admission and of the agent.
pub(crate) async fn node(request: ResourceRequest<'_>) -> Result<Response<Body>> {
    let warnings = admit(&request).await?;
    let name = request.path.name.clone().unwrap_or_default();
    let node = name.split(':').next().unwrap_or_default();
    let agent = agent(&request, node)?.ok_or_else(Status::path_not_found)?;
    let query = request.incoming.query.encode();
    let path = match query.as_str() {
        "" => format!("/{}", request.path.tail),
        query => format!("/{}?{query}", request.path.tail),
    };
    let follows = follows(&request);
    let mut response = request.api.agents.get(&agent, &path, follows).await?;
    response::add_warnings(&mut response, &warnings);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_must_be_named_unless_the_pod_has_one() {
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
