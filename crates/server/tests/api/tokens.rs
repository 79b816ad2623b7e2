//! Tokens of service accounts: TokenRequest, what voids a token, reviews, the published keys.

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use pandaemon_server::ServiceAccountOptions;
use pandaemon_testkit::ServerOptions;
use serde_json::{Value, json};

use crate::{
    harness::{Server, json_of, steady_store},
    wire::{ask, connect},
};

const NAMESPACE: &str = "/api/v1/namespaces/default";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/default/token";
const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A server with an account, a node, a Secret and a pod on the node, each with its name.
async fn server_with(service_accounts: ServiceAccountOptions) -> Server {
    start(ServerOptions {
        service_accounts,
        ..ServerOptions::default()
    })
    .await
}

async fn start(options: ServerOptions) -> Server {
    let server = Server::start_with(options).await.unwrap();
    server.create_service_account().await;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}});
    server.create("/api/v1/nodes", node).await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}});
    server.create(&format!("{NAMESPACE}/secrets"), secret).await;
    create_pod(&server, "pod").await;
    server
}

async fn server() -> Server {
    server_with(ServiceAccountOptions::default()).await
}

async fn create_pod(server: &Server, name: &str) -> Value {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": "node", "containers": [{"name": "c", "image": "i"}]},
    });
    server.create(&format!("{NAMESPACE}/pods"), pod).await
}

fn request(spec: &Value) -> Value {
    json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
}

fn bound_to(kind: &str, name: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}})
}

async fn token(server: &Server, spec: &Value) -> String {
    let (code, made) = server.post(TOKEN, &request(spec)).await;
    assert_eq!(code, 201, "{made}");
    made["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// What the server says to a request with a token.
async fn with_token(server: &Server, token: &str, path: &str, body: &Value) -> (u16, Value) {
    let method = if body.is_null() { "GET" } else { "POST" };
    let mut sender = connect(server, None).await;
    let (code, text) = ask(&mut sender, method, path, token, body).await;
    (code, json_of(&text))
}

/// The user of a token, and why there is none.
async fn review(server: &Server, token: &str, audiences: &[&str]) -> Value {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences},
    });
    server.post(REVIEWS, &review).await.1["status"].take()
}

#[tokio::test]
async fn a_pods_token_names_account_pod_and_node() {
    let server = server().await;
    let uid = |object: Value| object["metadata"]["uid"].clone();
    let account = uid(server
        .get(&format!("{NAMESPACE}/serviceaccounts/default"))
        .await
        .1);
    let pod = uid(server.get(&format!("{NAMESPACE}/pods/pod")).await.1);
    let node = uid(server.get("/api/v1/nodes/node").await.1);
    let mut spec = bound_to("Pod", "pod");
    spec["boundObjectRef"]["uid"] = pod.clone();
    spec["expirationSeconds"] = 3607.into();
    let (_, made) = server.post(TOKEN, &request(&spec)).await;
    assert_eq!(made["spec"]["audiences"], json!([ISSUER]));
    assert_eq!(made["metadata"]["name"], "default");
    assert_eq!(made["metadata"]["namespace"], "default");
    let token = made["status"]["token"].as_str().unwrap();
    let found = claims(token);
    assert_eq!(
        found["kubernetes.io"],
        json!({
            "namespace": "default",
            "serviceaccount": {"name": "default", "uid": account},
            "pod": {"name": "pod", "uid": pod},
            "node": {"name": "node", "uid": node},
            "warnafter": found["iat"].as_i64().unwrap() + 3607,
        })
    );
    assert_eq!(found["iss"], ISSUER);
    assert_eq!(found["sub"], "system:serviceaccount:default:default");
    assert_eq!(found["nbf"], found["iat"]);
    let lifetime = found["exp"].as_i64().unwrap() - found["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 365 * 24 * 3600);
    let expires: jiff::Timestamp = made["status"]["expirationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(expires.as_second(), found["iat"].as_i64().unwrap() + 3607);
    let own = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let (code, myself) = with_token(&server, token, SELF, &own).await;
    assert_eq!(code, 201, "{myself}");
    assert_eq!(
        myself["status"]["userInfo"],
        json!({
            "username": "system:serviceaccount:default:default",
            "uid": account,
            "groups": [
                "system:serviceaccounts",
                "system:serviceaccounts:default",
                "system:authenticated",
            ],
            "extra": {
                "authentication.kubernetes.io/credential-id":
                    [format!("JTI={}", found["jti"].as_str().unwrap())],
                "authentication.kubernetes.io/pod-name": ["pod"],
                "authentication.kubernetes.io/pod-uid": [pod],
                "authentication.kubernetes.io/node-name": ["node"],
                "authentication.kubernetes.io/node-uid": [node],
            },
        })
    );
    let (code, pods) = with_token(&server, token, "/api/v1/pods", &Value::Null).await;
    assert_eq!(code, 403, "{pods}");
}

/// Sends TokenRequests that are refused with a code and a text.
async fn refused(server: &Server, table: &[(&str, Value, u16, &str)]) {
    for (path, body, code, message) in table {
        let (found, status) = server.post(path, body).await;
        let text = status["message"].as_str().unwrap_or_default();
        assert_eq!((found, text), (*code, *message));
    }
}

#[tokio::test]
async fn refused_token_requests_have_the_texts_of_upstream() {
    let server = server().await;
    let lifetime = |seconds: i64| request(&json!({"expirationSeconds": seconds}));
    let with = |field: &str, value: &str| {
        let mut body = request(&json!({}));
        body["metadata"][field] = value.into();
        body
    };
    let missing = TOKEN.replace("/default/token", "/nope/token");
    let table = [
        (
            &*missing,
            lifetime(5),
            404,
            "serviceaccounts \"nope\" not found",
        ),
        (
            TOKEN,
            lifetime(599),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: \
             599: may not specify a duration less than 10 minutes",
        ),
        (
            TOKEN,
            lifetime((1 << 32) + 1),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: \
             4294967297: may not specify a duration larger than 2^32 seconds",
        ),
        (
            TOKEN,
            with("name", "other"),
            422,
            "TokenRequest.authentication.k8s.io \"default\" is invalid: metadata.name: Invalid value: \
             \"other\": must match the service account name if specified",
        ),
        (
            TOKEN,
            with("namespace", "other"),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
    ];
    refused(&server, &table).await;
    let (code, status) = server.post(TOKEN, &with("uid", "u")).await;
    let text = status["message"].as_str().unwrap();
    assert_eq!(code, 409);
    let begin =
        "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"default\": the UID";
    assert!(text.starts_with(begin), "{text}");
}

#[tokio::test]
async fn tokens_are_bound_to_existing_objects_with_the_given_uid() {
    let server = server().await;
    let other =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "other"}});
    server
        .create(&format!("{NAMESPACE}/serviceaccounts"), other)
        .await;
    let of_other = TOKEN.replace("/default/token", "/other/token");
    let mut elsewhere = bound_to("Deployment", "d");
    elsewhere["boundObjectRef"]["apiVersion"] = "apps/v1".into();
    let table = [
        ("Pod", "pods \"nope\" not found"),
        ("Secret", "secrets \"nope\" not found"),
        ("Node", "nodes \"nope\" not found"),
    ];
    for (kind, message) in table {
        let row = (TOKEN, request(&bound_to(kind, "nope")), 404, message);
        refused(&server, &[row]).await;
        let name = kind.to_lowercase();
        let mut spec = bound_to(kind, &name);
        spec["boundObjectRef"]["uid"] = "u".into();
        let message = format!(
            "Operation cannot be fulfilled on {kind} \"{name}\": the UID in the bound object reference (u) \
             does not match the UID in record. The object might have been deleted and then recreated"
        );
        refused(&server, &[(TOKEN, request(&spec), 409, &message)]).await;
    }
    let table = [
        (
            TOKEN,
            request(&bound_to("ConfigMap", "c")),
            400,
            "cannot bind token to object of type /v1, Kind=ConfigMap",
        ),
        (
            TOKEN,
            request(&elsewhere),
            400,
            "cannot bind token to object of type apps/v1, Kind=Deployment",
        ),
        (
            &of_other,
            request(&bound_to("Pod", "pod")),
            400,
            "cannot bind token for serviceaccount \"other\" to pod running with different serviceaccount \
             name.",
        ),
    ];
    refused(&server, &table).await;
}

#[tokio::test]
async fn a_token_is_void_with_what_it_is_bound_to() {
    let server = server().await;
    let path = |plural: &str, name: &str| match plural {
        "nodes" => format!("/api/v1/nodes/{name}"),
        plural => format!("{NAMESPACE}/{plural}/{name}"),
    };
    let invalidated = "service account token has been invalidated";
    for (kind, plural) in [("Pod", "pods"), ("Secret", "secrets"), ("Node", "nodes")] {
        let name = kind.to_lowercase();
        let token = token(&server, &bound_to(kind, &name)).await;
        // The second time its signature is known.
        for _ in 0..2 {
            assert_eq!(review(&server, &token, &[]).await["authenticated"], true);
        }
        let old = server.get(&path(plural, &name)).await.1;
        let now = json!({"gracePeriodSeconds": 0});
        server.delete(&path(plural, &name), now).await;
        assert_eq!(review(&server, &token, &[]).await["error"], invalidated);
        let (code, _) = with_token(&server, &token, "/api/v1", &Value::Null).await;
        assert_eq!(code, 401);
        // Another with the same name is not it.
        let mut next = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        if kind == "Pod" {
            next["spec"] = json!({"nodeName": "node", "containers": [{"name": "c", "image": "i"}]});
        }
        let collection = path(plural, "");
        let next = server.create(collection.trim_end_matches('/'), next).await;
        let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
        let expected = format!(
            "{name} UID ({}) does not match service account {name} ref claim ({})",
            uid(&next),
            uid(&old)
        );
        assert_eq!(review(&server, &token, &[]).await["error"], expected);
    }
    let token = token(&server, &json!({})).await;
    let account = path("serviceaccounts", "default");
    server.delete(&account, json!({})).await;
    let found = review(&server, &token, &[]).await;
    assert_eq!(found["error"], "serviceaccounts \"default\" not found");
    server.create_service_account().await;
    let found = review(&server, &token, &[]).await;
    let text = found["error"].as_str().unwrap();
    assert!(text.starts_with("service account UID ("), "{text}");
}

/// A pod that ends keeps its rights until it should be gone, and for a minute more.
#[tokio::test]
async fn a_terminating_pod_keeps_its_token_for_its_grace_period() {
    let server = server().await;
    let token = token(&server, &bound_to("Pod", "pod")).await;
    let path = format!("{NAMESPACE}/pods/pod");
    server.delete(&path, json!({"gracePeriodSeconds": 1})).await;
    let pod = server.get(&path).await.1;
    assert!(pod["metadata"]["deletionTimestamp"].is_string(), "{pod}");
    assert_eq!(review(&server, &token, &[]).await["authenticated"], true);
}

#[tokio::test]
async fn a_token_is_for_its_audiences_only() {
    let server = server_with(ServiceAccountOptions {
        issuers: vec!["https://new.example".into(), ISSUER.into()],
        api_audiences: vec!["api".into(), "inner".into()],
        ..ServiceAccountOptions::default()
    })
    .await;
    let vault = token(&server, &json!({"audiences": ["vault", "api2"]})).await;
    assert_eq!(claims(&vault)["iss"], "https://new.example");
    let found = review(&server, &vault, &[]).await;
    let text = "token audiences [\"vault\" \"api2\"] is invalid for the target audiences [\"api\" \
                \"inner\"]";
    assert_eq!(found["error"], text);
    let (code, _) = with_token(&server, &vault, "/api", &Value::Null).await;
    assert_eq!(code, 401);
    let found = review(&server, &vault, &["other", "vault"]).await;
    assert_eq!(found["audiences"], json!(["vault"]));
    assert_eq!(
        found["user"]["username"],
        "system:serviceaccount:default:default"
    );
    let own = token(&server, &json!({})).await;
    assert_eq!(claims(&own)["aud"], json!(["api", "inner"]));
    let (code, _) = with_token(&server, &own, "/api", &Value::Null).await;
    assert_eq!(code, 200);
    let found = review(&server, &own, &["inner"]).await;
    assert_eq!(found["audiences"], json!(["inner"]));
}

#[tokio::test]
async fn lifetimes_are_shortened_and_extended_as_configured() {
    let lifetime = |token: &str| {
        let claims = claims(token);
        claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap()
    };
    let server = server_with(ServiceAccountOptions {
        extend_token_expiration: false,
        max_token_expiration: Some(std::time::Duration::from_secs(7200)),
        ..ServiceAccountOptions::default()
    })
    .await;
    let mut spec = bound_to("Pod", "pod");
    spec["expirationSeconds"] = 3607.into();
    assert_eq!(lifetime(&token(&server, &spec).await), 3607);
    let long = request(&json!({"expirationSeconds": 7201}));
    let (code, warnings, made) = server.with_warnings("POST", TOKEN, &long).await;
    assert_eq!(
        (code, &made["spec"]["expirationSeconds"]),
        (201, &json!(7200))
    );
    assert_eq!(
        warnings,
        ["requested expiration of 7201 seconds shortened to 7200 seconds"]
    );
    let token = made["status"]["token"].as_str().unwrap();
    assert_eq!(lifetime(token), 7200);
    assert_eq!(claims(token).get("warnafter"), None);
}

#[tokio::test]
async fn service_accounts_read_the_keys_that_verify_tokens() {
    let server = server().await;
    let own = token(&server, &json!({})).await;
    let mut sender = connect(&server, None).await;
    for path in ["/.well-known/openid-configuration", "/openid/v1/jwks"] {
        assert_eq!(ask(&mut sender, "GET", path, "", &Value::Null).await.0, 401);
        assert_eq!(
            ask(&mut sender, "GET", path, &own, &Value::Null).await.0,
            200
        );
        let request = http::Request::get(path).body(kube::client::Body::empty());
        let response = server.client().send(request.unwrap()).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        let expected = match path {
            "/openid/v1/jwks" => "application/jwk-set+json",
            _ => "application/json",
        };
        assert_eq!(header("content-type"), expected);
        assert_eq!(header("cache-control"), "public, max-age=3600");
    }
    let (_, set) = server.get("/openid/v1/jwks").await;
    let (_, configuration) = server.get("/.well-known/openid-configuration").await;
    assert_eq!(configuration["issuer"], ISSUER);
    let address = server.running().address();
    assert_eq!(
        configuration["jwks_uri"],
        format!("https://{address}/openid/v1/jwks")
    );
    let header = URL_SAFE_NO_PAD.decode(own.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    assert_eq!(set["keys"][0]["kid"], header["kid"]);
    assert_eq!(header["alg"], "ES256");
}

#[tokio::test]
async fn a_secret_of_an_account_gets_a_token_and_goes_with_the_account() {
    // The server changes these Secrets again at once: an answer that is lost stays unknown.
    let server = start(ServerOptions {
        store: Some(steady_store()),
        ..ServerOptions::default()
    })
    .await;
    let secret = |name: &str, account: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}}})
    };
    let secrets = format!("{NAMESPACE}/secrets");
    let path = format!("{secrets}/s");
    server.create(&secrets, secret("s", "default")).await;
    let filled = |secret: &Value| secret["data"]["token"].is_string();
    let made = server.until(&path, filled).await;
    let text = |field: &str| {
        let bytes = STANDARD.decode(made["data"][field].as_str().unwrap());
        String::from_utf8(bytes.unwrap()).unwrap()
    };
    assert_eq!(text("ca.crt"), server.running().ca_pem());
    assert_eq!(text("namespace"), "default");
    let account = server
        .get(&format!("{NAMESPACE}/serviceaccounts/default"))
        .await
        .1;
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/service-account.uid"],
        account["metadata"]["uid"]
    );
    let token = text("token");
    assert_eq!(claims(&token).get("exp"), None);
    for _ in 0..2 {
        let found = review(&server, &token, &[]).await;
        assert_eq!(found["audiences"], json!([ISSUER]));
        let user = &found["user"];
        assert_eq!(user["username"], "system:serviceaccount:default:default");
        assert_eq!(user["uid"], account["metadata"]["uid"]);
        assert_eq!(user.get("extra"), None);
    }
    assert!(review(&server, &token, &["vault"]).await["error"].is_string());
    // Without its token, the Secret gets another.
    let nothing = json!({"data": {"token": null}});
    let merge = "application/merge-patch+json";
    let (code, _) = server.send("PATCH", &path, merge, &nothing).await;
    assert_eq!(code, 200);
    let filled = |secret: &Value| {
        let token = &secret["data"]["token"];
        token.is_string() && *token != made["data"]["token"]
    };
    server.until(&path, filled).await;
    let found = review(&server, &token, &[]).await;
    assert_eq!(found["error"], "Token does not match server's copy");
    // One of an account that does not exist, and those of one that is deleted, are deleted.
    server.create(&secrets, secret("t", "nope")).await;
    server.until(&format!("{secrets}/t"), Value::is_null).await;
    let account = format!("{NAMESPACE}/serviceaccounts/default");
    server.delete(&account, json!({})).await;
    server.until(&path, Value::is_null).await;
    let found = review(&server, &token, &[]).await;
    assert_eq!(found["error"], "Token has been invalidated");
    assert_eq!(server.items(&secrets).await.len(), 1);
}
