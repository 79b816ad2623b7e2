//! `serviceaccounts/token`: issues a token. Upstream:
//! `registry/core/serviceaccount/storage/token.go`.

use std::sync::Arc;

use http::Response;
use jiff::SignedDuration;
use pandaemon_machinery::{
    Kind, KindRef, Status, defaults,
    status::{Details, Result},
    validation::{self, ErrorType, FieldError},
};
use pandaemon_types::time::rfc3339_seconds;
use serde_json::{Value, json};

use crate::{
    admission::Operation,
    auth::service_account,
    cache::object::Object,
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
    registry::{Call, Registry, create::set_namespace, kinds, meta, unreadable},
    service_accounts::{Claims, KubernetesClaims, ObjectRef, TokenIssuer},
};

/// The lifetime that agents request for the token that every pod has, in seconds.
const EXTENDED: i64 = 3607;
/// The lifetime that such a token gets, in seconds.
const EXTENDED_TO: i64 = 365 * 24 * 3600;

/// The annotation of the audit log that names the token.
const ISSUED: &str = "authentication.kubernetes.io/issued-credential-id";

/// Handles a POST of a TokenRequest. Nothing is stored, so that a dry run differs in nothing.
///
/// # Errors
/// 404 if the account or the bound object does not exist, 409 for another UID of it, 422 for an
/// invalid lifetime or name.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let kind = request
        .incoming
        .scheme
        .find_kind("authentication.k8s.io", "v1", "TokenRequest")
        .ok_or_else(Status::path_not_found)?;
    let mut body = request.decoded(kind, &call)?.value;
    set_namespace(&call, &mut body)?;
    defaults::apply_defaults(kind, &mut body);
    let (registry, issuer) = (&request.api.registry, &*request.api.service_accounts);
    let admission = registry.admission(Operation::Create, &call, &call.name);
    admission.admit(&mut body).await?;
    complete(kind, &call, &mut body, &*registry.current(&call)?, issuer)?;
    admission.validate(&body).await?;
    let mut warnings = admission.into_warnings();
    let bound = bound_object(registry, &call, &body["spec"]["boundObjectRef"])?;
    if let Some(limit) = shorten(&mut body["spec"], issuer) {
        warnings.push(limit);
    }
    let lifetime = seconds(&body["spec"]);
    let claims = claims(&call, &body, &bound, issuer);
    let token = issuer.sign(&claims, call.now).map_err(Status::internal)?;
    if let Some(id) = claims.credential_id() {
        call.annotations.add(ISSUED, &id);
    }
    let expires = call.now + SignedDuration::from_secs(lifetime);
    body["status"] = json!({"token": token, "expirationTimestamp": rfc3339_seconds(expires)});
    let mut response = response::value(201, &form, &body);
    response::add_warnings(&mut response, &warnings);
    Ok(response)
}

fn seconds(spec: &Value) -> i64 {
    spec["expirationSeconds"].as_i64().unwrap_or_default()
}

/// Checks a request against the account, and sets what it leaves to the server.
fn complete(
    kind: &Kind,
    call: &Call,
    body: &mut Value,
    account: &Object,
    issuer: &TokenIssuer,
) -> Result<()> {
    let name = meta::name(body);
    if !name.is_empty() && name != call.name {
        let what = ErrorType::Invalid(format!("{name:?}"));
        let why = "must match the service account name if specified";
        let error = FieldError::new("metadata.name", what, why);
        return Err(Status::invalid(kind, &call.name, &[error]));
    }
    let account = account.value().map_err(unreadable)?;
    let (given, uid) = (meta::text(body, "uid"), meta::text(&account, "uid"));
    if !given.is_empty() && given != uid {
        let why = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(conflict(&kind.group, &kind.kind, &call.name, &why));
    }
    meta::set(body, "name", &call.name);
    meta::set(body, "uid", uid);
    meta::set(body, "creationTimestamp", &call.time());
    let audiences = &mut body["spec"]["audiences"];
    if audiences.as_array().is_none_or(Vec::is_empty) {
        *audiences = json!(issuer.options.api_audiences);
    }
    let errors = validation::validate_create(kind, body);
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(kind, "", &errors)),
    }
}

/// The status of another UID (409).
fn conflict(group: &str, kind: &str, name: &str, why: &str) -> Box<Status> {
    let resource = match group {
        "" => kind.to_owned(),
        group => format!("{kind}.{group}"),
    };
    let text = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
    Status::failure(409, "Conflict", text).with_details(Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        ..Details::default()
    })
}

/// What a token is bound to.
#[derive(Debug, Default)]
struct Bound {
    pod: Option<ObjectRef>,
    secret: Option<ObjectRef>,
    node: Option<ObjectRef>,
}

fn bound_object(registry: &Registry, call: &Call, reference: &Value) -> Result<Bound> {
    let mut bound = Bound::default();
    if !reference.is_object() {
        return Ok(bound);
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (api_version, kind, name) = (text("apiVersion"), text("kind"), text("name"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let found = match (group, kind) {
        ("", "Pod") => {
            let pod = existing(registry, kinds::pods()?, &call.namespace, name)?;
            bound.node = node_of(registry, call, &pod)?;
            bound.pod.insert(reference_to(&pod)?)
        }
        ("", "Secret") => {
            let secret = existing(registry, kinds::secrets()?, &call.namespace, name)?;
            bound.secret.insert(reference_to(&secret)?)
        }
        ("", "Node") => {
            let node = existing(registry, kinds::nodes()?, "", name)?;
            bound.node.insert(reference_to(&node)?)
        }
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let uid = text("uid");
    if !uid.is_empty() && found.uid != uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object \
             might have been deleted and then recreated"
        );
        return Err(conflict(group, kind, name, &why));
    }
    Ok(bound)
}

fn existing(
    registry: &Registry,
    kind: &KindRef,
    namespace: &str,
    name: &str,
) -> Result<Arc<Object>> {
    let found = registry.find(kind, namespace, name);
    found.ok_or_else(|| Status::not_found(kind, name))
}

fn reference_to(object: &Object) -> Result<ObjectRef> {
    object.metadata().map_err(unreadable)
}

/// The node of a pod, which must run as the account. A node that does not exist has no UID.
fn node_of(registry: &Registry, call: &Call, pod: &Object) -> Result<Option<ObjectRef>> {
    let value = pod.value().map_err(unreadable)?;
    if meta::text_at(&value, &["spec", "serviceAccountName"]) != call.name {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            call.name
        )));
    }
    let name = pod.indexed_value();
    if name.is_empty() {
        return Ok(None);
    }
    Ok(Some(match registry.find(kinds::nodes()?, "", name) {
        Some(node) => reference_to(&node)?,
        None => ObjectRef {
            name: name.to_owned(),
            uid: String::new(),
        },
    }))
}

/// Shortens the lifetime to the longest that is allowed. Returns the warning.
fn shorten(spec: &mut Value, issuer: &TokenIssuer) -> Option<String> {
    let limit = i64::try_from(issuer.options.max_token_expiration?.as_secs()).ok()?;
    let asked = seconds(spec);
    (asked > limit).then(|| {
        spec["expirationSeconds"] = limit.into();
        format!("requested expiration of {asked} seconds shortened to {limit} seconds")
    })
}

fn claims(call: &Call, body: &Value, bound: &Bound, issuer: &TokenIssuer) -> Claims {
    let audiences = body["spec"]["audiences"].as_array().into_iter().flatten();
    let audiences = audiences.filter_map(Value::as_str).map(str::to_owned);
    let audiences: Vec<String> = audiences.collect();
    let lifetime = seconds(&body["spec"]);
    let own = &issuer.options.api_audiences;
    let is_extended = issuer.options.extend_token_expiration
        && lifetime == EXTENDED
        && bound.pod.is_some()
        && audiences.iter().all(|audience| own.contains(audience));
    let now = call.now.as_second();
    Claims {
        aud: audiences,
        exp: Some(now + if is_extended { EXTENDED_TO } else { lifetime }),
        iat: Some(now),
        iss: issuer.issuer().to_owned(),
        jti: Some(uuid::Uuid::new_v4().to_string()),
        kubernetes: Some(KubernetesClaims {
            namespace: call.namespace.clone(),
            serviceaccount: ObjectRef {
                name: call.name.clone(),
                uid: meta::text(body, "uid").to_owned(),
            },
            pod: bound.pod.clone(),
            secret: bound.secret.clone(),
            node: bound.node.clone(),
            warnafter: is_extended.then_some(now + lifetime),
        }),
        legacy: None,
        nbf: Some(now),
        sub: service_account::user_name(&call.namespace, &call.name),
    }
}
