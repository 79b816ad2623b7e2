//! Handlers of non-resource paths: health, version, metrics, the CA certificate, the keys of
//! tokens, the list of paths.

use http::{Method, Response};
use pandaemon_machinery::{Status, status::Result};
use serde_json::json;

use crate::{
    api::{Api, Incoming},
    handlers::{discovery, join, openid, response},
    http::{body::Body, negotiate::Form},
    service_accounts::openid::{CONFIGURATION_PATH, JWKS_PATH},
};

/// The Kubernetes version whose API this server serves.
const VERSION: &str = "v1.33.6+pandaemon";

/// The name of a health check, and its failure.
type Check = (&'static str, Option<String>);

fn checks(api: &Api, path: &str) -> Vec<Check> {
    let mut all: Vec<Check> = vec![("ping", None), ("log", None)];
    let flag = |bad: bool, why: &str| bad.then(|| why.to_owned());
    // Also a reason to be started again: reads and writes fail until then.
    let failure = api.registry.cache.failure();
    let failure = failure.map(|why| format!("{why}: restart the server"));
    all.push(("watch-cache", failure));
    if path != "livez" {
        all.push(("store", api.registry.store_fault()));
        let started = api.health.is_started();
        all.push(("poststarthook/bootstrap", flag(!started, "not finished")));
    }
    if path == "readyz" {
        let stopping = api.health.is_stopping();
        all.push(("shutdown", flag(stopping, "process is shutting down")));
    }
    all
}

/// Handles a non-resource path. Unknown paths get 404.
///
/// # Errors
/// 405 for methods other than GET and HEAD.
pub(crate) fn answer(api: &Api, incoming: &Incoming) -> Result<Response<Body>> {
    if !matches!(incoming.parts.method, Method::GET | Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    match incoming.path().trim_end_matches('/') {
        CONFIGURATION_PATH => return Ok(openid::configuration(api)),
        JWKS_PATH => return Ok(openid::key_set(api)),
        _ => {}
    }
    let path = incoming.path().trim_matches('/').to_owned();
    let (first, rest) = path.split_once('/').unwrap_or((&path, ""));
    match (first, rest) {
        ("healthz" | "livez" | "readyz", _) => Ok(health(api, incoming, first, rest)),
        ("version", "") => Ok(version(incoming)),
        ("metrics", "") => metrics(api),
        ("cacerts", "") => Ok(join::cacerts(api)),
        ("openapi", "v2") => discovery::openapi_v2(incoming),
        ("openapi", rest) if rest == "v3" || rest.starts_with("v3/") => {
            discovery::openapi_v3(incoming)
        }
        ("", "") => {
            let form = Form {
                pretty: true,
                ..Form::default()
            };
            Ok(response::value(
                200,
                &form,
                &discovery::root(&incoming.scheme),
            ))
        }
        _ => Ok(response::text(404, "404 page not found\n")),
    }
}

fn health(api: &Api, incoming: &Incoming, path: &str, only: &str) -> Response<Body> {
    let excluded: Vec<&str> = incoming.query.all("exclude").collect();
    let checks: Vec<Check> = checks(api, path)
        .into_iter()
        .filter(|(name, _)| only.is_empty() || *name == only)
        .filter(|(name, _)| !excluded.contains(name))
        .collect();
    if checks.is_empty() && !only.is_empty() {
        return response::text(404, "404 page not found\n");
    }
    let failed = checks.iter().any(|(_, fault)| fault.is_some());
    let verbose = incoming.query.get("verbose").is_some();
    if !failed && !verbose {
        return response::text(200, "ok");
    }
    let mut report = String::new();
    for (name, fault) in &checks {
        match fault {
            None => report.push_str(&format!("[+]{name} ok\n")),
            Some(why) => report.push_str(&format!("[-]{name} failed: {why}\n")),
        }
    }
    let verdict = if failed { "failed" } else { "passed" };
    report.push_str(&format!("{path} check {verdict}\n"));
    response::text(if failed { 500 } else { 200 }, report)
}

fn version(incoming: &Incoming) -> Response<Body> {
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux/amd64",
        "aarch64" => "linux/arm64",
        _ => "linux/unknown",
    };
    let value = json!({
        "major": "1",
        "minor": "33",
        "emulationMajor": "1",
        "emulationMinor": "33",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "32",
        "gitVersion": VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": platform,
    });
    let form = Form {
        pretty: true,
        ..incoming.form().unwrap_or_default()
    };
    response::value(200, &form, &value)
}

fn metrics(api: &Api) -> Result<Response<Body>> {
    api.metrics.sample(&api.registry.cache);
    api.flow_control.sample();
    let text = api.metrics.render().map_err(Status::internal)?;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(response::with_type(200, content_type, Body::full(text)))
}
