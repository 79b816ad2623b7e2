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
