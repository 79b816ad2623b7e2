//! Reviews of tokens, users and access. They are answered and not stored.

mod selectors;

use http::Response;
use pandaemon_machinery::{Status, status::Result, validation::validate_access_review};
use pandaemon_types::FieldSelector;
use serde_json::{Value, json};

use crate::{
    auth::{Attributes, AuthenticatorChain, AuthorizerChain, Decision, User, UserRules},
    authenticators::RevokedSerials,
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
};

/// The extra value in which agents name the serial number of the certificate that a user has shown.
const SERIAL: &str = "pandaemon.dev/certificate-serial";
/// Why a user with such a certificate may nothing.
const REVOKED: &str = "the client certificate is revoked";

/// Whether a review is about a user who has shown a revoked certificate to an agent. Agents do not
/// have the list.
fn is_revoked(revoked: &RevokedSerials, spec: &Value) -> bool {
    let mut serials = texts(&spec["extra"][SERIAL]).into_iter();
    serials.any(|serial| revoked.contains(&serial))
}

/// Handles a POST of a review.
///
/// # Errors
/// 400 for a body that cannot be decoded, 422 for a review that is not valid.
pub(crate) async fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut review = request.decoded(&request.kind, &call)?.value;
    let errors = validate_access_review(&request.kind, &call.namespace, &review);
    if !errors.is_empty() {
        return Err(Status::invalid(&request.kind, "", &errors));
    }
    let user = &request.incoming.user;
    let authorizers = &request.api.authorizers;
    review["status"] = match request.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
        "TokenReview" => token(&request.api.authenticators, &review["spec"]).await?,
        "SelfSubjectAccessReview" => access(authorizers, user, &review["spec"]).await?,
        "LocalSubjectAccessReview" | "SubjectAccessReview" => {
            match is_revoked(&request.api.revoked, &review["spec"]) {
                true => json!({"allowed": false, "denied": true, "reason": REVOKED}),
                false => access(authorizers, &subject(&review["spec"]), &review["spec"]).await?,
            }
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

async fn access(authorizers: &AuthorizerChain, user: &User, spec: &Value) -> Result<Value> {
    let asked = &spec["resourceAttributes"];
    let fields = selectors::of_fields(&asked["fieldSelector"]);
    let labels = selectors::of_labels(&asked["labelSelector"]);
    let Some(attributes) = attributes(user, spec, fields.selector.as_ref()) else {
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
    // Upstream: `BuildEvaluationError`.
    let faults = [("fieldSelector", fields.ignored), ("labelSelector", labels)];
    let faults = faults.into_iter().filter_map(|(name, ignored)| {
        let word = ignored?.word();
        Some(format!(
            "spec.resourceAttributes.{name} {word} due to parse error"
        ))
    });
    let faults = faults.collect::<Vec<_>>();
    if !faults.is_empty() {
        status["evaluationError"] = faults.join("; ").into();
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
