//! Users by ID tokens of an issuer, by a token file, and without credentials.

use std::{convert::Infallible, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, Response};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use pandaemon_server::AuthenticationOptions;
use pandaemon_testkit::ServerOptions;
use parking_lot::Mutex;
use rcgen::{CertificateParams, KeyPair};
use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{Server, json_of};

/// A signing key of an issuer.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let (random, curve) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let der = EcdsaKeyPair::generate_pkcs8(curve, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(curve, der.as_ref(), &random).unwrap();
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": text(&point[1..33]), "y": text(&point[33..])})
    }

    fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "ES256", "kid": self.id}), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", text(header), text(claims));
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An issuer on loopback.
struct Issuer {
    url: String,
    ca: String,
    keys: Arc<Mutex<Vec<Value>>>,
}

impl Issuer {
    async fn start(keys: Vec<Value>) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let keys = Arc::new(Mutex::new(keys));
        let (of, own) = (Arc::clone(&keys), url.clone());
        pandaemon_runtime::spawn("issuer", async move {
            let acceptor = TlsAcceptor::from(Arc::new(tls));
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let (keys, url) = (Arc::clone(&of), own.clone());
                let service =
                    hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                        let document = match request.uri().path() {
                            "/.well-known/openid-configuration" => {
                                json!({"issuer": url, "jwks_uri": format!("{url}/keys")})
                            }
                            _ => json!({"keys": *keys.lock()}),
                        };
                        let body = Full::new(bytes::Bytes::from(document.to_string()));
                        async move { Ok::<_, Infallible>(Response::new(body)) }
                    });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                pandaemon_runtime::spawn("issuer-connection", connection);
            }
        });
        Self {
            url,
            ca: certificate.pem(),
            keys,
        }
    }

    fn configuration(&self) -> Value {
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]},
            "jwt": [{
                "issuer": {"url": self.url, "certificateAuthority": self.ca, "audiences": ["us"]},
                "claimValidationRules": [{"claim": "hd", "requiredValue": "example.com"}],
                "claimMappings": {
                    "username": {"claim": "email", "prefix": "oidc:"},
                    "groups": {"claim": "roles", "prefix": "g:"},
                    "uid": {"claim": "sub"},
                },
            }],
        })
    }
}

async fn started(files: &[(&str, String)]) -> Result<(Server, tempfile::TempDir), String> {
    let dir = tempfile::tempdir().unwrap();
    let mut options = AuthenticationOptions::default();
    for (name, text) in files {
        let path: PathBuf = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        match *name {
            "tokens.csv" => options.token_file = Some(path),
            _ => options.config_file = Some(path),
        }
    }
    let options = ServerOptions {
        authentication: options,
        ..ServerOptions::default()
    };
    let started = Server::start_with(options).await;
    started
        .map(|server| (server, dir))
        .map_err(|error| error.to_string())
}

/// Code and body of a request with this token over TLS.
async fn as_token(server: &Server, token: &str, request: Request<Vec<u8>>) -> (u16, Value) {
    let mut config = server.tls_config().await.unwrap();
    config.auth_info = kube::config::AuthInfo::default();
    if !token.is_empty() {
        config.auth_info.token = Some(token.to_owned().into());
    }
    let client = kube::Client::try_from(config).unwrap();
    let response = client.send(request.map(Body::from)).await.unwrap();
    let code = response.status().as_u16();
    let body = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap();
    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
    (code, json_of(&text))
}

/// The user that the server sees in a token: code, and user info or message.
async fn who(server: &Server, token: &str) -> (u16, Value) {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .body(review.to_string().into_bytes())
        .unwrap();
    let (code, body) = as_token(server, token, request).await;
    let part = if code == 201 {
        &body["status"]["userInfo"]
    } else {
        &body["message"]
    };
    (code, part.clone())
}

/// Why the server refuses a token, by a TokenReview of the administrator.
async fn refusal(server: &Server, token: &str) -> String {
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
    let made = server
        .create("/apis/authentication.k8s.io/v1/tokenreviews", review)
        .await;
    assert_ne!(made["status"]["authenticated"], true, "{made}");
    made["status"]["error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn id_tokens_name_users_by_their_claims() {
    let (key, other) = (Key::new("one"), Key::new("two"));
    let issuer = Issuer::start(vec![key.public()]).await;
    let config = issuer.configuration().to_string();
    let (server, _dir) = started(&[("config.yaml", config)]).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let good = json!({"iss": issuer.url, "aud": ["x", "us"], "exp": now + 600, "sub": "s-1",
        "email": "bob@example.com", "email_verified": true, "hd": "example.com", "roles": ["dev", "ops"]});
    let with = |field: &str, value: Value| {
        let mut claims = good.clone();
        claims[field] = value;
        key.token(&claims)
    };
    let user = json!({"username": "oidc:bob@example.com", "uid": "s-1",
        "groups": ["g:dev", "g:ops", "system:authenticated"]});
    assert_eq!(who(&server, &key.token(&good)).await, (201, user));
    let (_, single) = who(&server, &with("roles", "dev".into())).await;
    assert_eq!(single["groups"], json!(["g:dev", "system:authenticated"]));

    let mut forged = key.token(&good);
    forged.replace_range(forged.len() - 4.., "AAAA");
    let url = &issuer.url;
    let table = [
        (
            with("exp", (now - 1).into()),
            "oidc: verify token: ExpiredSignature",
        ),
        (
            with("nbf", (now + 900).into()),
            "oidc: verify token: current time before the nbf (not before) time",
        ),
        (
            with("aud", "them".into()),
            "oidc: verify token: InvalidAudience",
        ),
        (
            with("hd", "evil.example".into()),
            "oidc: required claim hd value does not match. Got = evil.example, want = example.com",
        ),
        (
            with("email_verified", false.into()),
            "oidc: email not verified",
        ),
        (
            with("email", 7.into()),
            "oidc: parse username claims \"email\": it must be a string",
        ),
        (
            with("iss", format!("{url}/other").into()),
            "invalid bearer token",
        ),
        (forged, "oidc: verify token: failed to verify signature"),
        (
            other.token(&good),
            "oidc: verify token: failed to verify signature",
        ),
        ("a.b.c".to_owned(), "invalid bearer token"),
    ];
    for (token, expected) in table {
        assert_eq!(who(&server, &token).await.0, 401, "{expected}");
        assert_eq!(refusal(&server, &token).await, expected);
    }
}

#[tokio::test]
async fn what_an_issuer_uses_and_is_not_supported_is_named() {
    let key = Key::new("one");
    let mut large = key.public();
    large["crv"] = "P-521".into();
    large["kid"] = "large".into();
    let issuer = Issuer::start(vec![large, key.public()]).await;
    let config = issuer.configuration().to_string();
    let (server, _dir) = started(&[("config.yaml", config)]).await.unwrap();
    let url = &issuer.url;
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": url, "aud": "us", "exp": now + 600, "sub": "s", "email": "a@b", "hd": "example.com"});
    let mut distributed = claims.clone();
    distributed["_claim_names"] = json!({"roles": "src"});
    distributed["_claim_sources"] = json!({"src": {"endpoint": format!("{url}/roles")}});
    let mut of_another_claim = distributed.clone();
    of_another_claim["_claim_names"] = json!({"address": "src"});
    let mut in_the_token = distributed.clone();
    in_the_token["roles"] = "dev".into();
    for good in [&claims, &of_another_claim, &in_the_token] {
        let (code, user) = who(&server, &key.token(good)).await;
        assert_eq!(
            (code, &user["username"]),
            (201, &json!("oidc:a@b")),
            "{good}"
        );
    }
    let with = |header: Value| key.token_with(&header, &claims);
    let table = [
        (
            with(json!({"alg": "ES512", "kid": "one"})),
            format!(
                "oidc: verify token: the algorithm \"ES512\" of the issuer {url} is not supported, expected one of \
                 RS256, RS384, RS512, ES256, ES384, PS256, PS384, PS512"
            ),
        ),
        (
            with(json!({"alg": "ES256", "kid": "large"})),
            format!(
                "oidc: verify token: the key \"large\" of the issuer {url} is not supported: EC P-521"
            ),
        ),
        (
            key.token(&distributed),
            format!(
                "oidc: could not expand distributed claims: the issuer {url} gives the claim \"roles\" as a \
                 distributed claim, which is not supported: let it put the claim into the token"
            ),
        ),
    ];
    for (token, expected) in table {
        assert_eq!(who(&server, &token).await.0, 401, "{expected}");
        assert_eq!(refusal(&server, &token).await, expected);
    }
}

#[tokio::test]
async fn a_new_key_of_an_issuer_is_read_when_a_token_names_it() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let issuer = Issuer::start(vec![old.public()]).await;
    let config = issuer.configuration().to_string();
    let (server, _dir) = started(&[("config.yaml", config)]).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let claims = json!({"iss": issuer.url, "aud": "us", "exp": now + 600, "sub": "s", "email": "a@b", "hd": "example.com"});
    assert_eq!(who(&server, &old.token(&claims)).await.0, 201);
    *issuer.keys.lock() = vec![new.public()];
    // Not at once: tokens of strangers cannot have the keys read again and again.
    assert_eq!(who(&server, &new.token(&claims)).await.0, 401);
    let begun = std::time::Instant::now();
    while who(&server, &new.token(&claims)).await.0 != 201 {
        assert!(begun.elapsed().as_secs() < 30, "the new key is never read");
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    assert_eq!(who(&server, &old.token(&claims)).await.0, 401, "withdrawn");
}

#[tokio::test]
async fn a_token_file_names_users_and_anonymous_users_reach_the_paths_of_the_configuration() {
    let config = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": true, "conditions": [{"path": "/livez"}]}});
    let tokens = "t-1,carol,u-9,\"dev,ops\"\n".to_owned();
    let (server, _dir) = started(&[("config.yaml", config.to_string()), ("tokens.csv", tokens)])
        .await
        .unwrap();
    let user = json!({"username": "carol", "uid": "u-9", "groups": ["dev", "ops", "system:authenticated"]});
    assert_eq!(who(&server, "t-1").await, (201, user));
    assert_eq!(who(&server, "t-2").await.0, 401);
    let code = async |path: &str| {
        let mut config = server.tls_config().await.unwrap();
        config.auth_info = kube::config::AuthInfo::default();
        let client = kube::Client::try_from(config).unwrap();
        let request = Request::get(path).body(Body::empty()).unwrap();
        client.send(request).await.unwrap().status().as_u16()
    };
    assert_eq!((code("/livez").await, code("/version").await), (200, 401));
}

#[tokio::test]
async fn a_faulty_file_ends_the_start() {
    let text = "{apiVersion: apiserver.config.k8s.io/v1, kind: AuthenticationConfiguration, jwt: [{issuer: {}}]}";
    let error = started(&[("config.yaml", text.to_owned())])
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.contains("config.yaml`: jwt[0].issuer.url: Required value"),
        "{error}"
    );
    let error = started(&[("tokens.csv", "secret,bob".to_owned())])
        .await
        .map(|_| ())
        .unwrap_err();
    assert!(
        error.contains("tokens.csv`: row 1 must have at least 3 columns"),
        "{error}"
    );
    assert!(!error.contains("secret"), "{error}");
}
