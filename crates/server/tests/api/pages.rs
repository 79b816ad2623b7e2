//! Paged lists: all pages show the state of the first, whatever changes meanwhile.

use serde_json::{Value, json};

use crate::harness::Server;

const NAMESPACES: &str = "/api/v1/namespaces";

async fn page(server: &Server, query: &str, next: &str) -> (Vec<String>, Value) {
    let (code, list) = server
        .get(&format!("{NAMESPACES}?limit=10&{query}&continue={next}"))
        .await;
    assert_eq!(code, 200, "{list}");
    let items = list["items"].as_array().unwrap().iter();
    let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
    (names.collect(), list["metadata"].clone())
}

fn space(at: usize) -> Value {
    let parity = if at.is_multiple_of(2) { "even" } else { "odd" };
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": format!("s{at:03}"), "labels": {"parity": parity}}})
}

#[tokio::test]
async fn all_pages_show_one_state_and_the_remaining_count() {
    let server = Server::start().await;
    for at in 0..60 {
        assert_eq!(server.post(NAMESPACES, &space(at)).await.0, 201);
    }
    let (_, list) = server.get(NAMESPACES).await;
    let all = list["items"].as_array().unwrap().len();
    let (mut next, mut seen, mut version) = (String::new(), Vec::new(), Value::Null);
    for round in 0.. {
        let (names, meta) = page(&server, "", &next).await;
        seen.extend(names);
        if round > 0 {
            assert_eq!(meta["resourceVersion"], version);
        }
        version = meta["resourceVersion"].clone();
        // Objects created and deleted meanwhile do not change the later pages.
        server.post(NAMESPACES, &space(100 + round)).await;
        let gone = format!("{NAMESPACES}/s{:03}", 59 - round);
        server.send("DELETE", &gone, "", &Value::Null).await;
        let Some(token) = meta["continue"].as_str() else {
            assert_eq!(meta["remainingItemCount"], Value::Null);
            break;
        };
        assert_eq!(meta["remainingItemCount"], all - seen.len());
        token.clone_into(&mut next);
    }
    assert_eq!(seen.len(), all);
    assert!(seen.is_sorted() && seen.contains(&"s059".to_owned()));
}

#[tokio::test]
async fn pages_with_a_selector_have_no_remaining_count() {
    let server = Server::start().await;
    for at in 0..40 {
        assert_eq!(server.post(NAMESPACES, &space(at)).await.0, 201);
    }
    let selector = "labelSelector=parity%3Deven";
    let (first, meta) = page(&server, selector, "").await;
    assert_eq!(
        (first.len(), &meta["remainingItemCount"]),
        (10, &Value::Null)
    );
    let (second, meta) = page(&server, selector, meta["continue"].as_str().unwrap()).await;
    // The last page is full, and no selected object follows.
    assert_eq!((second.len(), &meta["continue"]), (10, &Value::Null));
    assert_eq!(second.last().unwrap(), "s038");
}

#[tokio::test]
async fn a_paged_list_outlasts_the_history() {
    let server = Server::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = |name: &str, length: usize| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"text": "v".repeat(length)}})
    };
    for name in ["a", "b", "c"] {
        assert_eq!(server.post(maps, &map(name, 1)).await.0, 201);
    }
    let (_, first) = server.get(&format!("{maps}?limit=1")).await;
    let version = &first["metadata"]["resourceVersion"];
    for length in 900_000..900_020 {
        let (path, large) = (format!("{maps}/c"), map("c", length));
        let patched = server.send("PATCH", &path, "application/merge-patch+json", &large);
        assert_eq!(patched.await.0, 200);
    }
    let watch = format!(
        "{maps}?watch=true&resourceVersion={}",
        version.as_str().unwrap()
    );
    let (_, line) = server.get_text(&watch).await;
    assert!(
        line.contains("too old resource version"),
        "the history still reaches back: {line:.200}"
    );
    let next = first["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = server.get(&format!("{maps}?continue={next}")).await;
    assert_eq!((code, &rest["metadata"]["resourceVersion"]), (200, version));
    let last = rest["items"].as_array().unwrap().last().unwrap();
    assert_eq!(
        last["data"]["text"], "v",
        "the object at the revision of the first page"
    );
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// Creates a ConfigMap. Returns its version.
async fn create_map(server: &Server, name: &str) -> u64 {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    let (code, made) = server.post(MAPS, &map).await;
    assert_eq!(code, 201, "{made}");
    let version = made["metadata"]["resourceVersion"].as_str().unwrap();
    version.parse().unwrap()
}

/// The names and the version of a list.
async fn listed(server: &Server, query: &str) -> (Vec<String>, u64) {
    let (code, list) = server.get(&format!("{MAPS}?{query}")).await;
    assert_eq!(code, 200, "{query}: {list}");
    let items = list["items"].as_array().unwrap().iter();
    let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    (names.collect(), version.parse().unwrap())
}

/// The table "list" of <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>.
#[tokio::test]
async fn a_list_shows_the_version_that_it_asks_for() {
    let server = Server::start().await;
    let first = create_map(&server, "a").await;
    let last = create_map(&server, "b").await;
    let exact = (vec!["a".to_owned()], first);
    let latest = (vec!["a".to_owned(), "b".to_owned()], last);
    for (query, expected) in [
        (format!("limit=9&resourceVersion={first}"), &exact),
        (
            format!("resourceVersion={first}&resourceVersionMatch=Exact"),
            &exact,
        ),
        (
            format!("limit=9&resourceVersion={first}&resourceVersionMatch=Exact"),
            &exact,
        ),
        (
            format!("limit=9&resourceVersion={first}&resourceVersionMatch=NotOlderThan"),
            &latest,
        ),
        (
            format!("resourceVersion={first}&resourceVersionMatch=NotOlderThan"),
            &latest,
        ),
        (format!("resourceVersion={first}"), &latest),
        (format!("limit=0&resourceVersion={first}"), &latest),
        ("limit=9&resourceVersion=0".to_owned(), &latest),
        (
            "limit=9&resourceVersion=0&resourceVersionMatch=NotOlderThan".to_owned(),
            &latest,
        ),
        ("resourceVersion=0".to_owned(), &latest),
        ("limit=9".to_owned(), &latest),
        (String::new(), &latest),
    ] {
        let found = listed(&server, &query).await;
        assert_eq!(found.0, expected.0, "{query}");
        assert!(
            found.1 >= expected.1 && (expected.1 == last || found.1 == first),
            "{query}"
        );
    }
    // One object by its name has no pages.
    let one = format!("fieldSelector=metadata.name%3Db&limit=9&resourceVersion={first}");
    assert_eq!(listed(&server, &one).await.0, ["b"]);
    // The pages after the first show the same version.
    create_map(&server, "c").await;
    let (_, page) = server
        .get(&format!("{MAPS}?limit=1&resourceVersion={last}"))
        .await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    for query in [
        format!("continue={token}"),
        format!("continue={token}&resourceVersion=0"),
    ] {
        assert_eq!(listed(&server, &query).await, (vec!["b".to_owned()], last));
    }
    // A deletion reads what it deletes in pages.
    let path = format!("{MAPS}?resourceVersion={first}");
    assert_eq!(server.send("DELETE", &path, "", &Value::Null).await.0, 200);
    assert_eq!(listed(&server, "").await.0, ["b", "c"]);
}

#[tokio::test]
async fn a_version_that_cannot_be_served_is_refused() {
    let server = Server::start().await;
    let version = create_map(&server, "a").await;
    let (_, page) = server.get(&format!("{NAMESPACES}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    let path = format!("{NAMESPACES}?continue={token}&resourceVersion={version}");
    let (code, status) = server.get(&path).await;
    let text = "specifying resource version is not allowed when using continue";
    assert_eq!((code, &status["message"]), (400, &json!(text)));
    let unparsed = "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax";
    let old = "The resourceVersion for the provided list is too old.";
    for (path, code, message) in [
        ("?limit=1&resourceVersion=1", 410, old),
        ("?resourceVersion=1&resourceVersionMatch=Exact", 410, old),
        ("?resourceVersion=x", 400, unparsed),
        ("/a?resourceVersion=x", 400, unparsed),
    ] {
        let (found, status) = server.get(&format!("{MAPS}{path}")).await;
        assert_eq!(
            (found, &status["message"]),
            (code, &json!(message)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn parameters_that_do_not_fit_together_are_refused() {
    let server = Server::start().await;
    for (query, faults) in [
        (
            "resourceVersion=5&continue=x&resourceVersionMatch=Exact",
            "M is forbidden when continue is provided",
        ),
        (
            "continue=x&resourceVersionMatch=No",
            "[M is forbidden unless resourceVersion is provided, M is forbidden when continue is provided, U \"No\": supported values: \"Exact\", \"NotOlderThan\", \"\"]",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "M \"exact\" is forbidden for resourceVersion \"0\"",
        ),
        (
            "resourceVersionMatch=Exact&sendInitialEvents=true",
            "[M is forbidden unless resourceVersion is provided, sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list]",
        ),
        (
            "watch=1&resourceVersion=5&resourceVersionMatch=Exact",
            "[M is forbidden for watch unless sendInitialEvents is provided, U \"Exact\": supported values: \"NotOlderThan\"]",
        ),
        (
            "watch=1&resourceVersion=5&sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            "watch=1&continue=x",
            "M is forbidden when continue is provided",
        ),
    ] {
        let faults = faults.replace(
            "M is",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is",
        );
        let faults = faults.replace(
            "M \"",
            "resourceVersionMatch: Forbidden: resourceVersionMatch \"",
        );
        let faults = faults.replace("U \"", "resourceVersionMatch: Unsupported value: \"");
        let message = format!("ListOptions.meta.k8s.io \"\" is invalid: {faults}");
        let (code, status) = server.get(&format!("{MAPS}?{query}")).await;
        assert_eq!(
            (code, &status["message"]),
            (422, &json!(message)),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_version_that_is_not_there_yet_is_waited_for() {
    let server = Server::start().await;
    let future = create_map(&server, "a").await + 1_000;
    let paths = [
        format!("{MAPS}/a?resourceVersion={future}"),
        format!("{MAPS}?limit=1&resourceVersion={future}"),
        format!("{MAPS}?resourceVersion={future}&resourceVersionMatch=Exact"),
        format!("{MAPS}?resourceVersion={future}"),
    ];
    let answers = paths.iter().map(|path| server.get(path));
    for (code, status) in futures::future::join_all(answers).await {
        assert_eq!(
            (code, &status["reason"]),
            (504, &json!("Timeout")),
            "{status}"
        );
        assert_eq!(
            status["details"]["causes"][0]["reason"],
            "ResourceVersionTooLarge"
        );
        assert_eq!(status["details"]["retryAfterSeconds"], 1);
        let message = status["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!(
                "Timeout: Too large resource version: {future}, current: "
            )),
            "{message}"
        );
    }
}
