//! Discovery and the OpenAPI documents say what is served, no more and no less.

use http::Request;
use kube::client::Body;
use serde_json::json;

use crate::harness::{Server, references};

/// The verbs of objects in storage, and the request of each.
const VERBS: [(&str, &str, bool); 8] = [
    ("get", "GET", true),
    ("update", "PUT", true),
    ("patch", "PATCH", true),
    ("delete", "DELETE", true),
    ("create", "POST", false),
    ("list", "GET", false),
    ("watch", "GET", false),
    ("deletecollection", "DELETE", false),
];

/// The paths of all group versions.
async fn group_versions(server: &Server) -> Vec<String> {
    let mut paths = vec!["/api/v1".to_owned()];
    let (_, groups) = server.get("/apis").await;
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            paths.push(format!(
                "/apis/{}",
                version["groupVersion"].as_str().unwrap()
            ));
        }
    }
    paths
}

/// The code of a request about an object that does not exist. Nothing is stored.
async fn code_of(
    server: &Server,
    (verb, method, is_named): (&str, &str, bool),
    base: &str,
    resource: &str,
) -> u16 {
    let (plural, sub) = resource
        .split_once('/')
        .map_or((resource, None), |(p, s)| (p, Some(s)));
    let mut path = format!("{base}/{plural}");
    if is_named || sub.is_some() {
        path.push_str("/absent");
    }
    if let Some(sub) = sub {
        path = format!("{path}/{sub}");
    }
    let query = if verb == "watch" {
        "watch=true"
    } else {
        "dryRun=All"
    };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{path}?{query}"));
    let has_body = matches!(verb, "create" | "update" | "patch");
    if has_body {
        let media = if verb == "patch" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        request = request.header("content-type", media);
    }
    let body = if has_body { b"{}".to_vec() } else { Vec::new() };
    let response = server
        .client()
        .send(request.body(Body::from(body)).unwrap())
        .await
        .unwrap();
    response.status().as_u16()
}

#[tokio::test]
async fn discovery_advertises_the_verbs_that_are_served_and_no_others() {
    let server = Server::start().await;
    let mut wrong = Vec::new();
    let mut walked = 0;
    for path in group_versions(&server).await {
        let (_, list) = server.get(&path).await;
        for resource in list["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let base = match resource["namespaced"] == json!(true) {
                true => format!("{path}/namespaces/default"),
                false => path.clone(),
            };
            let advertised =
                |verb: &str| resource["verbs"].as_array().unwrap().contains(&json!(verb));
            for verb in VERBS {
                // A subresource has one path: a verb of a collection is the verb of its method.
                if name.contains('/') && matches!(verb.0, "list" | "watch" | "deletecollection") {
                    continue;
                }
                let code = code_of(&server, verb, &base, name).await;
                let is_refused = matches!(code, 405 | 501);
                if is_refused == advertised(verb.0) {
                    wrong.push(format!("{path} {name} {}: {code}", verb.0));
                }
                walked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(walked > 200, "{walked}");
}

#[tokio::test]
async fn each_reference_of_the_openapi_documents_resolves() {
    let server = Server::start().await;
    let (code, index) = server.get("/openapi/v3").await;
    assert_eq!(code, 200, "{index}");
    let documents = index["paths"].as_object().unwrap().values();
    let mut urls: Vec<_> = documents
        .map(|entry| entry["serverRelativeURL"].as_str().unwrap().to_owned())
        .collect();
    urls.push("/openapi/v2".into());
    assert!(urls.len() > 8, "{urls:?}");
    for url in urls {
        let (code, document) = server.get(&url).await;
        assert_eq!(code, 200, "{url}");
        let (count, dangling) = references(&document);
        assert!(count > 0, "{url} has references");
        assert_eq!(dangling, Vec::<String>::new(), "{url}");
    }
}
