//! The parameter `timeout` of requests.

use serde_json::json;

use crate::{
    harness::{Server, json_of},
    services::{SERVICES, SlowStore, assert_distinct, service, start_on},
};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let server = Server::start().await;
    let path = |text: &str| format!("{MAPS}?timeout={text}");
    let start = "invalid timeout specified in the request URL - time: ";
    for (text, why) in [
        ("x", "invalid duration \"x\""),
        ("5", "missing unit in duration \"5\""),
        ("5d", "unknown unit \"d\" in duration \"5d\""),
    ] {
        let (code, status) = server.get(&path(text)).await;
        let message = format!("{start}{why}");
        assert_eq!((code, &status["message"]), (400, &json!(message)));
        assert_eq!(server.get(&format!("/version?timeout={text}")).await.0, 400);
    }
    for text in ["", "0", "0s", "-5s", "30s", "1h0m0s"] {
        assert_eq!(server.get(&path(text)).await.0, 200, "{text}");
    }
    // A watch lasts as long as `timeoutSeconds` says.
    for text in ["1ns", "x"] {
        let query = format!("watch=true&timeoutSeconds=1&allowWatchBookmarks=true&timeout={text}");
        let (code, lines) = server.get_text(&format!("{MAPS}?{query}")).await;
        assert_eq!(code, 200, "{lines}");
        assert_eq!(json_of(lines.lines().last().unwrap())["type"], "BOOKMARK");
    }
}

#[tokio::test]
async fn a_write_whose_time_is_over_stands() {
    for query in ["?timeout=1s", ""] {
        let store = SlowStore::new();
        let server = start_on(&store).await;
        store.open.forget_permits(1_000);
        store.begun.forget_permits(1_000);
        let (path, late) = (format!("{SERVICES}{query}"), service("late", "NodePort"));
        // The clock jumps to the deadline once nothing else is left to do.
        tokio::time::pause();
        let (code, status) = server.post(&path, &late).await;
        tokio::time::resume();
        let message = "Timeout: request did not complete within requested timeout - context deadline exceeded";
        assert_eq!((code, &status["message"]), (504, &json!(message)));
        assert_eq!(status["reason"], "Timeout");
        assert_eq!(store.begun.available_permits(), 1);
        store.open.add_permits(1_000);
        // The next one waits for it.
        let (code, _) = server.post(SERVICES, &service("next", "NodePort")).await;
        assert_eq!(code, 201);
        assert_eq!(server.get(&format!("{SERVICES}/late")).await.0, 200);
        assert_distinct(&server).await;
    }
}
