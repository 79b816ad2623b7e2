//! Registry credentials from image pull secrets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use pandaemon_cri::pb::AuthConfig;
use serde_json::Value;

use super::name;

/// The credentials in these secrets that match the image's registry, in order.
#[must_use]
pub(crate) fn for_image(secrets: &[Secret], image: &str) -> Vec<AuthConfig> {
    let full = name::normalize(image);
    secrets
        .iter()
        .flat_map(entries)
        .filter(|(key, _)| matches(key, &full))
        .map(|(_, auth)| auth)
        .collect()
}

/// All entries of a secret of type `dockerconfigjson` or `dockercfg`.
fn entries(secret: &Secret) -> Vec<(String, AuthConfig)> {
    let data = secret.data.as_ref();
    let bytes = |key: &str| {
        data.and_then(|data| data.get(key))
            .map(|bytes| bytes.0.as_slice())
    };
    let parsed: Option<Value> = bytes(".dockerconfigjson")
        .or_else(|| bytes(".dockercfg"))
        .and_then(|bytes| serde_json::from_slice(bytes).ok());
    let Some(config) = parsed else {
        return Vec::new();
    };
    let auths = config.get("auths").unwrap_or(&config);
    let auths = auths.as_object().into_iter().flatten();
    auths
        .map(|(key, value)| (key.clone(), auth_config(key, value)))
        .collect()
}

fn auth_config(server: &str, value: &Value) -> AuthConfig {
    let text = |key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty()
        && let Some((user, secret)) = decode(&text("auth"))
    {
        (username, password) = (user, secret);
    }
    AuthConfig {
        username,
        password,
        auth: String::new(),
        server_address: server.to_owned(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
    text.split_once(':')
        .map(|(user, secret)| (user.to_owned(), secret.to_owned()))
}

/// Whether a registry key such as `https://index.docker.io/v1/` or `quay.io/team` matches the full
/// name of an image.
fn matches(key: &str, full: &str) -> bool {
    let key = key
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let key = key
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    let key = match key {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        other => other,
    };
    full.strip_prefix(key)
        .is_some_and(|rest| rest.starts_with(['/', ':', '@']))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::{ByteString, api::core::v1::Secret};

    use super::for_image;

    #[test]
    fn credentials_match_by_registry_and_path() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYTpzcw=="},
            "quay.io/team": {"username": "q", "password": "p"}}}"#;
        let data = BTreeMap::from([(".dockerconfigjson".into(), ByteString(config.into()))]);
        let secret = Secret {
            data: Some(data),
            ..Secret::default()
        };
        let found = for_image(std::slice::from_ref(&secret), "nginx");
        assert_eq!(
            (found[0].username.as_str(), found[0].password.as_str()),
            ("user", "pa:ss")
        );
        assert_eq!(
            for_image(std::slice::from_ref(&secret), "quay.io/team/x:1")[0].username,
            "q"
        );
        assert!(for_image(&[secret], "quay.io/other/x:1").is_empty());
    }
}
