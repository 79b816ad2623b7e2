//! Reviews of tokens, users and access. They are answered and not stored.

use http::Response;
use pandaemon_machinery::{Status, status::Result};
use pandaemon_types::field_selector::{FieldRequirement, FieldSelector};
use serde_json::{Value, json};

use crate::{
    auth::{Attributes, AuthenticatorChain, AuthorizerChain, Decision, User},
    handlers::{resource_request::ResourceRequest, response},
    http::body::Body,
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
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            access(authorizers, &subject(&review["spec"]), &review["spec"]).await?
        }
        "SelfSubjectRulesReview" => rules(user),
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

fn rules(user: &User) -> Value {
    let everything = user.is_in("system:masters");
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let other = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    json!({
        "resourceRules": if everything { vec![rule] } else { Vec::new() },
        "nonResourceRules": if everything { vec![other] } else { Vec::new() },
        "incomplete": !everything,
    })
}
