//! Reviews of tokens, users and access. They are answered and not stored.

use http::Response;
use pandaemon_machinery::{Status, status::Result};
use serde_json::{Value, json};

use crate::{
    auth::{self, Attributes, User},
    body::Body,
    request::{ResourcePath, Verb},
    resource_request::ResourceRequest,
    response,
};

/// Handles a POST of a review.
///
/// # Errors
/// 400 for a body that cannot be decoded or a review without attributes.
pub(crate) fn answer(request: &ResourceRequest<'_>) -> Result<Response<Body>> {
    let form = request.incoming.form()?;
    let call = request.call()?;
    let mut review = request.decoded(&request.kind, &call)?.value;
    let user = &request.incoming.user;
    review["status"] = match request.kind.kind.as_str() {
        "SelfSubjectReview" => json!({"userInfo": user_info(user)}),
        "TokenReview" => token(request, &review["spec"]),
        "SelfSubjectAccessReview" => access(user, &review["spec"])?,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            access(&subject(&review["spec"]), &review["spec"])?
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
    json!({"username": user.name, "groups": user.groups})
}

fn token(request: &ResourceRequest<'_>, spec: &Value) -> Value {
    let token = spec["token"].as_str().unwrap_or_default();
    match request.api.pki.tokens.user(token) {
        Some(user) => json!({"authenticated": true, "user": user_info(&user)}),
        None => json!({"user": {}, "error": "invalid bearer token"}),
    }
}

fn subject(spec: &Value) -> User {
    let groups = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    let groups: Vec<String> = groups.map(str::to_owned).collect();
    User::known(spec["user"].as_str().unwrap_or_default(), &groups)
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The verb of a review. `*` and unknown verbs are checked as an update, for which fewer users have
/// rights.
fn verb(name: &str) -> Verb {
    match name {
        "get" => Verb::Get,
        "list" => Verb::List,
        "watch" => Verb::Watch,
        "create" => Verb::Create,
        "patch" => Verb::Patch,
        "delete" => Verb::Delete,
        "deletecollection" => Verb::DeleteCollection,
        _ => Verb::Update,
    }
}

fn access(user: &User, spec: &Value) -> Result<Value> {
    let (wanted, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let allowed = if wanted.is_object() {
        let path = ResourcePath {
            group: text(&wanted["group"]).unwrap_or_default(),
            version: text(&wanted["version"]).unwrap_or_default(),
            namespace: text(&wanted["namespace"]),
            resource: text(&wanted["resource"]).unwrap_or_default(),
            name: text(&wanted["name"]),
            subresource: text(&wanted["subresource"]),
            ..ResourcePath::default()
        };
        let verb = verb(wanted["verb"].as_str().unwrap_or_default());
        auth::authorize(
            user,
            &Attributes {
                verb,
                resource: Some(&path),
                path: "",
            },
        )
        .is_ok()
    } else if other.is_object() {
        let verb = verb(other["verb"].as_str().unwrap_or_default());
        let path = other["path"].as_str().unwrap_or_default();
        auth::authorize(
            user,
            &Attributes {
                verb,
                resource: None,
                path,
            },
        )
        .is_ok()
    } else {
        return Err(Status::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    };
    Ok(json!({"allowed": allowed}))
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
