//! What clients can say about an object in its `metadata`, and what the server sets.

use serde_json::{Value, json};

use crate::harness::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(metadata: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}})
}

/// The entries of managedFields as `MANAGER OPERATION FIELDS`.
fn owners(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array();
    let entries = entries.into_iter().flatten();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("-").to_owned();
    let shown = entries.map(|entry| {
        let (manager, operation) = (text(entry, "manager"), text(entry, "operation"));
        format!("{manager} {operation} {}", entry["fieldsV1"])
    });
    shown.collect()
}

#[tokio::test]
async fn managed_fields_of_a_request_do_not_end_the_tracking() {
    let server = Server::start().await;
    let own = r#"me Update {"f:data":{".":{},"f:a":{}}}"#;
    let other = json!([{"manager": "other", "operation": "Apply", "apiVersion": "v1",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:a": {}}}}]);
    let malformed = json!([{"manager": "other", "operation": "Guess"}]);
    let sent = [Value::Null, json!([]), json!([{}]), other, malformed];
    for (at, sent) in sent.iter().enumerate() {
        let name = format!("c{at}");
        let body = map(&json!({"name": name, "managedFields": sent}));
        let path = format!("{MAPS}?fieldManager=me");
        let (code, made) = server.post(&path, &body).await;
        assert_eq!((code, owners(&made)), (201, vec![own.to_owned()]), "{sent}");
        // A PUT keeps the owners, resets them, or takes those of the request.
        let path = format!("{MAPS}/{name}?fieldManager=me");
        let (code, put) = server.send("PUT", &path, "application/json", &body).await;
        let expected = match at {
            0 | 4 => vec![own.to_owned()],
            3 => vec![r#"other Apply {"f:data":{"f:a":{}}}"#.to_owned()],
            _ => Vec::new(),
        };
        assert_eq!((code, owners(&put)), (200, expected), "{sent}");
    }
}
