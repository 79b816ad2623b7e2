//! Reviews of tokens, users and access. They are answered and not stored.

use http::Response;
use pandaemon_machinery::{
    Status,
    status::Result,
    validation::{ErrorType, FieldError},
};
use pandaemon_types::field_selector::{FieldRequirement, FieldSelector};
use serde_json::{Value, json};

use crate::{
    auth::{Attributes, AuthenticatorChain, AuthorizerChain, Decision, User, UserRules},
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
    registry::Call,
};

/// Handles a POST of a review.
///
/// # Errors
/// 400 for a body that cannot be decoded or a review without attributes.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut review = request.decoded(&request.kind, &call)?.value;
    let user = &request.incoming.user;
    let authorizers = &request.api.authorizers;
    review["status"] = match request.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
        "TokenReview" => token(&request.api.authenticators, &review["spec"]).await?,
        "SelfSubjectAccessReview" => access(authorizers, user, &review["spec"]).await?,
        "LocalSubjectAccessReview" => {
            check_namespace(&call, &review["spec"])?;
            access(authorizers, &subject(&review["spec"]), &review["spec"]).await?
        }
        "SubjectAccessReview" => {
            access(authorizers, &subject(&review["spec"]), &review["spec"]).await?
        }
        "SelfSubjectRulesReview" => {
            let answer = rules(authorizers, user, text(&review["spec"]["namespace"]))?;
            // As upstream, the answer is an object of its own.
            review["spec"] = json!({});
            review["metadata"] = Value::Null;
            answer
        }
        _ => return Err(Status::path_not_found()),
    };
    if !review["metadata"].is_object() {
        review["metadata"] = json!({"creationTimestamp": null});
    }
    Ok(response::value(201, &form, &review))
}

fn user_info(user: &User) -> Value {
    let mut info = json!({"username": user.name, "groups": user.groups});
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

/// Upstream: `pkg/registry/authentication/tokenreview`.
async fn token(authenticators: &AuthenticatorChain, spec: &Value) -> Result<Value> {
    let token = text(&spec["token"]);
    if token.is_empty() {
        return Err(Status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences = texts(&spec["audiences"]);
    Ok(
        match authenticators.authenticate_token(token, &audiences).await {
            Ok(info) => json!({
                "authenticated": true,
                "user": user_info(&info.user),
                "audiences": info.audiences,
            }),
            Err(reason) => json!({"user": {}, "error": reason.to_string()}),
        },
    )
}

/// Checks that a LocalSubjectAccessReview is about its own namespace: who may create it there may
/// know nothing about others. Upstream: `ValidateLocalSubjectAccessReview`.
fn check_namespace(call: &Call, spec: &Value) -> Result<()> {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let asked = text(&resource["namespace"]);
    let mut errors = Vec::new();
    if resource.is_object() && asked != call.namespace {
        errors.push(FieldError::new(
            "spec.resourceAttributes.namespace",
            ErrorType::Invalid(format!("{asked:?}")),
            "must match metadata.namespace",
        ));
    }
    if other.is_object() {
        let (path, verb) = (text(&other["path"]), text(&other["verb"]));
        let shown = format!("authorization.NonResourceAttributes{{Path:{path:?}, Verb:{verb:?}}}");
        errors.push(FieldError::new(
            "spec.nonResourceAttributes",
            ErrorType::Invalid(shown),
            "disallowed on this kind of request",
        ));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid(&call.kind, "", &errors)),
    }
}

/// The user that a SubjectAccessReview is about. It has the groups that are given and no others.
fn subject(spec: &Value) -> User {
    let extra = spec["extra"].as_object().into_iter().flatten();
    User {
        name: text(&spec["user"]).to_owned(),
        groups: texts(&spec["groups"]),
        uid: text(&spec["uid"]).to_owned(),
        extra: extra.map(|(key, v)| (key.clone(), texts(v))).collect(),
    }
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.map(|item| text(item).to_owned()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a review asks about. Upstream: `AuthorizationAttributesFrom`.
fn attributes<'a>(
    user: &'a User,
    spec: &'a Value,
    field_selector: Option<&'a FieldSelector>,
) -> Option<Attributes<'a>> {
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_object() {
        let version = text(&resource["version"]);
        return Some(Attributes {
            namespace: text(&resource["namespace"]),
            api_group: text(&resource["group"]),
            api_version: if version.is_empty() { "*" } else { version },
            resource: text(&resource["resource"]),
            subresource: text(&resource["subresource"]),
            name: text(&resource["name"]),
            field_selector,
            ..Attributes::new(user, text(&resource["verb"]))
        });
    }
    other.is_object().then(|| Attributes {
        is_resource_request: false,
        path: text(&other["path"]),
        ..Attributes::new(user, text(&other["verb"]))
    })
}

/// The field selector of a review: a text, or requirements, of which those that no query can have
/// do not count. Upstream: `FieldSelectorAttributes`.
fn field_selector(given: &Value) -> Option<FieldSelector> {
    let raw = text(&given["rawSelector"]);
    if !raw.is_empty() {
        return FieldSelector::parse(raw).ok();
    }
    let requirements = given["requirements"].as_array()?.iter();
    let requirements = requirements.filter_map(|requirement| {
        let [value] = &texts(&requirement["values"])[..] else {
            return None;
        };
        let equal = match text(&requirement["operator"]) {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        Some(FieldRequirement {
            field: text(&requirement["key"]).to_owned(),
            value: value.clone(),
            equal,
        })
    });
    Some(requirements.collect())
}

async fn access(authorizers: &AuthorizerChain, user: &User, spec: &Value) -> Result<Value> {
    let fields = field_selector(&spec["resourceAttributes"]["fieldSelector"]);
    let Some(attributes) = attributes(user, spec, fields.as_ref()) else {
        return Err(Status::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    let decision = authorizers.decide(&attributes).await;
    let mut status = json!({"allowed": matches!(decision, Decision::Allow(_))});
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = true.into();
    }
    let (Decision::Allow(reason) | Decision::Deny(reason) | Decision::NoOpinion(reason)) = decision;
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    Ok(status)
}

/// The rules of a user in a namespace, by all authorizers.
fn rules(authorizers: &AuthorizerChain, user: &User, namespace: &str) -> Result<Value> {
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let UserRules {
        resolved,
        is_incomplete,
    } = authorizers.rules_for(user, namespace);
    let of_resources = resolved
        .rules
        .iter()
        .filter(|rule| !rule.resources.is_empty());
    let of_resources = of_resources.map(|rule| {
        let mut shown = json!({"verbs": rule.verbs, "resources": rule.resources});
        for (field, list) in [
            ("apiGroups", &rule.api_groups),
            ("resourceNames", &rule.resource_names),
        ] {
            if !list.is_empty() {
                shown[field] = json!(list);
            }
        }
        shown
    });
    let of_paths = resolved
        .rules
        .iter()
        .filter(|rule| !rule.non_resource_urls.is_empty());
    let of_paths = of_paths
        .map(|rule| json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
    let mut status = json!({
        "resourceRules": of_resources.collect::<Vec<_>>(),
        "nonResourceRules": of_paths.collect::<Vec<_>>(),
        "incomplete": is_incomplete,
    });
    match resolved.errors.as_slice() {
        [] => {}
        [one] => status["evaluationError"] = one.as_str().into(),
        many => status["evaluationError"] = format!("[{}]", many.join(", ")).into(),
    }
    Ok(status)
}
